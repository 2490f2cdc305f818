"""Files are whole or absent, have names of their own, and are not made twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.transcripts import transcript_from_json

from gemma_audio_cli.errors import GemmaAudioError, UsageError
from gemma_audio_cli.filenames import stems
from gemma_audio_cli.files import remove_stale
from gemma_audio_cli.output import AtomicFile, OutputError, OutputPlan, Recording, Segment

ROOT = Path(__file__).resolve().parents[2]
SEGMENT = Segment(0.0, 1.0, "one two")
posix = pytest.mark.skipif(os.name == "nt", reason="POSIX only")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


# ---- AtomicFile ----------------------------------------------------------------------------------


def test_the_file_is_there_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    with AtomicFile(path) as file:
        file.write("zwei – 二\n")
        assert not path.exists()
    assert path.read_bytes() == "zwei – 二\n".encode()
    assert files(tmp_path) == ["a.txt"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), AtomicFile(path) as file:
        file.write("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert files(tmp_path) == ["a.txt"]


@posix
def test_modes_links_and_devices(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(real)
    with AtomicFile(link) as file:
        file.write("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o600
    with AtomicFile("/dev/null") as file:
        file.write("gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    umask = os.umask(0o022)
    try:
        with AtomicFile(tmp_path / "new.txt"):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "new.txt").stat().st_mode) == 0o644


def one_line(error: pytest.ExceptionInfo[GemmaAudioError], path: Path) -> str:
    text = str(error.value)
    assert error.value.exit_code == 1
    assert "\n" not in text
    assert text.startswith(f"{path}: cannot be written: ")
    assert "-o" in text
    return text


def test_what_cannot_be_written_is_reported_in_one_line(tmp_path):
    with pytest.raises(OutputError) as error:
        AtomicFile(tmp_path / "none" / "a.txt")
    assert "create the folder" in one_line(error, tmp_path / "none" / "a.txt")
    with pytest.raises(OutputError) as error:
        AtomicFile(tmp_path)
    one_line(error, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError) as error:
        OutputPlan(["a.wav"], tmp_path / "file" / "below").prepare()
    one_line(error, tmp_path / "file" / "below")


@posix
@pytest.mark.skipif(os.name != "nt" and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_one_may_not_write_in(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError) as error:
        OutputPlan(["a.wav"], tmp_path).prepare()
    one_line(error, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_device():
    with pytest.raises(OutputError, match="No space left on device; make room"), AtomicFile("/dev/full") as f:
        f.write("x")


FULL = """
import resource, signal, sys
from gemma_audio_cli.output import OutputError, OutputPlan, Recording, Segment
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
plan = OutputPlan(["a.wav"], sys.argv[1], ["text", "json"])
plan.prepare()
try:
    with plan.open(plan.items[0], sys.stdout) as out:
        out.begin(Recording("a.wav"))
        for n in range(2000):
            out.segment(Segment(n, n + 1, "one two three"))
        out.end()
except OutputError as error:
    print(error)
"""


@posix
def test_a_disk_that_fills_up_leaves_nothing_behind(not_covered, tmp_path):
    out, err = run(FULL, tmp_path).communicate(timeout=60)
    assert err == b""
    assert out.decode().startswith(f"{tmp_path / 'a.txt'}: cannot be written: File too large; make room")
    assert files(tmp_path) == []


def batch(sound: Path, folder: Path) -> None:
    """Every recording that is not done, in three formats."""
    plan = OutputPlan(sorted(sound.iterdir()), folder, ["srt", "json", "text"])
    plan.prepare()
    for item in plan.items:
        if not plan.is_done(item):
            with plan.open(item, sys.stdout) as out:
                out.begin(Recording(Path(item.input).name))
                for n in range(40):
                    out.segment(Segment(n, n + 1, f"segment {n} of {Path(item.input).stem}"))
                out.end(duration=40.0)


def check_whole(path: Path) -> None:
    """Every final file has all its segments."""
    text, last = path.read_text(), f"segment 39 of {path.stem}"
    if path.suffix == ".json":
        assert len(transcript_from_json(text).segments) == 40
    elif path.suffix == ".srt":
        assert text.startswith("1\n")
        assert text.endswith(f"\n{last}\n\n")
    else:
        assert len(text.splitlines()) == 40
        assert text.endswith(f"\n{last}\n")


@posix
def test_a_batch_killed_at_any_moment_and_resumed_equals_an_uninterrupted_one(tmp_path):
    sound, whole, broken = (tmp_path / name for name in ("sound", "whole", "broken"))
    sound.mkdir()
    broken.mkdir()
    for n in range(15):
        (sound / f"{n}.wav").touch()
    batch(sound, whole)
    source, left_behind = random.Random(7), 0
    for _ in range(6):
        child = multiprocessing.get_context("fork").Process(target=batch, args=(sound, broken))
        before = len(files(broken))
        child.start()
        while len(files(broken)) == before and child.is_alive():
            time.sleep(0.001)
        time.sleep(source.uniform(0.0, 0.03))
        child.kill()
        child.join()
        stale = set(broken.glob(".gemma-audio-*"))
        left_behind += len(stale)
        for path in set(broken.iterdir()) - stale:
            check_whole(path)
    assert left_behind
    batch(sound, broken)
    assert len(files(whole)) == 45
    assert files(whole) == files(broken)
    assert all(path.read_bytes() == (broken / path.name).read_bytes() for path in whole.iterdir())


@posix
def test_what_another_process_is_writing_is_not_stale(tmp_path):
    with AtomicFile(tmp_path / "a.txt") as file:
        file.write("x")
        child = run(
            "import sys; from pathlib import Path; from gemma_audio_cli.files import remove_stale;"
            "print(remove_stale(Path(sys.argv[1])))",
            tmp_path,
        )
        assert child.communicate(timeout=60)[0] == b"0\n"
    assert files(tmp_path) == ["a.txt"]
    (tmp_path / ".gemma-audio-0123.tmp").touch()
    assert remove_stale(tmp_path) == 1


# ---- names ---------------------------------------------------------------------------------------


def test_names_of_one_folder(tmp_path):
    plan = OutputPlan(["x/talk.mp3", "x/2024.01.05 meeting.m4a", "-"], tmp_path, ["srt", "text", "srt"])
    assert plan.formats == ("srt", "text")
    assert [[path.name for path in item.paths] for item in plan.items] == [
        ["talk.srt", "talk.txt"],
        ["2024.01.05 meeting.srt", "2024.01.05 meeting.txt"],
        ["stdin.srt", "stdin.txt"],
    ]


def test_names_that_would_collide():
    assert stems(["x/talk.mp3", "x/talk.wav"]) == ["talk.mp3", "talk.wav"]
    assert stems(["mon/talk.mp3", "tue/talk.mp3"]) == ["mon_talk", "tue_talk"]
    assert stems(["x/Talk.mp3", "y/talk.mp3"]) == ["x_Talk", "y_talk"]
    assert stems(["a/1/talk.mp3", "b/1/talk.mp3"]) == ["a_1_talk", "b_1_talk"]
    assert stems(["a/talk.mp3", "a/talk.wav", "b/talk.mp3"]) == ["a_talk.mp3", "a_talk.wav", "b_talk"]
    assert stems(["-", "stdin.wav"]) == ["stdin", "stdin.wav"]


parts = st.sampled_from(["a", "b", "A", "a_b", "talk", "e\u0301", "é", "x" * 120])
paths = st.tuples(st.lists(parts, max_size=3), parts, st.sampled_from([".mp3", ".wav", ""]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(paths, max_size=8),
    st.randoms(use_true_random=False),
)
def test_names_never_collide_and_do_not_depend_on_order(pieces, random_source):
    inputs = list(dict.fromkeys("/".join([*folders, base + ending]) for folders, base, ending in pieces))
    found = stems(inputs)
    assert len({name.casefold() for name in found}) == len(inputs)
    assert all("/" not in name and len(name.encode()) < 240 for name in found)
    shuffled = inputs[:]
    random_source.shuffle(shuffled)
    assert dict(zip(shuffled, stems(shuffled), strict=True)) == dict(zip(inputs, found, strict=True))


def test_the_same_input_twice_is_one(tmp_path):
    path = tmp_path / "a.wav"
    path.touch()
    (tmp_path / "link.wav").symlink_to(path)
    plan = OutputPlan([path, f"{tmp_path}/./a.wav", tmp_path / "link.wav", "-", "-"])
    assert [item.input for item in plan.items] == [str(path), "-"]
    assert plan.to_stdout


def test_file_or_folder(tmp_path):
    def target(output: object, *formats: str, inputs: tuple[str, ...] = ("a.wav",)) -> list[str]:
        plan = OutputPlan(inputs, output, formats)  # type: ignore[arg-type]
        return [str(path.relative_to(tmp_path)) for item in plan.items for path in item.paths]

    assert target(tmp_path) == ["a.txt"]
    assert target(tmp_path / "subs") == ["subs/a.txt"]
    assert target(f"{tmp_path}/subs.d/", "srt") == ["subs.d/a.srt"]
    assert target(tmp_path / "x.srt") == ["x.srt"]
    (tmp_path / "notes").touch()
    assert target(tmp_path / "notes") == ["notes"]
    assert OutputPlan(["a.wav"], tmp_path / "x.vtt").formats == ("vtt",)
    assert OutputPlan(["a.wav"], tmp_path / "x.md", ["text"]).formats == ("text",)
    assert OutputPlan(["a.wav"], tmp_path / "x.vtt", ["json"]).formats == ("json",)


@pytest.mark.parametrize(
    ("inputs", "output", "formats"),
    [
        (["a.wav", "b.wav"], "x.srt", ["srt"]),
        (["a.wav"], "x.srt", ["srt", "json"]),
        (["a.wav"], None, ["srt", "json"]),
        (["a.wav", "b.wav"], "-", ["vtt"]),
        (["a.wav"], "a.wav", ["text"]),
        (["a.wav"], None, ["pdf"]),
    ],
)
def test_what_does_not_go_together(inputs, output, formats):
    with pytest.raises(UsageError):
        OutputPlan(inputs, output, formats)


# ---- results of an item --------------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path: Path) -> OutputPlan:
    """Two recordings, as text and JSON."""
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    made = OutputPlan([tmp_path / "a.wav", tmp_path / "b.wav"], tmp_path / "out", ["text", "json"])
    made.prepare()
    return made


def transcribe(plan: OutputPlan, index: int = 0, *, error: str | None = None, partial: bool = False) -> None:
    with plan.open(plan.items[index], sys.stdout, keep_partial=partial) as out:
        out.begin(Recording("a.wav"))
        out.delta("on")
        out.segment(SEGMENT)
        out.end(error, duration=1.0)


def test_done_is_done(plan):
    first, second = plan.items
    assert not plan.is_done(first)
    transcribe(plan)
    assert files(plan.folder) == ["a.json", "a.txt"]
    assert first.paths[0].read_text() == "one two\n"
    assert plan.is_done(first)
    assert not plan.is_done(second)
    first.paths[1].unlink()
    assert not plan.is_done(first)


def test_an_input_that_changed_is_not_done(plan):
    transcribe(plan)
    later = time.time() + 5
    os.utime(plan.items[0].input, (later, later))
    assert not plan.is_done(plan.items[0])


def test_an_input_that_changes_while_it_is_read_is_not_done(plan):
    with plan.open(plan.items[0], sys.stdout) as out:
        out.begin(Recording("a.wav"))
        time.sleep(0.02)
        Path(plan.items[0].input).write_bytes(b"more")
        out.end()
    assert all(path.exists() for path in plan.items[0].paths)
    assert not plan.is_done(plan.items[0])


def test_an_edited_result_is_done(plan):
    transcribe(plan)
    plan.items[0].paths[0].write_text("corrected by hand\n")
    assert plan.is_done(plan.items[0])


def test_an_error_leaves_no_final_file(plan):
    transcribe(plan, error="damaged")
    with pytest.raises(RuntimeError), plan.open(plan.items[1], sys.stdout) as out:
        out.begin(Recording("b.wav"))
        raise RuntimeError
    assert files(plan.folder) == []


def test_what_was_said_before_an_error_can_be_kept(plan):
    transcribe(plan, error="damaged", partial=True)
    assert files(plan.folder) == ["a.json.partial", "a.txt.partial"]
    assert not plan.is_done(plan.items[0])
    assert transcript_from_json((plan.folder / "a.json.partial").read_text()).error == "damaged"
    transcribe(plan)
    assert files(plan.folder) == ["a.json", "a.txt"]


def test_standard_output_is_shared(capsys):
    plan = OutputPlan(["a.wav", "b.wav"], formats=["tsv"])
    plan.prepare()
    for item in plan.items:
        with plan.open(item, sys.stdout) as out:
            out.begin(Recording(item.input))
            out.segment(SEGMENT)
            out.end()
        assert not plan.is_done(item)
    assert capsys.readouterr().out == (
        "file\tstart_ms\tend_ms\ttext\na.wav\t0\t1000\tone two\nb.wav\t0\t1000\tone two\n"
    )


def test_text_on_standard_output_comes_in_pieces(capsys):
    plan = OutputPlan(["a.wav"])
    with plan.open(plan.items[0], sys.stdout) as out:
        out.begin(Recording("a.wav"))
        out.delta("one")
        assert capsys.readouterr().out == "one"
        out.segment(SEGMENT)
        out.end()
    assert capsys.readouterr().out == "\n"
