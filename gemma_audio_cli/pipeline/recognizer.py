"""A model that is chosen now and opened when it is first needed.

ModelOptions ──► the pair of files (a wrong name costs no time) ──► Transcriber, with fallback to the CPU
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from gemma_audio_cli.backends.choose import choose
from gemma_audio_cli.config import layers
from gemma_audio_cli.decoding.calibration import calibrate
from gemma_audio_cli.decoding.notes import DemoWording, Wording
from gemma_audio_cli.decoding.options import DecodeOptions
from gemma_audio_cli.decoding.transcriber import Transcriber
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions
from gemma_audio_cli.errors import Notice, no_notice
from gemma_audio_cli.models.names import part_paths
from gemma_audio_cli.models.resolve import is_demo, resolve
from gemma_audio_cli.pipeline.engines import EngineFactory
from gemma_audio_cli.pipeline.head_cache import find_heads
from gemma_audio_cli.pipeline.options import ModelOptions
from gemma_audio_cli.pipeline.slots import Slots, chosen
from gemma_audio_cli.sound import MAX_CLIP_SECONDS

DEMO_WINDOW = 6.0
"""Seconds that the demo model hears well: in longer windows, which have pauses in them, it makes up words."""

DEMO_RECALL = 10.0
RECALL = 120.0
"""Seconds. By published figures E2B and E4B find 19 to 25 % of what is asked for in prompts of 128,000
tokens."""


class Recognizer:
    """One model; pipelines share it. Close it when all is done."""

    def __init__(
        self,
        options: ModelOptions | None = None,
        *,
        engine: Engine | None = None,
        notice: Notice | None = None,
        demo_notice: str | None = None,
    ) -> None:
        """`engine`: one that is open already, and stays open. `demo_notice` is given when the demo
        model is opened. Raises UsageError and ModelError where the options name nothing that could be opened.
        """
        self.notice: Notice = notice or no_notice
        self._given, self._demo_notice = engine, demo_notice
        self._options = options = options or ModelOptions()
        self._gpu_layers = None if options.gpu_layers is None else layers(options.gpu_layers, "--gpu-layers")
        self._transcriber: Transcriber | None = None
        self._asked: DecodeOptions | None = None
        self.slots: Slots | None = None
        """How many windows are decoded together, and why; None: no model was opened yet."""
        if engine is None:
            choose(options.backend, options.device)
            self.pair = resolve(options.model, options.mmproj)
            self.model_name, demo = self.pair.text.name, self.pair.is_demo
        else:
            self.model_name, demo = engine.text_path.name, is_demo(engine.text_path)
        self.longest_window = DEMO_WINDOW if demo else MAX_CLIP_SECONDS
        """Seconds of sound that the model hears well at once."""
        self.recall_seconds = DEMO_RECALL if demo else RECALL
        """Seconds of sound that it recalls well enough to be asked about all of them."""
        self.wording: Wording = DemoWording() if demo else Wording()
        """How it is asked about parts of a recording."""

    @property
    def files(self) -> list[Path]:
        """The model's files, which nothing may be written to."""
        return [*part_paths(self.pair.text), self.pair.mmproj]

    @property
    def projector(self) -> Path | None:
        """The file with the weights of the audio encoder; None: nobody knows."""
        return self._given.mmproj_path if self._given is not None else self.pair.mmproj

    def transcriber(self, options: DecodeOptions) -> Transcriber:
        """The model at work; opened at the first call. Another call's options replace those before. The order
        of prompts is that of the model's options.
        """
        options = replace(options, audio_first=options.audio_first or self._options.audio_first)
        if self._transcriber is not None and self._asked == options:
            return self._transcriber
        engine, fall_back = self._given, None
        if self._transcriber is not None:
            self._transcriber.close()
            engine = self._transcriber.engine
        if self._given is None:
            placed = EngineOptions(
                self._options.threads or 0, self._options.device, gpu_layers=self._gpu_layers
            )
            factory = EngineFactory(self.pair.text, self.pair.mmproj, placed, self.notice)
            fall_back = factory.fall_back
            if engine is None:
                if self._demo_notice and self.pair.is_demo:
                    self.notice(self._demo_notice)
                engine = factory.open(self._options.backend)
        assert engine is not None
        self._asked, self.slots = options, chosen(engine, options)
        options = replace(options, slots=self.slots.count)
        heads = calibrate if self._given is not None else partial(find_heads, files=self.files)
        self._transcriber = Transcriber(
            engine, options, notice=self.notice, fall_back=fall_back, find_heads=heads
        )
        return self._transcriber

    @property
    def engine(self) -> Engine | None:
        """The engine that is open; None: none yet."""
        return self._transcriber.engine if self._transcriber is not None else self._given

    def close(self) -> None:
        """Free the caches and, unless it was given, the engine."""
        if self._transcriber is not None:
            self._transcriber.close()
            if self._given is None:
                self._transcriber.engine.close()
            self._transcriber = None

    def __enter__(self) -> Recognizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
