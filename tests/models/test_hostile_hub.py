"""A hub that means harm, and what others put into the cache."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma_audio_cli.errors import ModelDownloadError
from gemma_audio_cli.models import hub as ours
from gemma_audio_cli.models import locks, names, web
from tests.models.hub import E2B, Hub

ROOT = Path(__file__).resolve().parents[2]
TEXT, MMPROJ = "gemma-4-E2B-it-Q4_0.gguf", "mmproj-gemma-4-E2B-it-bf16.gguf"


def one_line(done, code: int = 3) -> str:
    """The only line on stderr, of a run that failed with this code."""
    lines = [line for line in done.err.splitlines() if " to come" not in line]
    assert (done.code, len(lines)) == (code, 1), done.err
    assert lines[0].startswith("gemma-audio: error: ")
    assert lines[0].isprintable()
    return lines[0]


@pytest.fixture
def refused(hub, monkeypatch) -> Callable[..., str]:
    """Asks the hub for a listing in this process, where that is quick; the error."""
    from huggingface_hub import close_session, constants

    def ask(url: str | None = None) -> str:
        monkeypatch.setattr(constants, "ENDPOINT", url or hub.url)
        with pytest.raises(ModelDownloadError) as caught:
            ours.listing(E2B)
        assert str(caught.value).startswith(E2B)
        assert str(caught.value).isprintable()
        assert caught.value.exit_code == 3
        return str(caught.value)

    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 3)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    close_session()
    yield ask
    close_session()


# ---- listings ------------------------------------------------------------------------------------


def bomb() -> bytes:
    """Two gigabytes of spaces in two megabytes."""
    part = gzip.compress(b" " * (64 << 20), 9)
    return part * 32


LISTINGS = {
    "a gzip bomb": (bomb(), {"Content-Encoding": "gzip"}),
    "another packing": (b"\x1b\x00", {"Content-Encoding": "br"}),
    "damaged gzip": (b"\x1f\x8bnothing", {"Content-Encoding": "gzip"}),
    "too large": (b'{"sha": "' + b"a" * (web.MAX_TEXT + 1), {}),
    "nested": (b"[" * 1_000_000, {}),
    "nested objects": (b'{"a":' * 500_000, {}),
    "a long number": (b'{"sha": ' + b"9" * 3_000_000 + b"}", {}),
    "no UTF-8": (b'{"sha": "\xff\xfe"}', {}),
    "nothing": (b"", {}),
    "a list": (b"[]", {}),
    "no commit": (b'{"siblings": []}', {}),
}


@pytest.mark.parametrize(("body", "headers"), LISTINGS.values(), ids=LISTINGS)
def test_a_listing_that_is_none_is_one_line_and_takes_little_memory(refused, hub, body, headers):
    hub.faults.listing, hub.faults.headers = body, headers
    tracemalloc.start()
    try:
        refused()
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_a_listing_that_is_a_gzip_bomb_is_one_line_of_the_command(models, hub):
    hub.faults.listing, hub.faults.headers = bomb(), {"Content-Encoding": "gzip"}
    assert "is larger than 4 MB" in one_line(models("pull", E2B))


def test_a_listing_that_was_packed_by_a_proxy_is_read(refused, hub):
    refused("http://127.0.0.1:9")
    body = json.dumps({"sha": "a" * 40, "siblings": []}).encode()
    hub.faults.listing, hub.faults.headers = gzip.compress(body), {"Content-Encoding": "gzip"}
    url = f"{hub.url}/api/models/{E2B}"
    assert web.get_json(url, {}) == json.loads(body)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("a" * 40)
    | st.just("a" * 64) | st.just("gemma-Q4_0.gguf"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
files = st.fixed_dictionaries(
    {},
    optional={
        "rfilename": values,
        "size": values,
        "blobId": values,
        "lfs": values | st.fixed_dictionaries({}, optional={"sha256": values, "size": values}),
    },
)
listings = st.fixed_dictionaries(
    {},
    optional={"sha": values | st.just("b" * 40), "siblings": values | st.lists(files | values, max_size=4)},
)


@given(listings | values)
@settings(max_examples=300, deadline=None)
def test_any_json_is_a_listing_or_none(answer):
    try:
        found = ours.parse_listing("a/b", answer)
    except ValueError:
        return
    assert set(found.commit) <= set("0123456789abcdef")
    for file in found.files:
        assert names.is_safe(file.name)
        assert 0 <= file.size <= 1 << 42
        assert len(file.blob_name) in (40, 64)
        assert set(file.blob_name) <= set("0123456789abcdef")


# ---- redirects and tokens ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", " ", "http://", "http://[", "http://127.0.0.1:99999/",
     "http://me:secret@127.0.0.1:9/", "//", "http://\x1b[31m/", "data:text/plain,x", "http:///x"],
)  # fmt: skip
def test_a_redirect_to_nowhere_is_one_line(refused, hub, location):
    hub.faults.location = location
    refused()
    assert len(hub.requests) <= web.MAX_REDIRECTS + 1


def test_a_redirect_without_end_is_one_line(refused, hub):
    hub.faults.location = f"{hub.url}/api/models/{E2B}?again"
    assert "leads on and on" in refused()
    assert len(hub.requests) == web.MAX_REDIRECTS + 1


def test_https_does_not_lead_back_to_http():
    with pytest.raises(ModelDownloadError, match="not followed"):
        web._next("https://hub/x", "http://hub/y")
    assert web._next("https://hub/a/b", "../c#d") == "https://hub/c"
    assert web._next("http://hub/a", "https://other/") == "https://other/"


def test_a_token_goes_to_the_hub_only_and_does_not_come_back(models, hub, contents):
    """Over another host to the hub again: that address may be the other's choice."""
    hub.faults.token = "hf_secret"
    with Hub({name: dict(found) for name, found in contents.items()}) as other:
        other.faults.location = f"{hub.url}/api/models/{E2B}?blobs=true"
        asked: list[str | None] = []
        handler = other._server.RequestHandlerClass
        answer = handler._answer

        def listen(self) -> None:
            asked.append(self.headers.get("Authorization"))
            answer(self)

        handler._answer = listen
        hub.faults.location = None
        env = {"HF_ENDPOINT": other.url, "HF_TOKEN": "hf_secret"}
        assert "access is refused (401)" in one_line(models("pull", E2B, env=env))
        assert asked == ["Bearer hf_secret"]  # the one that HF_ENDPOINT names
        assert [path for _, path, _ in hub.requests] == [f"/api/models/{E2B}"]


def test_no_token_is_asked_for_where_a_refusal_says(models, hub, contents):
    """As Ollama did (CVE-2025-51471)."""
    with Hub(contents) as other:
        hub.faults.status, hub.faults.challenge = 401, f'Bearer realm="{other.url}/token",service="x"'
        one_line(models("pull", E2B, env={"HF_TOKEN": "hf_secret"}))
        assert not other.requests


# ---- files ---------------------------------------------------------------------------------------


def test_a_file_that_answers_416_again_and_again_is_given_up(impatient_models, hub, cache):
    hub.faults.cut_after, hub.faults.no_rest = 100_000, True
    assert "cannot be reached" in one_line(impatient_models("pull", "e2b"))
    assert hub.count("/cdn/") < 20


def test_a_file_that_answers_416_at_once(models, hub):
    hub.faults.file_status = 416
    assert "416" in one_line(models("pull", "e2b"))


def test_a_part_that_is_the_whole_file_is_not_asked_for(models, hub, cache):
    """Left by a pull that ended before it could give the name; a request for the rest would be a 416
    (huggingface_hub #2511).
    """
    blobs = cache / f"models--{E2B.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    for name in (TEXT, MMPROJ):
        data = hub.repositories[E2B][name]
        (blobs / f"{hashlib.sha256(data).hexdigest()}.incomplete").write_bytes(data)
    assert models("pull", "e2b").code == 0
    assert hub.sent == 0
    assert hub.count("/resolve/") == 0


def test_more_promised_than_comes(models, hub, cache):
    hub.faults.promise = 5_000
    done = models("pull", "e2b")
    assert done.code == 0, done.err  # all of it came; what else was promised does not matter
    assert models("verify", "e2b").code == 0


@pytest.fixture
def raw_server() -> Iterator[tuple[str, list[bytes]]]:
    """A server that sends whatever it is given, 64 kB a time, and its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    talk: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                try:
                    peer.recv(65536)
                    for part in talk:
                        peer.sendall(part)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", talk
    listener.close()


@pytest.mark.parametrize(
    "talk",
    [
        [b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 1000) for i in range(1000))] * 20,
        [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 60_000] * 100,
        [b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n{}"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"A: b\r\n" * 50_000],
        [b"HTTP/9.9 xyz\r\n\r\n"],
        [b"SSH-2.0-OpenSSH\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n" * 1000],
        [b"HTTP/1.1 302 Found\r\nLocation: /\xff\xfe\r\nContent-Length: 0\r\n\r\n"],
        [b"HTTP/1.1 500 Oh\r\nContent-Encoding: gzip\r\n\r\n", *([b"\x1f\x8b" + b"x" * 65536] * 2000)],
        [b"HTTP/1.1 200 OK\r\n\r\n", *([b" " * 65536] * 2000)],
        [],
    ],
    ids=["headers", "header", "negative", "huge", "twice", "chunk", "trailers", "version", "ssh", "continue",
         "location", "error", "no end", "silence"],
)  # fmt: skip
def test_what_is_no_good_http_is_one_line(refused, raw_server, talk):
    url, said = raw_server
    said += talk
    refused(url)


@pytest.mark.parametrize("kept", ["part", "nothing"])
def test_a_tls_server_that_closes_early_is_one_line_and_resumed(
    impatient_models, models, hub, cache, tmp_path, kept
):
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", "key.pem", "-out", "cert.pem"]  # fmt: skip
    try:
        subprocess.run(made, cwd=tmp_path, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs openssl to make a certificate")
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    hub._server.socket = context.wrap_socket(hub._server.socket, server_side=True)
    port = hub._server.server_address[1]
    env = {"HF_ENDPOINT": f"https://localhost:{port}", "SSL_CERT_FILE": str(tmp_path / "cert.pem")}
    hub.faults.redirect, hub.faults.reset = False, True
    hub.faults.cut_after = 100_000 if kept == "part" else 0
    hub.faults.cuts = 3 if kept == "part" else 10**9
    done = impatient_models("pull", "e2b", env=env)
    if kept == "part":
        assert done.code == 0, done.err
    else:
        assert "cannot be reached" in one_line(done)
        hub.faults.cut_after = None
        assert impatient_models("pull", "e2b", env=env).code == 0
    assert models("verify", "e2b").code == 0


# ---- the cache -----------------------------------------------------------------------------------


def test_remove_leaves_what_a_running_pull_has_fetched(start, models, hub, cache):
    assert models("pull", "e2b:Q8_0").code == 0
    hub.faults.drip = 1.0  # it is still coming, however slow this machine is
    child = start("models", "pull", "e2b:Q4_0")
    while not any(path.stat().st_size for path in cache.rglob("*.incomplete")):
        assert child.poll() is None
        time.sleep(0.02)
    line = one_line(models("remove", "e2b:Q8_0"))
    assert "somebody is fetching from there" in line
    assert child.poll() is None
    hub.faults.drip = 0.0
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    assert out.count(b"\n") == 2
    assert models("verify", "e2b:Q4_0").code == 0
    assert models("remove", "e2b:Q8_0").code == 0
    assert models("verify", "e2b:Q4_0").code == 0


def test_remove_goes_on_after_a_pull_that_was_killed(start, models, hub, cache):
    models("pull", "e2b:Q8_0")
    hub.faults.drip = 0.05
    child = start("models", "pull", "e2b:Q4_0")
    while not any(path.stat().st_size for path in cache.rglob("*.incomplete")):
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert models("remove", "e2b:Q8_0").code == 0
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != "gemma-audio.lock"
                and not len(path.stem) >= 40]  # fmt: skip


def test_remove_leaves_what_another_program_of_the_hub_fetches(models, hub, cache):
    from filelock import FileLock

    models("pull", "e2b")
    places = cache / ".locks" / f"models--{E2B.replace('/', '--')}"
    blobs = cache / f"models--{E2B.replace('/', '--')}" / "blobs"
    coming = blobs / ("c" * 64 + ".incomplete")
    coming.write_bytes(b"GGUF")
    with FileLock(locks.of_blob(places, "c" * 64)):
        assert "somebody is fetching" in one_line(models("remove", "e2b"))
        assert coming.exists()
        assert models("path", "e2b").code == 0
    assert models("remove", "e2b").code == 0
    assert not coming.exists()


@pytest.mark.parametrize("what", ["blobs", "snapshots", ""])
def test_remove_does_not_follow_links(models, cache, what):
    models("pull", "e2b")
    folder = cache / f"models--{E2B.replace('/', '--')}" / what
    other = folder.parent / "other"
    folder.rename(other)
    (other / "precious").write_text("mine")
    folder.symlink_to(other)
    before = sorted(path for path in other.rglob("*"))
    line = one_line(models("remove", "e2b"))
    assert "is a link to" in line
    assert sorted(path for path in other.rglob("*")) == before


def test_a_pull_does_not_write_through_links(models, cache, hub, tmp_path):
    """The name of what is coming can be guessed, in a cache that several people share."""
    blobs = cache / f"models--{E2B.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (tmp_path / "victim").write_text("mine")
    name = hashlib.sha256(hub.repositories[E2B][MMPROJ]).hexdigest()
    (blobs / f"{name}.incomplete").symlink_to(tmp_path / "victim")
    assert "cannot be stored" in one_line(models("pull", "e2b"))
    assert (tmp_path / "victim").read_text() == "mine"
    (blobs / f"{name}.incomplete").unlink()
    os.mkfifo(blobs / f"{name}.incomplete")
    assert "no regular file" in one_line(models("pull", "e2b"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give a link to somebody else")
@pytest.mark.parametrize("what", [".locks", "models", "blobs", "snapshots"])
def test_a_pull_does_not_follow_links_of_others(models, cache, tmp_path, what):
    repository = cache / f"models--{E2B.replace('/', '--')}"
    link = {".locks": cache / ".locks", "models": repository}.get(what, repository / what)
    other = tmp_path / "other"
    other.mkdir()
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(other)
    os.lchown(link, 12345, 12345)
    assert "is a link of another user" in one_line(models("pull", "e2b"))
    assert not list(other.rglob("*"))
    os.lchown(link, 0, 0)
    assert models("pull", "e2b").code == 0


@pytest.mark.skipif(os.name == "nt", reason="limits of processes")
@pytest.mark.parametrize("limit", [0, 200, 2000], ids="{} blocks".format)
def test_a_pull_that_may_not_write_more_is_one_line_and_goes_on_later(
    not_covered, environment, models, hub, cache, limit
):
    """A limit of file sizes fails as a full disk does, at whatever place; root has one too."""
    command = f"ulimit -f {limit}; trap '' XFSZ; exec {sys.executable} -m gemma_audio_cli models pull -q e2b"
    done = subprocess.run(
        ["sh", "-c", command], env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot be stored" in done.stderr
    assert models("pull", "e2b").code == 0
    assert models("verify", "e2b").code == 0


def test_a_full_disk_while_names_are_given_is_one_line(environment, models, hub, cache):
    code = (
        "import errno, os, sys\n"
        "def full(*_, **__): raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "os.symlink = full\n"
        "from gemma_audio_cli.models import store\n"
        "store.Path.write_text = full\n"
        "from gemma_audio_cli.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "models", "pull", "-q", "e2b"],
        env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "make room there" in done.stderr
    assert done.stderr.count("\n") == 1
    assert models("pull", "e2b").code == 0


def test_a_pull_waits_for_a_removal(start, models, cache):
    folder = cache / ".locks" / f"models--{E2B.replace('/', '--')}"
    folder.mkdir(parents=True)
    with locks.removing(folder, E2B):
        child = start("models", "pull", "e2b")
        assert child.stderr is not None
        said = [child.stderr.readline(), child.stderr.readline()]
        assert b"removing from it; waiting" in said[1]
        assert child.poll() is None
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
