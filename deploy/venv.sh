# Sourced by deploy/quickstart and tests/check: makes .venv and installs this checkout into it.
# shellcheck shell=bash

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# Runs a command as root; can_be_root says whether that works without a question.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
can_be_root() { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }

# Installs Debian packages, or says the line to type. On a machine without apt-get it says what is missing.
install_packages() {
    if ! command -v apt-get >/dev/null; then
        die "install these with your system's packages (Debian's names): $*"
    fi
    can_be_root || die "type this, then run me again:  sudo apt-get install $*"
    say "installing $*"
    as_root apt-get update -qq </dev/null >&2 || say "apt-get update failed; trying with the lists that are here"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
        -o Dpkg::Use-Pty=0 --no-upgrade --no-install-recommends "$@" </dev/null >&2 ||
        die "apt-get could not install: $*"
}

recent_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints the first Python of 3.11 or later.
find_python() {
    local name
    for name in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if recent_python "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# Debian ships `venv` without the pip that goes in: the package python3.X-venv holds it.
make_venv() {
    local python
    if ! python=$(find_python); then
        install_packages python3 python3-venv
        python=$(find_python) || die "needs Python 3.11 or later; this is $(python3 --version 2>&1)"
    fi
    rm -rf .venv
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if "$python" -m virtualenv --version >/dev/null 2>&1; then
            "$python" -m virtualenv -q .venv && return
        fi
        install_packages "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    "$python" -m venv .venv || die "could not make .venv with $python"
}

# Whether there is a C compiler with the headers of .venv's Python, installing Debian's where that works.
find_compiler() {
    local headers
    headers=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
    if command -v "${CC:-cc}" >/dev/null && [ -f "$headers/Python.h" ]; then return; fi
    command -v apt-get >/dev/null && can_be_root || return 1
    install_packages gcc libc6-dev "$(.venv/bin/python -c 'import sys; print("libpython%d.%d-dev" % sys.version_info[:2])')"
    [ -f "$headers/Python.h" ]
}

# install_checkout EXTRA: .venv holds this checkout (editable) and what it needs. Quick when nothing changed.
install_checkout() {
    local stamp=".venv/installed-$1" stamps wanted
    stamps=("$stamp")
    [ "$1" != demo ] || stamps+=(.venv/installed-test)    # the tests run the demo, too
    # A moved checkout breaks the scripts of a venv, so its place is part of what was installed.
    wanted="$PWD $(cksum <pyproject.toml)"
    if recent_python .venv/bin/python && grep -qsxF "$wanted" "${stamps[@]}"; then
        return
    fi
    if ! recent_python .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1 ||
        [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)')" != "$PWD/.venv" ]; then
        make_venv
    fi
    say "installing the gateway and what its $1 needs into .venv"
    .venv/bin/python -m pip install -q --disable-pip-version-check -e ".[$1]" >&2 ||
        die "pip could not install; see its message above"
    printf '%s\n' "$wanted" >"$stamp"
}

# Builds the request path as machine code beside the checkout's install, unless that is done for these sources, and puts
# it ahead of the checkout for every Python started from here.
use_compiled() {
    local made=.venv/compiled wanted
    wanted=$(find gateway deploy/compile.py pyproject.toml -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 cksum | cksum)
    if [ "$(cat "$made/stamp" 2>/dev/null)" != "$wanted" ]; then
        say "compiling (half a minute on one core)"
        rm -rf "$made"
        HATCH_BUILD_HOOK_ENABLE_MYPYC=1 .venv/bin/python -m pip wheel -q --disable-pip-version-check --no-deps \
            -w "$made/wheel" . >&2 || die "the compiled build failed; see the message above"
        .venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-index \
            --target "$made/package" "$made"/wheel/*.whl >&2 || die "pip could not install the compiled build"
        printf '%s\n' "$wanted" >"$made/stamp"
    fi
    # The safe path keeps the current directory, which may be the checkout, from going first.
    export PYTHONPATH=$PWD/$made/package PYTHONSAFEPATH=1
}
