"""Cues whose words are shown as they are said: the text of one cue in each format that can.

    WebVTT   4 <00:00:00.780>1 <00:00:01.460>7               a time before what is said from then on
    ASS      {\\k38}4{\\k16} {\\k50}1{\\k18} {\\k38}7             centiseconds that each piece takes
    LRC      <00:00.24>4 <00:00.78>1 <00:01.46>7<00:01.84>   a time before each word, and the end

A cue without word times is plain text. The words come as the format needs them, with nothing in them that
could be taken for a tag.
"""

from __future__ import annotations

from collections.abc import Callable

from gemma_audio_cli.output.cues import Cue


def vtt(cue: Cue, time: Callable[[int], str], escaped: Callable[[str], str]) -> str:
    """Lines with times in them. Those must ascend and lie inside the cue, or players ignore them: a word that
    begins with its cue, or at the moment of the one before it, has none.
    """
    now, lines = cue.start, []
    for line in cue.said:
        text = ""
        for piece in line:
            space, word = _apart(piece.text)
            text += space
            if now < piece.start < cue.end:
                text += f"<{time(piece.start)}>"
                now = piece.start
            text += escaped(word)
        lines.append(text)
    return "\n".join(lines)


def ass(cue: Cue, centiseconds: Callable[[int], int]) -> str:
    r"""Pieces with `\k`. What they take is together what the line takes, as its times are written."""
    now, end = centiseconds(cue.start), centiseconds(cue.end)
    text = ""
    for number, line in enumerate(cue.said):
        text += r"\N" if number else ""
        for piece in line:
            space, word = _apart(piece.text)
            start = max(now, centiseconds(piece.start))
            until = min(max(start, centiseconds(piece.end)), end)
            if start > now:  # a pause
                text += f"{{\\k{start - now}}}{space}"
                space = ""
            text += f"{{\\k{until - start}}}{space}{word}"
            now = until
    return text + (f"{{\\k{end - now}}}" if end > now else "")


def lrc(cue: Cue, time: Callable[[int], str], joint: Callable[[str, str], str]) -> str:
    """One line with a time before each word, and the last one's end. `joint` stands between two lines."""
    text, before = "", ""
    for line in cue.said:
        for number, piece in enumerate(line):
            space, word = _apart(piece.text)
            if not number and before:
                space = joint(before, word)
            text += f"{space}<{time(piece.start)}>{word}"
            before = word
    return f"{text}<{time(cue.said[-1][-1].end)}>"


def _apart(text: str) -> tuple[str, str]:
    """The space before a word, and the word."""
    word = text.lstrip(" ")
    return text[: len(text) - len(word)], word
