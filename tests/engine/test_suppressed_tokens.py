"""`tokenizer.ggml.suppress_tokens`: a token that a model file names there is never drawn, however likely.

A tiny model is asked without the key first. The likeliest tokens of its answer are then named in a second
file with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.session import Session
from gemma_audio_cli.engine.structs import EngineOptions, Generation, Input, SamplerOptions, SessionOptions
from gemma_audio_cli.sound import Floats
from gguf_format import Vocab, synthetic_vocab
from gguf_format.reader import from_gguf
from make_random_model import make_pair

N_SUPPRESSED = 5
DRAWS = 400
PROMPT = [2, 300, 317, 45, 402, 377]
BEYOND = 100_000
"""No token of the file: ids that a vocabulary does not have are to do no harm."""
WARM = {
    "warm": SamplerOptions(temperature=0.5, seed=3),
    "cut": SamplerOptions(temperature=0.5, top_k=3, top_p=0.9, min_p=0.01, seed=3),
}
ANY_TEXT = 'root ::= [^"]*'


def make(folder: Path, suppress: list[int]) -> Path:
    vocab: Vocab = replace(synthetic_vocab(512), suppress=suppress)
    return make_pair("tiny", "q8_0", "f32", 3, folder, vocab=vocab)[0]


def asked(engine: Engine) -> tuple[Session, Floats]:
    """A session behind the prompt, and its logits."""
    session = engine.session(SessionOptions(n_ctx=512))
    session.forward([Input(tokens=PROMPT, n_logits=1)])
    return session, session.logits()


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = make(tmp_path_factory.mktemp("free"), [])
    with Engine(path, None, EngineOptions(threads=1, device="CPU")) as engine:
        yield engine


@pytest.fixture(scope="module")
def likeliest(free: Engine) -> list[int]:
    return np.argsort(-asked(free)[1])[:N_SUPPRESSED].tolist()


@pytest.fixture(scope="module")
def held(likeliest: list[int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The same weights in a file with the key."""
    path = make(tmp_path_factory.mktemp("held"), [*likeliest, BEYOND, -1])
    assert from_gguf(path).suppress == [*likeliest, BEYOND, -1]
    with Engine(path, None, EngineOptions(threads=1, device="CPU")) as engine:
        yield engine


def test_a_greedy_choice_is_the_best_that_is_left(free: Engine, held: Engine, likeliest: list[int]) -> None:
    session, logits = asked(free)
    assert session.sample()[0] == likeliest[0]
    session, same = asked(held)
    assert np.array_equal(logits, same)  # the file is otherwise the same; logits are given as they are
    rest = np.where(np.isin(np.arange(len(logits)), likeliest), -np.inf, logits)
    for options in (SamplerOptions(), SamplerOptions(grammar=ANY_TEXT)):
        session.sampler(options)
        token, logprob = session.sample()
        if options.grammar is None:
            assert token == int(rest.argmax())
        assert token not in likeliest
        wanted = logits[token] - np.log(np.exp(logits.astype(np.float64)).sum())
        assert logprob == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("name", sorted(WARM))
def test_a_warm_draw_never_finds_them(name: str, free: Engine, held: Engine, likeliest: list[int]) -> None:
    drawn = []
    for engine in (free, held):
        session, _ = asked(engine)
        session.sampler(WARM[name])
        drawn.append([session.sample()[0] for _ in range(DRAWS)])
    assert sum(token in likeliest for token in drawn[0]) > DRAWS / 4
    assert not set(drawn[1]) & set(likeliest)
    assert len(set(drawn[1])) > 1


@pytest.mark.parametrize("options", [SamplerOptions(), WARM["warm"]])
def test_a_generated_answer_is_without_them(
    options: SamplerOptions, free: Engine, held: Engine, likeliest: list[int]
) -> None:
    said: list[list[int]] = []
    for engine in (free, held):
        session, _ = asked(engine)
        session.sampler(options)
        tokens = [session.sample()[0]]

        def keep(_index: int, token: int, _logprob: float, tokens: list[int] = tokens) -> bool:
            tokens.append(token)
            return True

        session.generate([Generation(0, tokens[0], 300, ignore_end=True)], keep)
        said.append(tokens)
    assert set(said[0]) & set(likeliest)
    assert len(said[1]) == 301
    assert not set(said[1]) & set(likeliest)
