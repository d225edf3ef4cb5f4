"""What a difference of two pictures counts for in training: squared error, or MS-SSIM (`--tune ms-ssim`)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..evaluation.ms_ssim import K1, K2, SCALE_WEIGHTS, WINDOW_SIGMA, WINDOW_SIZE
from .rate import PLANE_WEIGHTS

__all__ = ["MIN_CROP", "Tune", "dissimilarity", "distortion", "picture_error", "similarity_db"]

Tune = Literal["psnr", "ms-ssim"]
MIN_CROP = 176  # samples on each side: the coarsest of five scales must hold a window
# Squared error over 1 - MS-SSIM of the networks tuned for PSNR is near this at every q_index (1060 to 1800 at q 2 to
# 62, I and P frames of 24 training clips), so one factor leaves rates about where they were; 0.85: the share of luma.
DISSIMILARITY_PRICE = 0.85 * 1350
LUMA_SHARE = 0.05  # of the weight of luma's squared error that stays: MS-SSIM sees no slow change of brightness


def _plane_errors(x: Tensor, x_hat: Tensor) -> list[Tensor]:
    error = ((x - x_hat) * 255).square()
    planes = (error[:, :4], error[:, 4:5], error[:, 5:])
    return [weight * p.mean((1, 2, 3)) for weight, p in zip(PLANE_WEIGHTS, planes, strict=True)]


def picture_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """(N,) weighted squared error of the planes, in squared 8-bit code values; both (N, 6, H/2, W/2)."""
    return sum(_plane_errors(x, x_hat), x.new_zeros(()))


def distortion(x: Tensor, x_hat: Tensor, tune: Tune) -> Tensor:
    """(N,) what lambda_of weighs; both (N, 6, H/2, W/2). With "ms-ssim" luma by MS-SSIM, chroma by squared error."""
    if tune == "psnr":
        return picture_error(x, x_hat)
    luma, blue, red = _plane_errors(x, x_hat)
    return DISSIMILARITY_PRICE * dissimilarity(_luma(x), _luma(x_hat)) + LUMA_SHARE * luma + blue + red


def similarity_db(x: Tensor, x_hat: Tensor) -> float:
    """MS-SSIM of luma in dB, mean over the batch; NaN for small pictures. Both (N, 6, H/2, W/2) in -0.5..0.5."""
    if 2 * min(x.shape[2:]) < MIN_CROP:
        return math.nan
    return -10 * math.log10(max(1e-10, float(dissimilarity(_luma(x), _luma(x_hat)).mean())))


def _luma(half: Tensor) -> Tensor:
    return F.pixel_shuffle(half[:, :4].float(), 2) + 0.5


def _blurred(x: Tensor, taps: Tensor) -> Tensor:
    return F.conv2d(F.conv2d(x, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))


def dissimilarity(x: Tensor, x_hat: Tensor) -> Tensor:
    """(N,) 1 - MS-SSIM of luma planes (N, 1, H, W) in 0..1, as evaluation.ms_ssim has it; differentiable.

    Raises ValueError for sides below MIN_CROP.
    """
    if min(x.shape[2:]) < MIN_CROP:
        raise ValueError(f"crops of {tuple(x.shape[2:])}: MS-SSIM needs {MIN_CROP} samples on each side")
    place = torch.arange(WINDOW_SIZE, device=x.device, dtype=torch.float32) - WINDOW_SIZE // 2
    taps = torch.exp(-0.5 * (place / WINDOW_SIGMA).square())
    taps = taps / taps.sum()
    product = torch.ones(x.shape[0], device=x.device)
    last = len(SCALE_WEIGHTS) - 1
    for scale, weight in enumerate(SCALE_WEIGHTS):
        maps = _blurred(torch.cat([x, x_hat, x * x, x_hat * x_hat, x * x_hat]), taps).chunk(5)
        mean_x, mean_y, square_x, square_y, cross = maps
        variances = square_x - mean_x.square() + square_y - mean_y.square()
        value = (2 * (cross - mean_x * mean_y) + K2**2) / (variances + K2**2)
        if scale == last:
            value = value * (2 * mean_x * mean_y + K1**2) / (mean_x.square() + mean_y.square() + K1**2)
        product = product * value.mean((1, 2, 3)).clamp_min(1e-3) ** weight
        x, x_hat = F.avg_pool2d(x, 2), F.avg_pool2d(x_hat, 2)
    return 1 - product
