#!/usr/bin/env bash
# Every figure of the GPU part in under 9 minutes, as JSON:
#   bash tests/gpu/run_all.sh OUT [PIECES] [options of tests.gpu.figures]
# OUT: a folder for figures.json. PIECES: a folder with CIFAR-10 in pieces (python -m tests.gpu.pieces); without it,
# CIFAR-10 is read from the folder TINYGRAD_LAB_DATA. Needs CuPy, PyTorch and a GPU; PYTHON names the interpreter that has them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:?usage: run_all.sh OUT [PIECES] [options]}
shift
pieces=()
if [[ ${1:-} && ${1:-} != --* ]]; then
    pieces=(--data "$1")
    shift
fi
python=${PYTHON:-python3}
export PYTHONPATH=$PWD:$PWD/layers${PYTHONPATH:+:$PYTHONPATH}
# Layers are found by entry points, which an installer records. Without an installed distribution, this script does.
if ! "$python" -c 'import importlib.metadata as m; m.distribution("tinygrad-lab")' 2>/dev/null; then
    "$python" -m tests.gpu.entry_points "$out/entry_points" >&2
    PYTHONPATH=$(cd "$out/entry_points" && pwd):$PYTHONPATH
fi
exec "$python" -m tests.gpu.figures --out "$out" "${pieces[@]}" "$@"
