"""What the hub says about a repository, and what its refusals mean.

    "owner/name" ──► Listing(commit, files with sizes and hashes)

Token, mirror (HF_ENDPOINT) and offline mode are huggingface_hub's own settings. What comes over the network
is hostile: names and hashes that could become other paths than they should are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gemma_audio_cli.errors import HubUnreachableError, ModelDownloadError
from gemma_audio_cli.models import names, web

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_MAX_BYTES = 1 << 42


class NotThereError(ModelDownloadError):
    """The hub has no such repository or file, or does not say so to strangers."""


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub describes it."""

    repository: str
    commit: str
    name: str
    size: int
    """Bytes."""
    sha256: str | None
    git_sha1: str | None
    """Of small files that lie in git itself: the hash of the git object."""

    @property
    def blob_name(self) -> str:
        """What its contents are called in the hub's cache."""
        return self.sha256 or self.git_sha1 or ""

    @property
    def url(self) -> str:
        """Where to get it."""
        from huggingface_hub import hf_hub_url

        return hf_hub_url(self.repository, self.name, revision=self.commit)


@dataclass(frozen=True)
class Listing:
    """The files of a repository at its newest commit."""

    repository: str
    commit: str
    files: tuple[RemoteFile, ...]

    def names(self) -> list[str]:
        """Their names."""
        return [file.name for file in self.files]

    def file(self, name: str) -> RemoteFile:
        """The file of that name."""
        return next(file for file in self.files if file.name == name)


def listing(repository: str) -> Listing:
    """What the hub has. Raises ModelDownloadError."""
    with hub_errors(repository):
        from huggingface_hub import constants

        url = f"{constants.ENDPOINT}/api/models/{repository}?blobs=true"
        return parse_listing(repository, web.get_json(url, headers()))


def parse_listing(repository: str, answer: Any) -> Listing:
    """The listing in the hub's JSON. Raises ValueError where it is none."""
    commit = answer.get("sha") if isinstance(answer, dict) else None
    if not isinstance(commit, str) or not _SHA1.fullmatch(commit):
        raise ValueError("no commit")
    entries = answer.get("siblings")
    found = [_file(repository, commit, entry) for entry in (entries if isinstance(entries, list) else [])]
    return Listing(repository, commit, tuple(file for file in found if file is not None))


def host() -> str:
    """The hub's name, for messages."""
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT


def headers() -> dict[str, str]:
    """What every request carries: who asks, and the person's token."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined, unused-ignore]

    from gemma_audio_cli.version import __version__

    return dict(build_hf_headers(library_name="gemma-audio", library_version=__version__))


def is_transport(error: BaseException) -> bool:
    """Did the network fail, rather than the hub refuse? Tries again may help."""
    # By name: huggingface_hub's HTTP library has changed its own name between releases.
    return any(kind.__name__ in ("TransportError", "StreamError") for kind in type(error).__mro__)


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """What the hub's library raises as one line that names `what` (repository or file) and the remedy."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        yield
    except web.Refused as error:
        if error.code == "GatedRepo":
            raise ModelDownloadError(
                f"{what}: {host()} gives it only to those who accepted its terms; accept them on its page "
                f"({_page(what)}), then log in with `hf auth login` or set HF_TOKEN; or pull from another "
                "repository"
            ) from None
        missing = error.status == 404 or (error.status == 401 and error.code == "RepoNotFound")
        raise (NotThereError if missing else ModelDownloadError)(
            f"{what}: {_refusal(error.status)}"
        ) from None
    except ModelDownloadError as error:
        if str(error).startswith(what):
            raise
        raise type(error)(f"{what}: {error}") from None
    except OfflineModeIsEnabled:
        raise HubUnreachableError(
            f"{what}: offline mode is on, nothing is fetched; unset HF_HUB_OFFLINE to pull models"
        ) from None
    except OSError as error:
        raise ModelDownloadError(f"{what}: {error.strerror or 'cannot be fetched'}; try again") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if is_transport(error):  # some are ValueErrors too
            raise unreachable(what, error) from None
        raise ModelDownloadError(
            f"{what}: {host()} did not answer as a model hub does; check the name, and HF_ENDPOINT "
            "if it is set"
        ) from None
    except Exception as error:
        if not is_transport(error):
            raise
        raise unreachable(what, error) from None


def unreachable(what: str, error: BaseException) -> HubUnreachableError:
    """The network failed, for good."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return HubUnreachableError(
        f"{what}: {host()} cannot be reached ({reason[:200]}); check the network, and HF_ENDPOINT "
        "if it is set"
    )


def _page(what: str) -> str:
    """The repository's page for people."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{what.partition(':')[0]}"


def _refusal(status: int) -> str:
    if status in (401, 403, 404):
        how = "there is no such repository or file" if status == 404 else f"access is refused ({status})"
        return (
            f"{how} on {host()}, or it is private; check the spelling, or log in with `hf auth login` "
            "or HF_TOKEN"
        )
    if status == 429:
        return f"{host()} asks for a pause (429); try again in some minutes"
    return f"{host()} failed ({status}); try again later"


def _file(repository: str, commit: str, entry: Any) -> RemoteFile | None:
    """A file of the listing, unless something about it is not as it must be."""
    if not isinstance(entry, dict):
        return None
    lfs: Any = entry.get("lfs")
    large = isinstance(lfs, dict)
    name, size = entry.get("rfilename"), (lfs if large else entry).get("size")
    digest, form = (lfs.get("sha256"), _SHA256) if large else (entry.get("blobId"), _SHA1)
    if not isinstance(name, str) or not names.is_safe(name):
        return None
    if type(size) is not int or not 0 <= size <= _MAX_BYTES:
        return None
    if not isinstance(digest, str) or not form.fullmatch(digest.lower()):
        return None
    digest = digest.lower()
    return RemoteFile(repository, commit, name, size, *((digest, None) if large else (None, digest)))
