#!/bin/sh
# Install Debian's openssh-server for the test of NNI's remote service, where this user may; without it the test is
# skipped with its reason.  No server is started: the test starts its own, on loopback ports, with keys of its own.
set -eu
. "$(dirname "$0")/as_root.sh"
need_root openssh-server 0
if [ ! -x /usr/sbin/sshd ]; then
    # The package starts a server on port 22 unless it is told not to.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
        trap '$as_root rm -f "$policy"' EXIT
    fi
    apt_install openssh-server
fi
$as_root mkdir -p -m 755 /run/sshd
