"""`gemma-audio record OUT`: a microphone into a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from gemma_audio_cli.cli.common import QUIET, no_default
from gemma_audio_cli.cli.devices import DEVICE, LIST_DEVICES, print_devices
from gemma_audio_cli.cli.signals import until_signal
from gemma_audio_cli.cli.telling import exit_codes, say
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.audio.microphone import Microphone
    from gemma_audio_cli.audio.recorder import Recorder

EXAMPLES = """Examples:

\b
  gemma-audio record meeting.flac
  gemma-audio record --seconds 30 sample.wav
  gemma-audio record --silence 3 note.ogg && gemma-audio transcribe note.ogg
  gemma-audio record --device usb --rate 48000 interview.flac
  gemma-audio record --list-devices

Ctrl-C ends the recording; so do --seconds and --silence. The name's end says what is written:
.wav, .flac or .ogg, mono. A program that is killed, a full disk or a microphone that is
unplugged costs nothing of what was recorded before.
"""


def record(
    out: str = typer.Argument(None, metavar="OUT", help="The file to write: .wav, .flac or .ogg."),
    device: str = DEVICE,
    list_devices: bool = LIST_DEVICES,
    seconds: float = no_default("--seconds", metavar="SECONDS", help="Stop after so much sound."),
    silence: float = no_default(
        "--silence", metavar="SECONDS", help="Stop after so long without speech, once someone has spoken."
    ),
    rate: int = typer.Option(16_000, "--rate", help="Samples a second; 48000 for recordings to keep."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a file that is there."),
    quiet: bool = QUIET,
) -> None:
    """Record a microphone into a file."""
    with exit_codes():
        if list_devices:
            print_devices()
            return
        if out is None:
            raise UsageError("name the file to write, for instance: gemma-audio record talk.flac")
        for name, value in (("--seconds", seconds), ("--silence", silence)):
            if value is not None and not 0 < value < 1e9:
                raise UsageError(f"{name} must be more than 0 seconds, not {value:g}")
        _record(out, device, seconds, silence, rate, overwrite=overwrite, quiet=quiet)


def _record(
    out: str,
    device: str | None,
    seconds: float | None,
    silence: float | None,
    rate: int,
    *,
    overwrite: bool,
    quiet: bool,
) -> None:
    from gemma_audio_cli.audio.microphone import Microphone
    from gemma_audio_cli.audio.recorder import Recorder, check_output

    def notice(text: str) -> None:
        if not quiet:
            say(text)

    # A missing microphone leaves no empty file, and a file that is there is told of before it listens.
    check_output(out, rate, overwrite=overwrite)
    with (
        Microphone(device, rate, notice=notice) as microphone,
        until_signal(microphone.stop),
        Recorder(out, rate, overwrite=overwrite) as recorder,
    ):
        _listen(microphone, recorder, seconds, silence, notice, metered=not quiet)
    notice(f"{out}: {recorder.seconds:.1f} s")


def _listen(
    microphone: Microphone,
    recorder: Recorder,
    seconds: float | None,
    silence: float | None,
    notice: Callable[[str], None],
    *,
    metered: bool,
) -> None:
    """Everything the microphone hears into the recorder, until one of the ends."""
    from gemma_audio_cli.audio.silence import EndOfSpeech
    from gemma_audio_cli.output.meter import Level, Meter

    left = None if seconds is None else round(seconds * recorder.rate)
    ear = None if silence is None else EndOfSpeech(silence, recorder.rate)
    level, heard = Level(), False
    with Meter(level, lambda: recorder.seconds, enabled=metered):
        for block in microphone.blocks():
            if not heard:
                # Not before: some devices take seconds to begin.
                notice(f"recording {microphone.name} to {recorder.path}; Ctrl-C ends it")
                heard = True
            block = block if left is None else block[:left]
            level.hear(block)
            recorder.write(block)
            if left is not None:
                left -= len(block)
                if left <= 0:
                    return
            if ear is not None and ear.hear(block):
                return
