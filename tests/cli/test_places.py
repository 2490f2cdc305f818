"""Where results go, under which names, and what is reported of names that lead nowhere."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "gemma_audio_cli" / "demo" / "sample.wav"
DIGITS = (ROOT / "gemma_audio_cli" / "demo" / "sample.txt").read_text().strip()
DEMO = ("-m", "demo")

posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")


@pytest.fixture
def environment(environment):
    """Speech detection as people have it."""
    return {key: value for key, value in environment.items() if key != "GEMMA_AUDIO_VAD"}


@pytest.fixture
def shell(environment, tmp_path):
    """A command line of a shell; "$@" is gemma-audio."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", line, "sh", sys.executable, "-m", "gemma_audio_cli"],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def sample(tmp_path) -> Path:
    return Path(shutil.copy(SAMPLE, tmp_path / "sample.wav"))


def one_line(err: str) -> str:
    (line,) = err.splitlines()
    assert line.startswith("gemma-audio: ")
    return line


# ---- standard output by its other names ----------------------------------------------------------


@posix
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link", "-"])
def test_a_name_of_standard_output_is_appended_to(shell, sample, tmp_path, name):
    if name.startswith("/") and not Path(name).exists():
        pytest.skip(f"no {name} here")
    (tmp_path / "link").symlink_to("/dev/stdout")
    command = f'"$@" transcribe -q -m demo -f srt -o {name} sample.wav'
    done = shell(f"echo before > log; {{ {command}; echo after; }} >> log")
    assert (done.returncode, done.stderr) == (0, "")
    log = (tmp_path / "log").read_text().splitlines()
    assert (log[0], log[-1]) == ("before", "after")
    assert DIGITS in log
    piped = shell(f"{command} | cat")
    assert piped.stdout.splitlines() == log[1:-1]
    assert [p.name for p in tmp_path.glob("*.tmp")] == []


@posix
@pytest.mark.parametrize(("name", "redirection"), [("/dev/stderr", "2>>"), ("/dev/fd/3", "3>>")])
def test_what_else_is_open_is_appended_to(shell, sample, tmp_path, name, redirection):
    done = shell(f'echo before > log; "$@" transcribe -q -m demo -o {name} sample.wav {redirection} log')
    assert done.returncode == 0
    assert (tmp_path / "log").read_text() == f"before\n{DIGITS}\n"


@posix
def test_a_process_substitution_gets_the_results(environment, sample, tmp_path):
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"{sys.executable} -m gemma_audio_cli transcribe -q -m demo -o >(cat > got) sample.wav; wait $!",
        ],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert (tmp_path / "got").read_text() == f"{DIGITS}\n"


@posix
@pytest.mark.parametrize(
    "command", ["transcribe -m demo sample.wav", "--help", "--version", "config show", "models list"]
)
def test_a_standard_output_that_is_closed_is_an_error(shell, sample, command):
    done = shell(f'"$@" {command} -q >&-' if "sample" in command else f'"$@" {command} >&-')
    assert done.returncode == 1
    assert "standard output is closed" in one_line(done.stderr)


@posix
def test_a_closed_standard_output_does_not_matter_where_nothing_is_printed(shell, sample, tmp_path):
    assert shell('"$@" transcribe -q -m demo -o out.txt sample.wav >&-').returncode == 0
    assert (tmp_path / "out.txt").read_text() == f"{DIGITS}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command", ["--help", "transcribe --help", "--version", "config path", "models list --json"]
)
def test_a_full_disk_is_one_line_for_every_command(shell, command):
    done = shell(f'"$@" {command} > /dev/full')
    assert done.returncode == 1
    assert "cannot write the results: No space left on device" in one_line(done.stderr)


# ---- names ---------------------------------------------------------------------------------------


def test_a_name_is_cut_only_where_it_does_not_fit(cli, tmp_path):
    stem = "日本語" * 27 + "12345678"  # 251 bytes: with .srt they are 255
    shutil.copy(SAMPLE, tmp_path / f"{stem}.wav")
    assert cli("transcribe", *DEMO, "-f", "srt", "-o", "subs/", f"{stem}.wav").code == 0
    assert os.listdir(tmp_path / "subs") == [f"{stem}.srt"]
    assert cli("transcribe", *DEMO, "-f", "json", "-o", "more/", f"{stem}.wav").code == 0
    (cut,) = os.listdir(tmp_path / "more")
    assert cut.startswith("日本語" * 26)
    assert len(os.fsencode(cut)) in range(250, 256)
    again = cli("transcribe", *DEMO, "-f", "json", "-o", "more/", "--resume", f"{stem}.wav")
    assert (again.code, os.listdir(tmp_path / "more")) == (0, [cut])


def test_what_is_kept_of_a_long_name_has_room_for_its_ending(cli, tmp_path):
    stem = "x" * 250
    data = SAMPLE.read_bytes()
    (tmp_path / f"{stem}.wav").write_bytes(data[: len(data) * 3 // 4])
    assert cli("transcribe", *DEMO, "-o", "out/", f"{stem}.wav").code == 1
    (kept,) = os.listdir(tmp_path / "out")
    assert kept.endswith(".partial")
    shutil.copy(SAMPLE, tmp_path / f"{stem}.wav")
    assert cli("transcribe", *DEMO, "-o", "out/", f"{stem}.wav").code == 0
    assert os.listdir(tmp_path / "out") == [f"{stem}.txt"]


@posix
@pytest.mark.parametrize("arguments", [("x.wav", "y.wav"), ("-r", ".")], ids=["named", "walked"])
def test_each_name_of_a_recording_gets_its_results(cli, sample, tmp_path, arguments):
    sample.rename(tmp_path / "x.wav")
    os.link(tmp_path / "x.wav", tmp_path / "y.wav")
    (tmp_path / "z.wav").symlink_to("x.wav")
    assert cli("transcribe", *DEMO, *arguments, "-f", "srt", "-o", "subs/").code == 0
    assert sorted(os.listdir(tmp_path / "subs")) == ["x.srt", "y.srt"]


@pytest.mark.parametrize("name", ["x.md", "x.csv", "x.docx", "x.srtt"])
def test_an_extension_of_no_format_is_reported(cli, sample, tmp_path, name):
    done = cli("transcribe", *DEMO, "-o", name, sample)
    assert (done.code, done.out) == (2, "")
    line = one_line(done.err)
    assert all(f".{ending}" in line for ending in ("txt", "srt", "vtt", "ass", "lrc", "json", "tsv"))
    assert not (tmp_path / name).exists()
    assert cli("transcribe", "-q", *DEMO, "-o", name, "-f", "text", sample).code == 0
    assert (tmp_path / name).read_text() == f"{DIGITS}\n"


@pytest.mark.parametrize(
    ("name", "begins"), [("x.lrc", "[re:"), ("x.ass", "[Script Info]"), ("x.vtt", "WEBVTT")]
)
def test_an_extension_names_its_format(cli, sample, tmp_path, name, begins):
    assert cli("transcribe", *DEMO, "-o", name, sample).code == 0
    text = (tmp_path / name).read_text()
    assert text.startswith(begins)
    assert DIGITS in text


def test_formats_in_a_list_and_all_of_them(cli, sample, tmp_path):
    assert cli("transcribe", *DEMO, "-f", "srt,vtt", "-o", "two", sample).code == 0
    assert sorted(os.listdir(tmp_path / "two")) == ["sample.srt", "sample.vtt"]
    assert cli("transcribe", *DEMO, "-f", "all", "-o", "all", sample).code == 0
    endings = sorted(path.name.partition(".")[2] for path in (tmp_path / "all").iterdir())
    assert endings == sorted(("txt", "srt", "vtt", "ass", "lrc", "json", "jsonl", "tsv", "words.tsv", "html"))
    assert "name a folder" in one_line(cli("transcribe", *DEMO, "-f", "srt,vtt", sample).err)


# ---- what is in use is not replaced ---------------------------------------------------------------


@pytest.mark.parametrize("which", ["text", "mmproj", "link", "recording"])
def test_a_file_of_the_run_is_not_replaced(cli, sample, tmp_path, demo_model, which):
    text, mmproj = tmp_path / "model.gguf", tmp_path / "mmproj.gguf"
    shutil.copy(demo_model.text, text)
    shutil.copy(demo_model.mmproj, mmproj)
    (tmp_path / "link").symlink_to(text)
    target = {"text": text, "mmproj": mmproj, "link": tmp_path / "link", "recording": sample}[which]
    before = target.read_bytes()
    for command in (("transcribe", sample), ("live", "-q", "--overwrite", sample)):
        done = cli(command[0], "-m", text, "--mmproj", mmproj, "-f", "text", "-o", target, *command[1:])
        assert (done.code, done.out) == (2, "")
        assert target.name in one_line(done.err)
    assert target.read_bytes() == before


@posix
@pytest.mark.parametrize(("formats", "limit"), [("json", 20), ("text,json", 200), ("all", 0)])
def test_a_disk_full_in_the_last_moment_leaves_nothing(
    not_covered, sample, tmp_path, environment, formats, limit
):
    """The limit is hit by the last flush: all of a small file is still in the buffer until then."""
    command = [sys.executable, "-m", "gemma_audio_cli", "transcribe", "-q", *DEMO, "-f", formats]
    done = subprocess.run(
        [*command, "-o", "out/", sample],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1
    assert "File too large; make room" in one_line(done.stderr)
    # What is written whole beside it may be kept, as what it is.
    assert all(name.endswith(".partial") for name in os.listdir(tmp_path / "out"))


# ---- names that lead nowhere ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("https://example.org/talk.mp3", "curl -L https://example.org/talk.mp3 | gemma-audio transcribe -"),
        ("HTTP://example.org/a?b=c&d=e", "curl -L 'HTTP://example.org/a?b=c&d=e' | gemma-audio transcribe -"),
        ("rtsp://camera/1", "ffmpeg -i rtsp://camera/1 -f wav - | gemma-audio transcribe -"),
        ("file://elsewhere/a.wav", "another machine"),
        ("file:///no/such%20file.wav", "/no/such file.wav: no such file"),
    ],
)
def test_an_address_is_answered_with_how_its_sound_gets_here(cli, sample, name, part):
    done = cli("transcribe", "-q", *DEMO, name, sample)
    assert done.code == 1
    assert part in one_line(done.err)
    assert DIGITS in done.out  # the others are done
    assert part in one_line(cli("ask", "-q", *DEMO, "What?", name).err)


@posix
@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "file:{}", "FILE://{}"])
def test_an_address_of_a_file_is_its_path(cli, tmp_path, form):
    from urllib.parse import quote

    path = Path(shutil.copy(SAMPLE, tmp_path / "a b #1 100% ü.wav"))
    done = cli("transcribe", "-q", *DEMO, form.format(quote(str(path))))
    assert (done.code, done.out, done.err) == (0, f"{DIGITS}\n", "")
    done = cli("transcribe", "-q", *DEMO, form.format(quote(str(path))), "-o", "out/")
    assert os.listdir(tmp_path / "out") == [f"{path.stem}.txt"]


# ---- nothing is heard -----------------------------------------------------------------------------


def sounds(folder: Path) -> dict[str, Path]:
    """Recordings in which nobody speaks."""
    noise = np.random.default_rng(0).standard_normal(16_000 * 6).astype(np.float32)
    made = {
        "silence": np.zeros(32_000, np.float32),
        "nothing": np.zeros(1, np.float32),
        "noise": 0.02 * noise,
        "moment": soundfile.read(SAMPLE, dtype="float32")[0][8000:8016],
    }
    for name, samples in made.items():
        soundfile.write(folder / f"{name}.wav", samples, 16_000)
    return {name: folder / f"{name}.wav" for name in made}


@pytest.mark.parametrize("name", ["silence", "nothing", "noise", "moment"])
def test_of_nothing_nothing_is_answered(cli, tmp_path, name):
    path = sounds(tmp_path)[name]
    asked = cli("ask", *DEMO, "What is the last digit?", path)
    assert (asked.code, asked.out) == (0, "")
    assert f"{path}: no speech was heard" in one_line(asked.err)
    transcribed = cli("transcribe", *DEMO, path)
    assert (transcribed.code, transcribed.out) == (0, "")
    assert f"{path}: no speech was heard" in one_line(transcribed.err)


def test_other_sounds_can_be_asked_about(cli, tmp_path):
    found = sounds(tmp_path)
    done = cli("ask", *DEMO, "--no-vad", "How loud is it?", found["noise"])
    assert done.code == 0
    assert "no speech" not in done.err
    assert done.out.strip() or "gave no answer" in done.err
    for name in ("silence", "nothing"):
        done = cli("ask", *DEMO, "--no-vad", "How loud is it?", found[name])
        assert (done.code, done.out) == (0, "")
        assert "no speech was heard" in one_line(done.err)


def test_speech_that_comes_late_is_asked_about_with_all_before_it(cli, tmp_path):
    speech = soundfile.read(SAMPLE, dtype="float32")[0]
    late = np.concatenate((np.zeros(3 * 16_000, np.float32), speech))
    soundfile.write(tmp_path / "late.wav", late, 16_000)
    done = cli("ask", *DEMO, "How many digits are spoken?", tmp_path / "late.wav")
    assert (done.code, done.err) == (0, "")
    assert done.out.strip()


# ---- the threshold of speech ----------------------------------------------------------------------


def test_the_threshold_of_speech_is_an_option_and_a_setting(cli, sample, tmp_path):
    def heard(*options: object, env: dict[str, str] | None = None) -> str:
        done = cli("transcribe", "-q", *DEMO, *options, sample, env=env)
        assert done.code == 0
        return done.out.strip()

    assert heard() == heard("--vad-threshold", 0.5) == DIGITS
    none = len(heard("--vad-threshold", 0.95)), len(heard(env={"GEMMA_AUDIO_VAD_THRESHOLD": "0.95"}))
    assert none[0] == none[1]
    for wrong in ("0", "1.2", "nan", "much"):
        assert cli("transcribe", *DEMO, "--vad-threshold", wrong, sample).code == 2
        done = cli("transcribe", *DEMO, sample, env={"GEMMA_AUDIO_VAD_THRESHOLD": wrong})
        assert done.code == 2
        assert "from 0.05 to 0.95" in one_line(done.err)
    assert cli("live", "-q", *DEMO, "--vad-threshold", "0.4", sample).out.strip() == DIGITS
