"""Offsets of cells: what large smooth areas lack, in a few symbols (docs/bitstream.md, sections 5.8 and 6.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..entropy.offsets import OFFSET_LIMIT
from .lagrangian import PLANE_WEIGHTS, lambda_of

__all__ = ["STEP_WORTH", "nearest_offsets", "offset_gain", "offset_picture", "offset_steps"]

STEP_WORTH = 9.0  # bits that a squared quantiser step of error is worth
SIDES = (8.0, 4.0, 4.0)  # of a block in samples of Y, U, V: what makes its mean an orthonormal component
WEIGHTS = (PLANE_WEIGHTS[0], 4 * PLANE_WEIGHTS[1], 4 * PLANE_WEIGHTS[2])


def _basis(device: torch.device) -> Tensor:
    """(3, 4, 4): level, slope along x, slope along y over the blocks of a cell, orthonormal."""
    ramp = torch.tensor([-3.0, -1.0, 1.0, 3.0], device=device) / 20**0.5 / 2
    return torch.stack([torch.full((4, 4), 0.25, device=device), ramp.expand(4, 4), ramp[:, None].expand(4, 4)])


def offset_gain(q: Tensor) -> Tensor:
    """Quantiser steps of a unit, (N, 9, 1, 1) or (N, 9, rows, columns); q: (N,), or (N, rows, columns)."""
    weights = torch.tensor(WEIGHTS, device=q.device).repeat_interleave(3)
    lmbda = lambda_of(q.float())
    lmbda = lmbda[:, None, None, None] if q.ndim == 1 else lmbda[:, None]
    return 255 * (lmbda * weights[:, None, None] / STEP_WORTH).sqrt()


def offset_steps(difference: Tensor, q: Tensor) -> Tensor:
    """Offsets in quantiser steps, (N, 9, H/32, W/32), of what is missing: (N, 6, H/2, W/2)."""
    planes = torch.cat([difference[:, :4].mean(1, keepdim=True), difference[:, 4:]], dim=1).float()
    means = F.avg_pool2d(planes, 4) * planes.new_tensor(SIDES)[:, None, None]
    n, _, height, width = means.shape
    cells = means.view(n, 3, height // 4, 4, width // 4, 4)
    found = torch.einsum("nphiwj,kij->npkhw", cells, _basis(means.device)).flatten(1, 2)
    return found * offset_gain(q)


def offset_picture(symbols: Tensor, q: Tensor) -> Tensor:
    """What offsets (N, 9, H/32, W/32) add to a picture: (N, 6, H/2, W/2)."""
    values = (symbols / offset_gain(q)).unflatten(1, (3, 3))
    means = torch.einsum("npkhw,kij->nphiwj", values, _basis(symbols.device)).flatten(2, 3).flatten(3, 4)
    planes = means / means.new_tensor(SIDES)[:, None, None]
    planes = planes.repeat_interleave(4, 2).repeat_interleave(4, 3)
    return torch.cat([planes[:, :1].expand(-1, 4, -1, -1), planes[:, 1:]], dim=1)


def nearest_offsets(steps: Tensor) -> Tensor:
    """Integers of -7..7 nearest to steps."""
    return steps.round().clamp(-OFFSET_LIMIT, OFFSET_LIMIT)
