# Sourced by the commands of this folder: makes .venv hold what they need. Nothing outside the
# checkout is written, and nothing is done again that is already done.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
python="$root/.venv/bin/python"

fail() { printf '%s\n' "$*" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "tersor needs Python 3.11 or newer on the PATH; found: $(python3 --version 2>&1 || true)"
}

# need NAME PIP-ARGUMENTS...: run pip once for each content of pyproject.toml and these arguments.
need() {
    local name=$1 stamp
    shift
    if [ ! -x "$python" ]; then
        echo "Creating .venv ..."
        "$(find_python)" -m venv .venv ||
            fail "python3 -m venv failed: install your system's venv package (Debian: python3-venv)"
    fi
    stamp=$(cat pyproject.toml - <<<"$*" | cksum)
    if [ "$(cat ".venv/.tersor-$name" 2>/dev/null)" != "$stamp" ]; then
        echo "Installing $name into .venv ..."
        "$python" -m pip install --disable-pip-version-check "$@" ||
            fail "pip could not install $name: is a package index reachable?"
        echo "$stamp" >".venv/.tersor-$name"
    fi
}
