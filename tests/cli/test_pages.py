"""`-f html`: a page where other formats would be, with the recording that it plays."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import gemma_audio_cli

DEMO = ("-q", "-m", "demo")
DIGITS = ["4", "1", "7", "3", "9", "2"]


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The bundled recording: six digits."""
    return Path(shutil.copy(Path(gemma_audio_cli.__file__).parent / "demo" / "sample.wav", tmp_path))


def data(page: str, name: str) -> Any:
    """A value that the page carries."""
    found = re.search(rf'<script type="application/json" id="{name}">\n(.*)\n</script>', page)
    assert found
    return json.loads(found[1])


def words(page: str) -> list[str]:
    """The words whose times it knows."""
    return [word["word"] for segment in data(page, "transcript")["segments"] for word in segment["words"]]


def test_pages_of_several_recordings(cli, sample, tmp_path):
    """One short enough to be in its page, one beside."""
    samples, rate = soundfile.read(sample, dtype="int16")
    long = tmp_path / "a talk #2.wav"
    soundfile.write(long, np.repeat(samples, 20), rate * 20)
    done = cli("transcribe", *DEMO, "-f", "html", "-o", "pages/of today/", sample, long)
    assert (done.code, done.out, done.err) == (0, "", "")
    pages = {path.name: path.read_text() for path in (tmp_path / "pages" / "of today").iterdir()}
    assert sorted(pages) == ["a talk #2.html", "sample.html"]
    for page in pages.values():
        assert words(page) == DIGITS
        waveform = data(page, "about")["waveform"]
        assert max(waveform["peaks"]) == 255
        assert len(waveform["peaks"]) * waveform["step"] == pytest.approx(4.141, abs=0.03)
    assert data(pages["sample.html"], "about")["sound"]["src"].startswith("data:audio/wav;base64,UklGR")
    assert data(pages["a talk #2.html"], "about")["sound"] == {
        "src": "../../a%20talk%20%232.wav",
        "name": "a talk #2.wav",
    }


def test_a_page_on_standard_output(cli, sample):
    done = cli("transcribe", *DEMO, "-f", "html", "--start", 1.4, sample)
    assert (done.code, done.err) == (0, "")
    assert words(done.out) == DIGITS[2:]
    assert data(done.out, "about")["waveform"]["start"] == 1.4
    refused = cli("transcribe", *DEMO, "-f", "html", sample, shutil.copy(sample, sample.with_name("b.wav")))
    assert (refused.code, refused.out) == (2, "")
    assert "html of several recordings cannot share standard output" in refused.err


def test_a_stream_has_a_page_without_sound(cli, sample):
    done = cli("transcribe", *DEMO, "-f", "html", "-", stdin=sample.read_bytes())
    assert (done.code, done.err) == (0, "")
    assert words(done.out) == DIGITS
    assert data(done.out, "about")["sound"] is None


def test_what_was_heard_live_as_a_page(cli, sample, tmp_path):
    assert cli("live", *DEMO, "-o", "live.html", sample).code == 0
    page = (tmp_path / "live.html").read_text()
    assert words(page) == DIGITS
    about = data(page, "about")
    assert (about["waveform"], about["sound"]["name"]) == (None, "sample.wav")


def test_a_recording_that_breaks_off_leaves_a_page_that_says_so(cli, sample, tmp_path):
    samples, rate = soundfile.read(sample, dtype="int16")
    whole = tmp_path / "whole.flac"
    soundfile.write(whole, np.tile(samples, 12), rate)
    broken = tmp_path / "broken.flac"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
    done = cli("transcribe", *DEMO, "-f", "html", "-o", "out/", broken)
    assert done.code == 1
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "broken.html.partial"
    transcript = data(path.read_text(), "transcript")
    assert transcript["error"] in done.err
    assert len(transcript["segments"]) >= 2
