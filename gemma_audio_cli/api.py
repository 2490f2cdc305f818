"""transcribe() and ask(): the whole way from a recording to text in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from gemma_audio_cli.audio.decode import samples
from gemma_audio_cli.audio.windows import UntilFailure, WindowOptions, windows
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.transcriber import Answer, DecodeOptions, Segment, Transcriber

Source = str | os.PathLike[str]
Notice = Callable[[str], None]
OnText = Callable[[str], None]


def transcribe(
    source: Source,
    *,
    engine: Engine | None = None,
    model: Source | None = None,
    language: str | None = None,
    decode: DecodeOptions | None = None,
    cut: WindowOptions | None = None,
    on_text: OnText | None = None,
    notice: Notice | None = None,
) -> Iterator[Segment]:
    """What is said in the recording `source` (a path, or "-" for standard input), a Segment for each window
    of it.

    Segments come as they are decoded. `engine` is used and left open; without one, `model` (alias or path,
    None: the best pulled, else the demo model) is opened for this call. `on_text` is told the text in pieces,
    `notice` what is odd but no reason to stop.
    """
    cut = cut or WindowOptions()
    opened = engine or Engine.open(model)
    try:
        transcriber = Transcriber(opened, decode, notice=notice)
        try:
            found = UntilFailure(windows(samples(source, notice or (lambda _text: None)), cut))
            yield from transcriber.transcribe(
                found, language=language, silence_peak=cut.silence_peak, on_text=on_text
            )
            found.raise_failure()
        finally:
            transcriber.close()
    finally:
        if engine is None:
            opened.close()


def ask(
    question: str,
    source: Source,
    *,
    engine: Engine | None = None,
    model: Source | None = None,
    decode: DecodeOptions | None = None,
    cut: WindowOptions | None = None,
    on_text: OnText | None = None,
    notice: Notice | None = None,
) -> Answer:
    """The model's answer to a question about the recording `source`; the arguments are those of `transcribe`.

    A recording of more than 30 s is given to the model as several clips in order.
    """
    opened = engine or Engine.open(model)
    try:
        transcriber = Transcriber(opened, decode, notice=notice)
        try:
            blocks = samples(source, notice or (lambda _text: None))
            return transcriber.ask(question, windows(blocks, cut), on_text=on_text)
        finally:
            transcriber.close()
    finally:
        if engine is None:
            opened.close()
