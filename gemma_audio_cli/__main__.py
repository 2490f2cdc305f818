"""`gemma-audio` and `python -m gemma_audio_cli`."""

from __future__ import annotations

try:
    from gemma_audio_cli import interrupts

    interrupts.install()
except KeyboardInterrupt:  # in these few milliseconds
    import os

    os.write(2, b"gemma-audio: interrupted\n")
    os._exit(130)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        from gemma_audio_cli.cli import run

        code = run()
    except KeyboardInterrupt:
        interrupts.end()
    interrupts.leave(code)


if __name__ == "__main__":
    main()
