"""What a difference of two pictures counts for: squared error, or MS-SSIM (`--tune ms-ssim`).

Training weighs whole pictures by it, an encoder cells. Pictures are (N, 6, H/2, W/2) in -0.5..0.5, as to_half
gives them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ..similarity import K1, K2, SCALE_WEIGHTS, WINDOW_SIGMA, WINDOW_SIZE
from .lagrangian import PLANE_WEIGHTS

__all__ = [
    "MIN_CROP",
    "Tune",
    "cell_errors",
    "dissimilarity",
    "distortion",
    "picture_error",
    "similarity_db",
    "tune_of",
]

Tune = Literal["psnr", "ms-ssim"]
MIN_CROP = 176  # samples on each side: the coarsest of five scales must hold a window
# Squared error over 1 - MS-SSIM of the networks tuned for PSNR is near this at every q_index (1060 to 1800 at q 2 to
# 62, I and P frames of 24 training clips), so one factor leaves rates about where they were; 0.85: the share of luma.
DISSIMILARITY_PRICE = 0.85 * 1350
LUMA_SHARE = 0.05  # of the weight of luma's squared error that stays: MS-SSIM sees no slow change of brightness
CELL = 32
LEAST_MEAN = 1e-3  # of a scale


def tune_of(name: str) -> Tune:
    """The tuning of that name. Raises TypeError."""
    if name not in get_args(Tune):
        raise TypeError(f"unknown tuning {name}")
    return cast(Tune, name)


def _error_maps(x: Tensor, x_hat: Tensor) -> list[Tensor]:
    """Weighted squared error of Y, U and V: (N, 1, H/2, W/2) each, in squared 8-bit code values."""
    error = ((x - x_hat) * 255).square()
    planes = (error[:, :4].mean(1, keepdim=True), error[:, 4:5], error[:, 5:])
    return [weight * p for weight, p in zip(PLANE_WEIGHTS, planes, strict=True)]


def picture_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """(N,) weighted squared error of the planes, in squared 8-bit code values."""
    return sum((p.mean((1, 2, 3)) for p in _error_maps(x, x_hat)), x.new_zeros(()))


def distortion(x: Tensor, x_hat: Tensor, tune: Tune) -> Tensor:
    """(N,) what lambda_of weighs. With "ms-ssim" luma by MS-SSIM, chroma by squared error."""
    if tune == "psnr":
        return picture_error(x, x_hat)
    luma, blue, red = (p.mean((1, 2, 3)) for p in _error_maps(x, x_hat))
    return DISSIMILARITY_PRICE * dissimilarity(_luma(x), _luma(x_hat)) + LUMA_SHARE * luma + blue + red


@torch.no_grad()
def cell_errors(x: Tensor, x_hat: Tensor, tune: Tune) -> Tensor:
    """(N, rows, columns) what every cell adds to the distortion, times the luma samples of a cell.

    MS-SSIM is a product of means over the picture; a cell's share of each is weighed by its derivative.
    """
    luma, blue, red = _error_maps(x, x_hat)
    if tune == "psnr":
        return F.avg_pool2d(luma + blue + red, CELL // 2)[:, 0] * CELL**2
    error = F.avg_pool2d(LUMA_SHARE * luma + blue + red, CELL // 2)
    maps = list(_scales(_luma(x), _luma(x_hat), padding=WINDOW_SIZE // 2))
    means = [value.mean((1, 2, 3), keepdim=True).clamp_min(LEAST_MEAN) for value in maps]
    whole = math.prod(mean**weight for mean, weight in zip(means, SCALE_WEIGHTS, strict=True))
    for scale, (value, mean, weight) in enumerate(zip(maps, means, SCALE_WEIGHTS, strict=True)):
        lost = F.avg_pool2d(1 - value, CELL >> scale)
        error = error + DISSIMILARITY_PRICE * whole * weight / mean * lost
    return error[:, 0] * CELL**2


def similarity_db(x: Tensor, x_hat: Tensor) -> float:
    """MS-SSIM of luma in dB, mean over the batch; NaN for small pictures."""
    if 2 * min(x.shape[2:]) < MIN_CROP:
        return math.nan
    return -10 * math.log10(max(1e-10, float(dissimilarity(_luma(x), _luma(x_hat)).mean())))


def dissimilarity(x: Tensor, x_hat: Tensor) -> Tensor:
    """(N,) 1 - MS-SSIM of luma planes (N, 1, H, W) in 0..1, as evaluation.ms_ssim has it; differentiable.

    Raises ValueError for sides below MIN_CROP.
    """
    if min(x.shape[2:]) < MIN_CROP:
        raise ValueError(f"crops of {tuple(x.shape[2:])}: MS-SSIM needs {MIN_CROP} samples on each side")
    product = torch.ones(x.shape[0], device=x.device)
    for value, weight in zip(_scales(x, x_hat, padding=0), SCALE_WEIGHTS, strict=True):
        product = product * value.mean((1, 2, 3)).clamp_min(LEAST_MEAN) ** weight
    return 1 - product


def _scales(x: Tensor, x_hat: Tensor, *, padding: int) -> Iterator[Tensor]:
    """What is alike at every position of each scale, (N, 1, h, w). padding: of the windows, by repeating the edge."""
    place = torch.arange(WINDOW_SIZE, device=x.device, dtype=torch.float32) - WINDOW_SIZE // 2
    taps = torch.exp(-0.5 * (place / WINDOW_SIGMA).square())
    taps = taps / taps.sum()
    last = len(SCALE_WEIGHTS) - 1
    for scale in range(len(SCALE_WEIGHTS)):
        a, b = F.pad(torch.cat([x, x_hat], dim=1), (padding,) * 4, mode="replicate").chunk(2, dim=1)
        maps = _blurred(torch.cat([a, b, a * a, b * b, a * b]), taps).chunk(5)
        mean_x, mean_y, square_x, square_y, cross = maps
        variances = square_x - mean_x.square() + square_y - mean_y.square()
        value = (2 * (cross - mean_x * mean_y) + K2**2) / (variances + K2**2)
        if scale == last:
            value = value * (2 * mean_x * mean_y + K1**2) / (mean_x.square() + mean_y.square() + K1**2)
        yield value
        x, x_hat = F.avg_pool2d(x, 2), F.avg_pool2d(x_hat, 2)


def _luma(half: Tensor) -> Tensor:
    return F.pixel_shuffle(half[:, :4].float(), 2) + 0.5


def _blurred(x: Tensor, taps: Tensor) -> Tensor:
    return F.conv2d(F.conv2d(x, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))
