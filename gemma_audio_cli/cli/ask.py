"""`gemma-audio ask "QUESTION" FILE...`: a question about recordings."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gemma_audio_cli.cli.common import Job
from gemma_audio_cli.cli.messages import exit_codes
from gemma_audio_cli.cli.options import (
    Files,
    Input,
    Model,
    Notices,
    Part,
    Speech,
    Threshold,
    option,
    with_groups,
)

EXAMPLES = """Examples:

\b
  gemma-audio ask "How many digits are spoken?" digits.wav
  gemma-audio ask -m gemma-4-E2B-it-Q4_0.gguf "Who agreed to send the draft?" call.wav
  gemma-audio ask "Is anybody angry?" calls/*.ogg
  gemma-audio ask --no-vad "Which instruments are played?" song.flac
  gemma-audio ask --start 12:30 --end 13:00 "What is decided?" meeting.m4a

The answer is printed as it is decoded. Several files are asked one after the other,
and every line begins with "FILE: ". Where nobody speaks nothing is answered, for a model that
hears nothing invents things; --no-vad asks about music and other sounds.
"""


@with_groups
def ask(
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="What to ask, or tell, the model.", show_default=False)
    ],
    files: Files,
    max_tokens: Annotated[
        int, option("--max-tokens", min=1, help="Longest answer, in tokens.", show_default=True)
    ] = 512,
    part: Part = Part(),
    input: Input = Input(),
    speech: Speech = Speech(),
    threshold: Threshold = Threshold(),
    model: Model = Model(),
    notices: Notices = Notices(),
) -> None:
    """Answer a question about recordings."""
    with exit_codes():
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.decoding.options import DecodeOptions
        from gemma_audio_cli.output import TextWriter
        from gemma_audio_cli.pipeline.ask import ask as ask_all
        from gemma_audio_cli.pipeline.events import AnswerDone, RecordingDone, RecordingStarted
        from gemma_audio_cli.pipeline.options import AskOptions

        job = Job(model, notices)
        options = AskOptions(
            input.options(part), speech.options(threshold, job.settings), DecodeOptions(max_tokens=max_tokens)
        )
        recordings = list(map(local_path, files))
        writer = TextWriter(sys.stdout, with_names=len(recordings) > 1)
        try:
            for event in ask_all(job.recognizer, question, recordings, options):
                name = event.recording.file
                if isinstance(event, RecordingStarted):
                    writer.begin(event.recording)
                elif isinstance(event, AnswerDone):
                    writer.end()
                    if not event.answer.text:
                        job.notice(f"{name}: the model gave no answer")
                    if not event.answer.complete:
                        job.notice(
                            f"{name}: the answer was cut at {max_tokens} tokens; allow more with --max-tokens"
                        )
                elif isinstance(event, RecordingDone):
                    writer.end()
                    if event.error is not None:
                        job.fail(name, event.error)
                    elif not event.heard:
                        hint = "; --no-vad asks about other sounds" if options.cut.vad else ""
                        job.notice(f"{name}: no speech was heard{hint}")
                else:
                    writer.delta(event.text)
        finally:
            writer.end()
            job.close()
        job.end()
