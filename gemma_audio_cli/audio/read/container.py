"""Everything FFmpeg reads, through PyAV: m4a, mp4, mkv, webm, wma, video, and any container from a pipe.

FFmpeg gets its bytes from a ByteStream and may open nothing else: a playlist from a stranger cannot make it
read another file or go to the network.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gemma_audio_cli.audio.read.bytestream import ByteStream
from gemma_audio_cli.audio.read.expected_size import id3_length
from gemma_audio_cli.audio.read.feed import Feed
from gemma_audio_cli.audio.read.reader import cut_short, damaged, drop, reason, unreadable
from gemma_audio_cli.audio.read.tracks import Track, chosen, listed
from gemma_audio_cli.errors import AudioError, Notice
from gemma_audio_cli.sound import Floats

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.packet import Packet

_PLANES = 8
"""PyAV reads planes until there is a null pointer, which eight channels and more do not end in: it then reads
what is behind them. Channels that take turns in one plane are read right.
"""
_SCALE = {"u8": 128.0, "s16": 32768.0, "s32": 2.0**31, "flt": 1.0, "dbl": 1.0}
_OPTIONS = {
    "protocol_whitelist": "none",
    # Less than FFmpeg's 5 s and 5 MB: a live pipe is to be heard soon.
    "analyzeduration": "1000000",
    "probesize": "1000000",
}
_INDEXED = {"mov", "matroska"}
"""Containers whose index finds a time without reading up to it."""
_TIMED = {"mov", "matroska", "mpegts", "asf", "flv"}
"""Containers whose time stamps show where sound is missing (elsewhere they are guessed from bytes)."""
_COUNTED = {"mov", "flac"}
"""Containers that count the track's samples; the lengths others name are often those of the picture."""
_PREROLL = 0.5
"""Seconds decoded before the place that was asked for: codecs need some to settle."""
_GAP = 0.1
_MAX_GAP = 3600.0
_MAX_BAD_PACKETS = 200
_MAX_PACKET = 0.25
"""Seconds of silence that stand for a packet without sound, at most."""
_AMR = {"amrnb": "libopencore_amrnb", "amrwb": "libopencore_amrwb"}
"""FFmpeg's own decoders refuse the packets that stand for pauses; these do not, where they are built in."""
_AMR_NO_SPEECH = 8
"""Frame types of AMR from here on are comfort noise, or nothing."""
_CLOCK = re.compile(r"(\d{1,6}):(\d\d):(\d\d(?:\.\d{1,9})?)")
_BARE = {"mp3", "aac"}
"""Frames without a container: where such files are joined, their tags lie between the frames."""
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")
_ID3 = re.compile(rb"ID3[\x02-\x04]\x00.[\x00-\x7f]{4}", re.DOTALL)


class ContainerReader:
    """The best audio track of whatever FFmpeg makes sense of."""

    def __init__(self, stream: ByteStream, name: str, notice: Notice, track: str | None = None) -> None:
        """Decodes the first of it: only then are rate and channels certain (HE-AAC says half its rate).

        `track`: the number of an audio track, from 1, or a language; None: the one that players take.
        """
        import av

        self._name, self._notice = name, notice
        self.rate = self.channels = 0
        self.layout: tuple[str, ...] = ()
        self.tracks: tuple[Track, ...] = ()
        """All audio tracks."""
        self.track = 1
        """The number of the one that is heard."""
        self.frames: int | None = None
        self._feed = Feed(stream)
        self._packets = self._bad_packets = 0
        try:
            # Tags that are not UTF-8 are no reason to stop. PyAV 19 no longer asks what to do with them.
            old = int(av.__version__.partition(".")[0]) < 19
            tags: dict[str, Any] = {"metadata_errors": "replace"} if old else {}
            self._container = av.open(self._feed, container_options=_OPTIONS, mode="r", **tags)
        except Exception as error:  # any of FFmpeg's and PyAV's, whatever a stranger's bytes provoke
            self._feed.check()
            raise self._cannot(error) from None
        try:
            self._feed.check()
            self._open_track(track)
        except BaseException:
            self._container.close()
            raise

    def _cannot(self, error: BaseException) -> AudioError:
        return unreadable(self._name, reason(error))

    def _open_track(self, wanted: str | None) -> None:
        tracks = self._container.streams.audio
        if not tracks:
            what = "a video or picture without sound" if self._container.streams.video else "no audio track"
            raise AudioError(f"{self._name}: {what}; name a recording that can be heard")
        self.tracks = tuple(_described(number, track) for number, track in enumerate(tracks, 1))
        self.track = self._choose(wanted)
        self._track = tracks[self.track - 1]
        self._kind = self._container.format.name.split(",")[0]
        if not self.tracks[self.track - 1].codec:
            raise AudioError(
                f"{self._name}: its audio is encrypted or in a format no decoder here knows; "
                "play it with what it was made for and record that, or export it again"
            )
        self._context = self._decoder()
        start = self._container.start_time
        self._origin = 0.0 if start is None else start / 1e6
        # A part that kept its times names as its length, there, when it ends.
        self._late = max(0.0, self._origin) if self._kind == "matroska" else 0.0
        self._resampler: Any = None
        self._shape: tuple[str, int, str] | None = None
        self._frames = self._decoded()
        first = next(self._frames, None)
        if first is None or self._shape is None:
            raise AudioError(f"{self._name}: no audio in it (0 samples); record or export it again")
        self.rate, self.channels = self._shape[1], first[1].shape[1]
        if wanted is None and sum(bool(track.codec) for track in self.tracks) > 1:
            self._notice(
                f"{self._name}: {len(self.tracks)} audio tracks ({listed(self.tracks)}); "
                f"track {self.track} is heard; --track takes another"
            )
        self._frames = itertools.chain((first,), self._frames)
        self.frames = self._length()

    def _choose(self, wanted: str | None) -> int:
        """The number of the track to hear: what players take, of those that can be decoded."""
        if wanted is not None:
            return chosen(self._name, self.tracks, wanted).number
        best = self._container.streams.best("audio")
        usable = [track for track in self.tracks if track.codec] or list(self.tracks)
        for track in usable:
            if best is not None and self._container.streams.audio[track.number - 1].index == best.index:
                return track.number
        return max(usable, key=lambda track: (track.default, -track.number)).number

    def _decoder(self) -> Any:
        """What decodes the track's packets."""
        import av

        own = self._track.codec_context
        better = _AMR.get(own.name)
        if better is None:
            return own
        try:
            context = av.CodecContext.create(better, "r")
            context.sample_rate, context.layout = own.sample_rate or 8000, "mono"  # type: ignore[attr-defined]
            context.open()
        except Exception:  # an FFmpeg without it
            return own
        return context

    def _length(self) -> int | None:
        base, track = self._track.time_base, self._track.duration
        seconds = float(track * base) if track and base else (self._container.duration or 0) / 1e6
        seconds -= self._late
        return round(seconds * self.rate) if 0 < seconds < 1e8 else None

    def blocks(self, first: int) -> Iterator[Floats]:
        """Float32 [frames, channels] from frame `first` on; silence stands where the track has none."""
        seconds = first / self.rate
        jumps = self._feed.seekable() and self._kind in _INDEXED and seconds > 2 * _PREROLL
        if jumps and self._seek(seconds):
            return self._from_place(first)
        return drop(self._placed(self._frames, 0), first)

    def _seek(self, seconds: float) -> bool:
        base = self._track.time_base
        if base is None:
            return False
        try:
            target = int((seconds - _PREROLL + self._origin) / base)
            self._container.seek(target, stream=self._track)
        except Exception as error:
            self._feed.check()
            raise damaged(self._name, 0.0, f"cannot jump to {seconds:.1f} s: {reason(error)}") from None
        self._frames = self._decoded()
        return True

    def _from_place(self, first: int) -> Iterator[Floats]:
        """After a jump only the time stamp tells where it went."""
        found = next(self._frames, None)
        if found is None:
            return
        at = 0 if found[0] is None else round(found[0] * self.rate)
        frames = itertools.chain((found,), self._frames)
        yield from drop(self._placed(frames, min(at, first)), max(0, first - at))

    def _placed(self, frames: Iterator[tuple[float | None, Floats]], at: int) -> Iterator[Floats]:
        """Blocks one behind the other, with silence for what time stamps show to be missing.

        So times stay the recording's: in a video whose sound starts late, in a call that lost packets.
        """
        for seconds, block in frames:
            if seconds is not None and self._kind in _TIMED:
                gap = seconds - at / self.rate
                if _GAP < gap < _MAX_GAP:
                    silence = round(gap * self.rate)
                    at += silence
                    while silence > 0:
                        count = min(silence, self.rate)
                        yield np.zeros((count, self.channels), dtype=np.float32)
                        silence -= count
            at += len(block)
            yield block
        if self._bad_packets:
            self._notice(
                f"{self._name}: {self._bad_packets} of {self._packets} packets are damaged and were left out"
            )
        promised, tolerance = self._promised()
        if promised and at < promised - tolerance * self.rate:
            raise cut_short(self._name, at, promised)

    def _promised(self) -> tuple[int | None, float]:
        """(frames the track has by the file's word, seconds of it that may be lacking); None: not said."""
        if self._kind in _COUNTED:
            return (self.frames if self._track.duration else None), 0.25
        if self._kind != "matroska":
            return None, 0.0
        # A damaged cluster is passed over without a word, and may be all of a short recording.
        stated = _CLOCK.fullmatch(self._track.metadata.get("DURATION", ""))
        if stated:
            hours, minutes, seconds = stated.groups()
            end = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            return round((end - self._late) * self.rate), 1.0
        return (None if self._container.streams.video else self.frames), 1.0

    def _decoded(self) -> Iterator[tuple[float | None, Floats]]:
        """(seconds by the time stamp, float32 [frames, channels]) of each decoded frame."""
        import av

        done, failed, lacking, tag_end = 0.0, 0, 0.0, 0
        try:
            for packet in self._container.demux(self._track):
                self._packets += 1
                if self._kind in _BARE:
                    tag_end = max(tag_end, _tag_end(packet))
                try:
                    frames = self._context.decode(packet if packet.size else None)
                except (av.FFmpegError, ValueError) as error:
                    self._feed.check()
                    if not packet.size:  # the empty packet at the end: nothing was lost
                        continue
                    if packet.pos is not None and packet.pos < tag_end:
                        continue  # where recordings were joined lie tags: no sound, and no damage
                    # Silence in its place keeps the time of what follows.
                    lacking += _seconds(packet)
                    if self._is_pause(packet):
                        continue
                    failed += 1
                    self._bad_packets += 1
                    if failed > _MAX_BAD_PACKETS:
                        raise self._undecodable(done, error) from None
                    continue
                for frame in frames:
                    failed = 0
                    time = None if frame.time is None else frame.time - self._origin
                    done = done if time is None else time
                    for block in self._to_float(frame):
                        if lacking and self._kind not in _TIMED:
                            count = round(lacking * self._shape[1]) if self._shape else 0
                            yield None, np.zeros((count, block.shape[1]), dtype=np.float32)
                        lacking = 0.0
                        yield time, block
            if lacking and self._shape is not None and self._kind not in _TIMED:
                yield None, np.zeros((round(lacking * self.rate), self.channels), dtype=np.float32)
        except AudioError:
            raise
        except Exception as error:
            self._feed.check()
            raise damaged(self._name, done, reason(error)) from None
        self._feed.check()
        if failed and self._shape is None:
            raise self._undecodable(0.0, None)

    def _is_pause(self, packet: Packet[AudioStream]) -> bool:
        """A packet that says that nobody speaks, and that this decoder does not know."""
        return self._context.name in _AMR and bytes(packet)[0] >> 3 & 15 >= _AMR_NO_SPEECH

    def _undecodable(self, done: float, error: BaseException | None) -> AudioError:
        why = reason(error) if error else "no packet of it decodes"
        if self._shape is None:
            return AudioError(
                f"{self._name}: its audio cannot be decoded ({why}): it is damaged or encrypted; "
                "copy it again, or export it without protection"
            )
        return damaged(self._name, done, why)

    def _to_float(self, frame: AudioFrame) -> Iterator[Floats]:
        """A decoded frame as float32 [frames, channels], always with the first frame's rate and channels."""
        import av

        if not frame.samples:
            return
        shape = (frame.format.name, frame.sample_rate, frame.layout.name)
        if self._shape is None:
            self._shape = shape
            names = tuple(channel.name for channel in frame.layout.channels)
            self.layout = () if "NONE" in names else names
        is_safe = not frame.format.is_planar or frame.layout.nb_channels < _PLANES
        if shape[1:] == self._shape[1:] and frame.format.name.rstrip("p") in _SCALE and is_safe:
            yield _array(frame)
            return
        # A stream put together from others may change on the way.
        for _ in range(2):
            self._resampler = self._resampler or av.AudioResampler(
                format="flt", layout=self._shape[2], rate=self._shape[1]
            )
            try:
                changed = self._resampler.resample(frame)
            except ValueError:
                self._resampler = None  # it serves the shape it saw first, and no other
                continue
            for part in changed:
                if part.samples:
                    yield _array(part)
            return

    def close(self) -> None:
        """Let go of FFmpeg's side; the stream belongs to who opened it."""
        self._container.close()


def _described(number: int, stream: AudioStream) -> Track:
    context, about = getattr(stream, "codec_context", None), stream.metadata
    language = about.get("language", "")
    return Track(
        number,
        "" if language == "und" else language,
        about.get("title", ""),
        "" if context is None else context.codec.canonical_name or context.name,
        0 if context is None else context.channels or 0,
        bool(stream.disposition & stream.disposition.__class__.default),
    )


def _tag_end(packet: Packet[AudioStream]) -> int:
    """Where the tags end that this packet is, or that begin in it; 0: there are none."""
    data = bytes(packet)
    if packet.pos is None:
        return 0
    end = len(data) if data.startswith(_TAGS) else 0
    begins = _ID3.search(data)  # of the next recording, behind the last frame or a tag of this one
    if begins is not None:
        end = max(end, begins.start() + id3_length(begins[0]))
    return packet.pos + end


def _seconds(packet: Packet[AudioStream]) -> float:
    base = packet.time_base
    return min(float(packet.duration * base), _MAX_PACKET) if packet.duration and base else 0.0


def _array(frame: AudioFrame) -> Floats:
    values = frame.to_ndarray()
    channels = frame.layout.nb_channels
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    scaled = values.astype(np.float32)
    kind = frame.format.name.rstrip("p")
    if kind == "u8":
        scaled -= 128
    return scaled / np.float32(_SCALE[kind]) if _SCALE[kind] != 1 else scaled
