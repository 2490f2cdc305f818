"""Several channels to one, so that no voice is lost in it.

    blocks [frames, channels] ──► weighed by the layout ──► what is in opposite phase not cancelled ──► [n, 1]

Where one channel is the other one upside down (a broken balanced cable, some telephones' recorders), their
mean is silence. So each tenth of a second is looked at: a channel that contradicts the loudest one counts
half and with its sign turned. Then nothing cancels: what is in both channels with the same sign stays with a
third of its size, what is in opposite phase stays whole. All else is the plain weighted mean.

In surround sound the centre, where voices are, counts most, and more where it is as loud as all around.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gemma_audio_cli.audio.read.layout import centre_of, mix_weights
from gemma_audio_cli.errors import Notice
from gemma_audio_cli.sound import Floats

_SEGMENT = 0.1
"""Seconds that are judged at once."""
_MEMORY, _LONG_MEMORY = 0.5, 0.98
"""Of the sums of one segment in the next: for phases, and for where the voice is, also in its pauses."""
_OPPOSITE, _AGREES = -0.5, -0.2
"""The correlation from which on a channel is turned, and from which on no more."""
_TURNED = -0.5
"""What a turned channel counts, beside 1."""
_FADE = 0.01
"""Seconds in which one mix goes over into another."""
_QUIET = 1e-3
"""Of the loudest channel's energy: what is quieter cancels nothing."""
_LOST = 0.1
"""Of the loudest channel's energy: a mean with less of it is reported, ..."""
_TOLD_AFTER = 0.5
"""... once there were so many seconds of it."""
_VOICE, _NO_VOICE = 0.25, 0.06
"""Of the loudest channel's energy: from which on the centre is the voice, and below which no more."""
_SETTLED = 2.0
"""Seconds before the centre is taken for something else: others are seldom heard before anyone speaks."""

_Doubles = npt.NDArray[np.float64]


class Mixer:
    """One recording's channels to one; the result does not depend on how the blocks are sliced."""

    def __init__(self, layout: Sequence[str], channels: int, rate: int, name: str, notice: Notice) -> None:
        """`layout`: FFmpeg's names of the channels, of which there are at least two; () where unknown."""
        weights = mix_weights(layout, channels)
        # What does not count must not count either where it is no number.
        used = [index for index, weight in enumerate(weights) if weight]
        self._used = None if len(used) == channels else used
        self._weights = np.asarray(weights)[used]
        self._beside_voice = np.asarray(mix_weights(layout, channels, voice=True))[used]
        self._beside_other = self._weights
        centre = centre_of(layout)
        self._centre = used.index(centre) if centre in used and centre is not None else None
        if np.array_equal(self._beside_voice, self._beside_other):
            self._centre = None
        self._plain = len(set(weights)) == 1
        self._count = max(1, round(_SEGMENT * rate))
        self._fade = max(1, round(_FADE * rate))
        self._rate, self._name, self._notice = rate, name, notice
        self._held: list[Floats] = []
        self._n_held = 0
        self._last = np.zeros(len(used))
        self._products = np.zeros((len(used), len(used)))
        self._long = np.zeros(len(used))
        self._seen, self._voice = 0, True
        self._reference = 0
        self._turned = np.zeros(len(used), dtype=bool)
        self._mix: _Doubles | None = None
        self._opposite, self._reported = 0, False

    def push(self, block: Floats) -> Iterator[Floats]:
        """What float32 [frames, channels] more completes, as float32 [n, 1]."""
        block = block if self._used is None else block[:, self._used]
        while len(block):
            part = block[: self._count - self._n_held]
            block = block[len(part) :]
            self._held.append(part)
            self._n_held += len(part)
            if self._n_held == self._count:
                yield self._segment()

    def finish(self) -> Iterator[Floats]:
        """The rest."""
        if self._n_held:
            yield self._segment()

    def _segment(self) -> Floats:
        # In one order in memory, however it came: how a product is rounded depends on that.
        block = np.ascontiguousarray(self._held[0] if len(self._held) == 1 else np.concatenate(self._held))
        self._held, self._n_held = [], 0
        self._judge(block)
        factors = np.where(self._turned, _TURNED, 1.0) * self._weights
        before, self._mix = self._mix, factors / np.abs(factors).sum()
        if self._plain and not self._turned.any():
            with np.errstate(over="ignore", invalid="ignore"):
                mixed: Floats = block.mean(axis=1, dtype=np.float32, keepdims=True)
        else:
            mixed = _mixed(block, self._mix)
        if before is not None and not np.array_equal(before, self._mix):
            n = min(self._fade, len(block))
            ramp = ((np.arange(n) + 0.5) / n).astype(np.float32)[:, None]
            with np.errstate(over="ignore", invalid="ignore"):
                mixed[:n] = ramp * mixed[:n] + (1 - ramp) * _mixed(block[:n], before)
        return mixed

    def _judge(self, block: Floats) -> None:
        """Where is the voice, and which channels contradict the loudest one?"""
        sound = np.where(np.isfinite(block), block, 0.0).astype(np.float64)
        self._seen += len(block)
        if not sound.any():
            return
        # Differences: hum, which both wires of a broken cable pick up alike, hardly counts in them.
        steps = np.diff(sound, axis=0, prepend=self._last[None, :])
        self._last = sound[-1]
        products = steps.T @ steps
        self._products = _MEMORY * self._products + products
        if self._centre is not None:
            self._find_voice(np.diagonal(products), self._centre)
        self._find_opposite(self._products * np.outer(self._weights, self._weights), len(block))

    def _find_voice(self, energy: _Doubles, centre: int) -> None:
        self._long = _LONG_MEMORY * self._long + energy
        most = float(self._long.max())
        limit = _NO_VOICE if self._voice else _VOICE
        if self._seen >= _SETTLED * self._rate:
            self._voice = float(self._long[centre]) >= limit * most
        self._weights = self._beside_voice if self._voice else self._beside_other

    def _find_opposite(self, products: _Doubles, count: int) -> None:
        energy = np.diagonal(products)
        most = float(energy.max())
        if not most > 0:
            return
        if energy[self._reference] < most / 4:
            self._reference = int(energy.argmax())
            self._turned[:] = False
        with np.errstate(divide="ignore", invalid="ignore"):
            alike = products[self._reference] / np.sqrt(energy * energy[self._reference])
        self._turned = (energy > _QUIET * most) & np.where(self._turned, alike < _AGREES, alike < _OPPOSITE)
        self._turned[self._reference] = False
        if self._turned.any() and not self._reported:
            mean = float(products.sum()) / float(self._weights.sum()) ** 2
            if mean < _LOST * float((energy / self._weights**2).max()):
                self._tell(count)

    def _tell(self, count: int) -> None:
        self._opposite += count
        if self._opposite >= _TOLD_AFTER * self._rate:
            self._reported = True
            self._notice(
                f"{self._name}: its channels are in opposite phase and would cancel each other; "
                "mixed so that they do not (--channel 1 hears one of them)"
            )


def _mixed(block: Floats, factors: _Doubles) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        mixed: Floats = (block @ factors.astype(np.float32))[:, None]
    return mixed
