"""Pulling models from a hub on this machine, with everything that goes wrong on networks and disks."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.models.hub import ALT, E2B, E4B

TEXT, MMPROJ = "gemma-4-E2B-it-Q4_0.gguf", "mmproj-gemma-4-E2B-it-bf16.gguf"


def paths(done) -> list[Path]:
    return [Path(line) for line in done.out.splitlines()]


def one_line(done, code: int = 3) -> str:
    """The only line on stderr, of a run that failed with this code."""
    lines = [line for line in done.err.splitlines() if "error: " in line or " to come" not in line]
    assert done.code == code, done.err
    assert len(lines) == 1, done.err
    assert lines[0].startswith("gemma-audio: error: ")
    assert lines[0].isprintable()
    return lines[0]


def is_whole(cache: Path, hub, *names: str, repository: str = E2B) -> None:
    """The files are there as the hub has them, and nothing is left over."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    for name in names:
        path = folder / "snapshots" / hub.commit(repository) / name
        data = hub.repositories[repository][name]
        assert path.read_bytes() == data
        assert (folder / "blobs" / hashlib.sha256(data).hexdigest()).is_file()
    assert not list(folder.rglob("*.incomplete"))


def unfinished(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*.incomplete") if path.stat().st_size]


# ---- what is fetched -----------------------------------------------------------------------------


def test_an_alias(models, hub, cache):
    done = models("pull", "e2b")
    assert (done.code, [path.name for path in paths(done)]) == (0, [TEXT, MMPROJ])
    is_whole(cache, hub, TEXT, MMPROJ)
    files = hub.repositories[E2B]
    assert hub.sent == len(files[TEXT]) + len(files[MMPROJ])
    assert hub.count("xet") == hub.count("mtp-") == 0


def test_what_is_here_is_not_fetched_again(models, hub):
    models("pull", "e2b")
    sent = hub.sent
    done = models("pull", "-q", "e2b")
    assert (done.code, done.err, hub.sent) == (0, "", sent)


@pytest.mark.parametrize(
    ("spec", "repository", "text", "mmproj"),
    [
        ("E2B:q8_0", E2B, "gemma-4-E2B-it-Q8_0.gguf", MMPROJ),
        (f"{E2B}:{TEXT}", E2B, TEXT, MMPROJ),
        (ALT, ALT, "gemma-4-E2B-it-UD-Q4_K_XL.gguf", "mmproj-BF16.gguf"),
        ("e2b:Q4_K_XL", ALT, "gemma-4-E2B-it-UD-Q4_K_XL.gguf", "mmproj-BF16.gguf"),
    ],
)
def test_a_weight_type(models, hub, cache, spec, repository, text, mmproj):
    done = models("pull", "-q", spec)
    assert (done.code, done.err) == (0, "")
    is_whole(cache, hub, text, mmproj, repository=repository)
    assert [path.name for path in paths(models("path", spec))] == [text, mmproj]


def test_another_projector(models, hub, cache):
    assert models("pull", "e2b", "--mmproj-type", "q8_0").code == 0
    is_whole(cache, hub, TEXT, "mmproj-gemma-4-E2B-it-Q8_0.gguf")


def test_an_alias_whose_first_repository_is_gone(models, hub, cache):
    del hub.repositories[E2B]
    assert models("pull", "e2b").code == 0
    is_whole(cache, hub, "mmproj-BF16.gguf", repository=ALT)


def test_all_parts_of_a_model(models, hub, cache):
    names = [f"BF16/gemma-4-E2B-it-BF16-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    hub.repositories[ALT].update({name: name.encode() * 1000 for name in names})
    done = models("pull", f"{ALT}:BF16")
    assert done.code == 0
    is_whole(cache, hub, *names, "mmproj-BF16.gguf", repository=ALT)
    assert paths(models("path", f"{ALT}:BF16")) == paths(done)


def test_files_that_are_stored_in_git_itself(models, hub, cache):
    hub.repositories[ALT] = {"a-Q4_0.gguf": b"GGUF" * 100, "mmproj-a-BF16.gguf": b"GGUF"}
    hub.faults.redirect = False
    assert models("pull", ALT).code == 0


def test_a_new_commit_is_fetched_and_the_old_one_is_not_used(models, hub, cache):
    models("pull", "e2b")
    hub.repositories[E2B][TEXT] += b"newer"
    models("pull", "e2b")
    is_whole(cache, hub, TEXT, MMPROJ)
    assert paths(models("path", "e2b"))[0].read_bytes().endswith(b"newer")


def test_the_hubs_own_library_finds_what_was_pulled(models, environment, hub):
    models("pull", "e2b")
    code = f"from huggingface_hub import hf_hub_download as d; print(d({E2B!r}, {TEXT!r}))"
    sent = hub.sent
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, hub.sent) == (models("path", "e2b").out.splitlines()[0] + "\n", sent)


def test_what_the_hubs_own_library_fetched_is_found(models, environment, hub):
    code = f"from huggingface_hub import snapshot_download as d; print(d({ALT!r}))"
    environment = environment | {"HF_HUB_DISABLE_XET": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert models("path", "e2b").code == 0


# ---- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["ended", "reset"])
def test_connections_that_break_are_taken_up_where_they_broke(impatient_models, hub, cache, reset):
    hub.faults.cut_after, hub.faults.reset = 250_000, reset
    assert impatient_models("pull", "e2b").code == 0
    is_whole(cache, hub, TEXT, MMPROJ)
    ranges = [
        int(r.removeprefix("bytes=").removesuffix("-")) for _, p, r in hub.requests if r and "/cdn/" in p
    ]
    assert len(ranges) >= 6
    assert min(ranges) > 0


def test_a_server_without_ranges(models, hub, cache):
    hub.faults.cut_after, hub.faults.cuts, hub.faults.no_ranges = 250_000, 2, True
    assert models("pull", "e2b").code == 0
    is_whole(cache, hub, TEXT, MMPROJ)


def test_a_server_that_is_tired_for_a_moment(models, hub, cache):
    hub.faults.transient = 2
    assert models("pull", "e2b").code == 0
    is_whole(cache, hub, TEXT, MMPROJ)


def test_connections_that_bring_nothing_are_given_up(models, hub, environment, cache, monkeypatch):
    """In this process, where the pauses between the trials can be short."""
    from gemma_audio_cli.errors import HubUnreachableError
    from gemma_audio_cli.models import fetch
    from gemma_audio_cli.models import hub as ours

    monkeypatch.setattr(fetch, "_PAUSE", 0.0)
    file = ours.RemoteFile(E2B, hub.commit(E2B), TEXT, len(hub.repositories[E2B][TEXT]), "0" * 64, None)
    monkeypatch.setattr(ours.RemoteFile, "url", f"{hub.url}/{E2B}/resolve/main/{TEXT}")
    hub.faults.cut_after = 0
    with pytest.raises(HubUnreachableError) as caught:
        fetch.fetch(file, cache / "blob", cache / "lock", lambda _: None, lambda _: None, lambda: cache)
    assert TEXT in str(caught.value)
    assert hub.count("/cdn/") == 6


def test_contents_that_are_not_what_the_hub_says(models, hub, cache):
    hub.faults.wrong_hash = {TEXT}
    assert "arrived damaged" in one_line(models("pull", "e2b"))
    assert models("path", "e2b").code == 3
    assert not unfinished(cache)
    hub.faults.wrong_hash = set()
    assert models("pull", "e2b").code == 0
    is_whole(cache, hub, TEXT, MMPROJ)


def test_more_than_the_hub_says(models, hub, cache):
    hub.faults.longer = 1_000_000
    assert "longer than the hub says" in one_line(models("pull", "e2b"))
    assert models("path", "e2b").code == 3


@pytest.mark.parametrize(
    ("faults", "part"),
    [
        ({"status": 401}, "hf auth login"),
        ({"status": 403, "error_code": "GatedRepo"}, "accept them on its page"),
        ({"status": 403}, "access is refused (403)"),
        ({"status": 404, "error_code": "RepoNotFound"}, "there is no such repository"),
        ({"status": 429}, "asks for a pause"),
        ({"status": 500}, "failed (500)"),
        ({"file_status": 403, "error_code": "GatedRepo"}, "accept them on its page"),
        ({"file_status": 404, "error_code": "EntryNotFound"}, "there is no such repository or file"),
        ({"nonsense": True}, "did not answer as a model hub does"),
        ({"oid": "../../../../evil"}, "no text model"),
        ({"oid": "\x1b[31m"}, "no text model"),
    ],
)
def test_refusals_are_one_line(models, hub, cache, faults, part):
    for name, value in faults.items():
        setattr(hub.faults, name, value)
    line = one_line(models("pull", E2B))
    assert E2B in line
    assert part in line
    assert not any(cache.rglob("*.gguf"))


def test_no_such_repository_and_no_such_type(models, hub):
    assert "no/where" in one_line(models("pull", "no/where"))
    line = one_line(models("pull", f"{E2B}:Q5_1"))
    assert "has no Q5_1; there is: Q4_0, Q8_0" in line


def test_a_repository_without_a_projector(models, hub):
    hub.repositories[E4B] = {"gemma-4-E4B-it-Q4_0.gguf": b"GGUF"}
    assert "has no audio projector" in one_line(models("pull", "e4b"))


@pytest.mark.parametrize(
    "name", ["", "x/y/z", "../..", "a b", "e9b", "-x", "a/b:../c", "a/b--c", "\x1b[31m/x"]
)
def test_what_names_no_model(models, name):
    done = models("pull", "--", name)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err
    assert "\x1b" not in done.err


def test_a_token_opens_what_is_closed(models, hub, cache):
    hub.faults.token = "hf_secret"
    assert "HF_TOKEN" in one_line(models("pull", "e2b"))
    done = models("pull", "e2b", env={"HF_TOKEN": "hf_secret"})
    assert done.code == 0
    assert "hf_secret" not in done.err + done.out
    assert (hub.count("/cdn/"), hub.tokens_at_storage) == (2, 0)


def test_offline_in_one_line(models, hub):
    off = {"HF_HUB_OFFLINE": "1"}
    assert "offline mode is on" in one_line(models("pull", "e2b", env=off))
    models("pull", "e2b")
    done = models("pull", "e2b", env=off)
    assert done.code == 0
    assert "is here already" in done.err
    assert paths(done)[0].is_file()


def test_no_network_in_one_line(models, hub):
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    assert "127.0.0.1:9 cannot be reached" in one_line(models("pull", "e2b", env=nobody))
    models("pull", "e2b")
    assert models("pull", "e2b", env=nobody).code == 0


# ---- hostile names -------------------------------------------------------------------------------


def test_names_that_lead_elsewhere_are_ignored(models, hub, cache, tmp_path):
    hub.faults.names = [
        "../../../evil-Q4_0.gguf", "/tmp/evil-Q4_0.gguf", "a/../../evil-Q4_0.gguf", "..\\evil-Q4_0.gguf",
        "C:evil-Q4_0.gguf", "evil\x1b[31m-Q4_0.gguf", "evil\n-Q4_0.gguf", "con.gguf", "a//evil-Q4_0.gguf",
    ]  # fmt: skip
    done = models("pull", "e2b")
    assert done.code == 0
    assert "evil" not in done.out + done.err
    assert not any(tmp_path.rglob("*evil*"))
    assert "\x1b" not in one_line(models("pull", f"{E2B}:Q9_9"))


# ---- interruptions, disks, two at once -----------------------------------------------------------


def interrupted(start, cache: Path, name: int, after: int = 200_000) -> subprocess.Popen[bytes]:
    """A slow pull that gets a signal when some of a file is here."""
    child = start("models", "pull", "e2b")
    end = time.monotonic() + 30
    while sum(path.stat().st_size for path in unfinished(cache)) < after:
        assert time.monotonic() < end, child.communicate(timeout=1)
        time.sleep(0.02)
    child.send_signal(name)
    return child


@pytest.mark.skipif(os.name == "nt", reason="no such signals there")
@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["int", "term", "kill"])
def test_an_interrupted_pull_goes_on_where_it_stopped(models, start, hub, cache, name):
    hub.faults.drip = 0.03
    child = interrupted(start, cache, name)
    out, err = child.communicate(timeout=60)
    assert child.returncode == (130 if name == signal.SIGINT else -name)
    assert out == b""
    if name == signal.SIGINT:
        assert err.decode().splitlines()[-1] == "gemma-audio: interrupted"
        assert b"goes on from there" in err
    assert models("path", "e2b").code == 3
    assert "came before a pull was interrupted" in models("list").out
    (part,) = unfinished(cache)
    came, hub.sent, hub.faults.drip = part.stat().st_size, 0, 0.0
    done = models("pull", "e2b")
    assert done.code == 0
    is_whole(cache, hub, TEXT, MMPROJ)
    assert hub.sent == len(hub.repositories[E2B][TEXT]) + len(hub.repositories[E2B][MMPROJ]) - came


def test_a_damaged_part_of_an_interrupted_pull(models, start, hub, cache):
    hub.faults.drip = 0.03
    interrupted(start, cache, signal.SIGINT if os.name != "nt" else signal.SIGTERM).communicate()
    (part,) = unfinished(cache)
    data = bytearray(part.read_bytes())
    data[1000] ^= 0xFF
    part.write_bytes(data)
    hub.faults.drip = 0.0
    done = models("pull", "e2b")
    assert done.code == 0
    assert "was damaged; it is fetched again" in done.err
    is_whole(cache, hub, TEXT, MMPROJ)


def test_a_slow_drip_gets_there(models, hub, cache):
    """Bytes that come slowly are not taken for a dead connection, which ends after 3 s of nothing here."""
    hub.repositories[E2B][TEXT] = b"GGUF" * 1000
    hub.faults.drip, hub.faults.block = 0.9, 1000  # four blocks
    hub.repositories[E2B][MMPROJ] = b"GGUF"
    assert models("pull", "e2b").code == 0
    is_whole(cache, hub, TEXT, MMPROJ)


def test_two_at_once_fetch_once(start, hub, cache, tmp_path):
    hub.faults.drip = 1.0  # until the others wait for the first
    logs = [tmp_path / f"{number}.log" for number in range(3)]
    children = [start("models", "pull", "e2b", stderr=log.open("w")) for log in logs]
    until = time.monotonic() + 60
    while sum("somebody else is fetching it" in log.read_text() for log in logs) < 2:
        assert time.monotonic() < until
        time.sleep(0.02)
    hub.faults.drip = 0.0
    outs = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], [log.read_text() for log in logs]
    assert len(set(outs)) == 1
    is_whole(cache, hub, TEXT, MMPROJ)
    assert hub.sent == len(hub.repositories[E2B][TEXT]) + len(hub.repositories[E2B][MMPROJ])


def test_a_cache_that_is_no_folder(models, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    line = one_line(models("pull", "e2b", env={"HF_HUB_CACHE": str(tmp_path / "file" / "cache")}))
    assert "cannot be stored" in line
    assert "HF_HUB_CACHE" in line


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 100 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(folder)], capture_output=True, check=False
    ) if sys.platform == "linux" else None  # fmt: skip
    if mounted is None or mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_room_is_looked_for_first(models, hub, small_disk):
    (small_disk / "filler").write_bytes(bytes(50_000_000))
    line = one_line(models("pull", "e2b", env={"HF_HUB_CACHE": str(small_disk / "cache")}))
    assert "HF_HUB_CACHE" in line
    assert hub.sent == 0
    assert not (small_disk / "cache").exists()


def test_a_disk_that_gets_full(start, models, hub, small_disk, environment):
    environment["HF_HUB_CACHE"] = str(small_disk / "cache")
    hub.faults.drip = 0.03
    child = start("models", "pull", "e2b")
    while not unfinished(small_disk):
        assert child.poll() is None
        time.sleep(0.02)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(bytes(1_000_000))
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (3, b"")
    line = err.decode().splitlines()[-1]
    assert "No space left" in line
    assert "make room there" in line
    filler.unlink()
    hub.faults.drip, hub.sent = 0.0, 0
    assert models("pull", "e2b", env={"HF_HUB_CACHE": str(small_disk / "cache")}).code == 0
    is_whole(small_disk / "cache", hub, TEXT, MMPROJ)
    assert hub.sent < len(hub.repositories[E2B][TEXT]) + len(hub.repositories[E2B][MMPROJ])


@pytest.mark.skipif(os.name == "nt", reason="no terminals to be had there")
def test_a_bar_on_a_terminal(environment, hub, tmp_path):
    import pty

    hub.faults.drip = 0.01
    ours, theirs = pty.openpty()
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(
        [sys.executable, "-m", "gemma_audio_cli", "models", "pull", "e2b"],
        env=environment | {"PYTHONPATH": str(root), "TERM": "xterm", "COLUMNS": "100"},
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:
            break
        if not block:
            break
        shown += block
    os.close(ours)
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 0
    assert b"MB" in shown
    assert len(out.splitlines()) == 2
