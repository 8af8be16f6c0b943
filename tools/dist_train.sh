#!/usr/bin/env bash
# Runs tools/train.py in several processes of this machine, one per GPU (or on CPU where there is none).
#   tools/dist_train.sh CONFIG NUM_PROCESSES [arguments of tools/train.py]
# Exit codes are those of the tool: 0 done, 3 done, with skipped files.
# Environment: PORT, NNODES, NODE_RANK, MASTER_ADDR for several machines; PYTHON for the interpreter.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 CONFIG NUM_PROCESSES [arguments of tools/train.py]" >&2; exit 1; }
config=$1 processes=$2
shift 2
exec bash "$(dirname "$0")/dist_run.sh" train "$processes" "$config" "$@"
