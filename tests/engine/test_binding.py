"""The binding: declarations from the header, the library, errors and interruption."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gemma_audio_cli import Engine, errors
from gemma_audio_cli.engine._binding import ABI_VERSION, native
from gemma_audio_cli.engine._cdef import cdef_from_header, main, make_ffi
from gemma_audio_cli.engine.structs import EngineOptions, Generation, Input, SamplerOptions, SessionOptions

HEADER = Path(__file__).resolve().parents[2] / "native" / "include" / "gemma_audio.h"


@pytest.fixture(scope="module")
def engine(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1)) as opened:
        yield opened


def test_the_header_becomes_plain_declarations():
    text = cdef_from_header(HEADER.read_text())
    assert "#" not in text
    assert "GA_API" not in text
    assert "extern" not in text
    assert "/*" not in text
    assert text.count("{") == text.count("}")


def test_every_function_of_the_header_is_in_the_library():
    names = re.findall(r"GA_API\s[^;]*?\b(ga_\w+)\(", HEADER.read_text())
    assert len(names) > 30
    for name in names:
        assert callable(getattr(native().lib, name)), name


def test_the_installed_module_is_written_from_the_header(tmp_path):
    assert main([str(HEADER), str(tmp_path / "_ffi.py")]) == 0
    source = (tmp_path / "_ffi.py").read_text()
    namespace: dict[str, object] = {}
    exec(source, namespace)
    written, parsed = namespace["ffi"], make_ffi(HEADER)
    for struct in ("ga_engine_options", "ga_input", "ga_timings", "ga_generation"):
        assert written.sizeof(struct) == parsed.sizeof(struct)


def test_the_interface_version_agrees():
    assert native().lib.ga_abi_version() == ABI_VERSION


def test_a_missing_library_says_so(monkeypatch, tmp_path):
    from gemma_audio_cli.engine import _binding

    monkeypatch.setenv("GEMMA_AUDIO_LIBRARY", str(tmp_path / "nothing.so"))
    with pytest.raises(errors.LibraryError, match=r"nothing\.so"):
        _binding.find_library()


def test_info_tells_what_was_loaded(engine):
    assert engine.info.projector == "gemma4a"
    assert engine.info.n_embd > 0
    assert engine.info.n_layer_kv < engine.info.n_layer


def test_text_survives_tokenising(engine):
    tokens = engine.tokenize("hello world")
    assert tokens
    assert b"".join(engine.token_bytes(token) for token in tokens).decode() == "hello world"


def test_control_tokens_are_made_only_where_asked(engine):
    (control,) = engine.tokenize("<|turn>", special=True)
    assert engine.is_control(control)
    assert control not in engine.tokenize("<|turn>")


def test_any_slicing_gives_the_same_embeddings(engine, make_tone):
    samples = make_tone(1.5)
    whole = engine.audio()
    whole.push(samples)
    whole.finish()
    sliced = engine.audio()
    for start in range(0, len(samples), 1001):
        sliced.push(samples[start : start + 1001])
    sliced.finish()
    assert len(whole) == len(sliced) > 30
    # The weights are bf16; the parity tests hold the tight bound, on float32.
    np.testing.assert_allclose(whole.read(), sliced.read(), atol=1e-2)


def test_a_session_generates_greedily(engine, make_tone):
    audio = engine.audio()
    audio.push(make_tone(0.5))
    audio.finish()
    session = engine.session(SessionOptions(n_ctx=256))
    session.sampler(SamplerOptions())
    prompt = engine.tokenize("hello")
    session.forward([Input(audio=audio), Input(tokens=prompt, n_logits=1)])
    assert session.length() == len(audio) + len(prompt)
    token, logprob = session.sample()
    assert token == int(session.logits().argmax())
    assert logprob <= 0
    reported = []
    generation = Generation(seq=0, next_token=token, n_max=5)
    session.generate([generation], lambda _i, t, _p: reported.append(t) or True)
    assert generation.stop in ("budget", "end")
    assert len(reported) <= 5


def test_what_a_token_callback_raises_arrives(engine):
    session = engine.session(SessionOptions(n_ctx=64))
    session.forward([Input(tokens=engine.tokenize("hello"), n_logits=1)])
    token, _ = session.sample()

    def broken(*_: object) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        session.generate([Generation(0, token, 8)], broken)


def test_a_full_context_is_an_input_error(engine):
    session = engine.session(SessionOptions(n_ctx=16))
    with pytest.raises(errors.TooLongError):
        session.forward([Input(tokens=engine.tokenize("hello") * 64)])
    assert session.length() == 0


def test_cancel_ends_the_load(tiny_model):
    with pytest.raises(errors.CancelledError):
        Engine(tiny_model.text, tiny_model.mmproj, cancel=lambda: True)


def test_an_interrupt_ends_native_work(tiny_model, make_tone):
    asked = 0

    def cancel() -> bool:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise KeyboardInterrupt
        return False

    with (
        pytest.raises(KeyboardInterrupt),
        Engine(tiny_model.text, tiny_model.mmproj, cancel=cancel) as engine,
    ):
        for _ in range(100):
            audio = engine.audio()
            audio.push(make_tone(5.0))
            audio.finish()


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread"
)
def test_control_c_ends_generation_promptly(engine):
    session = engine.session(SessionOptions(n_ctx=4096))
    session.forward([Input(tokens=engine.tokenize("hello"), n_logits=1)])
    token, _ = session.sample()
    struck, late = threading.Event(), 0

    def strike() -> None:
        signal.raise_signal(signal.SIGINT)
        struck.set()

    def on_token(*_: object) -> bool:
        nonlocal late
        late += struck.is_set()
        return True

    timer = threading.Timer(0.2, strike)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            session.rewind(1)
            session.generate([Generation(0, token, 4000)], on_token)
    timer.join()
    assert late < 100  # of 4000


def bad_file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda tmp, model: tmp / "none.gguf", errors.ModelFileError),
        (lambda tmp, model: bad_file(tmp, b""), errors.ModelFormatError),
        (lambda tmp, model: bad_file(tmp, b"this is text" * 100), errors.ModelFormatError),
        (lambda tmp, model: bad_file(tmp, model.text.read_bytes()[:5000]), errors.ModelFormatError),
        (lambda tmp, model: bad_file(tmp, model.text.read_bytes()[:-5000]), errors.ModelFormatError),
        (lambda tmp, model: model.mmproj, errors.ModelError),
    ],
    ids=["missing", "empty", "text", "truncated-header", "truncated-data", "projector"],
)
def test_bad_model_files_are_errors_that_name_them(
    make: Callable[..., Path], kind: type[Exception], tmp_path, tiny_model
):
    path = make(tmp_path, tiny_model)
    with pytest.raises(kind, match=re.escape(path.name)) as caught:
        Engine(path, tiny_model.mmproj)
    assert "\n" not in str(caught.value)


def test_files_that_do_not_belong_together_are_named(mismatched_model):
    with pytest.raises(errors.WidthMismatchError) as caught:
        Engine(mismatched_model.text, mismatched_model.mmproj)
    message = str(caught.value)
    assert mismatched_model.text.name in message
    assert mismatched_model.mmproj.name in message


def test_closing_twice_is_allowed(tiny_model):
    engine = Engine(tiny_model.text, tiny_model.mmproj)
    session = engine.session()
    engine.close()
    engine.close()
    with pytest.raises(errors.UsageError):
        session.length()
