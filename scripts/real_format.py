#!/usr/bin/env python3
"""Model files in real format: the released vocabulary, Google's chat templates, llama.cpp's own converter.

    python scripts/real_format.py vocabulary             # prints the path of a GGUF with 262,144 tokens
    python scripts/real_format.py templates              # prints the paths of Google's chat templates
    python scripts/real_format.py make e2b --out DIR     # a small random checkpoint, converted (needs torch)

All of it comes from the source distribution of llama-cpp-python that the project is pinned to: pip downloads
it once (77 MB) and checks its hash; what is needed stays in the user's cache. `make` writes DIR/checkpoint
and, for each --type, DIR/e2b-TYPE.gguf and DIR/mmproj-e2b-TYPE.gguf as llama.cpp's converter writes them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from real_files.source import SourceError, fetch

CONVERTED = ("f32", "f16", "bf16", "q8_0")


def make(size: str, types: list[str], out: Path) -> None:
    """A checkpoint and its conversions. Raises SourceError."""
    from real_files import checkpoints, convert

    source = fetch()
    folder = out / "checkpoint"
    checkpoints.make(size, source, folder)
    for kind in types:
        for path in convert.pair(source, folder, out, f"{size}-{kind}", kind):
            print(path)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("vocabulary", help="print the path of a file with the released vocabulary")
    what.add_parser("templates", help="print the paths of Google's chat templates")
    files = what.add_parser("make", help="make a small random checkpoint and convert it")
    files.add_argument("size", choices=("e2b", "12b"))
    files.add_argument("--type", action="append", choices=CONVERTED, help="default: bf16; repeat for more")
    files.add_argument("--out", type=Path, required=True, help="directory for the files")
    args = parser.parse_args(argv)
    try:
        if args.what == "make":
            make(args.size, args.type or ["bf16"], args.out)
        elif args.what == "vocabulary":
            print(fetch().vocabulary)
        else:
            print(*fetch().template_files(), sep="\n")
    except SourceError as error:
        print(f"real_format: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
