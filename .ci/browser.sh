#!/usr/bin/env bash
# The pages are tested in a real Chromium: use the one that is here, else get Debian's.
set -euo pipefail
for name in chromium chromium-browser google-chrome-stable google-chrome; do
  command -v "$name" >/dev/null && exit 0
done
if ! command -v apt-get >/dev/null; then
  echo "The report's tests need Chromium or Chrome on the PATH; please install it." >&2
  exit 0 # the other tests still run; those of the pages fail and say the same
fi
echo "Installing Chromium for the report's tests"
sudo=""
[ "$(id -u)" -eq 0 ] || sudo="sudo -n"
{
  $sudo apt-get update -qq &&
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium
} >/dev/null || echo "Chromium could not be installed: the tests of the pages will fail and say so." >&2
