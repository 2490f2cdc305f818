# The daily commands. `just` lists them; every one can be typed without just, as shown.

set positional-arguments

export OMP_WAIT_POLICY := "passive"
export GGML_NO_BACKTRACE := "1"

# List the recipes
[private]
default:
    @just --list --unsorted

# Set up .venv with all that the tests need; builds the engine
setup:
    #!/bin/sh
    set -eu
    . scripts/environment.sh
    prepare test

# Run some tests: just test tests/cli/test_docs.py -k links
test *arguments:
    .venv/bin/python -m pytest "$@"

# Check style, types, import contracts and C++ formatting
lint:
    .venv/bin/ruff check .
    .venv/bin/mypy
    .venv/bin/lint-imports --no-cache
    find native -name '*.cpp' -o -name '*.h' | xargs .venv/bin/clang-format --dry-run --Werror

# Repair what can be repaired: lint findings, C++ formatting
fix:
    .venv/bin/ruff check --fix .
    find native -name '*.cpp' -o -name '*.h' | xargs .venv/bin/clang-format -i

# Write the manual page after a change of commands, options or help
man:
    .venv/bin/python scripts/make_man_page.py

# Run all checks and tests, as CI does first
suite *arguments:
    sh scripts/test "$@"

# Run the tests that take long and seldom fail
slow *arguments:
    sh scripts/test --slow "$@"

# Compare with transformers and llama.cpp, live; installs torch
parity *arguments:
    sh scripts/test --parity "$@"

# Transcribe the bundled recording with the demo model
demo:
    sh scripts/demo

# Build a wheel that needs no compiler, into dist/
wheel:
    sh scripts/wheel
