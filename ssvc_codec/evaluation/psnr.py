"""Peak signal-to-noise ratio of planar YUV frames."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ssvc_codec.frame import Frame, Plane

__all__ = ["PSNR_CAP_DB", "Psnr", "frame_psnr", "mean_psnr"]

PSNR_CAP_DB = 100.0
"""Value of a plane without any error, whose PSNR is infinite and could not be averaged."""


@dataclass(frozen=True, slots=True)
class Psnr:
    """PSNR of each plane in dB, at most PSNR_CAP_DB."""

    y: float
    u: float
    v: float

    @property
    def yuv611(self) -> float:
        """(6 Y + U + V) / 8: the weighting of the JVET and DCVC reports for 4:2:0."""
        return (6 * self.y + self.u + self.v) / 8


def frame_psnr(reference: Frame, decoded: Frame) -> Psnr:
    """PSNR of one frame; the peak is 255 for 8 bits and 1023 for 10, whatever the sample range.

    Raises ValueError when the two differ in size or bit depth.
    """
    if reference.format.bit_depth != decoded.format.bit_depth:
        raise ValueError(f"bit depths {reference.format.bit_depth} and {decoded.format.bit_depth} cannot be compared")
    peak = (1 << reference.format.bit_depth) - 1
    return Psnr(
        plane_psnr(reference.y, decoded.y, peak=peak),
        plane_psnr(reference.u, decoded.u, peak=peak),
        plane_psnr(reference.v, decoded.v, peak=peak),
    )


def plane_psnr(reference: Plane, decoded: Plane, *, peak: int) -> float:
    """PSNR in dB of one plane, at most PSNR_CAP_DB."""
    if reference.shape != decoded.shape:
        raise ValueError(f"planes of {reference.shape} and {decoded.shape} cannot be compared")
    error = reference.astype(np.int32) - decoded.astype(np.int32)
    mse = float(np.mean(np.square(error, dtype=np.int64)))
    if mse == 0:
        return PSNR_CAP_DB
    return min(PSNR_CAP_DB, 10 * math.log10(peak * peak / mse))


def mean_psnr(frames: Iterable[Psnr]) -> Psnr:
    """Mean over frames of each plane's PSNR in dB (not the PSNR of the mean error). Raises ValueError for none."""
    values = np.array([(p.y, p.u, p.v) for p in frames], dtype=np.float64)
    if values.size == 0:
        raise ValueError("no frame to average")
    y, u, v = values.mean(axis=0).tolist()
    return Psnr(y, u, v)
