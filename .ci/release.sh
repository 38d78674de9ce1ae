#!/usr/bin/env bash
# make release-check: build wheel and source archive into dist/, check them, install them: bash .ci/release.sh BIN
# BIN is the folder of the environment that has the tests. Nothing is published.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "$1")
uv=$(command -v uv || echo "$bin/uv")
tools=$PWD/.venv-release/bin

if [[ pyproject.toml -nt .venv-release/.made || .ci/release.sh -nt .venv-release/.made ]]; then
  "$uv" venv --quiet --clear --python "$bin/python" .venv-release
  "$uv" pip install --quiet --python "$tools/python" --group release
  touch .venv-release/.made
fi

# From a copy of what git knows of: setuptools takes up what an earlier build left in a checkout.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached --others --exclude-standard | tar --null --files-from - --ignore-failed-read -c | tar -x -C "$copy"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
rm -rf dist
"$tools/python" -m build --sdist --outdir dist "$copy" >"$copy/build.log" 2>&1 || { cat "$copy/build.log"; exit 1; }
"$tools/python" -m build --wheel --outdir dist "$copy" >"$copy/build.log" 2>&1 || { cat "$copy/build.log"; exit 1; }
mkdir "$copy/unpacked"
tar -xzf dist/*.tar.gz -C "$copy/unpacked" --strip-components 1
"$tools/python" -m build --wheel --outdir dist/again "$copy/unpacked" >"$copy/build.log" 2>&1 || { cat "$copy/build.log"; exit 1; }
(cd dist && du -b ./*.whl ./*.tar.gz)

"$tools/twine" check --strict dist/*.whl dist/*.tar.gz
"$tools/check-wheel-contents" dist/*.whl
"$tools/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$tools/zizmor" --offline --quiet --config .github/zizmor.yml .github
# In an environment of its own: it needs an older jsonschema than the other tools.
"$uv" tool run --quiet cffconvert@2.0.0 --validate --infile CITATION.cff

"$bin/pytest" tests/release tests/test_release.py --durations=5
