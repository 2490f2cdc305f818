"""`gemma-audio transcribe FILE...`: what is said in recordings."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from gemma_audio_cli.cli.common import Job
from gemma_audio_cli.cli.instruction import Instruction
from gemma_audio_cli.cli.messages import exit_codes
from gemma_audio_cli.cli.options import (
    Files,
    Input,
    Model,
    Notices,
    Part,
    Results,
    Speech,
    Threshold,
    option,
    with_groups,
)
from gemma_audio_cli.cli.speakers import SpeakerChoices
from gemma_audio_cli.cli.words import Words
from gemma_audio_cli.errors import UsageError

if TYPE_CHECKING:
    from gemma_audio_cli.decoding.options import DecodeOptions

EXAMPLES = """Examples:

\b
  gemma-audio transcribe talk.wav
  gemma-audio transcribe talks/*.mp3 -f srt -o subs/ --resume
  gemma-audio transcribe --language German -m gemma-4-E2B-it-Q4_0.gguf rede.m4a
  gemma-audio transcribe --start 1:30 --end 2:00 --timestamps film.mkv
  gemma-audio transcribe --word-times -f srt -o subs/ talk.wav
  gemma-audio transcribe --karaoke -f vtt -o song.vtt song.mp3
  gemma-audio transcribe --mark-unsure talk.wav
  gemma-audio transcribe -f html -o talk.html talk.wav
  gemma-audio transcribe --jsonl interview.flac | jq -r 'select(.type=="segment").text'
  ffmpeg -i clip.mkv -f wav - | gemma-audio transcribe - > clip.txt

Text is printed as it is decoded, a line for each stretch of at most 30 s. With several files
every line begins with "FILE: ". Formats: text, srt, vtt, ass, lrc, json, jsonl, tsv,
words, html.
"""


@with_groups
def transcribe(
    files: Files,
    results: Results,
    resume: Annotated[
        bool, option("--resume", panel="Results", help="Skip recordings that are transcribed already.")
    ] = False,
    recursive: Annotated[bool, option("-r", "--recursive", help="Take all recordings in folders.")] = False,
    bilingual: Annotated[
        bool,
        option("--bilingual", panel="Results", help="Subtitles: what was said, then its translation."),
    ] = False,
    words: Words = Words(),
    instruction: Instruction = Instruction(),
    prompt: Annotated[
        str | None,
        option("--prompt", panel="What to write", help="Your own instruction in place of the usual one."),
    ] = None,
    part: Part = Part(),
    input: Input = Input(),
    split_channels: Annotated[
        bool, option("--split-channels", panel="Which part to hear", help="Transcribe each channel apart.")
    ] = False,
    all_tracks: Annotated[
        bool, option("--all-tracks", panel="Which part to hear", help="Transcribe each audio track apart.")
    ] = False,
    who: SpeakerChoices = SpeakerChoices(),
    speech: Speech = Speech(),
    threshold: Threshold = Threshold(),
    window: Annotated[
        float | None,
        option("--window", metavar="SECONDS", panel="Finding speech", help="Longest window; default: 30."),
    ] = None,
    min_pause: Annotated[
        float,
        option(
            "--min-pause",
            panel="Finding speech",
            show_default=True,
            help="Shortest pause between words, in seconds.",
        ),
    ] = 0.12,
    batch: Annotated[
        str,
        option(
            "--batch", metavar="N|auto", panel="Model", help="Windows decoded at once.", show_default=True
        ),
    ] = "auto",
    model: Model = Model(),
    notices: Notices = Notices(),
) -> None:
    """Print what is said in recordings, or write it to files."""
    with exit_codes():
        from gemma_audio_cli.addresses import local_path
        from gemma_audio_cli.audio.read.discover import expand
        from gemma_audio_cli.audio.read.lengths import Lengths
        from gemma_audio_cli.cli.results import Results as Written
        from gemma_audio_cli.output import OutputPlan, Progress
        from gemma_audio_cli.pipeline.options import TranscribeOptions

        if resume and results.output is None:
            raise UsageError("--resume needs -o: standard output keeps nothing to go on from")
        if all_tracks and "-" in files:
            raise UsageError("--all-tracks reads a file once a track; save standard input to a file first")
        job = Job(model, notices)
        named = map(local_path, files)
        inputs = list(expand(named, recursive=recursive, notice=job.notice, failed=job.fail))
        job.about(inputs)
        plan = OutputPlan(
            inputs,
            results.output,
            results.kinds,
            in_use=job.recognizer.files,
            style=words.style(
                timestamps=results.timestamps,
                translated=instruction.translate_to is not None,
                bilingual=bilingual,
            ),
        )
        plan.prepare()
        options = TranscribeOptions(
            instruction.options(job.settings, prompt),
            input.options(part, split=split_channels),
            speech.options(threshold, job.settings, window=window, min_pause=min_pause),
            decode=replace(_decode(batch), word_times=words.timed(plan.formats), aligner=words.found_by),
            all_tracks=all_tracks,
            speakers=who.options(job.settings),
            own=instruction.each({name: job.settings_of(name) for name in inputs}, prompt),
        )
        watched = plan.to_stdout and sys.stdout.isatty() and not options.at_end
        options = replace(options, stream=watched)
        try:
            with Progress(len(plan.items), enabled=False if watched or notices.quiet else None) as progress:
                # Only a bar tells how long it will take.
                items = plan.items if progress.enabled else ()
                waiting = (item.input for item in items if progress.awaits(item.input))
                with Lengths(waiting, options.source, progress.expect):
                    whole = Written(job, plan, progress).write(options, resume=resume)
            if len(plan.items) > 1 and not plan.to_stdout:
                job.notice(progress.summary())
        finally:
            job.close()
        if not whole:
            raise KeyboardInterrupt
        job.end()


def _decode(batch: str) -> DecodeOptions:
    from gemma_audio_cli.decoding.options import AUTO_SLOTS, DecodeOptions

    if batch == "auto":
        return DecodeOptions(slots=AUTO_SLOTS)
    if not batch.isdecimal() or not 1 <= int(batch) <= 64:
        raise UsageError(f"--batch must be auto or a number from 1 to 64, not {batch!r}")
    return DecodeOptions(slots=int(batch))
