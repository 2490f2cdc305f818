"""How the demo model is trained, against transformers: prompts packed together, in either order, give the
logits of each prompt alone."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

torch = pytest.importorskip("torch", reason="needs the parity extra (torch)")
pytest.importorskip("transformers", reason="needs the parity extra (transformers)")

from demo_model import batches, mel, validate, vocabulary
from demo_model.clips import Clip
from demo_model.grammar import Sentence
from demo_model.model import DemoModel, make_config
from demo_model.prompts import ASR_ENGLISH, Exchange, question

pytestmark = pytest.mark.parity

SPOKEN = Sentence("3 7 2", "digits")
TRANSCRIBE = Exchange("transcribe", ASR_ENGLISH, SPOKEN.text)
BOUND = 2e-4


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return vocabulary.write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(3)
    model = DemoModel(make_config(tokenizer), 10).eval()
    model.write_front()
    return model


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return batches.PromptEncoder(tokenizer)


def alone(model, encoder, exchange, text_first, clip):
    """What transformers' own model predicts along the answer, the exchange by itself."""
    features, mask = mel.log_mel([clip])
    before, behind = encoder.around(exchange.prompt, text_first)
    answer = encoder.ids(exchange.answer) + encoder.stop
    audio = [model.gemma.config.audio_token_id] * batches.token_counts(mask)[0]
    ids = torch.tensor([[*before, *audio, *behind, *answer]])
    logits = model.gemma(
        input_ids=ids, attention_mask=torch.ones_like(ids), input_features=features, input_features_mask=mask
    ).logits[0]
    return logits[-len(answer) - 1 : -1]


@torch.no_grad()
def test_packed_prompts_give_the_logits_of_each_alone(model, encoder):
    rng = np.random.default_rng(8)
    clips = [(0.1 * rng.standard_normal(length)).astype(np.float32) for length in (9_000, 21_000, 14_321)]
    first, total, heard = (question(SPOKEN, kind, rng) for kind in ("first", "sum", "spoken"))
    # (clip, exchange, text first): what shares a row, what does not, and rows of many lengths.
    plan = [
        (0, TRANSCRIBE, True), (0, first, True), (0, TRANSCRIBE, False), (0, total, False),
        (1, heard, False), (1, TRANSCRIBE, False), (2, total, True), (2, total, False),
    ]  # fmt: skip
    features, mask = mel.log_mel(clips)
    tokens, _ = model.encode(features, mask)
    packed = batches.pack(batches.token_counts(mask), [encoder.asked(*one) for one in plan])
    assert packed.clips.tolist() == [0, 0, 0, 1, 2, 2]
    logits = model.decode(tokens, packed)
    rows = {row: list(logits[row][packed.targets[row] >= 0]) for row in range(len(logits))}
    # The order in which exchanges fill the rows: the two of clip 0 and of clip 1 with audio first share one.
    for row, numbers in enumerate(([0], [1], [2, 3], [4, 5], [6], [7])):
        expected = torch.cat(
            [alone(model, encoder, plan[n][1], plan[n][2], clips[plan[n][0]]) for n in numbers]
        )
        difference = float((torch.stack(rows[row]) - expected).abs().max())
        assert difference < BOUND, f"row {row} is off by {difference}"
        answers = [token for n in numbers for token in encoder.asked(*plan[n]).answer]
        assert packed.targets[row][packed.targets[row] >= 0].tolist() == answers


@torch.no_grad()
@pytest.mark.parametrize("text_first", [True, False])
def test_the_audio_is_heard_in_either_order(model, encoder, text_first):
    """A check of the test above: another clip gives other logits."""
    rng = np.random.default_rng(9)
    clips = [(0.1 * rng.standard_normal(9_000) * np.linspace(0, f, 9_000)).astype(np.float32) for f in (1, 5)]
    one, other = (alone(model, encoder, TRANSCRIBE, text_first, clip) for clip in clips)
    assert float((one - other).abs().max()) > 10 * BOUND


@pytest.mark.parametrize("text_first", [True, False])
def test_prompts_are_those_of_the_chat_template(tokenizer, encoder, text_first):
    audio, text = {"type": "audio"}, {"type": "text", "text": ASR_ENGLISH}
    content = [text, audio] if text_first else [audio, text]
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=vocabulary.CHAT_TEMPLATE,
        add_generation_prompt=True,
        tokenize=False,
    )
    before, behind = encoder.around(ASR_ENGLISH, text_first)
    rendered = rendered.replace("<|audio|>", "<|audio><|audio|><audio|>")
    mark = encoder.ids("<|audio|>")
    assert tokenizer.encode(rendered, add_special_tokens=False) == before + mark + behind


def test_an_exercise_gives_the_transcript_and_leaves_room_for_a_clip(encoder):
    rng = np.random.default_rng(4)
    exchange = question(SPOKEN, "sum", rng)
    for text_first in (0.0, 1.0):
        packed = batches.reading_exercises([exchange], encoder, rng, text_first)
        answer = encoder.ids(exchange.answer) + encoder.stop
        start = answer.index(encoder.ids(":")[0]) + 1
        assert packed.targets[0].tolist() == [-100] * start + answer[start:]
        before, _ = encoder.around(exchange.prompt, bool(text_first))
        steps = packed.positions[0].diff()
        assert steps[len(before) - 1] >= 26
        assert set(steps.tolist()) == {1, int(steps[len(before) - 1])}


def test_validation_answers_greedily_whatever_it_expects(model, encoder):
    """The expected answer only saves passes: a true, a wrong and an empty one lead to the same answer."""
    rng = np.random.default_rng(5)
    clips = [
        Clip((0.1 * rng.standard_normal(length)).astype(np.float32), SPOKEN) for length in (9_000, 12_000)
    ]

    def answers(*expected: str) -> list[str]:
        exchanges = [Exchange("transcribe", ASR_ENGLISH, text) for text in expected]
        return validate.answer(model, encoder, clips, exchanges, True, limit=12)

    greedy = answers("", "")
    assert all(greedy)
    assert answers(*greedy) == greedy
    assert answers("3 7 2", greedy[0] + " 4 4") == greedy
