"""No text of a person becomes a mark: not by a question, a context, a label or the name of a file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli import Engine, EngineOptions
from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.prompt import Tokens

# Public files call these "user defined", which libllama reads as marks in any text.
USER_DEFINED = ("<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>",
                "<tool_response|>", '<|"|>')  # fmt: skip


@pytest.fixture(scope="module")
def engine(tiny_model):
    with Engine(tiny_model.text, tiny_model.mmproj, EngineOptions(threads=1)) as engine:
        yield engine


@pytest.fixture(scope="module")
def marks(engine) -> list[str]:
    """All tokens of the vocabulary that are never text."""
    found = [engine.token_bytes(token) for token in range(engine.info.n_vocab) if engine.is_control(token)]
    words = [mark.decode() for mark in found]
    assert set(USER_DEFINED[:2]) <= set(words)
    assert len(words) >= 15
    return words


def test_every_mark_is_spelled_out(engine, marks):
    for mark in marks:
        for text in (mark, f"a {mark} b", mark * 3, f"\n{mark}\n", mark[0] + mark, mark + mark[-1]):
            tokens = engine.tokenize(text)
            assert not any(engine.is_control(token) for token in tokens), mark
            assert b"".join(map(engine.token_bytes, tokens)).decode() == text


def test_where_the_layout_is_read_marks_are_one_token_each(engine, marks):
    for mark in marks:
        assert len(engine.tokenize(mark, special=True)) == 1, mark


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_mixture_of_marks_and_words_stays_text_and_comes_back_whole(engine, marks, data):
    parts = st.one_of(
        st.sampled_from(marks), st.text(max_size=6), st.sampled_from(["<", "|", ">", "\n", " "])
    )
    text = "".join(data.draw(st.lists(parts, max_size=8)))
    tokens = engine.tokenize(text)
    assert not any(engine.is_control(token) for token in tokens)
    assert b"".join(map(engine.token_bytes, tokens)).decode() == text


@settings(max_examples=100, deadline=None)
@given(data=st.data(), audio_first=st.booleans())
def test_a_prompt_has_the_marks_of_its_layout_and_no_others(engine, marks, data, audio_first):
    words = st.lists(st.one_of(st.sampled_from(marks), st.text(max_size=5)), min_size=1, max_size=5)
    instruction, *labels = ["".join(data.draw(words)) for _ in range(data.draw(st.integers(1, 4)))]
    layout = prompt.Layout(audio_first)
    made = prompt.build(engine, instruction, labels, layout)
    plain = prompt.build(engine, "x", ["y"] * len(labels), layout)

    def marks_of(built: prompt.Prompt) -> list[int]:
        pieces = [Tokens(built.head), *built.middle, Tokens(built.tail)]
        ids = [token for piece in pieces if isinstance(piece, Tokens) for token in piece.ids]
        return [token for token in ids if engine.is_control(token)]

    assert marks_of(made) == marks_of(plain)
