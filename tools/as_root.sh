# Sourced by the install scripts: `need_root PACKAGE CODE` sets as_root to what runs a command as root here; where this
# user may not install the package it says so and exits with CODE.
need_root() {
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        echo "$1 is not installed and this user may not install it: run 'apt-get install $1'" >&2
        exit "$2"
    fi
    command -v apt-get >/dev/null || { echo "$1 is not installed and there is no apt-get" >&2; exit "$2"; }
}

apt_install() {
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}
