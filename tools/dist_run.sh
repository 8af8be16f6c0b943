#!/usr/bin/env bash
# Runs a tool in several processes of this machine, one per GPU (or on CPU where there is none).
#   tools/dist_run.sh TOOL NUM_PROCESSES [arguments of tools/TOOL.py]
#   TOOL: train, test, make_cam, refine_cam, run_pipeline or run_study
# Exit codes are those of the tool: 0 done, 3 done, with skipped files.
# Environment: NNODES, NODE_RANK, MASTER_ADDR, PORT for several machines (on one, a free port is taken unless PORT names
# one); PYTHON for the interpreter. OMP_NUM_THREADS: threads of a process; the cores are shared out unless it is set.
# Convolutions round differently with another number of threads: the CAMs of these processes are byte for byte those of
# a single process with the same OMP_NUM_THREADS; with another number about one value in a thousand differs.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 TOOL NUM_PROCESSES [arguments of tools/TOOL.py]" >&2; exit 1; }
tool=$1 processes=$2
shift 2
here=$(dirname "$0")
[ -f "$here/$tool.py" ] || { echo "error: there is no tools/$tool.py; TOOL is train, test, make_cam, ..." >&2; exit 1; }
case $processes in
  '' | *[!0-9]* | 0) echo "error: NUM_PROCESSES is a number of processes, not '$processes'" >&2; exit 1 ;;
esac
python=${PYTHON:-python}

# Prints the port to use: a free one without arguments, else the one given if it is free.
find_port='
import socket, sys
with socket.socket() as server:
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind(("", int(sys.argv[1])))
    except OSError as error:
        sys.exit(f"error: port {sys.argv[1]} cannot be used ({error.strerror}); name another one with PORT=, or leave "
                 "it out on a single machine")
    except (ValueError, OverflowError):
        sys.exit(f"error: PORT={sys.argv[1]} is no port; name one of 1024 to 65535")
    print(server.getsockname()[1])
'
if [ "${NNODES:-1}" = 1 ]; then
  port=$("$python" -c "$find_port" "${PORT:-0}")
elif [ "${NODE_RANK:-0}" = 0 ]; then
  port=$("$python" -c "$find_port" "${PORT:-29500}")  # the other machines must know it
else
  port=${PORT:-29500}
fi

if [ -z "${OMP_NUM_THREADS:-}" ]; then
  threads=$(("$(nproc)" / processes))
  export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))
fi
# torchrun itself knows only 0 and 1.
export MMWSSS_EXIT_CODE_FILE
MMWSSS_EXIT_CODE_FILE=$(mktemp)
trap 'rm -f "$MMWSSS_EXIT_CODE_FILE"' EXIT
"$python" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="$port" \
  --nproc_per_node="$processes" \
  "$here/$tool.py" "$@" --launcher pytorch
code=$(cat "$MMWSSS_EXIT_CODE_FILE")
exit "${code:-0}"
