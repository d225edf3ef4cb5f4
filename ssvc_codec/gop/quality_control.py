"""A mean quality, live: the encoder's own reconstruction is measured and q follows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ssvc_codec.frame import Frame
from ssvc_codec.gop.pacing import Clock, Dither, RecentMean
from ssvc_codec.gop.rate_control import MAX_BASE_Q, MIN_BASE_Q, CodedPicture, FrameFacts
from ssvc_codec.gop.rate_model import FrameKind, KindModel, Outlook, Prior, gradient_activity
from ssvc_codec.gop.statistics import FrameStatistics

__all__ = ["MS_SSIM_DB", "PSNR_DB", "QualityControl"]

PSNR_DB: Final = Prior(  # 6:1:1
    curves=(
        (43.90, 0.1250, 0.0284, -4.11, 2.06),
        (44.60, 0.1434, -0.0093, -3.87, 1.86),
        (44.06, 0.1048, 0.0270, -4.16, 2.27),
    ),
    covariance=((0.5, 0.3, 0.3, 0.0), (0.3, 1.8, 1.45, 0.0), (0.3, 1.45, 1.3, 0.0), (0.0, 0.0, 0.0, 0.3)),
    drift=(0.01, 0.02, 0.018, 0.0),
    noise=(0.02, 0.1, 0.05),
)
MS_SSIM_DB: Final = Prior(  # -10 log10(1 - MS-SSIM) of luma
    curves=(
        (9.25, 0.1472, 0.0365, 0.575, 1.944),
        (12.20, 0.1401, 0.0237, 0.218, 2.029),
        (12.20, 0.1401, 0.0237, 0.218, 2.029),
    ),
    covariance=((2.7, 2.5, 2.5, 0.0), (2.5, 7.5, 6.7, 0.0), (2.5, 6.7, 7.0, 0.0), (0.0, 0.0, 0.0, 0.5)),
    drift=(0.02, 0.04, 0.036, 0.0),
    noise=(0.05, 0.2, 0.1),
)
MAX_STEP: Final = 1.0  # of q from frame to frame within a scene
FIRST_STEP: Final = 4.0  # the same in the first frames of a scene
N_FIRST: Final = 8
MAX_CHANGE: Final = 4.0  # of an I frame's base q from that of the last seconds: at rest q of P frames says little
MAX_CORRECTION_DB: Final = 1.0  # of frames to come, for what the frames so far have above or below
MAX_EXCESS_DB: Final = 6.0  # black frames have 100 dB, which shall not be paid for by others


class QualityControl:
    """A mean of PSNR or MS-SSIM over frames, in dB, without another pass.

        control = QualityControl(38.0, lambda source, decoded: frame_psnr(source, decoded).yuv611, prior=PSNR_DB)
        encoder = Encoder(format, time_base=time_base, keep_reconstruction=True, rate_control=control)

    The hierarchy within a group stays; the mean over a group follows the target.
    """

    def __init__(
        self, target: float, measure: Callable[[Frame, Frame], float], *, prior: Prior, every: int = 1
    ) -> None:
        """Opens a control.

        target: dB. measure: dB of a source and the decoded frame. prior: what measure is expected to give. every:
        measure one frame of so many, where that is slow; a number without a common factor with 8. Raises ValueError.
        """
        if not (math.isfinite(target) and 0 < target < 100):
            raise ValueError(f"target {target} dB: above 0 and below 100")
        if every < 1:
            raise ValueError(f"every {every}: 1 or more frames")
        self.target = float(target)
        self.base_q = 0.0
        self._mean_q = RecentMean()  # base_q
        self._measure, self._prior, self._every = measure, prior, every
        self._model: KindModel | None = None
        self._kind = FrameKind.I
        self._n_frames = self._n_measured = 0
        self._n_in_scene = 0
        self._total = 0.0  # dB of the frames measured
        self._excess = 0.0  # dB above the target, summed over all frames, within limits
        self._clock = Clock()
        self._dither = Dither()

    @property
    def mean(self) -> float:
        """dB over the frames measured so far; NaN without any."""
        return self._total / self._n_measured if self._n_measured else math.nan

    @property
    def notes(self) -> list[str]:
        """What the user should know."""
        return [f"mean quality {self.mean:.2f} dB, {self.target:.2f} dB was asked for"] if self._n_measured else []

    def next_q(self, facts: FrameFacts) -> int:
        """base_q of the next frame."""
        self._clock.tick(facts.frame)
        self._kind = facts.kind
        self._n_in_scene = 0 if self._model is None or facts.plan.is_scene_cut else self._n_in_scene + 1
        if self._model is None:
            self._model = KindModel(self._prior, activity=gradient_activity(facts.frame))
        elif facts.plan.is_scene_cut:
            self._model.start_scene(gradient_activity(facts.frame))
        elif facts.kind is FrameKind.I:
            self._model.set_activity(gradient_activity(facts.frame))
        ahead = facts.groups_ahead(self._clock)
        correction = self._excess / sum(ahead.counts.values())
        correction = min(max(correction, -MAX_CORRECTION_DB), MAX_CORRECTION_DB)
        aim = self._solve(self._model, ahead, self.target - correction)
        step = math.inf if not self._n_in_scene else FIRST_STEP if self._n_in_scene < N_FIRST else MAX_STEP
        self.base_q += min(max(aim - self.base_q, -step), step)
        if facts.kind is FrameKind.I and self._n_in_scene:
            mean = self._mean_q.value
            self.base_q = min(max(self.base_q, mean - MAX_CHANGE), mean + MAX_CHANGE)
        return self._dither.round(self.base_q)

    def retry(self, facts: FrameFacts, *, n_bytes: int) -> int | None:
        """Every frame is taken."""
        del facts, n_bytes

    def update(self, statistics: FrameStatistics, picture: CodedPicture) -> None:
        """Measures the frame, or takes what the model expects. Raises ValueError where there is no reconstruction."""
        assert self._model is not None
        q = statistics.q_index
        value = self._model.value(self._kind, q)
        if self._n_frames % self._every == 0:
            decoded = picture.decoded()
            if decoded is None:
                raise ValueError("the encoder keeps no reconstruction: open it with keep_reconstruction=True")
            value = self._measure(picture.source, decoded)
            self._total += value
            self._n_measured += 1
            self._model.observe(self._kind, q, min(value, self._model.value(self._kind, q) + MAX_EXCESS_DB))
        self._mean_q.add(self.base_q, seconds=self._clock.duration, anew=not self._n_in_scene)
        self._n_frames += 1
        self._excess += min(value - self.target, MAX_EXCESS_DB)

    @staticmethod
    def _solve(model: KindModel, ahead: Outlook, mean: float) -> float:
        """The base q at which frames to come have this mean, by bisection."""
        low, high = float(MIN_BASE_Q), float(MAX_BASE_Q)
        n_frames = sum(ahead.counts.values())
        for _ in range(12):
            middle = (low + high) / 2
            values = (n * model.value(kind, middle + offset) for (kind, offset), n in ahead.counts.items())
            low, high = (middle, high) if sum(values) < mean * n_frames else (low, middle)
        return (low + high) / 2
