"""The process behind `oracles.apart`: answers jobs from standard input on what was standard output.

A job is a pickled (name, arguments), its answer a pickled (True, value) or (False, message). All that
libraries print goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "scripts")]


class Server:
    """The jobs; one model is open at a time."""

    def __init__(self) -> None:
        self._model: Any = None

    def open(self, text: Path, mmproj: Path | None, options: dict[str, Any]) -> tuple[int, int]:
        from oracles.llamacpp import LlamaCpp

        self._model = LlamaCpp(text, mmproj, **options)
        return self._model.n_vocab, self._model.width

    def ask(self, method: str, *arguments: Any) -> Any:
        return getattr(self._model, method)(*arguments)

    def close(self) -> None:
        self._model.close()
        self._model = None

    def quantise(self, source: Path, target: Path, kind: str) -> dict[str, int]:
        from oracles.quantise import quantise

        return quantise(source, target, kind)

    def quantise_projector(self, source: Path, target: Path, wide: Path, kind: str) -> dict[str, int]:
        from oracles.quantise import quantise_projector

        return quantise_projector(source, target, wide, kind)

    def quantise_tables(self, source: Path, target: Path) -> dict[str, int]:
        from oracles.quantise import quantise_tables

        return quantise_tables(source, target)

    def widen(self, source: Path, target: Path) -> None:
        from oracles.quantise import widen

        widen(source, target)

    def decode(self, path: Path, rows: dict[str, list[int]]) -> Any:
        from oracles.quantise import decode

        return decode(path, rows)

    def crash(self, number: int) -> None:
        """For the test of what happens then."""
        os.kill(os.getpid(), number)


def main() -> None:
    from oracles.apart import OracleError

    jobs, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    server = Server()
    while True:
        try:
            name, arguments = pickle.load(jobs)
        except EOFError:
            return
        try:
            answer = (True, getattr(server, name)(*arguments))
        except OracleError as error:
            answer = (False, str(error))
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
