"""Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003) of one plane."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from ssvc_codec.frame import Plane
from ssvc_codec.similarity import K1, K2, SCALE_WEIGHTS, WINDOW_SIGMA, WINDOW_SIZE

__all__ = ["MIN_SIDE", "ms_ssim", "ms_ssim_db"]

MIN_SIDE = (WINDOW_SIZE - 1) * 2 ** (len(SCALE_WEIGHTS) - 1) + 1  # 161: the window must fit the coarsest scale

Samples = NDArray[np.float64]


def ms_ssim(reference: Plane, decoded: Plane, *, peak: int = 255) -> float:
    """MS-SSIM of two planes of one size, in 0..1; 1 when they are equal.

    Gaussian windows of 11x11 only where they fit whole. Odd sides get a line of zeros on both ends before they are
    halved, as in pytorch-msssim, whose numbers the learned codecs publish. Raises ValueError when the planes
    differ in size or a side is below MIN_SIDE.
    """
    if reference.shape != decoded.shape:
        raise ValueError(f"planes of {reference.shape} and {decoded.shape} cannot be compared")
    if min(reference.shape) < MIN_SIDE:
        raise ValueError(f"plane of {reference.shape}: five scales need {MIN_SIDE} samples on each side")
    x, y = reference.astype(np.float64), decoded.astype(np.float64)
    product = 1.0
    last = len(SCALE_WEIGHTS) - 1
    for scale, weight in enumerate(SCALE_WEIGHTS):
        similarity, contrast = ssim_terms(x, y, peak=peak)
        product *= max(0.0, similarity if scale == last else contrast) ** weight
        x, y = halve(x), halve(y)
    return min(1.0, product)


def ms_ssim_db(value: float) -> float:
    """-10 log10(1 - value), the form in which MS-SSIM is drawn and compared; 100 at most, for equal planes."""
    return 100.0 if 1 - value < 1e-10 else -10 * math.log10(1 - value)


def ssim_terms(x: Samples, y: Samples, *, peak: int) -> tuple[float, float]:
    """Mean of the full SSIM map and of its contrast-structure part, at one scale."""
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    mu_x, mu_y = blur(x), blur(y)
    variance_x = blur(x * x) - mu_x * mu_x
    variance_y = blur(y * y) - mu_y * mu_y
    covariance = blur(x * y) - mu_x * mu_y
    contrast = (2 * covariance + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mu_x * mu_y + c1) / (mu_x * mu_x + mu_y * mu_y + c1)
    return float(np.mean(luminance * contrast)), float(np.mean(contrast))


def blur(x: Samples) -> Samples:
    """Gaussian window at every place where it fits: (H, W) -> (H - 10, W - 10)."""
    radius = WINDOW_SIZE // 2
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / WINDOW_SIGMA) ** 2)
    taps /= taps.sum()
    rows = correlate1d(x, taps, axis=0)[radius:-radius]
    return correlate1d(rows, taps, axis=1)[:, radius:-radius]


def halve(x: Samples) -> Samples:
    """Mean of each 2x2 block; a side of odd length is padded by one zero on both ends first."""
    padded = np.pad(x, [(side % 2, side % 2) for side in x.shape])
    height, width = padded.shape[0] // 2, padded.shape[1] // 2
    return padded[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
