#!/usr/bin/env python3
"""Make a wheel that needs no compiler where it is installed: ggml and libllama are inside.

    python scripts/build_wheel.py                        # all of it, into dist/
    python scripts/build_wheel.py ggml                   # ggml and libllama into build/dist/prefix
    python scripts/build_wheel.py finish WHEEL FOLDER    # a wheel that was built against them
    python scripts/build_wheel.py check                  # the package installed for this Python does its job

The packages of requirements/wheel.txt must be there; `sh scripts/wheel` sees to that. The parts are
what cibuildwheel runs one by one (pyproject.toml). An interrupted run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from bundle import check, finish, ggml


def build() -> Path:
    """The wheel as scikit-build-core makes it, against the prefix."""
    folder = ggml.WORK / "built"
    shutil.rmtree(folder, ignore_errors=True)
    ggml.run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder,
        "--config-settings", "cmake.define.GA_BUNDLE=ON",  # in long, for pip before 23.1
        "--config-settings", f"build-dir={ggml.WORK / 'engine'}", ggml.ROOT,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


def main(arguments: list[str] | None = None) -> int:
    """Run the part that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parts = parser.add_subparsers(dest="part")
    parts.add_parser("ggml")
    finishing = parts.add_parser("finish")
    finishing.add_argument("wheel", type=Path)
    finishing.add_argument("folder", type=Path)
    parts.add_parser("check")
    options = parser.parse_args(arguments)
    if options.part == "check":
        return check.check()
    if options.part == "finish":
        finish.finish(options.wheel, options.folder)
        return 0
    ggml.WORK.mkdir(parents=True, exist_ok=True)
    ggml.make_prefix()
    if options.part is None:
        finish.finish(build(), ggml.ROOT / "dist")
    return 0


if __name__ == "__main__":
    sys.exit(main())
