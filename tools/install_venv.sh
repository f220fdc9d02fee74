#!/bin/sh
# Debian's python3 comes without venv, which everything here needs: install it where this user may.
set -eu
. "$(dirname "$0")/as_root.sh"
need_root python3-venv 1
apt_install python3-venv
