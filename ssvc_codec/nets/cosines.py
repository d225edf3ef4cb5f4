"""The transform of 8x8 blocks, and what an error of its latents is worth."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..entropy.blocks import N_CHANNELS
from .blocks import GainTable
from .lagrangian import LAMBDA_FIRST, LAMBDA_LAST, PLANE_WEIGHTS, lambda_of

__all__ = ["SUM_WEIGHTS", "block_transform", "cosines", "start_gains", "step_worth"]

STEP_WORTH = 9.0  # bits that a squared quantiser step of error is worth, to start from
SUM_WEIGHTS = torch.tensor([PLANE_WEIGHTS[0]] * 64 + [4 * PLANE_WEIGHTS[1]] * 16 + [4 * PLANE_WEIGHTS[2]] * 16)


def cosines(n: int) -> Tensor:
    """(n, n) orthonormal: rows are cosines over n samples, the lowest frequency first."""
    k, i = torch.arange(n)[:, None], torch.arange(n)[None]
    rows = torch.cos(math.pi * (2 * i + 1) * k / (2 * n)) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows


def block_transform() -> Tensor:
    """(96, 96): rows are cosines of the luma of an 8x8 block and of its 4x4 of U and V, lowest frequencies first.

    The first 16 rows are 10 of luma, 3 of U and 3 of V.
    """

    def plane(n: int) -> Tensor:
        rows = torch.kron(cosines(n), cosines(n))
        return rows[sorted(range(n * n), key=lambda k: (k // n + k % n, k // n))]

    rows = torch.block_diag(plane(8), plane(4), plane(4))
    order = [*range(10), 64, 65, 66, 80, 81, 82]
    return rows[order + [k for k in range(N_CHANNELS) if k not in order]]


@torch.no_grad()
def start_gains(gain: GainTable, weight: Tensor) -> None:
    """Steps of which one squared is worth STEP_WORTH bits. weight: (C,) of the squared error of a latent."""
    for row, fine in zip(gain.log_gain, torch.linspace(0, 1, gain.log_gain.shape[0]), strict=True):
        lmbda = LAMBDA_FIRST * (LAMBDA_LAST / LAMBDA_FIRST) ** float(fine)
        row.copy_(0.5 * (lmbda * weight / STEP_WORTH).log())


def step_worth(weight: Tensor, gain: GainTable, q: Tensor, size: tuple[int, int]) -> Tensor:
    """Bits that one squared step of error is worth, (N, C, 1, 1), or (N, C, *size). weight: (C,) of squared errors of
    latents; q as GainTable takes it.
    """
    lmbda = lambda_of(q.float())
    if q.ndim == 1:
        lmbda = lmbda[:, None, None, None]
    else:
        lmbda = lmbda.repeat_interleave(size[0] // q.shape[1], 1).repeat_interleave(size[1] // q.shape[2], 2)[:, None]
    return lmbda * weight[:, None, None] / gain(q, size).detach().square()
