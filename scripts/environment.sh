# Sourced by scripts/demo and scripts/test: the project's own environment in .venv, with the package built and installed.
#
#   prepare          the package itself
#   prepare test     and what the tests need
#   prepare parity   and what the comparisons with transformers need
#
# Editable: Python code is used where it lies. What was installed is remembered in .venv/installed; the work is done again
# when pyproject.toml, the native sources or the Python changed, and takes seconds otherwise.

say() {
    printf '==> %s\n' "$*"
}

fail() {
    printf '==> %s\n' "$*" >&2
    exit 1
}

# A Python of 3.10 or later: $PYTHON, the usual one, or a numbered one.
find_python() {
    for candidate in ${PYTHON:-} python3 python python3.13 python3.12 python3.11 python3.10; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.10 or later is needed; install it, or name one: PYTHON=/path/to/python sh $0"
}

# Runs a command with its output in build/setup.log, shown where it fails.
quietly() {
    if ! "$@" >build/setup.log 2>&1; then
        tail -n 60 build/setup.log >&2
        fail "failed: $* (all of it: build/setup.log)"
    fi
}

# What an installation is made from, as one word.
fingerprint() {
    "$python" - <<'PY'
import hashlib
import pathlib
import sys

digest = hashlib.sha256(sys.version.encode())
files = [pathlib.Path("pyproject.toml"), pathlib.Path("gemma_audio_cli/engine/_cdef.py"), pathlib.Path("native/CMakeLists.txt")]
files += sorted(p for folder in ("src", "include") for p in pathlib.Path("native", folder).iterdir())
for path in files:
    digest.update(path.as_posix().encode() + b"\0" + path.read_bytes())
print(digest.hexdigest()[:32])
PY
}

rank() {
    case "$1" in parity) echo 3 ;; test) echo 2 ;; base) echo 1 ;; *) echo 0 ;; esac
}

# The line of .venv/installed is "FINGERPRINT LEVEL"; a level has all that the ones below it have.
prepare() {
    level=${1:-base}
    mkdir -p build
    if [ ! -x .venv/bin/python ]; then
        say "making an environment in .venv"
        base_python=$(find_python)
        quietly "$base_python" -m venv .venv
    fi
    python=.venv/bin/python
    print=$(fingerprint)
    have_print="" have_level=""
    if [ -f .venv/installed ]; then read -r have_print have_level <.venv/installed; fi
    if [ "$print" = "$have_print" ]; then
        if [ "$(rank "$have_level")" -ge "$(rank "$level")" ]; then return; fi
    elif [ "$(rank "$have_level")" -gt "$(rank "$level")" ]; then
        level=$have_level
    fi
    rm -f .venv/installed

    llama=$(sed -n 's/^requires.*"\(llama-cpp-python==[0-9.]*\)".*/\1/p' pyproject.toml)
    if ! "$python" -c "import importlib.metadata as m; assert '$llama' == 'llama-cpp-python==' + m.version('llama-cpp-python')" 2>/dev/null; then
        say "installing $llama: it builds ggml and libllama, which takes some ten minutes the first time"
        quietly "$python" -m pip install "$llama"
    fi
    say "installing what the build needs"
    quietly "$python" -m pip install "scikit-build-core>=0.11" "cffi>=1.17" "cmake>=3.21" ninja
    if [ "$level" = parity ]; then
        say "installing torch (its CPU build, where pip finds one) and transformers"
        "$python" -m pip install "torch==2.13.0+cpu" >build/setup.log 2>&1 || quietly "$python" -m pip install "torch==2.13.0"
    fi
    say "building libgemma_audio and installing gemma-audio"
    # The build folder build/wheel stays; at the levels of the tests the C++ tests are built in it too.
    case "$level" in
    base) what=. tests=OFF ;;
    test) what=".[test]" tests=ON ;;
    parity) what=".[test,parity]" tests=ON ;;
    esac
    PATH="$PWD/.venv/bin:$PATH" quietly "$python" -m pip install --no-build-isolation \
        --config-settings cmake.define.GA_BUILD_TESTS="$tests" -e "$what"
    echo "$print $level" >.venv/installed
}
