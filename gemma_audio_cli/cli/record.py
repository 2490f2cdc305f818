"""`gemma-audio record OUT`: a microphone into a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gemma_audio_cli.cli.devices import Microphone, print_devices
from gemma_audio_cli.cli.messages import exit_codes, say
from gemma_audio_cli.cli.options import Quiet, check_positive, option, with_groups
from gemma_audio_cli.cli.signals import until_signal
from gemma_audio_cli.errors import Notice, UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.audio.capture import microphone as capture
    from gemma_audio_cli.audio.capture.recorder import Recorder

EXAMPLES = """Examples:

\b
  gemma-audio record meeting.flac
  gemma-audio record --seconds 30 sample.wav
  gemma-audio record --silence 3 note.ogg && gemma-audio transcribe note.ogg
  gemma-audio record --microphone usb --rate 48000 interview.flac
  gemma-audio record --list-devices

Ctrl-C ends the recording; so do --seconds and --silence. The name's end says what is written:
.wav, .flac or .ogg, mono. A program that is killed, a full disk or a microphone that is
unplugged costs nothing of what was recorded before.
"""


@with_groups
def record(
    out: Annotated[
        str | None,
        typer.Argument(metavar="OUT", help="The file to write: .wav, .flac or .ogg.", show_default=False),
    ] = None,
    microphone: Microphone = Microphone(),
    device: Annotated[str | None, option("--device", help="As --microphone.", hidden=True)] = None,
    seconds: Annotated[
        float | None, option("--seconds", metavar="SECONDS", help="Stop after so much sound.")
    ] = None,
    silence: Annotated[
        float | None,
        option(
            "--silence",
            metavar="SECONDS",
            help="Stop after so long without speech, once someone has spoken.",
        ),
    ] = None,
    rate: Annotated[
        int, option("--rate", help="Samples a second; 48000 for recordings to keep.", show_default=True)
    ] = 16_000,
    overwrite: Annotated[bool, option("--overwrite", help="Replace a file that is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Record a microphone into a file."""
    with exit_codes():
        if microphone.list_devices:
            print_devices()
            return
        if out is None:
            raise UsageError("name the file to write, for instance: gemma-audio record talk.flac")
        check_positive("--seconds", seconds)
        check_positive("--silence", silence)

        from gemma_audio_cli import config

        def notice(text: str) -> None:
            if not quiet:
                say(text)

        named = microphone.named(config.load(), notice, device)
        _record(out, named, seconds, silence, rate, notice, overwrite=overwrite, quiet=quiet)


def _record(
    out: str,
    device: str | None,
    seconds: float | None,
    silence: float | None,
    rate: int,
    notice: Notice,
    *,
    overwrite: bool,
    quiet: bool,
) -> None:
    from gemma_audio_cli.audio.capture.microphone import Microphone
    from gemma_audio_cli.audio.capture.recorder import Recorder, check_output

    # A missing microphone leaves no empty file, and a file that is there is reported before it listens.
    check_output(out, rate, overwrite=overwrite)
    with (
        Microphone(device, rate, notice=notice) as microphone,
        until_signal(microphone.stop),
        Recorder(out, rate, overwrite=overwrite) as recorder,
    ):
        _listen(microphone, recorder, seconds, silence, notice, metered=not quiet)
    notice(f"{out}: {recorder.seconds:.1f} s")


def _listen(
    microphone: capture.Microphone,
    recorder: Recorder,
    seconds: float | None,
    silence: float | None,
    notice: Notice,
    *,
    metered: bool,
) -> None:
    """Everything the microphone hears into the recorder, until one of the ends."""
    from gemma_audio_cli.audio.segment.end_of_speech import EndOfSpeech
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
