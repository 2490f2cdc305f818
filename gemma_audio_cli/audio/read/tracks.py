"""The audio tracks of a file: what there is, and which one is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gemma_audio_cli.errors import AudioError, UsageError
from gemma_audio_cli.languages import LANGUAGES

_SHORT = {
    "ara": "ar", "bul": "bg", "ben": "bn", "cat": "ca", "cze": "cs", "ces": "cs", "dan": "da", "ger": "de",
    "deu": "de", "gre": "el", "ell": "el", "eng": "en", "spa": "es", "est": "et", "per": "fa", "fas": "fa",
    "fin": "fi", "fre": "fr", "fra": "fr", "guj": "gu", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu",
    "ind": "id", "ice": "is", "isl": "is", "ita": "it", "jpn": "ja", "kan": "kn", "kor": "ko", "lit": "lt",
    "lav": "lv", "mal": "ml", "mar": "mr", "may": "ms", "msa": "ms", "dut": "nl", "nld": "nl", "nor": "no",
    "nob": "no", "nno": "no", "pan": "pa", "pol": "pl", "por": "pt", "rum": "ro", "ron": "ro", "rus": "ru",
    "slo": "sk", "slk": "sk", "slv": "sl", "srp": "sr", "swe": "sv", "swa": "sw", "tam": "ta", "tel": "te",
    "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi", "chi": "zh", "zho": "zh", "cmn": "zh",
}  # fmt: skip
"""ISO 639-2, of which files hold either form, as ISO 639-1."""
_MAX_LISTED = 8


@dataclass(frozen=True)
class Track:
    """One audio track."""

    number: int
    """Among the audio tracks, from 1."""
    language: str = ""
    """As the file has it (eng, de-CH); empty: not said."""
    title: str = ""
    codec: str = ""
    """Empty: no decoder here knows it."""
    channels: int = 0
    default: bool = False
    """Players take it unless asked for another."""

    @property
    def label(self) -> str:
        """What stands before the text of this track."""
        return f"Track {self.number} ({self.language})" if self.language else f"Track {self.number}"

    def __str__(self) -> str:
        about = [self.language, f'"{self.title}"' if self.title else "", self.codec or "no decoder for it"]
        return f"{self.number}: " + " ".join(filter(None, about))


def check_track(wanted: str) -> str:
    """`N` or a language, as --track takes it. Raises UsageError."""
    cleaned = wanted.strip()
    is_number = cleaned.lstrip("+-").isdigit()
    if not cleaned or (is_number and not (cleaned.isdecimal() and int(cleaned[:9]) > 0)):
        raise UsageError(f"{wanted!r} is no track; give its number, from 1, or its language: 2 or deu")
    return cleaned


def listed(tracks: Sequence[Track]) -> str:
    """All tracks on one line."""
    more = [f"and {len(tracks) - _MAX_LISTED} more"] if len(tracks) > _MAX_LISTED else []
    return ", ".join([*map(str, tracks[:_MAX_LISTED]), *more])


def chosen(name: str, tracks: Sequence[Track], wanted: str) -> Track:
    """The track with that number, or the first that can be decoded in that language (eng, en, English)."""
    if wanted.isdecimal():
        found = next((track for track in tracks if track.number == int(wanted[:9])), None)
    else:
        found = next((t for t in tracks if t.codec and _language(t.language) == _language(wanted)), None)
    if found is None:
        has = f"it has {len(tracks)} audio tracks" if len(tracks) > 1 else "it has 1 audio track"
        raise AudioError(
            f"{name}: there is no audio track {wanted}: {has} ({listed(tracks)}); choose another"
        )
    return found


def _language(name: str) -> str:
    """eng, en, en-GB and English are all the same."""
    short = name.strip().lower().replace("_", "-").partition("-")[0]
    short = _SHORT.get(short, short)
    return LANGUAGES.get(short, short).lower()
