#!/bin/sh
# Install Debian's chromium for the browser test, where this user may; without it the test is skipped with its reason.
set -eu
. "$(dirname "$0")/as_root.sh"
need_root chromium 0
apt_install chromium
