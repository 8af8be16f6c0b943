#!/usr/bin/env bash
# Runs a tool in several processes of this machine, one per GPU (or on CPU where there is none).
#   tools/dist_run.sh TOOL NUM_PROCESSES [arguments of tools/TOOL.py]      TOOL: train, test, make_cam or run_pipeline
# Exit codes are those of the tool: 0 done, 3 done with omissions.
# Environment: PORT, NNODES, NODE_RANK, MASTER_ADDR for several machines; PYTHON for the interpreter.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 TOOL NUM_PROCESSES [arguments of tools/TOOL.py]" >&2; exit 1; }
tool=$1 processes=$2
shift 2
# torchrun itself knows only 0 and 1.
export MMWSSS_EXIT_CODE_FILE
MMWSSS_EXIT_CODE_FILE=$(mktemp)
trap 'rm -f "$MMWSSS_EXIT_CODE_FILE"' EXIT
"${PYTHON:-python}" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
  --nproc_per_node="$processes" \
  "$(dirname "$0")/$tool.py" "$@" --launcher pytorch
code=$(cat "$MMWSSS_EXIT_CODE_FILE")
exit "${code:-0}"
