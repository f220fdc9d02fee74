#!/bin/sh
# Install Debian's openssh-server for the test of NNI's remote service, where this user may; say what is missing where
# not.  No server is started: the test starts its own, on loopback ports, with keys of its own.
set -eu
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "openssh-server is not installed and this user may not install it: run 'apt-get install openssh-server'" >&2
    exit 0
fi
if [ ! -x /usr/sbin/sshd ]; then
    command -v apt-get >/dev/null || { echo "openssh-server is not installed and there is no apt-get" >&2; exit 0; }
    $as_root apt-get update -qq
    # The package starts a server on port 22 unless it is told not to.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
        trap '$as_root rm -f "$policy"' EXIT
    fi
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends openssh-server >/dev/null
fi
$as_root mkdir -p -m 755 /run/sshd
