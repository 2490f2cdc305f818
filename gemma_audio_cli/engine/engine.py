"""Engine: the weights of one model, and what is opened from it.

    Engine ──audio()────► AudioStream   samples in, tokens out (40 ms each), embeddings float32 [n, n_embd]
           ──session()──► Session       prefill and decode of several sequences, logits float32 [n_vocab]

Errors are the exceptions of `gemma_audio_cli.errors`. Ctrl-C is honoured during native calls: the engine asks
a cancel callback now and then, and a KeyboardInterrupt raised in it ends the call and goes on to the caller.
One thread at a time per engine and whatever was opened from it: a call beside another one is a UsageError,
and so is any call in a process forked from the one that opened it.
"""

from __future__ import annotations

import os
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any

from gemma_audio_cli.engine._binding import Native, native
from gemma_audio_cli.engine._native import (
    Callbacks,
    Cancel,
    Handle,
    Progress,
    error_for,
    int32,
    new_struct,
    path_bytes,
)
from gemma_audio_cli.engine.audio_stream import AudioStream
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.structs import EngineInfo, EngineOptions, Layer, SessionOptions, Timings

_PROJECTORS = ("none", "gemma4a", "gemma4ua")


class Engine(Handle):
    """The weights of one text model and its audio projector, on one device."""

    _what = "the engine"

    def __init__(
        self,
        text_path: str | os.PathLike[str],
        mmproj_path: str | os.PathLike[str] | None = None,
        options: EngineOptions | None = None,
        *,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        """Open the files; `progress` gets fractions in [0, 1], `cancel` ends a call by returning True."""
        options = options or EngineOptions()
        self.text_path = Path(text_path)
        """The text model's file."""
        self.threads = options.threads
        """CPU threads as asked for; 0: one per physical core."""
        self.mmproj_path = None if mmproj_path is None else Path(mmproj_path)
        """The audio projector's file."""
        self._n = n = native()
        self._callbacks = Callbacks(n, cancel, progress)
        self._children: weakref.WeakSet[AudioStream | Session] = weakref.WeakSet()
        self._bytes: dict[int, bytes] = {}
        native_options = n.ffi.new("ga_engine_options *")
        n.lib.ga_engine_defaults(native_options)
        native_options.n_threads = int32(options.threads)
        device = n.ffi.new("char[]", options.device.encode()) if options.device else n.ffi.NULL
        native_options.device = device
        native_options.use_repack = int(options.repack)
        layers = options.gpu_layers
        native_options.n_gpu_layers = n.lib.GA_ALL_THAT_FIT if layers is None else int32(layers)
        native_options.progress = self._callbacks.progress
        native_options.cancel = self._callbacks.cancel
        handle = n.ffi.new("ga_engine **")
        message = n.ffi.new("char[]", 2048)
        mmproj = n.ffi.new("char[]", path_bytes(mmproj_path)) if mmproj_path is not None else n.ffi.NULL
        status = n.lib.ga_engine_open(path_bytes(text_path), mmproj, native_options, handle, message, 2048)
        self._handle = handle[0] if handle[0] != n.ffi.NULL else None
        raised = self._callbacks.take()
        if raised is not None:
            self.close()
            raise raised
        if status:
            raise error_for(n, status, n.ffi.string(message).decode("utf-8", "replace"))
        self.info = self._read_info()

    def close(self) -> None:
        """Free everything, sessions and streams first. Closing twice is allowed.

        Raises UsageError from within a callback, and where another thread is inside a call.
        """
        for child in list(self._children):
            child.close()
        self._free(self._n, self._n.lib.ga_engine_close)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- vocabulary --

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Text to tokens. special: "<|turn>" and the like become control tokens, else spelled out."""
        n, data = self._n, text.encode("utf-8", "replace")
        capacity = len(data) + 16
        count = n.ffi.new("size_t *")
        tokens = n.ffi.new("int32_t[]", capacity)
        status = n.lib.ga_tokenize(self.handle, data, len(data), int(special), tokens, capacity, count)
        if status and count[0] > capacity:
            capacity = count[0]
            tokens = n.ffi.new("int32_t[]", capacity)
            status = n.lib.ga_tokenize(self.handle, data, len(data), int(special), tokens, capacity, count)
        self.check(status)
        return list(tokens[0 : count[0]])

    def token_bytes(self, token: int) -> bytes:
        """The bytes of a token (control tokens: their name), perhaps part of a UTF-8 character."""
        known = self._bytes.get(token)
        if known is None:
            n, capacity = self._n, 256
            count = n.ffi.new("size_t *")
            data = n.ffi.new("char[]", capacity)
            status = n.lib.ga_token_bytes(self.handle, token, 1, data, capacity, count)
            if status and count[0] > capacity:
                data = n.ffi.new("char[]", count[0])
                status = n.lib.ga_token_bytes(self.handle, token, 1, data, count[0], count)
            self.check(status)
            known = self._bytes[token] = bytes(n.ffi.buffer(data, count[0]))
        return known

    def is_end(self, token: int) -> bool:
        """Does this token end an answer?"""
        return bool(self._n.lib.ga_token_is_end(self.handle, token))

    def is_control(self, token: int) -> bool:
        """Is this token never text?"""
        return bool(self._n.lib.ga_token_is_control(self.handle, token))

    def metadata(self, key: str) -> str | None:
        """A string of the text model's metadata, e.g. "tokenizer.chat_template"; None where there is none."""
        n = self._n
        length = n.lib.ga_engine_metadata(self.handle, key.encode(), n.ffi.NULL, 0)
        if length < 0:
            return None
        text = n.ffi.new("char[]", length + 1)
        n.lib.ga_engine_metadata(self.handle, key.encode(), text, length + 1)
        return bytes(n.ffi.buffer(text, length)).decode("utf-8", "replace")

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The text model's layers, from the first on."""
        value = new_struct(self._n, "ga_layer_info")
        found = []
        for index in range(self.info.n_layer):
            self.check(self._n.lib.ga_layer_get(self.handle, index, value))
            found.append(Layer(int(value.n_head), int(value.window)))
        return tuple(found)

    # -- work --

    def audio(self) -> AudioStream:
        """A new clip."""
        return AudioStream(self)

    def session(self, options: SessionOptions | None = None) -> Session:
        """A new K/V cache."""
        return Session(self, options or SessionOptions())

    def timings(self) -> Timings:
        """Where the time went so far."""
        value = new_struct(self._n, "ga_timings")
        self.check(self._n.lib.ga_engine_timings(self.handle, value))
        return Timings(**{name: getattr(value, name) for name in Timings.__dataclass_fields__})

    def reset_timings(self) -> None:
        """Start counting anew."""
        self._n.lib.ga_engine_reset_timings(self.handle)

    # -- for AudioStream and Session --

    def adopt(self, child: AudioStream | Session) -> tuple[Native, Callbacks]:
        """Register what must be closed before the engine."""
        self._children.add(child)
        return self._n, self._callbacks

    def check(self, status: int) -> None:
        """Raise what a native call reported, or what a callback raised during it."""
        raised = self._callbacks.take()
        if raised is not None:
            raise raised
        if status:
            text = self._n.ffi.new("char[]", 2048)
            self._n.lib.ga_engine_error(self.handle, text, 2048)
            raise error_for(self._n, status, self._n.ffi.string(text).decode("utf-8", "replace"))

    def _read_info(self) -> EngineInfo:
        value = new_struct(self._n, "ga_engine_info")
        self.check(self._n.lib.ga_engine_get_info(self.handle, value))
        fields: dict[str, Any] = {name: getattr(value, name) for name in EngineInfo.__dataclass_fields__}
        fields["projector"] = _PROJECTORS[int(value.projector)]
        for name in ("device", "buffers"):
            fields[name] = self._n.ffi.string(fields[name]).decode("utf-8", "replace")
        return EngineInfo(**fields)
