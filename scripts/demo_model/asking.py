"""Puts a test clip and an instruction before the engine: the way the product does, or in an order of one's
own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from .prompts import ASR_ENGLISH
from .testsets import Recording

if TYPE_CHECKING:
    from gemma_audio_cli import Engine, Window

_LONGEST = 64


class Asker(Protocol):
    """What answers: an instruction about a recording, or its transcription."""

    def transcribe(self, recording: Recording) -> str: ...

    def ask(self, question: str, recording: Recording) -> str: ...


class AsProduct:
    """The prompts that the product makes."""

    def __init__(self, engine: Engine) -> None:
        from gemma_audio_cli import Transcriber

        self._transcriber = Transcriber(engine)

    def transcribe(self, recording: Recording) -> str:
        windows = [self._window(recording)]
        return " ".join(s.text for s in self._transcriber.transcribe(windows, language="English"))

    def ask(self, question: str, recording: Recording) -> str:
        return self._transcriber.ask(question, [self._window(recording)]).text

    def _window(self, recording: Recording) -> Window:
        from gemma_audio_cli import Window

        return Window(0.0, np.ascontiguousarray(recording.clip.samples, dtype=np.float32))


class InOrder:
    """Prompts with the instruction before the clip (``text_first``) or behind it, run greedily."""

    def __init__(self, engine: Engine, text_first: bool) -> None:
        from gemma_audio_cli import SessionOptions

        self._engine, self._text_first = engine, text_first
        self._session = engine.session(SessionOptions(n_ctx=1024))

    def transcribe(self, recording: Recording) -> str:
        return self.ask(ASR_ENGLISH, recording)

    def ask(self, question: str, recording: Recording) -> str:
        from gemma_audio_cli.engine.structs import Input

        before, behind = self._around(question)
        audio = self._engine.audio()
        audio.push(np.ascontiguousarray(recording.clip.samples, dtype=np.float32))
        audio.finish()
        self._session.rewind()
        self._session.forward([Input(tokens=before), Input(audio=audio), Input(tokens=behind, n_logits=1)])
        audio.close()
        given: list[int] = []
        for _ in range(_LONGEST):
            token = int(self._session.logits().argmax())
            if self._engine.is_end(token):
                break
            given.append(token)
            self._session.forward([Input(tokens=[token], n_logits=1)])
        return b"".join(map(self._engine.token_bytes, given)).decode("utf-8", "replace").strip()

    def _around(self, instruction: str) -> tuple[list[int], list[int]]:
        """Tokens before and behind the clip."""
        tokenize = self._engine.tokenize
        begin, end = tokenize("<|audio>", special=True), tokenize("<audio|>", special=True)
        text = tokenize(instruction)
        before = tokenize("<bos><|turn>user\n", special=True)
        behind = tokenize("<turn|>\n<|turn>model\n", special=True)
        if self._text_first:
            return before + text + begin, end + behind
        return before + begin, end + text + behind
