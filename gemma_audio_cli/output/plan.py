"""Which results go where, and which are there already.

    inputs, -o, -f ──► OutputPlan ──► items: an input, its final paths ──► ItemOutput: one Writer for all

A file belongs to its input by name and age alone; there is no list on the side that could be lost or out of
date. An item is done when all its files are there (under their names they are there only when complete) and
none is older than its input. Files bear the time at which reading their input began, so that an input that
changes while it is read is not done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from gemma_audio_cli.descriptors import STDOUT, own_descriptor
from gemma_audio_cli.errors import UsageError
from gemma_audio_cli.filenames import STDIN, identity, longest_name, partial_path, stems
from gemma_audio_cli.files import (
    AtomicFile,
    GrowingFile,
    make_folder,
    remove_stale,
)
from gemma_audio_cli.output.formats import (
    EXTENSIONS,
    SHARED,
    check_formats,
    check_style,
    format_of_file,
    open_writer,
)
from gemma_audio_cli.output.live import LiveWriter
from gemma_audio_cli.output.page.writer import PageWriter
from gemma_audio_cli.output.writers import Sink, Style, Writer
from gemma_audio_cli.transcript import Partial, Recording, Segment, Waveform


@dataclass(frozen=True)
class Item:
    """One input and the files that are made of it."""

    input: str
    """As it was given."""
    paths: tuple[Path, ...] = ()
    """One a format, in the order of the plan's formats; none where results go to standard output."""


class OutputPlan:
    """Where the results of all inputs go."""

    def __init__(
        self,
        inputs: Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str] | None = None,
        formats: Sequence[str] = (),
        *,
        style: Style | None = None,
        in_use: Iterable[str | os.PathLike[str]] = (),
        endings: Mapping[str, str] | None = None,
        shared: Iterable[str] = SHARED,
    ) -> None:
        """Touches no file; a UsageError says what does not go together.

        `output` is a file, a folder, or None, "-" or another name of it: standard output. Something that is
        there is what it is; otherwise a name that ends with a separator or has no extension is a folder. No
        `formats`: that of the file's extension, else text. An input that is named twice is one item.
        `in_use`: other files of the run, which must not be replaced either. `endings`: formats that are no
        transcripts, and their extensions; the caller writes them. `shared`: several can share an output.
        """
        self.style = style or Style()
        self._inputs = _once(os.fspath(name) for name in inputs)
        target = None if output is None or _is_stdout(output) else os.fspath(output)
        self.folder: Path | None = None
        file: Path | None = None
        if target is not None:
            if _names_folder(target):
                self.folder = Path(target)
            else:
                file = Path(target)
        self._endings, self._shared_kinds = endings or EXTENSIONS, frozenset(shared)
        self.formats = tuple(formats) if endings else check_formats(formats) or (format_of_file(file),)
        check_style(self.formats, self.style)
        self._check(file)
        self.items = self._items(file)
        self._check_overwriting(in_use)
        self._shared: Writer | None = None

    @property
    def to_stdout(self) -> bool:
        """Results go to standard output."""
        return not any(item.paths for item in self.items)

    def prepare(self) -> None:
        """Makes the folder, fails if nothing can be written there, removes what a killed run left behind."""
        if self.folder is not None:
            make_folder(self.folder)
        for folder in {Path(os.path.realpath(path)).parent for item in self.items for path in item.paths}:
            remove_stale(folder)

    def is_done(self, item: Item) -> bool:
        """All files of the item are there and none is older than its input."""
        if not item.paths or item.input == STDIN:
            return False
        try:
            changed = os.stat(item.input).st_mtime_ns
            return all(path.is_file() and path.stat().st_mtime_ns >= changed for path in item.paths)
        except OSError:
            return False

    def open(
        self, item: Item, stdout: Sink, *, keep_partial: bool = False, growing: bool = False
    ) -> ItemOutput:
        """The writer of the item's results; `stdout` is where they go if not to files.

        `keep_partial`: what an error or an interruption leaves unfinished is kept as NAME.partial.
        `growing`: until it is whole a file is NAME.partial, which anyone can watch, and stays that if this
        process is killed.
        """
        if not item.paths:
            if self._shared is None:
                with_names = len(self.items) > 1
                self._shared = open_writer(
                    self.formats[0], stdout, with_names=with_names, style=self.style, source=item.input
                )
            return ItemOutput(item, [self._shared], [])
        files: list[AtomicFile] = []
        try:
            for path in item.paths:
                files.append(GrowingFile(path) if growing else AtomicFile(path))
            writers = [
                open_writer(kind, file, style=self.style, source=item.input, folder=file.path.parent)
                for kind, file in zip(self.formats, files, strict=True)
            ]
        except BaseException:
            for file in files:
                file.discard()
            raise
        return ItemOutput(item, writers, files, keep_partial=keep_partial)

    # -- steps --

    def _check(self, file: Path | None) -> None:
        if self.folder is not None:
            return
        if len(self.formats) > 1:
            kinds, where = " and ".join(self.formats), "one file" if file else "standard output"
            raise UsageError(f"{kinds} do not fit into {where}; name a folder: -o FOLDER/")
        if file is not None and len(self._inputs) > 1:
            count = len(self._inputs)
            raise UsageError(f"{file}: one file for {count} recordings; name a folder: -o FOLDER/")
        if file is None and len(self._inputs) > 1 and self.formats[0] not in self._shared_kinds:
            raise UsageError(
                f"{self.formats[0]} of several recordings cannot share standard output; "
                "name a folder: -o FOLDER/"
            )

    def _items(self, file: Path | None) -> tuple[Item, ...]:
        if file is not None:
            return tuple(Item(name, (file,)) for name in self._inputs)
        if self.folder is None:
            return tuple(Item(name) for name in self._inputs)
        endings = [self._endings[kind] for kind in self.formats]
        longest = longest_name(self.folder) - max(len(f".{ending}") for ending in endings)
        return tuple(
            Item(name, tuple(self.folder / f"{stem}.{ending}" for ending in endings))
            for name, stem in zip(self._inputs, stems(self._inputs, longest), strict=True)
        )

    def _check_overwriting(self, in_use: Iterable[str | os.PathLike[str]]) -> None:
        recordings = {identity(name) for name in self._inputs if name != STDIN}
        others = {identity(name) for name in in_use}
        for item in self.items:
            for path in item.paths:
                if identity(path) in recordings:
                    raise UsageError(f"{path}: this is a recording; choose another place with -o")
                if identity(path) in others:
                    raise UsageError(f"{path}: this file is in use in this run; choose another place with -o")


class ItemOutput:
    """A Writer for all formats of one item. The files get their names when the block ends without an error
    and `end` got none.

        with plan.open(item, sys.stdout) as out:
            out.begin(...), out.segment(...), out.end(...)
    """

    def __init__(
        self, item: Item, writers: list[Writer], files: list[AtomicFile], *, keep_partial: bool = False
    ) -> None:
        self.item = item
        self._writers, self._files, self._keep_partial = writers, files, keep_partial
        self._begun = time.time_ns()
        self._segments, self._ended, self._failed = 0, False, False

    def begin(self, recording: Recording) -> None:
        """The recording starts."""
        for writer in self._writers:
            writer.begin(recording)

    def delta(self, text: str) -> None:
        """Only a person at the terminal sees half a line; files get whole segments."""
        if not self._files:
            for writer in self._writers:
                writer.delta(text)

    def partial(self, partial: Partial) -> None:
        """For those who write of utterances that are not over."""
        for writer in self._writers:
            if isinstance(writer, LiveWriter):
                writer.partial(partial)

    def segment(self, segment: Segment) -> None:
        """A window is done."""
        self._segments += 1
        for writer in self._writers:
            writer.segment(segment)

    def waveform(self, waveform: Waveform) -> None:
        """For those who show it; before the end."""
        for writer in self._writers:
            if isinstance(writer, PageWriter):
                writer.waveform(waveform)

    def end(self, error: str | None = None, *, duration: float | None = None) -> None:
        """The recording is done, or ended by an error, which leaves no final file."""
        self._ended, self._failed = True, bool(error)
        for writer in self._writers:
            writer.end(error, duration=duration)

    def __enter__(self) -> ItemOutput:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        whole = kind is None and self._ended and not self._failed
        try:
            if whole:
                self._commit(whole=True)
            elif self._keep_partial and self._ended and self._segments:
                self._commit(whole=False)
        finally:
            for file in self._files:
                file.discard()

    def _commit(self, *, whole: bool) -> None:
        for path, file in zip(self.item.paths, self._files, strict=True):
            if not whole and isinstance(file, GrowingFile):
                file.discard()  # it stays under the name it has
                continue
            partial = partial_path(Path(os.path.realpath(path)))
            file.commit(None if whole else partial, mtime_ns=self._begun)
            if whole and not isinstance(file, GrowingFile):
                with suppress(OSError):
                    partial.unlink(missing_ok=True)


# ---- what was given -----------------------------------------------------------------------------


def _once(inputs: Iterable[str]) -> list[str]:
    """Each file once, however it is spelled, in the order of first naming."""
    found: dict[str, str] = {}
    for name in inputs:
        found.setdefault(name if name == STDIN else os.path.normcase(os.path.realpath(name)), name)
    return list(found.values())


def _is_stdout(target: str | os.PathLike[str]) -> bool:
    return os.fspath(target) == "-" or own_descriptor(target) == STDOUT


def _names_folder(target: str) -> bool:
    if own_descriptor(target) is not None:
        return False
    if os.path.isdir(target) or target.endswith(tuple(filter(None, (os.sep, os.altsep)))):
        return True
    return not os.path.exists(target) and not Path(target).suffix
