#!/bin/sh
# Makes .venv and installs into it: tools/bootstrap.sh demo|dev. Does nothing, quickly, when everything is there.
#
# Takes the newest Python from 3.11 to 3.14 that really makes a virtual environment with pip: pyenv leaves commands that
# only print "command not found", and Debian's own Python may lack ensurepip. PYTHON=/path/to/python chooses another.
set -eu
cd "$(dirname "$0")/.."
minors="14 13 12 11"
venv="$PWD/.venv"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT

demo_files="requirements.txt requirements/snapshots.txt requirements/demo.txt sandbox/pyproject.toml"
dev_files="$demo_files requirements/dev.txt" # what the tests need contains what the demo needs

# Whether the set $1 was installed from the files that follow as they are now.
installed() {
    stamp="$venv/.installed-$1"
    shift
    [ "$(cat "$stamp" 2>/dev/null)" = "$(cat "$@" | cksum)" ]
}

# Whether .venv runs here and its scripts name this folder (a clone may have been moved).
venv_works() {
    "$venv/bin/python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
        grep -qF "$venv/bin/python" "$venv/bin/pip"
}

# Every command of the given names on PATH, then pyenv's versions, one a line.
candidates() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" || true
        return
    fi
    (
        IFS=:
        for folder in $PATH; do
            for name in "python3.$1" python3; do
                [ -x "$folder/$name" ] && echo "$folder/$name"
            done
        done
    ) || true
    for python in "${PYENV_ROOT:-${HOME:-/}/.pyenv}/versions/3.$1".*/bin/python; do
        [ -x "$python" ] && echo "$python"
    done
    return 0
}

# Whether $1 is a finished Python 3.$2 with the parts that we need.
is_python() {
    "$1" -c "import ctypes, ssl, sys, venv
sys.exit(sys.version_info[:2] != (3, $2) or sys.version_info.releaselevel != 'final')" >/dev/null 2>&1
}

make_venv() {
    lacking=""
    for minor in $minors; do
        candidates "$minor" >"$log"
        while IFS= read -r python; do
            is_python "$python" "$minor" || continue
            rm -rf "$venv"
            if "$python" -m venv "$venv" >/dev/null 2>&1 && venv_works; then
                echo "Python: $python ($("$venv/bin/python" -c 'import platform; print(platform.python_version())'))"
                return 0
            fi
            rm -rf "$venv"
            lacking="$lacking
  $python cannot make a virtual environment with pip; on Debian and Ubuntu the package python3.$minor-venv is missing:
    apt install python3.$minor-venv"
        done <"$log"
    done
    echo "No usable Python found: guanwecom needs Python 3.11, 3.12, 3.13 or 3.14 with venv and pip.${lacking:-
  None of these is on the PATH; on Debian and Ubuntu: apt install python3 python3-venv}" >&2
    return 1
}

# Installs the set $1, unless it was installed from the files that follow as they are now.
install() {
    wanted="$1"
    if installed dev $dev_files || installed "$@"; then
        return
    fi
    shift
    echo "Installing requirements/$wanted.txt into .venv (a minute or two the first time)"
    rm -f "$venv"/.installed-*
    # Byte code is made where it is first needed: most of it never is, and making all takes longer than the rest.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes \
        -r "requirements/$wanted.txt"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --config-settings editable_mode=compat --editable sandbox
    cat "$@" | cksum >"$venv/.installed-$wanted"
}

case "${1:-}" in
demo | dev) ;;
*)
    echo "usage: tools/bootstrap.sh demo|dev" >&2
    exit 2
    ;;
esac
venv_works || make_venv
case "$1" in
demo) install demo $demo_files ;;
dev) install dev $dev_files ;;
esac
exec "$venv/bin/python" tools/catalogues.py compile
