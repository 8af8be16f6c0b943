#!/usr/bin/env bash
# Runs tools/test.py in several processes of this machine, one per GPU (or on CPU where there is none).
#   tools/dist_test.sh CONFIG CHECKPOINT NUM_PROCESSES [arguments of tools/test.py]
# Exit codes are those of the tool: 0 done, 3 done with omissions.
# Environment: PORT, NNODES, NODE_RANK, MASTER_ADDR for several machines; PYTHON for the interpreter.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT NUM_PROCESSES [arguments of tools/test.py]" >&2; exit 1; }
config=$1 checkpoint=$2 processes=$3
shift 3
arguments=("$config" "$checkpoint")
# torchrun itself knows only 0 and 1.
export MMWSSS_EXIT_CODE_FILE
MMWSSS_EXIT_CODE_FILE=$(mktemp)
trap 'rm -f "$MMWSSS_EXIT_CODE_FILE"' EXIT
"${PYTHON:-python}" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$processes" \
  "$(dirname "$0")/test.py" "${arguments[@]}" --launcher pytorch "$@"
code=$(cat "$MMWSSS_EXIT_CODE_FILE")
exit "${code:-0}"
