"""`gemma-audio` and `python -m gemma_audio_cli`."""

from __future__ import annotations

import os

try:
    from gemma_audio_cli import interrupts

    interrupts.install()
except KeyboardInterrupt:  # in these few milliseconds
    os.write(2, b"gemma-audio: interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        code = _run()
    except KeyboardInterrupt:
        interrupts.end()
    interrupts.leave(code)


def _run() -> int:
    """As `cli.run`, and with one line where the system does not give what the program needs to run at all."""
    from gemma_audio_cli import limits

    # numpy's OpenBLAS would start a thread a core, each with memory of its own, for products nobody asks for.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    line = limits.too_small()
    if line is None:
        try:
            from gemma_audio_cli.cli import run

            return run()
        except Exception as error:
            line = limits.describe(error)
            if line is None:
                raise
    os.write(2, f"gemma-audio: error: {line}\n".encode())
    return limits.EXIT_CODE


if __name__ == "__main__":
    main()
