# Sourced, not run: `. scripts/setup.sh run` (or dev) makes .venv ready and leaves its Python in
# PYTHON and the repository as the current directory. Everything it says goes to stderr.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONHOME PYTHONPATH # another project's packages have no business here

find_python() { # print the first Python that is new enough and can make environments
    local name bare=""
    for name in ${DEPOLI_PYTHON:-python3.11 python3.12 python3.13 python3.14 python3 python}; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$name" -c 'import ensurepip, ssl, venv' 2>/dev/null; then
            echo "$name"
            return
        fi
        bare=$name
    done
    if [[ -n $bare ]]; then
        echo "setup: $bare lacks the modules venv, ensurepip or ssl:" \
            "install them (on Debian: apt-get install python3-venv) and run this again" >&2
    else
        echo "setup: no Python 3.11 or newer was found: install one," \
            "or name one: DEPOLI_PYTHON=/path/to/python3" >&2
    fi
    return 1
}

make_ready() { # make .venv ready for run or dev; where it is, look no further
    local base
    if [[ -z ${DEPOLI_PYTHON:-} && -x .venv/bin/python ]] &&
        .venv/bin/python -I scripts/setup.py is-ready "$1" 2>/dev/null; then
        return
    fi
    base=$(find_python) && "$base" -I scripts/setup.py "$1" >&2
}

make_ready "${1:-run}" || exit 1
PYTHON=$PWD/.venv/bin/python
