#!/usr/bin/env bash
# Tests with the lowest versions that pyproject.toml allows of what it names: bash .ci/lowest.sh [pytest's arguments]
# All but torch, which is 2.13.0 as in make test: of 2.5, the lowest, there are only builds with gigabytes of CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv-lowest/bin
torch=torch==2.13.0
extras=api,build,cjk,hf,merge,morphology,report,search,test,thai

if [[ pyproject.toml -nt .venv-lowest/.made || .ci/lowest.sh -nt .venv-lowest/.made ]]; then
  "${PYTHON:-python3}" -m venv --clear .venv-lowest
  # Without what torch needs: uv leaves what is installed as it is, and that would be the newest.
  $bin/pip install --quiet --no-compile --no-deps "$torch" uv
  # Of what is compiled, the lowest with a wheel for this Python.
  compiled=()
  for package in icu4py numpy pandas pyarrow python-crfsuite pyyaml regex scipy vl-convert-python; do
    compiled+=(--only-binary "$package")
  done
  $bin/uv pip install --quiet --python $bin/python --resolution lowest-direct "${compiled[@]}" "$torch" -e ".[$extras]"
  touch .venv-lowest/.made
fi
echo "The lowest versions, but $torch:"
$bin/uv pip list --quiet --python $bin/python --format freeze | paste -sd ' ' | fold -s -w 118
HF_HUB_OFFLINE=1 exec $bin/python -m pytest "$@"
