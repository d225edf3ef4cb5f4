"""A bit rate in two passes: the first tells what every frame costs, the second spends the bits at an even quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.bitstream.frame_header import MAX_Q_INDEX
from ssvc_codec.gop.pacing import Clock, Dither
from ssvc_codec.gop.rate_control import (
    MAX_BASE_Q,
    MAX_FRAMES_AHEAD,
    MIN_BASE_Q,
    N_FIRST,
    BitrateControl,
    CodedPicture,
    FrameFacts,
)
from ssvc_codec.gop.rate_model import FrameKind
from ssvc_codec.gop.statistics import FrameStatistics
from ssvc_codec.gop.vbv import LeakyBucket

__all__ = ["FirstPass", "PassFrame", "TwoPassControl"]

COMPRESSION: Final = 2.0  # steps of q less for each doubling of a group's bits (docs/rate-control.md)
FIRST_PASS_STEP: Final = 0.15  # of q from frame to frame in the first pass
MEMORY_FRAMES: Final = 100  # over which the ratio of bits in the two passes is averaged
RESOLVE_EVERY: Final = 8  # frames from one look at the remaining budget to the next
MAX_SHIFT: Final = 2.0  # of q, from one such look to the next


@dataclass(frozen=True, slots=True)
class PassFrame:
    """One frame of the first pass."""

    kind: FrameKind
    q_offset: int
    q_index: int
    n_bits: int
    slope: float  # log2 of bits per step of q


class FirstPass(BitrateControl):
    """A sluggish one-pass control that writes down what it sees: near the rate in question little is extrapolated.

    first = FirstPass(500_000)
    ...  # code all frames with Encoder(..., rate_control=first), throw the packets away
    second = TwoPassControl(first.frames, n_bits=500_000 * first.seconds)
    """

    def __init__(self, bitrate: float) -> None:
        super().__init__(bitrate)
        self.frames: list[PassFrame] = []

    def _surplus(self) -> float:
        return 0.0

    def _largest_step(self) -> float:
        step = super()._largest_step()
        return step if len(self.frames) < N_FIRST else FIRST_PASS_STEP

    @property
    def seconds(self) -> float:
        """Duration of the frames so far."""
        return self._clock.end

    def next_q(self, facts: FrameFacts) -> int:
        """base_q of the next frame."""
        self._offset = facts.plan.q_offset
        return super().next_q(facts)

    def update(self, statistics: FrameStatistics, picture: CodedPicture) -> None:
        """Takes note of the frame."""
        super().update(statistics, picture)
        assert self._model is not None
        slope = self._model.logs.slope(self._kind, statistics.q_index)
        frame = PassFrame(self._kind, self._offset, statistics.q_index, 8 * statistics.n_bytes, slope)
        self.frames.append(frame)


class TwoPassControl:
    """The second pass: one base q for the whole video, moved by what the remaining budget allows.

    The first pass may be coded with less effort: the ratio of bits in both is followed.
    """

    def __init__(
        self,
        frames: Sequence[PassFrame],
        *,
        n_bits: float,
        maxrate: float | None = None,
        bufsize: float | None = None,
        bitrate: float = 0.0,
        compression: float = COMPRESSION,
    ) -> None:
        """Opens a control.

        frames: of the first pass, the same as those to come. n_bits: for all of them. maxrate, bufsize, bitrate: as
        for BitrateControl. compression: how much coarser groups are that take more bits. Raises ValueError.
        """
        if not frames:
            raise ValueError("the first pass saw no frame")
        if not (math.isfinite(n_bits) and n_bits > 0):
            raise ValueError(f"n_bits {n_bits}: must be above 0")
        self.vbv = LeakyBucket.for_rate(bitrate, maxrate=maxrate, bufsize=bufsize)
        self.n_bits = 0
        self._budget = float(n_bits)
        self._kinds = np.array([frame.kind for frame in frames])
        self._slopes = np.array([frame.slope for frame in frames])
        self._offsets = np.array([frame.q_offset for frame in frames], np.float64)
        self._q = np.array([frame.q_index for frame in frames], np.float64)
        self._log_bits = np.log2([max(frame.n_bits, 1) for frame in frames])
        self._offsets_of_groups = np.zeros(len(frames))
        self._spent = np.ones(len(FrameKind))  # remembered bits by kind, and what was expected of them
        self._expected = np.ones(len(FrameKind))
        self._place = -1
        self._tried_q = 0  # base q of the frame being coded
        self._clock = Clock()
        self._dither = Dither()
        self.base_q = self._solve(0)
        if compression:
            self._offsets_of_groups = -compression * self._complexity()
            self.base_q = self._solve(0)

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        return [] if self.vbv is None else self.vbv.notes

    def next_q(self, facts: FrameFacts) -> int:
        """base_q of the next frame."""
        passed = self._clock.tick(facts.frame)
        self._place = min(self._place + 1, len(self._q) - 1)
        if self._place % RESOLVE_EVERY == 0 or len(self._q) - self._place < RESOLVE_EVERY:
            aim = self._solve(self._place)
            self.base_q += min(max(aim - self.base_q, -MAX_SHIFT), MAX_SHIFT)
        base_q = self._dither.round(self.base_q + float(self._offsets_of_groups[self._place]))
        if self.vbv is None:
            return base_q
        self.vbv.refill(passed)
        end = min(self._place + MAX_FRAMES_AHEAD, len(self._q))
        self._tried_q = self.vbv.highest_q(
            lambda base: self._bits(base, self._place, end).tolist(),
            low=MIN_BASE_Q,
            high=base_q,
            seconds=self._clock.usual_duration,
        )
        return self._tried_q

    def retry(self, facts: FrameFacts, *, n_bytes: int) -> int | None:
        """A lower base_q where the frame overdraws the bucket."""
        if self.vbv is None:
            return None
        tried_q = min(max(self._tried_q + facts.plan.q_offset, 0), MAX_BASE_Q)
        q = self.vbv.lower_q(8 * n_bytes, q=tried_q, slope=float(self._slopes[self._place]))
        if q is None:
            return None
        self._tried_q = q - facts.plan.q_offset
        return self._tried_q

    def update(self, statistics: FrameStatistics, picture: CodedPicture) -> None:
        """Takes note of the frame as it was written."""
        del picture
        n_bits = 8 * statistics.n_bytes
        self.n_bits += n_bits
        if self.vbv is not None:
            self.vbv.take(n_bits)
        kind = self._kinds[self._place]
        change = self._slopes[self._place] * (statistics.q_index - self._q[self._place])
        keep = 1 - 1 / MEMORY_FRAMES
        self._spent *= keep
        self._expected *= keep
        self._spent[kind] += n_bits
        self._expected[kind] += 2.0 ** float(self._log_bits[self._place] + change)

    def _bits(self, base_q: float, start: int, end: int | None = None) -> NDArray[np.float64]:
        """Expected bits of frames start..end at a base q, after what this pass has shown so far."""
        part = slice(start, end)
        q = np.clip(base_q + self._offsets_of_groups[part] + self._offsets[part], 0, MAX_Q_INDEX)
        ratio = (self._spent / self._expected)[self._kinds[part]]
        return ratio * 2.0 ** (self._log_bits[part] + self._slopes[part] * (q - self._q[part]))

    def _solve(self, start: int) -> float:
        """The base q at which the frames from start on take what is left of the budget."""
        left = self._budget - self.n_bits
        low, high = float(MIN_BASE_Q) - float(self._offsets_of_groups.max()), float(MAX_BASE_Q)
        for _ in range(14):
            middle = (low + high) / 2
            low, high = (middle, high) if self._bits(middle, start).sum() < left else (low, middle)
        return (low + high) / 2

    def _complexity(self) -> NDArray[np.float64]:
        """log2 of the mean bits of every frame's group at one base q, above the mean of all frames."""
        bits = self._bits(self.base_q, 0)
        group = np.cumsum(self._kinds == FrameKind.I) - (self._kinds[0] == FrameKind.I)
        mean = np.bincount(group, bits) / np.maximum(np.bincount(group), 1)
        complexity = np.log2(mean)[group]
        return complexity - complexity.mean()
