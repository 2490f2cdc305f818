"""Sources: anything that can be heard, as blocks of 16 kHz float32.

    path or "-" ──► Reader: frames at its own rate ──► the part, the channels ──► 16 kHz ──► blocks

Which reader: samples without a header as they are; WAV by its header; files of FLAC, OGG and others by
libsndfile; the rest, and other pipes, by FFmpeg. Nothing holds a whole recording; memory is the same for any
length. Every failure is an AudioError of one line that names the recording and the remedy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from gemma_audio_cli.addresses import advice, local_path
from gemma_audio_cli.audio.read.bytestream import ByteStream, spooled, unbuffered
from gemma_audio_cli.audio.read.expected_size import joined_mp4, missing
from gemma_audio_cli.audio.read.joined import JoinedReader, flac_files, is_joined
from gemma_audio_cli.audio.read.layout import mask_layout
from gemma_audio_cli.audio.read.mix import Mixer
from gemma_audio_cli.audio.read.pcm import PcmReader, RawFormat
from gemma_audio_cli.audio.read.reader import LOST, Reader, cut_short, reason, unreadable
from gemma_audio_cli.audio.read.sndfile import SndfileReader, Unknown, looks_known
from gemma_audio_cli.audio.read.tracks import Track, check_track
from gemma_audio_cli.audio.read.wav import read_header
from gemma_audio_cli.audio.read.wavtail import true_size
from gemma_audio_cli.audio.resample import choose, finite, limited, to_model_rate
from gemma_audio_cli.errors import AudioError, Notice, UsageError, no_notice
from gemma_audio_cli.formatting import counted
from gemma_audio_cli.sound import MAX_RATE, MIN_RATE, Floats

_MAX_SPLIT = 64
_MAX_BOX_HEAD = 1 << 16


def display_name(source: str | os.PathLike[str]) -> str:
    """How a recording is called in messages and output."""
    return "(stdin)" if os.fspath(source) == "-" else os.fspath(source)


@dataclass(frozen=True)
class SourceOptions:
    """Which part of a recording is wanted, and how it is to be read."""

    start: float = 0.0
    """Seconds from the recording's start."""
    end: float | None = None
    """Seconds from the recording's start; None: its end."""
    channel: int | None = None
    """The only channel to hear, counted from 1; None: all, mixed."""
    split_channels: bool = False
    """Each channel on its own instead of mixed."""
    raw: RawFormat | None = None
    """The input is samples without a header."""
    track: str | None = None
    """Of a file with several audio tracks: the number, from 1, or the language of the one to hear; None: the
    one that players take.
    """

    def __post_init__(self) -> None:
        if not 0 <= self.start < 1e9:
            raise UsageError(f"a start of {self.start} s makes no sense; it is counted from 0")
        if self.end is not None and not self.start < self.end < 1e9:
            raise UsageError(f"the end ({self.end:g} s) must come after the start ({self.start:g} s)")
        if self.channel is not None and self.channel < 1:
            raise UsageError(f"there is no channel {self.channel}; the first is 1")
        if self.channel is not None and self.split_channels:
            raise UsageError("either one channel or all of them split, not both")
        if self.track is not None:
            object.__setattr__(self, "track", check_track(self.track))


class Source:
    """One opened recording; read it once, and close it."""

    def __init__(
        self, name: str, reader: Reader, stream: ByteStream, options: SourceOptions, notice: Notice
    ) -> None:
        self.name = name
        """As it is called in messages and output."""
        self.start = options.start
        """Seconds of the recording before the first block: to be added to times within the blocks."""
        self.channels: tuple[int, ...] = ()
        """Which channels (from 1) the columns of the blocks are; empty: blocks are [n], not split."""
        self._reader, self._stream, self._options, self._notice = reader, stream, options, notice
        self._stopped = False
        if not MIN_RATE <= reader.rate <= MAX_RATE:
            raise AudioError(f"{name}: a sample rate of {reader.rate} Hz makes no sense; export it again")
        if options.channel is not None and options.channel > reader.channels:
            has = counted(reader.channels, "channel")
            raise AudioError(f"{name}: there is no channel {options.channel}: it has {has}; choose another")
        if options.split_channels:
            if reader.channels > _MAX_SPLIT:
                raise AudioError(
                    f"{name}: {reader.channels} channels are too many to split; choose one with --channel"
                )
            self.channels = tuple(range(1, reader.channels + 1))

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The audio tracks of the file; one, of which nothing is known, where there is no such thing."""
        only = Track(1, codec="samples", channels=self._reader.channels, default=True)
        return self._reader.tracks or (only,)

    @property
    def labels(self) -> tuple[str, ...]:
        """What to call the columns of the blocks: "left" and "right" of two, else "channel 1", ..."""
        if len(self.channels) == 2:
            return ("left", "right")
        return tuple(f"channel {number}" for number in self.channels)

    @property
    def duration(self) -> float | None:
        """Seconds that the blocks will cover, by the header's word; None: nobody knows."""
        total = None if self._reader.frames is None else self._reader.frames / self._reader.rate
        end = self._options.end
        if total is None:
            return None
        return max(0.0, (total if end is None else min(end, total)) - self.start)

    def blocks(self) -> Iterator[Floats]:
        """The part that is wanted: float32 [n], or [n, channels] when split, 16 kHz, as it arrives.

        Raises AudioError where the recording is damaged or cut short, after all that could be decoded.
        """
        options, rate, reader = self._options, self._reader.rate, self._reader
        first = round(options.start * rate)
        count = None if options.end is None else round(options.end * rate) - first
        mixer = None
        if reader.channels > 1 and options.channel is None and not options.split_channels:
            mixer = Mixer(reader.layout, reader.channels, rate, self.name, self._notice)
        chosen = choose(limited(self._whole(first), count), options.channel, options.split_channels, mixer)
        whole = to_model_rate(finite(chosen, rate, self.name, self._notice), rate, max(1, len(self.channels)))
        try:
            for block in whole:
                yield block if self.channels else block[:, 0]
        except AudioError:
            if not self._stopped:  # else it ended early because it was asked to
                raise

    def _whole(self, first: int) -> Iterator[Floats]:
        """The reader's frames, then an error if they should have been more."""
        frames = 0
        for block in self._reader.blocks(first):
            if self._stopped:
                return
            frames += len(block)
            yield block
        if self._stopped:
            return
        lacking = missing(self._stream)
        if lacking:
            present, promised = lacking
            seconds = (first + frames) / self._reader.rate
            if (promised - present) * seconds >= LOST * present:
                raise cut_short(self.name, present, promised)
        if first and not frames:
            raise AudioError(
                f"{self.name}: ends before {self.start:g} s, where you want to start; choose an earlier start"
            )

    def stop(self) -> None:
        """From any thread: the blocks end soon, also where they are waited for."""
        self._stopped = True
        self._stream.stop()

    def close(self) -> None:
        """Let go of what is open."""
        self._reader.close()
        self._stream.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_source(
    source: str | os.PathLike[str],
    options: SourceOptions | None = None,
    notice: Notice = no_notice,
    gone: Callable[[], bool] | None = None,
) -> Source:
    """Opens a recording: a path, or "-" for standard input. Reads no more than it takes to know what it is.

    `notice` gets, in one line, what is odd but no reason to stop, also while the blocks are read.
    `gone` is asked while a pipe is waited for, also here: True, and it is at its end.
    """
    options = options or SourceOptions()
    name = display_name(source)
    with ExitStack() as undo:
        try:
            path = None if os.fspath(source) == "-" else Path(local_path(os.fspath(source)))
            stream = _stdin(name, gone) if path is None else ByteStream(_open(path, name), gone=gone)
            undo.callback(stream.close)
            if path is not None and not path.is_file():
                path = None  # a pipe with a path, such as a shell's <(...) makes
            if options.raw is None and not stream.seekable and _index_is_behind(stream):
                notice(f"{name}: this MP4 has its index at the end and is read whole before its first word")
                stream = spooled(stream)
                undo.callback(stream.close)
            reader = _reader(stream, path, name, options, notice)
        except OSError as error:
            raise AudioError(f"{name}: cannot be read: {reason(error)}") from None
        undo.callback(reader.close)
        opened = Source(name, reader, stream, options, notice)
        undo.pop_all()
    return opened


def _stdin(name: str, gone: Callable[[], bool] | None) -> ByteStream:
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError(f"{name}: standard input is a terminal; pipe a recording into this command")
    # Below Python's buffer: a thread that waits in a buffered read would abort the process when it ends.
    return ByteStream(unbuffered(sys.stdin.buffer), ours=False, gone=gone)


def _open(path: Path, name: str) -> BinaryIO:
    try:
        if path.is_dir():
            raise AudioError(
                f"{name}: this is a folder; name recordings, or take all in it with transcribe -r"
            )
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise AudioError(f"{name}: {advice(name) or 'no such file; check the path'}") from None
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: cannot be opened: {reason(error)}") from None


def _reader(
    stream: ByteStream, path: Path | None, name: str, options: SourceOptions, notice: Notice
) -> Reader:
    """The way to read this stream; `path` is the regular file behind it, where there is one."""
    if options.raw is not None:
        return PcmReader(stream, options.raw, name, notice)
    if not stream.peek(1):
        raise AudioError(
            f"{name}: the file is empty; record or copy it again"
            if path
            else f"{name}: nothing came in; pipe a recording into this command"
        )
    header, taken = read_header(stream)
    if header and header.encoding and options.track in (None, "1"):
        try:
            form = RawFormat(header.encoding, header.rate, header.channels)
        except UsageError as error:
            raise unreadable(name, str(error)) from None
        layout = mask_layout(header.mask, header.channels)
        return PcmReader(stream, form, name, notice, true_size(header, stream.left()), layout)
    stream.unread(taken)
    simple: SndfileReader | JoinedReader | None = None
    if path is not None and header is None and options.track is None:
        simple = _simple(stream, path, name)
        # What its channels are for is known to FFmpeg only.
        if simple is not None and simple.channels <= 2:
            return simple
    try:
        reader = _by_ffmpeg(stream, name, options, notice)
    except AudioError:
        if simple is None:
            raise
        return simple
    if simple is not None:
        simple.close()
    return reader


def _simple(stream: ByteStream, path: Path, name: str) -> SndfileReader | JoinedReader | None:
    """The file by libsndfile, where that hears all of it."""
    if not looks_known(stream.peek(32)) or is_joined(stream):
        return None
    with suppress(Unknown):
        begins = flac_files(stream)
        return JoinedReader(path, begins, name) if len(begins) > 1 else SndfileReader(path, name)
    return None


def _by_ffmpeg(stream: ByteStream, name: str, options: SourceOptions, notice: Notice) -> Reader:
    # The import takes a second: only what needs FFmpeg pays for it.
    from gemma_audio_cli.audio.read.container import ContainerReader

    if stream.seekable and stream.peek(8)[4:] == b"ftyp":
        behind = joined_mp4(stream)
        stream.seek(0)
        if behind:
            notice(
                f"{name}: another recording of {behind} bytes lies behind its end and is left out; take them "
                "apart, or join them with ffmpeg"
            )
    try:
        return ContainerReader(stream, name, notice, options.track)
    except AudioError:
        # What decoders say of the first half of a file is seldom that it is half a file.
        lacking = missing(stream) if stream.seekable else None
        if lacking:
            raise cut_short(name, *lacking) from None
        raise


def _index_is_behind(stream: ByteStream) -> bool:
    """An MP4 whose samples come before what says where they are: no pipe can be read that way."""
    at = 0
    while at <= _MAX_BOX_HEAD:
        box = stream.peek(at + 8)[at:]
        size, kind = int.from_bytes(box[:4], "big"), box[4:]
        if kind == b"mdat":
            return True
        if kind not in (b"ftyp", b"free", b"skip", b"wide", b"uuid") or size < 8:
            return False
        at += size
    return False
