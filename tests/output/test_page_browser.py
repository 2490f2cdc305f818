"""Pages in a real browser: they play, they light words, and nothing that is said in them runs."""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gemma_audio_cli.output import Recording, Segment, open_writer
from gemma_audio_cli.output.page.sound import MOST_INSIDE
from gemma_audio_cli.output.page.writer import PageWriter
from gemma_audio_cli.transcript import Waveform, Word
from tests.output.browser import CHROMIUM, Browser, Tab
from tests.output.test_page import EVIL

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)")

SECONDS = 40
"""Of the recording."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as made:
        yield made


def said(start: float, text: str, speaker: str | None = None, **more: Any) -> Segment:
    """Words of 0.4 s, one every half a second; those with a `?` are unsure."""
    words = tuple(
        Word(word, start + k / 2, start + k / 2 + 0.4, 0.31 if "?" in word else 0.98)
        for k, word in enumerate(text.split())
    )
    return Segment(start, start + len(words) / 2, text, words=words, speaker=speaker, **more)


TALK = (
    said(1.0, "Shall we begin, Käthe?", "Anna"),
    said(4.0, "Nine hundred for the booth, said Käthe.", "Bertram", flags=("overlap",)),
    said(6.0, "Nine hundred?", "Carla"),
    said(10.0, "Das ist zu viel.", "Carla", translation="That is too much."),
    said(14.0, "So we agree: nine it is.", "Anna", flags=("unreliable",)),
)
WAVEFORM = Waveform(0.0, 0.5, tuple(range(0, 160, 2)))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes a page, and beside it its recording, which is silence."""

    def made(
        *segments: Segment, about: Recording | None = None, name: str = "talk.wav", error: str | None = None
    ) -> Path:
        recording = tmp_path / name
        if name != "-":
            # At 48 kHz it is too long to be in the page.
            soundfile.write(recording, np.zeros(SECONDS * 48_000, np.int16), 48_000, format="WAV")
            assert recording.stat().st_size > MOST_INSIDE
        out = io.StringIO()
        writer = open_writer("html", out, source=str(recording) if name != "-" else name, folder=tmp_path)
        assert isinstance(writer, PageWriter)
        writer.begin(about or Recording(name, "English", "m.gguf", speakers=True))
        for segment in segments or TALK:
            writer.segment(segment)
        writer.waveform(WAVEFORM)
        writer.end(error, duration=float(SECONDS))
        page = tmp_path / "page.html"
        page.write_text(out.getvalue(), encoding="utf-8", errors="surrogateescape")
        return page

    return made


@pytest.fixture
def opened(browser: Browser, make: Callable[..., Path]) -> Callable[..., Tab]:
    """Opens a page that `make` makes; its recording is ready to play."""

    def open_it(*segments: Segment, name: str = "talk.wav", **more: Any) -> Tab:
        looks = {key: more.pop(key) for key in ("width", "height", "dark", "phone") if key in more}
        tab = browser.open(make(*segments, name=name, **more), **looks)
        if name != "-":
            tab.wait("sound.readyState >= 1")
        return tab

    return open_it


NOW = "document.querySelector('#sound').currentTime"
LIT = "[...document.querySelectorAll('.w.now')].map((word) => word.textContent)"
HERE = "[...document.querySelectorAll('.w.here')].map((word) => word.textContent).join(' ')"
FIELD = "document.querySelector('#find')"
PART = "document.querySelector('.part.now .said').textContent"


# ---- what it asks for, and what runs ------------------------------------------------------------


def test_a_page_asks_for_its_recording_alone_and_complains_of_nothing(opened):
    tab = opened(name='to #1?%"<.wav')
    tab.click(".w")
    tab.wait(f"{NOW} > 1.1")
    assert {Path(address).name for address in tab.requests} == {"page.html", "to%20%231%3F%25%22%3C.wav"}
    assert all(address.startswith("file:///") for address in tab.requests)
    assert tab.complaints == []


def test_hostile_text_is_shown_and_does_not_run(opened):
    evil = " ".join(EVIL).replace("\x00", "")
    about = Recording(f"talks/{evil}", evil, evil, speakers=True)
    segments = [
        said(1.0, evil, evil, translation=evil, flags=(evil, "overlap")),
        Segment(9.0, 10.0, evil, speaker=evil + "2"),
    ]
    tab = opened(*segments, about=about, error=evil)
    tab.key("/")
    tab.type("<img src")
    tab.wait("count.textContent")
    assert tab.run("typeof pwned") == "undefined"
    assert tab.complaints == []
    assert len(set(tab.requests)) == 2
    assert tab.run("document.querySelectorAll('img, iframe, #text script, #text style').length") == 0
    # JavaScript shows halves of surrogate pairs as they are, JSON of this protocol cannot.
    shown = "document.querySelector({}).textContent === {}"
    told = json.dumps(evil)
    assert tab.run(shown.format("'.said'", told))
    assert tab.run(shown.format("'.translation'", told))
    assert tab.run(shown.format("'.who'", told))
    assert tab.run(shown.format("'.name bdi'", told))
    assert tab.run(f"trouble.textContent.endsWith({told}) && facts.textContent.includes({told})")
    assert tab.run("document.querySelectorAll('.part').length") == 2


INJECTED = {
    "a script": "<script>pwned = 1</script>",
    "a handler": "<img src=x onerror='pwned = 1'><svg onload='pwned = 1'></svg>",
    "an address": "<iframe src='javascript:parent.pwned = 1'></iframe>",
    "a style": "<style>body { color: rgb(1, 2, 3) !important }</style>",
    "elsewhere": (
        "<script src='https://example.org/a.js'></script><img src='https://example.org/a.png'>"
        "<link rel=stylesheet href='https://example.org/a.css'><audio src='https://example.org/a.wav'></audio>"
        "<iframe src='https://example.org/'></iframe><object data='https://example.org/'></object>"
    ),
}


@pytest.mark.parametrize("what", INJECTED)
def test_the_policy_holds_where_escaping_would_not(browser, make, what):
    """As if somebody's words had become elements of the page."""
    page = make(name="-")
    text = page.read_text()
    assert "<main" in text
    page.write_text(text.replace("<main", INJECTED[what] + "<main"))
    tab = browser.open(page)
    tab.wait("document.querySelectorAll('.part').length")
    assert tab.run("typeof pwned") == "undefined"
    assert tab.run("getComputedStyle(document.body).color") != "rgb(1, 2, 3)"
    # A frame that is refused shows an icon that the browser has in itself.
    assert {address for address in tab.requests if not address.startswith("data:")} == {page.as_uri()}
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)


def test_a_script_could_send_nothing_and_make_no_elements_of_text(opened):
    tab = opened(name="-")
    own = tab.requests
    for attempt in (
        "fetch('https://example.org/')",
        "new Promise((good, bad) => { const r = new XMLHttpRequest(); r.onload = good; r.onerror = bad;"
        " r.open('GET', 'https://example.org/'); r.send() })",
        "Promise.resolve().then(() => (document.body.innerHTML = '<b>'))",
        "Promise.resolve().then(() => Function('return 1')())",
    ):
        assert tab.run(f"{attempt}.then(() => 'done', () => 'refused')") == "refused", attempt
    assert tab.requests == own
    assert set(tab.refused) == {"https://example.org/"}


# ---- playing ------------------------------------------------------------------------------------


def test_a_click_on_a_word_plays_from_there_and_words_are_lit(opened):
    tab = opened()
    tab.click("[...document.querySelectorAll('.w')].find((word) => word.textContent === 'booth,')")
    assert tab.run("!sound.paused")
    assert 5.99 < tab.run(NOW) < 6.9
    tab.wait(f"{LIT}.includes('said')")
    assert tab.run("play.getAttribute('aria-label')") == "Pause"
    tab.click("#play")
    tab.wait("sound.paused")


def test_the_words_of_a_moment_are_lit(opened):
    """Also where several people speak at once; compared with a look at all words."""
    chance = random.Random(1)
    talk = sorted(
        (said(chance.uniform(0, 25), f"a{k} b{k} c{k} d{k}", chance.choice("ABC")) for k in range(20)),
        key=lambda segment: segment.start,
    )
    tab = opened(*talk)
    words = [word for segment in talk for word in segment.words]
    lit = 0
    for _ in range(25):
        moment = round(chance.uniform(0, 30), 2)
        wanted = {w.text for w in words if w.start <= moment < w.end}
        near = {w.text for w in words if min(abs(w.start - moment), abs(w.end - moment)) < 0.02}
        tab.run(
            f"new Promise((done) => {{ sound.onseeked = () => setTimeout(done, 0); "
            f"sound.currentTime = {moment} }})"
        )
        assert set(tab.run(LIT)) - near == wanted - near
        lit += len(wanted)
    assert lit > 10


def test_what_is_said_stays_in_sight_unless_somebody_scrolls(opened):
    tab = opened(*(said(k, f"w{k} x{k}", "Anna") for k in range(39)), height=500)
    seen = (
        "(() => { const box = document.querySelector('.w.now, .part.now').getBoundingClientRect();"
        " return box.top > player.getBoundingClientRect().bottom && box.bottom < innerHeight })()"
    )
    tab.run("sound.currentTime = 36; sound.play()")
    tab.wait(f"{NOW} > 36.2 && {seen}")
    assert tab.run("scrollY") > 500
    tab.run("dispatchEvent(new WheelEvent('wheel')); scrollTo(0, 0)")
    assert tab.run("follow.checked") is False
    tab.wait(f"{NOW} > 37.2")
    assert tab.run("scrollY") == 0


def test_the_waveform_and_the_lanes_are_drawn_and_go_where_one_clicks(opened):
    tab = opened()
    columns = (
        "((c) => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
        " for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n })"
    )
    drawn = tab.run(f"[...document.querySelectorAll('canvas')].map({columns})")
    assert len(drawn) == 2 + 3  # the waveform, also as played; a lane a voice
    assert all(count > 50 for count in drawn)
    names = tab.run("[...document.querySelectorAll('.name bdi')].map((name) => name.textContent)")
    assert names == ["Anna", "Bertram", "Carla"]
    tab.click("#wave", across=0.5)
    assert abs(tab.run(NOW) - SECONDS / 2) < 0.2
    tab.click(".lane:last-child .track", across=0.26)
    assert abs(tab.run(NOW) - SECONDS * 0.26) < 0.2
    assert tab.run(PART) == TALK[3].text
    tab.click(".lane .name")
    assert tab.run(NOW) == pytest.approx(14.0, abs=0.01)
    assert tab.run("sound.paused")
    assert tab.run("wave.getAttribute('aria-valuetext')") == "0:14 of 0:40"


@pytest.mark.parametrize("count", [1, 3, 30])
def test_lanes_and_waveform_show_the_same_times(opened, count):
    talk = [said(k, "so it is", f"Speaker {k + 1}") for k in range(count)]
    tab = opened(*talk, name="-", height=600)
    tracks = (
        "[...document.querySelectorAll('.track')]"
        ".map((t) => t.getBoundingClientRect()).map((b) => [b.x, b.width])"
    )
    places = tab.run(tracks)
    assert len(places) == 1 + count
    assert len(set(map(tuple, places))) == 1
    assert tab.run("lanes.getBoundingClientRect().height") <= 0.31 * 600


def test_keys(opened):
    tab = opened()

    def at() -> float:
        return round(float(tab.run(NOW)), 2)

    tab.key("ArrowDown")
    assert at() == 1.0
    tab.key("ArrowDown")
    tab.key("ArrowRight")
    assert at() == 9.0
    tab.key("ArrowLeft")
    tab.key("ArrowUp")
    assert at() == 1.0
    tab.key(".")
    assert at() == 1.5
    tab.key(",")
    assert at() == 1.0
    tab.key("u")
    tab.key("u")
    assert at() == 6.5
    tab.key("U", shift=True)
    assert at() == 2.5
    tab.key(" ")
    tab.wait(f"!sound.paused && {NOW} > 2.6")
    tab.key(" ")
    tab.wait("sound.paused")
    tab.key("f")
    assert tab.run("follow.checked") is False
    tab.key("?")
    assert tab.run("keys.open") is True
    tab.key("Escape")
    assert tab.run("keys.open") is False
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.run(paper)
    tab.key("t")
    assert tab.run(paper) != light
    tab.key("t")
    assert tab.run(paper) == light
    assert tab.complaints == []


def test_dark_where_the_system_is(opened):
    paper = "getComputedStyle(document.body).backgroundColor"
    brightness = [
        sum(map(int, re.findall(r"\d+", opened(name="-", dark=dark).run(paper)))) for dark in (False, True)
    ]
    assert brightness[0] > 700
    assert brightness[1] < 100


# ---- reading ------------------------------------------------------------------------------------


def test_unsure_words_flags_and_translations_are_shown(opened):
    tab = opened(name="-")
    unsure = "[...document.querySelectorAll('.unsure')].map((word) => [word.textContent, word.title])"
    assert tab.run(unsure) == [["Käthe?", "probability 0.31"], ["hundred?", "probability 0.31"]]
    shade = "getComputedStyle(document.querySelector('.unsure')).backgroundColor"
    shaded = tab.run(shade)
    tab.click("#shade")
    assert tab.run(shade) != shaded
    notes = tab.run("[...document.querySelectorAll('.notes span')].map((note) => note.textContent)")
    assert notes == ["overlap", "unreliable"]
    assert tab.run("document.querySelector('.translation').textContent") == "That is too much."
    assert tab.run("[...document.querySelectorAll('.said')].map((p) => p.textContent)") == [
        segment.text for segment in TALK
    ]


def test_search(opened):
    tab = opened(name="-")

    def search(text: str) -> str:
        tab.run(f"{FIELD}.value = ''; {FIELD}.blur()")
        tab.key("/")
        tab.type(text)
        return str(tab.wait("new Promise((done) => setTimeout(() => done(count.textContent), 200))"))

    assert search("NINE  hundred") == "1 of 2"
    assert tab.run(HERE) == "Nine hundred"
    tab.key("Enter")
    assert tab.run(HERE) == "Nine hundred?"
    tab.key("Enter")
    assert (tab.run("count.textContent"), tab.run(HERE)) == ("1 of 2", "Nine hundred")
    tab.key("Enter", shift=True)
    assert tab.run("count.textContent") == "2 of 2"
    assert search("kathe") == "1 of 2"
    assert search("too") == "1 of 1"
    assert search("viel. that is") == "1 of 1"
    assert search("zeppelin") == "no hit"
    assert tab.run("document.querySelectorAll('.hit').length") == 0
    tab.key("t")  # a letter, not a key
    assert tab.run(f"{FIELD}.value") == "zeppelint"
    tab.key("Escape")
    assert tab.run(f"{FIELD}.value + count.textContent") == ""


def test_without_sound_a_click_shows_the_time(opened):
    tab = opened(name="-")
    assert tab.run("play.disabled")
    assert "no sound" in tab.run("silent.textContent")
    tab.click("[...document.querySelectorAll('.w')].find((word) => word.textContent === 'agree:')")
    assert tab.run("now.textContent") == "0:15"
    assert tab.run(LIT) == ["agree:"]
    tab.key(".")
    assert tab.run(LIT) == ["nine"]


def test_a_recording_that_is_gone_is_told(browser, make, tmp_path):
    page = make(name="talk <b>.wav")
    (tmp_path / "talk <b>.wav").unlink()
    tab = browser.open(page)
    tab.wait("play.disabled")
    assert "talk <b>.wav does not play" in tab.run("silent.textContent")
    tab.click(".w")
    assert tab.run(LIT) == ["Shall"]


@pytest.mark.parametrize(
    "text", ["W" * 400, "word " * 80, "今日は天気がいいですね。" * 20, "שלום עולם " * 30]
)
def test_nothing_is_wider_than_a_phone(opened, text):
    about = Recording("n" * 200, "English", "m" * 90, speakers=True)
    tab = opened(said(1.0, text, "S" * 90), name="-", about=about, width=360, height=700, phone=True)
    assert tab.run("document.documentElement.scrollWidth") <= 360
    assert tab.run("document.querySelector('.said').textContent.length") == len(text.rstrip())


def test_right_to_left_text_begins_at_the_right(opened):
    tab = opened(said(1.0, "שלום עולם"), name="-")
    first, second = tab.run("[...document.querySelectorAll('.w')].map((w) => w.getBoundingClientRect().x)")
    assert first > second > 500


# ---- a run --------------------------------------------------------------------------------------


def test_a_page_of_a_run(cli, browser, tmp_path):
    """The bundled recording, which is short enough to be in the page."""
    import gemma_audio_cli

    sample = Path(gemma_audio_cli.__file__).parent / "demo" / "sample.wav"
    done = cli("transcribe", "-q", "-m", "demo", "-f", "html", "-o", "page.html", sample)
    assert (done.code, done.out, done.err) == (0, "", "")
    tab = browser.open(tmp_path / "page.html")
    tab.wait("sound.readyState >= 1")
    assert tab.run("document.title") == "sample.wav"
    assert abs(tab.run("sound.duration") - 4.141) < 0.01
    tab.click("[...document.querySelectorAll('.w')][3]")
    tab.wait(f"{LIT}.join() === '9'")
    assert (
        tab.run("[...document.querySelectorAll('.w')].map((word) => word.textContent).join('')") == "417392"
    )
    assert tab.complaints == []
