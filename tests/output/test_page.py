"""Pages: whole and closed, whatever is said in them. test_page_browser.py shows them to a browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.output import Recording, Segment, Style, open_writer
from gemma_audio_cli.output.as_json import transcript_as_dict
from gemma_audio_cli.output.page.sound import MOST_INSIDE, sound_of
from gemma_audio_cli.output.page.writer import PageWriter
from gemma_audio_cli.output.unsure import Unsure
from gemma_audio_cli.transcript import TIMES_ESTIMATED, Transcript, Waveform, Word

EVIL = (
    "</script><script>pwned = 1</script>",
    "<img src=x onerror=pwned=1>",
    "<!-- <script>",
    "-->",
    "]]>",
    "\u2028\u2029",
    "\"'`&amp;&#60;",
    "{{script}} {{title}}",
    "\ud800",
    "\udcff",
    "\u202egnp.exe\u2066",
    "\x00\x1b[31m",
    "\\u003c",
)
"""What strangers may say, or call their files."""

texts = st.lists(st.sampled_from(EVIL) | st.text(max_size=12), max_size=6).map(" ".join)


class Reading(HTMLParser):
    """A page as another reader of HTML sees it: elements, and the text that each begins with."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._open = False
        self.policy = ""
        """What the policy says, by directive."""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        self.tags.append(f"{tag}#{about.get('id', '')}")
        self.texts.append("")
        self._open = True
        if about.get("http-equiv") == "Content-Security-Policy":
            self.policy = about["content"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[-1] += data

    def text(self, tag: str) -> str:
        """What stands in the only element of this tag and id."""
        (found,) = (text for name, text in zip(self.tags, self.texts, strict=True) if name == tag)
        return found

    def data(self, name: str) -> dict[str, object]:
        """The value of one of the two elements with data."""
        found: dict[str, object] = json.loads(self.text(f"script#{name}"))
        return found


def page(
    *segments: Segment,
    recording: Recording = Recording("a.wav"),
    error: str | None = None,
    waveform: Waveform | None = None,
    style: Style | None = None,
    **where: object,
) -> str:
    out = io.StringIO()
    writer = open_writer("html", out, style=style, **where)  # type: ignore[arg-type]
    assert isinstance(writer, PageWriter)
    writer.begin(recording)
    for segment in segments:
        writer.segment(segment)
    if waveform is not None:
        writer.waveform(waveform)
    writer.end(error, duration=3.0)
    return out.getvalue()


def spoken(text: str, **more: object) -> Segment:
    """A segment in which each word takes a second."""
    words = tuple(Word(word, k, k + 0.9, 0.9) for k, word in enumerate(text.split()))
    return Segment(0.0, max(1.0, len(words)), text, words=words, **more)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(texts, texts, texts, texts, texts)
def test_nothing_that_is_said_changes_the_page(said, speaker, translation, name, error):
    recording = Recording(name, "German", "m.gguf", speakers=True)
    segment = spoken(said, speaker=speaker or None, translation=translation, flags=("overlap", said))
    found = Reading(page(segment, recording=recording, error=error or None))
    plain = Reading(page(spoken("hello")))
    assert found.tags == plain.tags
    assert found.policy == plain.policy
    assert [found.text(tag) for tag in ("style#", "script#")] == [
        plain.text(tag) for tag in ("style#", "script#")
    ]
    transcript = Transcript(name, 3.0, "German", "m.gguf", (segment,), error or None)
    assert found.data("transcript") == json.loads(json.dumps(transcript_as_dict(transcript)))
    assert found.data("about")["voices"] == ([speaker] if speaker else [])


@pytest.mark.parametrize("name", [*EVIL, "a\nb.wav", "talks/<b>&amp;.wav"])
def test_the_title_is_text_that_is_safe_to_show(name):
    reading = Reading(page(spoken("hello"), recording=Recording(name)))
    title = reading.text("title#")
    assert title == reading.text("h1#").strip()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", title)
    assert title


def test_the_policy_allows_the_style_the_script_and_the_sound_alone(tmp_path):
    recording = tmp_path / "a.wav"
    recording.write_bytes(b"RIFF")
    reading = Reading(page(spoken("hello"), source=str(recording), folder=tmp_path))
    allowed = dict(rule.split(" ", 1) for rule in reading.policy.split("; "))
    for kind in ("style", "script"):
        digest = hashlib.sha256(reading.text(f"{kind}#").encode()).digest()
        assert allowed.pop(f"{kind}-src") == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert allowed == {
        "default-src": "'none'",
        "media-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert "media-src" not in Reading(page(spoken("hello"))).policy
    recording.write_bytes(bytes(MOST_INSIDE + 1))
    beside = Reading(page(spoken("hello"), source=str(recording), folder=tmp_path))
    assert "; media-src 'self' file:; " in beside.policy


def test_what_the_page_knows_beside_the_transcript():
    segments = [
        spoken("one", channel=2),
        Segment(1.0, 2.0, "two", channel=1, words=(Word("two", 1.0, 2.0, 0.4, TIMES_ESTIMATED),)),
        spoken("three", channel=2),
        spoken("four"),
    ]
    recording = Recording("a.wav", split_channels=True, labels={1: "Track 1 (eng)"})
    about = Reading(page(*segments, recording=recording, waveform=Waveform(1.5, 0.02, (0, 255)))).data(
        "about"
    )
    assert about == {
        "voices": ["Channel 2", "Track 1 (eng)"],
        "by": [0, 1, 0, None],
        "below": 0.5,
        "estimated": True,
        "sound": None,
        "waveform": {"start": 1.5, "step": 0.02, "peaks": [0, 255]},
    }
    unsure = Style(unsure=Unsure(0.25))
    assert Reading(page(spoken("one"), style=unsure)).data("about")["below"] == 0.25


def test_an_error_is_part_of_the_page_and_nothing_is_no_page():
    assert page(error="the disk is gone") == ""
    assert Reading(page(spoken("one"), error="the disk is gone")).data("transcript")["error"] == (
        "the disk is gone"
    )


# ---- sound --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not allow")
@pytest.mark.parametrize("folder", ["", "..", "pages/of <today>", "#?"])
@pytest.mark.parametrize(
    "name",
    [
        b"plain.wav",
        b"a b.wav",
        b"#?%\"<>&'.wav",
        b"100%25.wav",
        b"https:example.org.wav",
        b"-\n\\.wav",
        "gr\u00fc\u00df.wav".encode(),
        b"not\xffutf8.wav",
    ],
)
def test_the_address_leads_from_the_page_to_the_recording(tmp_path, folder, name):
    recordings = tmp_path / "my talks"
    recordings.mkdir()
    recording = recordings / os.fsdecode(name)
    recording.write_bytes(bytes(MOST_INSIDE + 1))
    where = Path(os.path.normpath(recordings / folder))
    sound = sound_of(recording, where)
    assert sound is not None
    assert re.fullmatch(r"[\w.~%/-]+", sound.address, re.A)
    reached = urlsplit(urljoin((where / "page.html").as_uri(), sound.address))
    assert (reached.scheme, reached.netloc, reached.query, reached.fragment) == ("file", "", "", "")
    assert unquote_to_bytes(reached.path) == os.fsencode(recording)


def test_short_recordings_of_kinds_that_browsers_play_are_in_the_page(tmp_path):
    def sound(name, size):
        (tmp_path / name).write_bytes(bytes(size))
        found = sound_of(tmp_path / name, tmp_path)
        assert found is not None
        return found.address

    assert sound("a.wav", 3) == "data:audio/wav;base64,AAAA"
    assert sound("a.MP3", 3) == "data:audio/mpeg;base64,AAAA"
    assert sound("a.wav", MOST_INSIDE).startswith("data:")
    assert sound("a.wav", MOST_INSIDE + 1) == "a.wav"
    assert sound("a.amr", 3) == "a.amr"


@pytest.mark.parametrize("name", ["(stdin)", "live-2026-11-27", "", ".", "a\0b.wav"])
def test_no_file_no_sound(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert sound_of(name, tmp_path) is None


def test_standard_input_is_no_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-").write_bytes(b"RIFF")
    assert Reading(page(spoken("one"), source="-", folder=tmp_path)).data("about")["sound"] is None
