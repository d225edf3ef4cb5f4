"""Who chooses q: the interface between an encoder and a rate control, and the control of a bit rate in one pass.

docs/rate-control.md says how well it does and where its numbers come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ssvc_codec.frame import Frame, Plane
from ssvc_codec.gop.pacing import Clock, Dither, RecentMean
from ssvc_codec.gop.planner import HIERARCHIES, FramePlan, Hierarchy
from ssvc_codec.gop.rate_model import FrameKind, Outlook, RateModel, gradient_activity, kind_of, places_from
from ssvc_codec.gop.statistics import FrameStatistics
from ssvc_codec.gop.vbv import LeakyBucket

__all__ = ["MAX_BASE_Q", "MIN_BASE_Q", "BitrateControl", "CodedPicture", "FrameFacts", "RateControl"]

MIN_BASE_Q: Final = -max(hierarchy.i_offset for hierarchy in HIERARCHIES.values())  # where even I frames have q_index 0
MAX_BASE_Q: Final = 63
HORIZON_SECONDS: Final = 2.0  # over which a surplus is paid back, at least; whole groups of pictures beyond
MAX_HORIZON_SECONDS: Final = 6.0
MAX_STEP: Final = 1.5  # of q from frame to frame within a scene: 7 % of bits
MAX_FALL: Final = 2.5  # the same downwards: what was spent on a surprise is hard to win back before the end
FIRST_STEP: Final = 6.0  # the same in the first frames of a scene
N_FIRST: Final = 8
BUDGET_LIMITS: Final = (0.4, 2.5)  # of the rate asked for, while a surplus or deficit is worked off
MAX_FRAMES_AHEAD: Final = 120  # whose room in the bucket is planned
MAX_RISE: Final = 2.0  # of an I frame's base q above that of the last seconds: its bits are soon spent, not soon saved
SURPRISE: Final = 5.0  # steps of q by which the first frame of a scene must mislead to be coded again


@dataclass(frozen=True, slots=True)
class FrameFacts:
    """What is known of a frame before it is coded."""

    frame: Frame
    plan: FramePlan
    keyint: int  # largest distance of I frames
    hierarchy: Hierarchy

    @property
    def kind(self) -> FrameKind:
        """Its place in the quality hierarchy."""
        return kind_of(self.plan.frame_number, keyint=self.keyint)

    def ahead(self, n_frames: int, *, seconds: float) -> Outlook:
        """n_frames frames from this one."""
        place = self.plan.frame_number
        return Outlook.ahead(place, n_frames, keyint=self.keyint, hierarchy=self.hierarchy, seconds=seconds)

    def groups_ahead(self, clock: Clock, *, total_seconds: float | None = None) -> Outlook:
        """Frames up to the end of the first group that ends beyond the horizon, or to the end of the video.

        clock: at this frame. total_seconds: length of the video, where it is known.
        """
        step = max(clock.usual_duration, 1e-6)
        n_frames = max(1, self.keyint - self.plan.frame_number)
        if n_frames * step < HORIZON_SECONDS:
            n_frames += self.keyint * math.ceil((HORIZON_SECONDS - n_frames * step) / (self.keyint * step) - 1e-6)
        n_frames = min(n_frames, max(1, round(MAX_HORIZON_SECONDS / step)))
        left = 0 if total_seconds is None else round((total_seconds - clock.now) / step)
        n_frames = min(n_frames, left) if left > 0 else n_frames  # it may last longer than was said
        return self.ahead(n_frames, seconds=clock.duration + (n_frames - 1) * step)


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """A frame and what a decoder will show of it."""

    source: Frame
    planes: Callable[[], tuple[Plane, Plane, Plane] | None]  # made when called; None where the encoder does not keep it

    def decoded(self) -> Frame | None:
        """The frame as decoded; None where the encoder does not keep it."""
        planes = self.planes()
        return None if planes is None else Frame(*planes, self.source.format, pts=self.source.pts)


class RateControl(Protocol):
    """Chooses the stream's q_index anew for every frame.

    An encoder calls, for each in order:

        base_q = control.next_q(facts)                      # the frame gets base_q + plan.q_offset, within 0..63
        while (again := control.retry(facts, n_bytes=n)) is not None: ...  # code it once more with this base_q
        control.update(statistics, picture)                 # it was written

    base_q may lie outside of 0..63, as offsets are added to it.
    """

    @property
    def notes(self) -> list[str]:
        """What the user should know at the end."""
        ...

    def next_q(self, facts: FrameFacts) -> int:
        """base_q of the next frame."""
        ...

    def retry(self, facts: FrameFacts, *, n_bytes: int) -> int | None:
        """Another base_q where the frame may not be as large as it came out; None takes it."""
        ...

    def update(self, statistics: FrameStatistics, picture: CodedPicture) -> None:
        """Takes note of the frame as it was written."""
        ...


class BitrateControl:
    """A mean bit rate in one pass, live: a PI controller in the log domain, and a leaky bucket if asked for.

        control = BitrateControl(500_000, maxrate=750_000, bufsize=1_000_000)
        encoder = Encoder(format, time_base=time_base, keyint=50, rate_control=control)

    Proportional part: a model of log2 bits by kind of frame, corrected by every frame, gives the base q at which the
    frames up to the end of a later group of pictures fit the rate. Integral part: bits above or below the rate so far
    are taken from what these frames may spend. The q hierarchy of the group stays as it is.
    """

    def __init__(
        self,
        bitrate: float,
        *,
        maxrate: float | None = None,
        bufsize: float | None = None,
        total_seconds: float | None = None,
    ) -> None:
        """Opens a control.

        bitrate: bits per second of all packets. maxrate, bufsize: bits per second into a leaky bucket of so many
        bits, which no frame may overdraw; either alone implies the other (one second; the bit rate).
        total_seconds: length of the video, where it is known: the surplus is then 0 at its end. Raises ValueError.
        """
        if not (math.isfinite(bitrate) and bitrate > 0):
            raise ValueError(f"bitrate {bitrate}: must be above 0")
        self.bitrate = float(bitrate)
        self.vbv = LeakyBucket.for_rate(bitrate, maxrate=maxrate, bufsize=bufsize)
        self.base_q = 0.0
        self.n_bits = 0
        self._mean_q = RecentMean()  # base_q
        self._total_seconds = total_seconds
        self._model: RateModel | None = None
        self._kind = FrameKind.I  # of the frame being coded
        self._n_in_scene = 0  # frames
        self._tried_q = 0  # base q of the frame being coded
        self._has_retried = False
        self._clock = Clock()
        self._dither = Dither()

    @property
    def surplus_bits(self) -> float:
        """Bits spent so far above what the rate allows up to the end of the last frame."""
        return self.n_bits - self.bitrate * self._clock.end

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        return [] if self.vbv is None else self.vbv.notes

    def next_q(self, facts: FrameFacts) -> int:
        """base_q of the next frame."""
        passed = self._clock.tick(facts.frame)
        if self.vbv is not None:
            self.vbv.refill(passed)
        self._n_in_scene = 0 if self._model is None or facts.plan.is_scene_cut else self._n_in_scene + 1
        self._has_retried = False
        self._look_at(facts)
        self._tried_q = self._choose(facts)
        return self._tried_q

    def _choose(self, facts: FrameFacts) -> int:
        model, ahead = self._model, facts.groups_ahead(self._clock, total_seconds=self._total_seconds)
        assert model is not None
        wanted = self.bitrate * ahead.seconds
        surplus = self._surplus()
        budget = min(max(wanted - surplus, BUDGET_LIMITS[0] * wanted), BUDGET_LIMITS[1] * wanted)
        aim = model.solve(ahead, budget, low=MIN_BASE_Q, high=MAX_BASE_Q)
        step = self._largest_step()
        fall = MAX_FALL if step == MAX_STEP else step
        self.base_q += min(max(aim - self.base_q, -fall), step)
        if facts.kind is FrameKind.I and self._n_in_scene:
            self.base_q = min(self.base_q, self._mean_q.value + MAX_RISE)
        base_q = self._dither.round(self.base_q)
        return base_q if self.vbv is None else self._fit(base_q, facts, model, self.vbv)

    def retry(self, facts: FrameFacts, *, n_bytes: int) -> int | None:
        """A lower base_q where the frame overdraws the bucket; once another where a scene starts unlike any other."""
        assert self._model is not None
        tried_q = min(max(self._tried_q + facts.plan.q_offset, 0), MAX_BASE_Q)
        if not self._n_in_scene and not self._has_retried:
            self._has_retried = True
            before = self.base_q
            self._model.observe(facts.kind, tried_q, 8 * n_bytes)
            base_q = self._choose(facts)
            if abs(self.base_q - before) >= SURPRISE:
                self._tried_q = base_q
                return base_q
        if self.vbv is None:
            return None
        q = self.vbv.lower_q(8 * n_bytes, q=tried_q, slope=self._model.logs.slope(facts.kind, tried_q))
        if q is None:
            return None
        self._tried_q = q - facts.plan.q_offset
        return self._tried_q

    def update(self, statistics: FrameStatistics, picture: CodedPicture) -> None:
        """Takes note of the frame as it was written."""
        del picture
        assert self._model is not None
        n_bits = 8 * statistics.n_bytes
        self.n_bits += n_bits
        if self.vbv is not None:
            self.vbv.take(n_bits)
        self._mean_q.add(self.base_q, seconds=self._clock.duration, anew=not self._n_in_scene)
        self._model.observe(self._kind, statistics.q_index, n_bits)

    def _surplus(self) -> float:
        """Bits to be paid back by frames to come."""
        return self.n_bits - self.bitrate * self._clock.now

    def _largest_step(self) -> float:
        """By which q may move now."""
        return math.inf if not self._n_in_scene else FIRST_STEP if self._n_in_scene < N_FIRST else MAX_STEP

    def _look_at(self, facts: FrameFacts) -> None:
        """Tells the model of what is new with this frame."""
        self._kind = facts.kind
        model, video = self._model, facts.frame.format
        if model is None:
            n_samples = video.width * video.height
            self._model = RateModel(n_samples=n_samples, activity=gradient_activity(facts.frame))
        elif facts.plan.is_scene_cut:
            model.logs.start_scene(gradient_activity(facts.frame))
        elif facts.kind is FrameKind.I:
            model.logs.set_activity(gradient_activity(facts.frame))

    def _fit(self, base_q: int, facts: FrameFacts, model: RateModel, bucket: LeakyBucket) -> int:
        """The highest q up to base_q with which this frame, and those up to the next I frame, should fit the bucket."""
        n_frames = max(1, min(facts.keyint - facts.plan.frame_number, MAX_FRAMES_AHEAD))
        number, hierarchy = facts.plan.frame_number, facts.hierarchy
        places = list(places_from(number, n_frames, keyint=facts.keyint, hierarchy=hierarchy))

        def bits_ahead(base: int) -> list[float]:
            bits = {place: model.bits(place.kind, base + place.q_offset) for place in set(places)}
            return [bits[place] for place in places]

        return bucket.highest_q(
            bits_ahead,
            low=MIN_BASE_Q,
            high=base_q,
            seconds=self._clock.usual_duration,
        )
