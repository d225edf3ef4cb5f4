"""What a frame takes at a q, bits or quality: a prior from many clips, and what the frames of this one add to it.

The value (log2 of bits, or dB) of a frame is a curve of q for its kind and the gradients in the last I frame, plus an
offset; P frames share an error of the slope. These four unknowns are estimated together (a Kalman filter), so that an
ordinary P frame also tells of the refreshed ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.bitstream.frame_header import MAX_Q_INDEX
from ssvc_codec.frame import Frame
from ssvc_codec.gop.planner import Hierarchy, is_refresh, q_offset

__all__ = [
    "FrameKind",
    "KindModel",
    "Outlook",
    "Place",
    "Prior",
    "RateModel",
    "gradient_activity",
    "kind_of",
    "places_from",
]


class FrameKind(IntEnum):
    """Places in the quality hierarchy, which take different bits."""

    I = 0  # noqa: E741
    P = 1
    REFRESHED = 2  # a P frame with a higher q than its neighbours


@dataclass(frozen=True, slots=True)
class Prior:
    """What training clips say of a value (docs/rate-control.md)."""

    curves: tuple[tuple[float, ...], ...]  # by kind: times 1, q, q^2 / 63, a = log2(1 + activity), a q / 63
    covariance: tuple[tuple[float, ...], ...]  # of the offsets by kind, and of the slope of P frames over 30 steps of q
    drift: tuple[float, ...]  # of the same: variance that comes back with every frame
    noise: tuple[float, ...]  # by kind: variance of one frame about the model


KEPT: Final = 0.5  # of what frames of one scene have shown, for the next
PIVOT_Q: Final = 30  # where an error of the slope changes nothing
LOG_BITS: Final = Prior(  # log2 of bits per luma sample
    curves=(
        (-5.984, 0.0500, -0.0053, 0.701, 0.441),
        (-8.330, 0.0496, 0.0311, 0.690, 0.0),
        (-8.311, 0.0655, 0.0153, 0.862, 0.0),
    ),
    covariance=((0.05, 0.0, 0.0, 0.0), (0.0, 1.50, 1.15, 0.0), (0.0, 1.15, 1.0, 0.0), (0.0, 0.0, 0.0, 0.12)),
    drift=(0.002, 0.01, 0.008, 0.0),
    noise=(0.01, 0.05, 0.02),
)


def kind_of(distance: int, *, keyint: int) -> FrameKind:
    """Kind of a frame. distance: frames since the I frame."""
    if not distance:
        return FrameKind.I
    return FrameKind.REFRESHED if is_refresh(distance, keyint=keyint) else FrameKind.P


class Place(NamedTuple):
    """A place in the quality hierarchy."""

    kind: FrameKind
    q_offset: int  # to the stream's q


def places_from(distance: int, n_frames: int, *, keyint: int, hierarchy: Hierarchy) -> Iterator[Place]:
    """Those of n_frames frames in a row, if no scene cut comes.

    distance: of the first from its I frame.
    """
    for place in ((distance + i) % keyint for i in range(n_frames)):
        yield Place(kind_of(place, keyint=keyint), q_offset(place, keyint=keyint, hierarchy=hierarchy))


def gradient_activity(frame: Frame) -> float:
    """Mean absolute difference of luma to the right, plus that downwards, in 8-bit levels."""
    luma = frame.y.astype(np.float32)
    scale = 1 << (frame.format.bit_depth - 8)
    return float(sum(np.abs(np.diff(luma, axis=axis)).mean() for axis in (0, 1) if luma.shape[axis] > 1)) / scale


@dataclass(frozen=True, slots=True)
class Outlook:
    """Frames to come."""

    counts: Mapping[Place, int]
    seconds: float

    @classmethod
    def ahead(cls, distance: int, n_frames: int, *, keyint: int, hierarchy: Hierarchy, seconds: float) -> Outlook:
        """n_frames frames from one that is so far from its I frame."""
        return cls(Counter(places_from(distance, n_frames, keyint=keyint, hierarchy=hierarchy)), seconds)


class KindModel:
    """A value of the frames of one stream, by kind and q."""

    def __init__(self, prior: Prior, *, activity: float) -> None:
        """activity: gradient_activity of the first frame."""
        self._prior = prior
        self._state: NDArray[np.float64] = np.zeros(len(prior.covariance))
        self.start_scene(activity)

    def start_scene(self, activity: float) -> None:
        """Forget most of what earlier frames said. activity: gradient_activity of the first frame of the scene."""
        self.set_activity(activity)
        self._covariance = np.array(self._prior.covariance)
        self._state *= KEPT

    def set_activity(self, activity: float) -> None:
        """gradient_activity of an I frame within the scene."""
        self._activity = math.log2(1 + activity)

    def value(self, kind: FrameKind, q: float) -> float:
        """Expected value at q_index q, which may be a fraction; limits of q hold."""
        q = min(max(q, 0.0), float(MAX_Q_INDEX))
        a, b, c, d, e = self._prior.curves[kind]
        curve = a + b * q + c * q * q / 63 + (d + e * q / 63) * self._activity
        return curve + float(self._sees(kind, q) @ self._state)

    def variance(self, kind: FrameKind) -> float:
        """Of what is known of a kind, around PIVOT_Q."""
        return float(self._covariance[kind, kind])

    def slope(self, kind: FrameKind, q: float) -> float:
        """Change of the value per step of q, 0.01 at least."""
        q = min(max(q, 0.5), MAX_Q_INDEX - 0.5)
        return max(self.value(kind, q + 0.5) - self.value(kind, q - 0.5), 0.01)

    def observe(self, kind: FrameKind, q: float, value: float) -> None:
        """Learn from a frame coded at q_index q."""
        self._covariance += np.diag(self._prior.drift)
        sees = self._sees(kind, q)
        covariance = self._covariance @ sees
        gain = covariance / (sees @ covariance + self._prior.noise[kind])
        self._state = self._state + gain * (value - self.value(kind, q))
        self._covariance -= np.outer(gain, covariance)

    def _sees(self, kind: FrameKind, q: float) -> NDArray[np.float64]:
        sees = np.zeros(len(self._covariance))
        sees[kind] = 1.0
        if kind is not FrameKind.I:
            sees[-1] = (q - PIVOT_Q) / 30
        return sees


class RateModel:
    """Bits of the frames of one stream."""

    def __init__(self, *, n_samples: int, activity: float) -> None:
        """n_samples: luma samples of a frame. activity: gradient_activity of the first."""
        self.logs = KindModel(LOG_BITS, activity=activity)
        self._n_samples = n_samples

    def bits(self, kind: FrameKind, q: float) -> float:
        """Expected bits at q_index q: above the median by what uncertainty adds to the mean of a log-normal."""
        return self._n_samples * 2 ** (self.logs.value(kind, q) + 0.5 * math.log(2) * self.logs.variance(kind))

    def observe(self, kind: FrameKind, q: float, n_bits: float) -> None:
        """Learn from a frame of n_bits coded at q_index q."""
        self.logs.observe(kind, q, math.log2(max(n_bits, 1) / self._n_samples))

    def total(self, ahead: Outlook, base_q: float) -> float:
        """Expected bits of frames to come."""
        return sum(count * self.bits(kind, base_q + offset) for (kind, offset), count in ahead.counts.items())

    def solve(self, ahead: Outlook, n_bits: float, *, low: float, high: float) -> float:
        """The base q within low..high at which frames to come take n_bits, by bisection."""
        for _ in range(16):
            middle = (low + high) / 2
            low, high = (middle, high) if self.total(ahead, middle) < n_bits else (low, middle)
        return (low + high) / 2
