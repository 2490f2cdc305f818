# Sourced by scripts/demo and scripts/test: the project's own environment in .venv, with the package built and installed.
#
#   prepare          the package itself
#   prepare test     and what the tests need
#   prepare parity   and what the comparisons with transformers need
#
# Editable: Python code is used where it lies. Packages are those of requirements/*.txt, checked by their hashes. What was
# installed, and on which processor llama.cpp was proved to run, is remembered in .venv/installed; the work is done again
# when pyproject.toml, requirements, the native sources or the Python changed, the proof when the processor did.

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
files += sorted(pathlib.Path("requirements").glob("*.txt"))
files += sorted(p for folder in ("src", "include") for p in pathlib.Path("native", folder).rglob("*") if p.is_file())
for path in files:
    digest.update(path.as_posix().encode() + b"\0" + path.read_bytes())
print(digest.hexdigest()[:32])
PY
}

rank() {
    case "$1" in parity) echo 3 ;; test) echo 2 ;; base) echo 1 ;; *) echo 0 ;; esac
}

# pip with the environment's own tools before others, in which packages of FILE... (requirements/FILE.txt) are installed.
pinned() {
    files=""
    for file in "$@"; do files="$files -r requirements/$file.txt"; done
    # shellcheck disable=SC2086 - several words
    quietly "$python" -m pip install --require-hashes --no-deps $files
}

# llama.cpp from its sources, for this processor. pip keeps the wheel by its name, whatever it was built with and for
# which processor: `prove` tells whether one from its cache will do.
install_llama() {
    amx=$("$python" gemma_audio_cli/backends/amx.py)
    say "ggml and AMX: $(printf '%s\n' "$amx" | sed -n 1p)"
    quietly env PATH="$PWD/.venv/bin:$PATH" CMAKE_ARGS="$(printf '%s\n' "$amx" | sed -n 2p)" \
        "$python" -m pip install --require-hashes --no-deps --no-build-isolation "$@" -r requirements/llama.txt
}

# Multiplies with every kind of product that the installed ggml has; a crash is a no.
proved() {
    GGML_NO_BACKTRACE=1 OMP_WAIT_POLICY=passive "$python" scripts/prove_ggml.py >build/proof.txt 2>build/proof.log
}

prove() {
    code=0
    (proved) 2>/dev/null || code=$?
    if [ $code -ne 0 ]; then
        say "the installed llama.cpp does not run right on this processor (exit code $code): building it anew, without pip's cache"
        install_llama --no-cache-dir --force-reinstall
        (proved) 2>/dev/null || fail "llama.cpp as built here does not run on this processor (build/proof.txt, build/proof.log);
    try a plain build: rm -r .venv; CMAKE_ARGS=-DGGML_NATIVE=OFF sh $0"
    fi
    say "llama.cpp runs on this processor: $(cat build/proof.txt)"
}

# The line of .venv/installed is "FINGERPRINT LEVEL PROCESSOR"; a level has all that the ones below it have.
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
    processor=$("$python" gemma_audio_cli/backends/amx.py --processor)
    have_print="" have_level="" have_processor=""
    if [ -f .venv/installed ]; then read -r have_print have_level have_processor <.venv/installed; fi
    if [ "$print" = "$have_print" ]; then
        if [ "$(rank "$have_level")" -ge "$(rank "$level")" ]; then
            if [ "$processor" = "$have_processor" ]; then return; fi
            say "this environment was made on another processor"
            level=$have_level
        fi
    elif [ "$(rank "$have_level")" -gt "$(rank "$level")" ]; then
        level=$have_level
    fi
    rm -f .venv/installed

    say "installing what the build needs, and what the program needs"
    pinned build
    case "$level" in
    base) tests=OFF && pinned base ;;
    test) tests=ON && pinned test ;;
    parity) tests=ON && pinned test parity ;;
    esac
    if [ "$level" = parity ]; then
        say "installing torch (its CPU build, where pip finds one)"
        "$python" -m pip install "torch==2.13.0+cpu" >build/setup.log 2>&1 || quietly "$python" -m pip install "torch==2.13.0"
    fi
    llama=$(sed -n 's/^\(llama-cpp-python==[0-9.]*\).*/\1/p' requirements/llama.txt)
    if ! "$python" -c "import importlib.metadata as m; assert '$llama' == 'llama-cpp-python==' + m.version('llama-cpp-python')" 2>/dev/null; then
        say "installing $llama: it builds ggml and libllama, which takes some ten minutes the first time"
        install_llama
    fi
    prove
    say "building libgemma_audio and installing gemma-audio"
    # The build folder build/wheel stays; at the levels of the tests the C++ tests are built in it too.
    PATH="$PWD/.venv/bin:$PATH" quietly "$python" -m pip install --no-deps --no-build-isolation \
        --config-settings cmake.define.GA_BUILD_TESTS="$tests" -e .
    echo "$print $level $processor" >.venv/installed
}
