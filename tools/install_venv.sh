#!/bin/sh
# Debian's python3 comes without venv: install it where this user may; say what is missing where not.
set -eu
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "this Python has no venv and this user may not install it: run 'apt-get install python3-venv'" >&2
    exit 1
fi
command -v apt-get >/dev/null || { echo "this Python has no venv and there is no apt-get" >&2; exit 1; }
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
