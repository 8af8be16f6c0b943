#!/usr/bin/env bash
# Runs tools/test.py in several processes of this machine, one per GPU (or on CPU where there is none).
#   tools/dist_test.sh CONFIG CHECKPOINT NUM_PROCESSES [arguments of tools/test.py]
# Exit codes are those of the tool: 0 done, 3 done, with skipped files.
# Environment: PORT, NNODES, NODE_RANK, MASTER_ADDR for several machines; PYTHON for the interpreter.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 CONFIG CHECKPOINT NUM_PROCESSES [arguments of tools/test.py]" >&2; exit 1; }
config=$1 checkpoint=$2 processes=$3
shift 3
exec bash "$(dirname "$0")/dist_run.sh" test "$processes" "$config" "$checkpoint" "$@"
