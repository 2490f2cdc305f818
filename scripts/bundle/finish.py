"""From the wheel that the build makes to the one that people install.

    wheel ──► without the requirement that is inside it ──► checked and completed by the platform's own tool

auditwheel (Linux) says which systems it runs on and takes libgomp in; delocate and delvewheel do the like on
macOS and Windows.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from bundle.ggml import WORK, run

INSIDE = "llama-cpp-python"


def finish(wheel: Path, folder: Path) -> None:
    """Put the finished wheel into the folder."""
    ready = without_requirement(wheel, INSIDE, WORK / "ready")
    folder.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        # Our libraries are no extension modules, which is all it looks at by itself, and need each other.
        run("delvewheel", "repair", "--analyze-existing", "--ignore-existing", "-w", folder, ready)
    elif sys.platform == "darwin":
        run("delocate-wheel", "-v", "-w", folder, ready)
    else:
        run(sys.executable, "-m", "auditwheel", "show", ready)
        run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", folder, ready)


def without_requirement(wheel: Path, name: str, folder: Path) -> Path:
    """A copy of the wheel that does not ask for the package; hashes and sizes are written anew."""
    shutil.rmtree(folder, ignore_errors=True)
    unpacked = folder / "unpacked"
    unpacked.mkdir(parents=True)
    _wheel("unpack", wheel, "--dest", unpacked)
    (tree,) = unpacked.iterdir()
    (metadata,) = tree.glob("*.dist-info/METADATA")
    text = metadata.read_bytes().decode("utf-8")
    metadata.write_bytes(drop_requirement(text, name).encode("utf-8"))
    _wheel("pack", tree, "--dest-dir", folder)
    shutil.rmtree(unpacked)
    (packed,) = folder.glob("*.whl")
    return packed


def drop_requirement(metadata: str, name: str) -> str:
    """METADATA without the line that asks for the package. It must be there, once."""
    header, gap, body = metadata.partition("\n\n")
    wanted = re.compile(rf"Requires-Dist:\s*{re.escape(name)}(?![\w.-])", re.I)
    lines = header.split("\n")
    kept = [line for line in lines if not wanted.match(line.replace("_", "-"))]
    if len(lines) - len(kept) != 1:
        raise SystemExit(f"the wheel asks for {name} {len(lines) - len(kept)} times; once was expected")
    return "\n".join(kept) + gap + body


def _wheel(*words: str | Path) -> None:
    command = [sys.executable, "-m", "wheel", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
