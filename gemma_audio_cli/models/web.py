"""Requests to the hub, and what its answers may do.

    get(url) ──► where it leads, at most 10 times ──► an open answer with a good status

The server is not trusted. Addresses lead to http or https only, never from https back to http. The person's
token goes to the hub itself and to nobody else, and not again once the way has left the hub. What an error
says is not read: status and one header of it are enough. Texts have a size and a time within which they must
come, unpacked.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

from gemma_audio_cli.errors import ModelDownloadError

MAX_REDIRECTS = 10
MAX_TEXT = 4 << 20
"""Bytes of a listing; those of the largest public repositories have some hundred thousand."""
MAX_SECONDS = 120.0
"""For a listing to come whole."""
_REDIRECTS = (301, 302, 303, 307, 308)
_SECRETS = ("authorization", "cookie", "proxy-authorization")
_PORTS = {"http": 80, "https": 443}


class Refused(ModelDownloadError):
    """The hub answers with an error."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"it answered {status}")
        self.status, self.code = status, code


@contextmanager
def get(url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    """The answer to a GET: `status_code`, `headers`, `iter_raw()`. `headers` are for the hub itself.

    Raises Refused, ModelDownloadError, what the HTTP library raises, OfflineModeIsEnabled.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        from huggingface_hub.errors import OfflineModeIsEnabled

        raise OfflineModeIsEnabled
    home, sent = _origin(url), {**headers, "Accept-Encoding": "identity"}
    for _ in range(MAX_REDIRECTS + 1):
        if _origin(url) != home:
            home = None
            sent = {name: value for name, value in sent.items() if name.lower() not in _SECRETS}
        with get_session().stream(
            "GET", url, headers=sent, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, follow_redirects=False
        ) as answer:
            status = int(answer.status_code)
            if status not in _REDIRECTS:
                if not 200 <= status < 300:
                    raise Refused(status, str(answer.headers.get("X-Error-Code", ""))[:80])
                yield answer
                return
            url = _next(url, str(answer.headers.get("Location", "")))
    raise ModelDownloadError(
        f"it leads on and on, more than {MAX_REDIRECTS} times; check HF_ENDPOINT if it is set"
    )


def get_json(url: str, headers: Mapping[str, str]) -> Any:
    """The JSON that an address gives. Raises ValueError where it gives none, and as `get` does."""
    deadline = time.monotonic() + MAX_SECONDS
    parts, size = list[bytes](), 0
    with get(url, headers) as answer:
        for block in _unpacked(answer):
            size += len(block)
            parts.append(block)
            if size > MAX_TEXT:
                raise ModelDownloadError(
                    f"its listing is larger than {MAX_TEXT >> 20} MB; name another repository"
                )
            if time.monotonic() > deadline:
                raise ModelDownloadError("its listing does not come to an end; try again later")
    try:
        return json.loads(b"".join(parts), parse_int=_integer)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def _unpacked(answer: Any) -> Iterator[bytes]:
    """The bytes of an answer, unpacked in steps of a limited size."""
    coding = str(answer.headers.get("Content-Encoding", "identity")).strip().lower()
    if coding in ("", "identity"):
        yield from answer.iter_raw()
        return
    if coding not in ("gzip", "x-gzip", "deflate"):  # from a proxy that was not asked to pack
        raise ValueError(f"it is packed as {coding[:20]!r}")
    unpacker = zlib.decompressobj(47)
    for block in answer.iter_raw():
        while block and not unpacker.eof:
            try:
                yield unpacker.decompress(block, 1 << 16)
            except zlib.error as error:
                raise ValueError(str(error)) from None
            block = unpacker.unconsumed_tail
    yield unpacker.flush()


def _integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError("a number too large")
    return int(text)


def _origin(url: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return (
        parts.scheme.lower(),
        (parts.hostname or "").lower(),
        parts.port or _PORTS.get(parts.scheme.lower()),
    )


def _next(url: str, location: str) -> str:
    """Where a redirect leads. Raises ModelDownloadError where that is no place to go to."""
    try:
        there = urlsplit(urljoin(url, location))
        allowed = there.scheme == "https" or (there.scheme == "http" and urlsplit(url).scheme == "http")
        sound = bool(location) and bool(there.hostname) and (there.port or 1) > 0
    except ValueError:
        allowed = sound = False
    if not allowed or not sound or "@" in there.netloc:
        shown = re.sub(r"[^!-~]", "?", location)[:80]
        raise ModelDownloadError(
            f"it leads to {shown!r}, which is not followed; check HF_ENDPOINT if it is set"
        )
    return there._replace(fragment="").geturl()
