"""Points in time as people write them: 90, 1:30, 01:02:03.5."""

from __future__ import annotations

import re

from gemma_audio_cli.errors import UsageError

_TIME = re.compile(r"(?:(?:(\d{1,5}):)?(\d{1,5}):)?(\d{1,9}(?:[.,]\d{0,9})?)", re.ASCII)


def parse_time(text: str, what: str = "time") -> float:
    """Seconds in `text`: seconds, mm:ss or hh:mm:ss, with a fraction if wanted. `what` names it in errors."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{what}: {text!r} is no time; write seconds (90.5), 1:30 or 1:02:03.5")
    hours, minutes, seconds = found[1], found[2], float(found[3].replace(",", "."))
    if minutes is not None and seconds >= 60:
        raise UsageError(f"{what}: {text!r} has {found[3]} seconds in a minute; write less than 60")
    if hours is not None and int(minutes) >= 60:
        raise UsageError(f"{what}: {text!r} has {minutes} minutes in an hour; write less than 60")
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + seconds
