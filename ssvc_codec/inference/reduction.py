"""Reduced pictures straight from latents: the linear path of the synthesis, averaged before it is applied."""

from __future__ import annotations

import torch
from torch import Tensor

from ..nets.blocks import Pointwise

__all__ = ["REDUCED_SCALES", "reduced_linear"]

REDUCED_SCALES = (2, 4, 8, 16)
BLOCK = 16  # luma samples of a latent's side


def reduced_linear(linear: Pointwise, scale: int) -> tuple[Tensor, Tensor]:
    """Matrix (3 n^2, C_y) and bias (3 n^2,) for n = 16 / scale: means of blocks in the order of pixel_shuffle.

    linear: of the intra synthesis, whose 384 outputs are four 8x8 blocks of 64 luma, 16 U and 16 V samples each.
    Averaging is linear, so this is exactly the reduced picture of that path. Raises ValueError for other scales.
    """
    if scale not in REDUCED_SCALES:
        raise ValueError(f"scale {scale}: {', '.join(map(str, REDUCED_SCALES))} are possible")
    return _reduced(linear.weight.float(), scale), _reduced(linear.bias.float()[:, None], scale)[:, 0]


def _reduced(values: Tensor, scale: int) -> Tensor:
    """(3 n^2, k) of (384, k)."""
    blocks = values.view(96, 2, 2, -1)  # sample of an 8x8 block, row and column of that block, k
    planes = [
        _means(_plane(blocks[first:end], side), size)
        for first, end, side, size in ((0, 64, 8, scale), (64, 80, 4, scale // 2), (80, 96, 4, scale // 2))
    ]
    return torch.stack(planes).flatten(0, 2)


def _plane(samples: Tensor, side: int) -> Tensor:
    """(2 side, 2 side, k) of the side^2 samples of four blocks, (side^2, 2, 2, k)."""
    return samples.unflatten(0, (side, side)).permute(2, 0, 3, 1, 4).reshape(2 * side, 2 * side, -1)


def _means(plane: Tensor, size: int) -> Tensor:
    """(h / size, w / size, k) of (h, w, k)."""
    return plane.unflatten(1, (-1, size)).unflatten(0, (-1, size)).mean(dim=(1, 3))
