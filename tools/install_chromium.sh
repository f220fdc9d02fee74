#!/bin/sh
# Install Debian's chromium for the browser test, where this user may; say what is missing where not.
set -eu
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "chromium is not installed and this user may not install it: run 'apt-get install chromium'" >&2
    exit 0
fi
command -v apt-get >/dev/null || { echo "chromium is not installed and there is no apt-get" >&2; exit 0; }
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null
