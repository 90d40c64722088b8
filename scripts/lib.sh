# What the scripts share: looking for what a test needs, installing it where that is allowed, counting what is left out.
# Sourced by bash, from the repository's root.

# Every skip is a line of this file; the tests that cargo runs append to it too (tests/support/skip.rs).
export SKIP_LOG="${SKIP_LOG:-/dev/null}"
export STRICT="${STRICT:-0}"

# A user's PATH often lacks where some of the tools are.
PATH="$PATH:/usr/sbin:/sbin"

title() { printf '\n=== %s\n' "$*"; }

# skip REASON: says loudly what is not tested, and counts it.
skip() {
    printf 'SKIPPED: %s\n' "$*" >&2
    printf '%s\n' "$*" >>"$SKIP_LOG"
}

have() { command -v "$1" >/dev/null 2>&1; }

# may_install: whether packages can be installed here without asking anybody.
may_install() { [ "$(id -u)" = 0 ] && have apt-get; }

# The package lists are read once.
apt_updated=no

# install_packages PACKAGE...: installs them, or returns 1.
install_packages() {
    may_install || return 1
    if [ "$apt_updated" = no ]; then
        DEBIAN_FRONTEND=noninteractive apt-get -q update </dev/null || return 1
        apt_updated=yes
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$@" </dev/null
}

# need COMMAND:PACKAGE...: makes the commands available. Returns 1, having said how to get them, when it cannot.
need() {
    local pair missing=() commands=()
    for pair in "$@"; do
        have "${pair%%:*}" || { commands+=("${pair%%:*}"); missing+=("${pair#*:}"); }
    done
    [ ${#missing[@]} = 0 ] && return 0
    if may_install; then
        install_packages "${missing[@]}" >&2 && hash -r || true
        missing=() commands=()
        for pair in "$@"; do
            have "${pair%%:*}" || { commands+=("${pair%%:*}"); missing+=("${pair#*:}"); }
        done
        [ ${#missing[@]} = 0 ] && return 0
    fi
    echo "missing: ${commands[*]} (Debian: apt-get install ${missing[*]})" >&2
    return 1
}

# links_static: whether a C program can be linked statically, which is what cc and libc6-dev are needed for.
links_static() {
    have cc || return 1
    local out
    out=$(mktemp)
    echo 'int main(void) { return 0; }' | cc -static -x c - -o "$out" 2>/dev/null
    local status=$?
    rm -f "$out"
    return $status
}

# need_toolchain: Rust, and a C compiler with the static C library. Exits when one is missing: nothing works without.
need_toolchain() {
    have cargo || {
        echo "Rust 1.94.1 or newer is needed, and there is no cargo in PATH: see https://rustup.rs" >&2
        exit 1
    }
    links_static && return 0
    install_packages gcc libc6-dev >&2 && links_static && return 0
    echo "A C compiler and the static C library are needed (Debian: apt-get install gcc libc6-dev)" >&2
    exit 1
}

# built_for: the machine that a release build is for.
built_for() { echo "${CARGO_BUILD_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}"; }

# linked_libc TARGET: the C library that is linked statically: Debian's version, which its security notices name; elsewhere
# upstream's.
linked_libc() {
    local package=libc6-dev
    [ "$1" = "$(rustc -vV | sed -n 's/^host: //p')" ] ||
        package="libc6-dev-$(sed 's/^aarch64/arm64/; s/^x86_64/amd64/; s/-.*//' <<<"$1")-cross"
    dpkg-query -W -f '${Version}' "$package" 2>/dev/null || ldd --version | sed -n '1s/.* //p'
}
