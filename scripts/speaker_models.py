#!/usr/bin/env python3
"""The files for --speakers, made where the hub cannot be reached: for the tests.

python scripts/speaker_models.py            # prints the folder (81 MB to download once; needs torch)
"""

from __future__ import annotations

import sys

from real_files.source import SourceError
from real_files.speakers import fetch


def main() -> int:
    try:
        print(fetch())
    except SourceError as error:
        print(f"speaker_models: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
