"""One run of a rate control, against the encoder or against tables of what it did; see rate_control.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, Protocol

import numpy as np
from rate_tables import TableRow

from ssvc_codec.bitstream import FrameType
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.psnr import frame_psnr
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.planner import HIERARCHIES, FramePlan, q_offset
from ssvc_codec.gop.quality_control import QualityControl
from ssvc_codec.gop.rate_control import CodedPicture, FrameFacts, RateControl
from ssvc_codec.gop.statistics import FrameStatistics

N_FRAMES: Final = 250
RATE: Final = 25
KEYINT: Final = 50
HIERARCHY: Final = HIERARCHIES["psnr"]
FAST_PASS_COST: Final = (1.06, 1.12)  # in simulation: bits of preset fast over those of medium, for I and P frames


@dataclass
class Outcome:
    """What a run collects."""

    n_bits: int = 0
    psnr: list[float] = field(default_factory=list)
    n_overdrawn: int = 0
    n_retries: int = 0

    @property
    def mean_psnr(self) -> float:
        """dB, mean of frames."""
        return float(np.mean(self.psnr))


class Bucket:
    """A decoder's buffer, kept apart from the one that the control keeps."""

    def __init__(self, rate: float, size: float) -> None:
        self._rate, self._size, self._fullness = rate, size, 0.9 * size

    def overdraws(self, n_bits: int) -> bool:
        """Takes a frame, then fills for the time of one."""
        is_over = n_bits > self._fullness
        self._fullness = min(self._fullness - n_bits + self._rate / RATE, self._size)
        return is_over


class Runner(Protocol):
    """Codes N_FRAMES frames of a clip under a control, or seems to."""

    def run(self, control: RateControl, *, bucket: Bucket | None, is_first_pass: bool = False) -> Outcome:
        """One run."""
        ...


class Table:
    """Bits and PSNR of the frames of one clip by q, between the recorded ones by interpolation."""

    def __init__(self, rows: Sequence[TableRow]) -> None:
        size = rows[0].width, rows[0].height
        self._frames: list[tuple[list[int], list[float], list[float]]] = []
        self._pictures: list[Frame] = []
        for number in range(max(row.number for row in rows) + 1):
            points = {row.q_index: row for row in rows if row.number == number}
            q = sorted(points)
            self._frames.append((q, [np.log2(points[k].n_bytes) for k in q], [points[k].psnr_611 for k in q]))
            self._pictures.append(picture_of(points[q[0]].activity, *size))

    def rate(self, base_q: int) -> float:
        """Bits per second of the recorded frames at a constant base q."""
        n_bits = 0.0
        for number, (q, bits, _) in enumerate(self._frames):
            q_index = min(base_q + q_offset(number % KEYINT, keyint=KEYINT, hierarchy=HIERARCHY), 63)
            n_bits += 8 * 2 ** float(np.interp(q_index, q, bits))
        return n_bits * RATE / len(self._frames)

    def psnr(self, base_q: int) -> float:
        """Mean dB of the recorded frames at a constant base q."""
        values: list[float] = []
        for number, (q, _, psnr) in enumerate(self._frames):
            q_index = min(base_q + q_offset(number % KEYINT, keyint=KEYINT, hierarchy=HIERARCHY), 63)
            values.append(float(np.interp(q_index, q, psnr)))
        return float(np.mean(values))

    def run(self, control: RateControl, *, bucket: Bucket | None, is_first_pass: bool = False) -> Outcome:
        """The control sees what the table says."""
        outcome = Outcome()
        for pts in range(N_FRAMES):
            number, distance = pts % len(self._frames), pts % KEYINT
            frame = replace(self._pictures[number], pts=pts)
            kind = FrameType.P if distance else FrameType.I
            plan = FramePlan(kind, distance, 0, q_offset=q_offset(distance, keyint=KEYINT, hierarchy=HIERARCHY))
            facts = FrameFacts(frame, plan, KEYINT, HIERARCHY)
            plan, n_trials = plan.with_base(control.next_q(facts)), 1
            cost = FAST_PASS_COST[kind] if is_first_pass else 1.0
            while True:
                q, bits, psnr = self._frames[number]
                n_bytes = round(cost * 2 ** float(np.interp(plan.q_index, q, bits)))
                again = control.retry(facts, n_bytes=n_bytes)
                if again is None or plan.with_base(again) == plan:
                    break
                plan, n_trials = plan.with_base(again), n_trials + 1
            value = float(np.interp(plan.q_index, q, psnr))
            if isinstance(control, QualityControl):
                control._measure = lambda _source, _decoded, value=value: value
            statistics = FrameStatistics(pts, kind, distance, plan.q_index, n_bytes, 0, n_bytes, n_trials=n_trials)
            control.update(statistics, CodedPicture(frame, lambda frame=frame: (frame.y, frame.u, frame.v)))
            note(outcome, statistics, value, bucket)
        return outcome


@dataclass
class RealRunner:
    """The encoder itself."""

    clip: Clip
    preset: str

    def run(self, control: RateControl, *, bucket: Bucket | None, is_first_pass: bool = False) -> Outcome:
        """Codes the clip."""
        from ssvc_codec.encoder import Encoder

        encoder = Encoder(
            self.clip.format,
            time_base=Fraction(1, RATE),
            rate_control=control,
            preset="fast" if is_first_pass else self.preset,  # type: ignore[arg-type]
            keyint=KEYINT,
            scenecut=False,
            device="cpu",
            threads=1,
        )
        outcome = Outcome()
        for frame in self.clip.frames:
            encoder.send(frame)
            assert encoder.statistics is not None
            assert encoder.reconstruction is not None
            value = frame_psnr(frame, Frame(*encoder.reconstruction, frame.format)).yuv611
            note(outcome, encoder.statistics, value, bucket)
        return outcome


def note(outcome: Outcome, statistics: FrameStatistics, psnr: float, bucket: Bucket | None) -> None:
    """Adds a frame to an outcome."""
    outcome.n_bits += 8 * statistics.n_bytes
    outcome.psnr.append(psnr)
    outcome.n_retries += statistics.n_trials > 1
    outcome.n_overdrawn += bucket is not None and bucket.overdraws(8 * statistics.n_bytes)


def picture_of(activity: float, width: int, height: int) -> Frame:
    """A frame whose gradient_activity is about this: columns of stripes beside a flat part."""
    luma = np.zeros((height, width), np.uint8)
    luma[:, 1 : round(activity * width / 50) + 1 : 2] = 50
    chroma = np.zeros((height // 2, width // 2), np.uint8)
    format = VideoFormat(width=width, height=height)
    return Frame(luma, chroma, chroma, format, pts=0, duration=1, time_base=Fraction(1, RATE))
