"""`gemma-audio live`: a microphone, or another live stream, becomes text while it is spoken."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gemma_audio_cli.cli.common import Job
from gemma_audio_cli.cli.devices import Microphone, print_devices
from gemma_audio_cli.cli.instruction import Instruction
from gemma_audio_cli.cli.messages import exit_codes
from gemma_audio_cli.cli.options import (
    AnswerShape,
    Input,
    Model,
    Notices,
    Results,
    Threshold,
    option,
    with_groups,
)
from gemma_audio_cli.cli.speakers import SpeakerChoices
from gemma_audio_cli.cli.words import Words
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.output import OutputPlan, Style

EXAMPLES = """Examples:

\b
  gemma-audio live
  gemma-audio live -m gemma-4-E2B-it-Q4_0.gguf --language German --save rede.flac
  gemma-audio live -f srt -o talk.srt
  gemma-audio live --karaoke -f vtt -o talk.vtt
  gemma-audio live --ask "What was asked for?" --push-to-talk
  gemma-audio live --jsonl | jq -r 'select(.type=="final").text'
  ffmpeg -i http://radio.example/stream -f wav - | gemma-audio live -
  gemma-audio live --realtime talk.wav

Words show while they are spoken and may still change; a pause makes them final, and final lines
stay. When standard output is no terminal it gets final lines only. Ctrl-C ends the sound, and
what was said is finished; Ctrl-C again stops at once.
"""


@with_groups
def live(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="A stream instead of the microphone; - is standard input.",
            show_default=False,
        ),
    ] = None,
    microphone: Microphone = Microphone(),
    pause: Annotated[
        float,
        option("--pause", metavar="SECONDS", help="A pause that long ends a line.", show_default=True),
    ] = 0.6,
    push_to_talk: Annotated[
        bool, option("--push-to-talk", help="Hear only between two presses of the space bar.")
    ] = False,
    ask: Annotated[
        str | None,
        option("--ask", metavar="QUESTION", help="Answer this about each utterance instead."),
    ] = None,
    shape: AnswerShape = AnswerShape(),
    save: Annotated[
        str | None, option("--save", metavar="FILE", help="Keep what is heard: .flac, .wav or .ogg.")
    ] = None,
    overwrite: Annotated[bool, option("--overwrite", help="Replace files that are there.")] = False,
    realtime: Annotated[bool, option("--realtime", help="Replay FILE at speaking pace.")] = False,
    results: Results = Results(),
    words: Words = Words(),
    who: SpeakerChoices = SpeakerChoices(),
    instruction: Instruction = Instruction(),
    input: Input = Input(),
    threshold: Threshold = Threshold(),
    window: Annotated[
        float | None,
        option("--window", metavar="SECONDS", panel="Finding speech", help="Longest utterance; default: 30."),
    ] = None,
    model: Model = Model(),
    notices: Notices = Notices(),
) -> None:
    """Turn speech into text while it is spoken."""
    with exit_codes():
        if microphone.list_devices:
            print_devices()
            return
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.audio.capture.recorder import check_output
        from gemma_audio_cli.audio.capture.speech_queue import SpeechQueue
        from gemma_audio_cli.audio.capture.stream import open_live
        from gemma_audio_cli.cli.live_session import LiveSession, Shown
        from gemma_audio_cli.filenames import identity
        from gemma_audio_cli.pipeline.live import LiveOptions
        from gemma_audio_cli.sound import SAMPLE_RATE

        made = shape.made()
        if made is not None and ask is None:
            raise UsageError("--schema, --choices and --grammar are for answers; add --ask QUESTION")
        if realtime and source is None:
            raise UsageError("--realtime replays a file; name it")
        source = local_path(source) if source else source
        model, old = _old_device(model)
        job = Job(model, notices)
        job.about([source] if source else [])
        options = LiveOptions(
            instruction.options(job.settings, ask),
            answer=ask is not None,
            shape=made,
            pause=pause,
            window=window,
            threshold=threshold.value(job.settings),
            speakers=who.options(job.settings),
        )
        shown = Shown(Path(save) if save else None, overwrite, push_to_talk, show=not notices.quiet)
        files = job.recognizer.files
        if shown.save is not None:
            if identity(shown.save) in [*map(identity, files), *([identity(source)] if source else [])]:
                raise UsageError(f"{shown.save}: this file is in use here; choose another for --save")
            check_output(shown.save, SAMPLE_RATE, overwrite=overwrite)
        in_use = [*files, *([shown.save] if shown.save else [])]
        style = words.style(
            timestamps=results.timestamps, translated=instruction.translate_to is not None, live=True
        )
        plan = _plan(source, results, in_use, style, overwrite=overwrite)
        # Of answers a table of words is empty; `-f all` is no mistake.
        options = replace(
            options, word_times=words.timed(plan.formats if ask is None else ()), aligner=words.found_by
        )
        queue = SpeechQueue()
        try:
            opened = open_live(
                source,
                device=microphone.named(job.settings, job.notice, old),
                options=input.options(),
                notice=job.notice,
                realtime=realtime,
                waiting=lambda: queue.seconds,
            )
            LiveSession(job, opened, queue, plan, options, shown).run()
        finally:
            queue.dispose()
            job.close()
        job.end()


def _old_device(model: Model) -> tuple[Model, str | None]:
    """`--device` named the microphone once: what is no device of ggml's is taken for one."""
    from gemma_audio_cli.backends.choose import choose
    from gemma_audio_cli.engine._binding import use_library
    from gemma_audio_cli.engine.devices import devices

    if model.device is None:
        return model, None
    use_library(choose(model.backend, None).library)
    if model.device in [device.name for device in devices()]:
        return model, None
    return replace(model, device=None), model.device


def _plan(
    source: str | None, results: Results, in_use: list[Path], style: Style, *, overwrite: bool
) -> OutputPlan:
    """Where results go. A stream cannot be heard again, so what is there is not written over unasked."""
    from gemma_audio_cli.output import OutputPlan

    name = source if source not in (None, "-") else f"live-{datetime.datetime.now():%Y-%m-%d-%H%M%S}"
    plan = OutputPlan([str(name)], results.output, results.kinds, style=style, in_use=in_use)
    for item in plan.items:
        for path in item.paths:
            if path.is_file() and not overwrite:
                raise UsageError(f"{path}: is there already; choose another place, or --overwrite")
    plan.prepare()
    return plan
