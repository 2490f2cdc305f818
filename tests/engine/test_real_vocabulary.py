"""The released vocabulary (262,144 tokens) in our engine: llama.cpp's own tests of it, marks, ends, streamed
text. The weights around it are random.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from oracles.apart import LlamaCpp

from gemma_audio_cli.decoding import prompt
from gemma_audio_cli.decoding.template import render
from gemma_audio_cli.decoding.text import TextFilter
from gemma_audio_cli.engine.engine import Engine
from gemma_audio_cli.engine.structs import EngineOptions
from gemma_audio_cli.formatting import Cleaner
from gguf_format import Vocab, from_gguf
from make_random_model import make_pair

ROOT = Path(__file__).resolve().parents[2]
N_TOKENS, N_MERGES = 262_144, 514_906
ENDS = {1: "<eos>", 50: "<|tool_response>", 106: "<turn|>"}
MARKS = {46: "<|tool>", 47: "<tool|>", 48: "<|tool_call>", 49: "<tool_call|>", 50: "<|tool_response>",
         51: "<tool_response|>", 52: '<|"|>', 98: "<|think|>", 100: "<|channel>", 101: "<channel|>",
         105: "<|turn>", 106: "<turn|>", 255999: "<|image>", 256000: "<|audio>", 258880: "<|image|>",
         258881: "<|audio|>", 258882: "<image|>", 258883: "<audio|>", 258884: "<|video|>"}  # fmt: skip
ROLES = {0: "<pad>", 1: "<eos>", 2: "<bos>", 3: "<unk>", 4: "<mask>"}


@pytest.fixture(scope="module")
def vocab(llama_source) -> Vocab:
    return from_gguf(llama_source.vocabulary)


@pytest.fixture(scope="module")
def files(vocab, tmp_path_factory) -> tuple[Path, Path]:
    return make_pair("tiny", "q4_0", "bf16", 1, tmp_path_factory.mktemp("real"), vocab=vocab)


@pytest.fixture(scope="module")
def engine(files) -> Iterator[Engine]:
    with Engine(*files, EngineOptions(threads=1, device="CPU")) as opened:
        yield opened


def test_the_vocabulary_is_whole(vocab):
    assert (len(vocab.tokens), len(vocab.merges)) == (N_TOKENS, N_MERGES)
    assert vocab.special == {"bos": 2, "eos": 1, "unk": 3, "pad": 0, "mask": 4}
    known = set(vocab.tokens)
    assert all(left + right in known for left, right in vocab.merges)


def test_llamacpps_own_tests_of_it(llama_source, engine):
    cases = llama_source.vocabulary_tests()
    assert len(cases) == 46
    ours = [(text, engine.tokenize(text)) for text, _ in cases]
    assert ours == cases


def test_marks_and_ends_have_their_ids(vocab, engine):
    named = MARKS | ROLES
    assert {i: engine.token_bytes(i).decode() for i in named} == named
    assert {i: engine.tokenize(text, special=True) for i, text in named.items()} == {i: [i] for i in named}
    assert [i for i in range(N_TOKENS) if engine.is_end(i)] == sorted(ENDS)
    controls = {i for i in range(N_TOKENS) if engine.is_control(i)}
    unused = {i for i, token in enumerate(vocab.tokens) if re.fullmatch(r"<unused\d+>", token)}
    assert len(unused) > 50
    left_over = {i for i, token in enumerate(vocab.tokens) if token in ("[multimodal]", "<s>", "</s>")}
    assert controls == set(named) | unused | left_over


def test_no_mark_comes_of_what_somebody_writes(engine):
    """libllama finds seven of them in any text; here they are spelled out."""
    for text in [*MARKS.values(), *ROLES.values()]:
        for written in (text, f"a{text}b", f" {text}{text} ", f"<{text}>", f"<|{text}"):
            tokens = engine.tokenize(written)
            assert not [t for t in tokens if engine.is_control(t)], written
            assert b"".join(map(engine.token_bytes, tokens)).decode() == written


def test_marks_do_not_reach_the_text(engine):
    """A model that writes all of them, one after the other, around words."""
    hello = engine.tokenize("Hello")
    for mark in set(MARKS) - {100, 101}:
        text = TextFilter(engine)
        assert "".join(map(text.feed, [*hello, mark, *hello])) + text.finish() == "HelloHello"
    text = TextFilter(engine)
    said = [*hello, 100, *engine.tokenize("thought\nWell"), 101, *hello]
    assert "".join(map(text.feed, said)) + text.finish() == "HelloHello"


def pages() -> list[str]:
    """Long texts: the docs, and llama.cpp's tests are added to them."""
    found = sorted((ROOT / "docs").glob("*.md"))
    assert len(found) > 5
    return [path.read_text(encoding="utf-8") for path in found]


SCRIPTS = (
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Γαζέες καὶ μυρτιὲς δὲν θὰ βρῶ πιά. "
    "Съешь же ещё этих мягких французских булок. דג סקרן שט בים מאוכזב ולפתע מצא חברה. "
    "نص حكيم له سر قاطع وذو شأن عظيم. いろはにほへと ちりぬるを。天地玄黃,宇宙洪荒。 "
    "다람쥐 헌 쳇바퀴에 타고파. "
    "เป็นมนุษย์สุดประเสริฐ ऋषियों को सताने वाले. 👩‍👩‍👧‍👦🏳️‍🌈🦙𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𓀀𐍈 \u00a0\u2003\u200b e\u0301 "
)


def test_long_texts_come_back_token_by_token(llama_source, engine):
    """Streamed, a text is the text: no token's bytes are lost, added or shown before they are whole."""
    texts = [*pages(), SCRIPTS * 40, *(text for text, _ in llama_source.vocabulary_tests())]
    count = 0
    for text in texts:
        tokens = engine.tokenize(text)
        assert b"".join(map(engine.token_bytes, tokens)).decode() == text
        shown, stream = "", TextFilter(engine)
        wanted = Cleaner().feed(text)
        for token in tokens:
            piece = stream.feed(token)
            assert "\ufffd" not in piece
            shown += piece
        assert shown + stream.finish() == wanted
        count += len(tokens)
    assert count > 30_000


def test_tokens_are_libllamas(files, engine):
    """As marked-up text, and as a person's; but for the marks that libllama reads in a person's text too."""
    marks = re.compile("|".join(map(re.escape, MARKS.values())))
    roles = "How <bos>, `<eos>`, <pad> and </s> are written.\n"
    with LlamaCpp(files[0], n_ctx=64) as ref:
        for text in [*pages(), SCRIPTS, roles]:
            assert engine.tokenize(text, special=True) == ref.tokenize(text)
            written = "".join(line for line in text.splitlines(keepends=True) if not marks.search(line))
            assert engine.tokenize(written) == ref.tokenize(written, False)


@pytest.mark.parametrize("order", ["text first", "audio first"])
def test_googles_templates_give_the_turns(llama_source, engine, order):
    text, audio = {"type": "text", "text": "Transcribe. "}, {"type": "audio"}
    content = [text, audio] if order == "text first" else [audio, text]
    templates = llama_source.templates()
    assert len(templates) == 2
    user = "Transcribe.<|audio|>" if order == "text first" else "<|audio|>Transcribe."
    for name, source in templates.items():
        made = render(source, [{"role": "user", "content": content}], bos="<bos>", eos="<eos>")
        # The template of the 31B model: with thinking off, the answer begins behind an empty thought.
        assert made == (f"<bos><|turn>user\n{user}<turn|>\n<|turn>model\n<|channel>thought\n<channel|>"), name
        tokens = engine.tokenize(made, special=True)
        assert tokens[:3] == [2, 105, 2364]
        assert tokens[-4:] == [100, 45518, 107, 101]
        assert tokens.count(258881) == 1


def test_a_prompt_holds_the_instruction_once_and_no_other_marks(engine):
    made = prompt.build(engine, 'Say "<|tool_call>" and <channel|>.')
    assert made.notice is None
    pieces = [*made.head, *made.tail]
    pieces += [t for piece in made.middle if isinstance(piece, prompt.Tokens) for t in piece.ids]
    assert sorted(t for t in pieces if t in MARKS and t not in (100, 101)) == [105, 105, 106, 256000, 258883]
