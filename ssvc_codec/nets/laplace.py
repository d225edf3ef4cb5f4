"""Bits of Laplace symbols, as training and searches count them (docs/bitstream.md, section 5.3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..entropy.tables import LAPLACE_MAX, LAPLACE_MIN, N_TABLES

__all__ = ["LAPLACE_STEP", "laplace_bits", "laplace_slope"]

LAPLACE_STEP = math.log(LAPLACE_MAX / LAPLACE_MIN) / (N_TABLES - 1)  # of the logarithm, from one table to the next


def laplace_bits(magnitude: Tensor, scale: Tensor) -> Tensor:
    """Bits of Laplace symbols of unit bins. magnitude: 0 or more, may be fractional; scale: decay length."""
    none = 1 - 0.5 * torch.exp((magnitude - 0.5).clamp_max(0) / scale) - 0.5 * torch.exp(-(magnitude + 0.5) / scale)
    tail = (magnitude - 0.5) / (scale * math.log(2)) + 1 - torch.log2(1 - torch.exp(-1 / scale))
    return torch.where(magnitude < 0.5, -torch.log2(none.clamp_min(1e-9)), tail)


def laplace_slope(magnitude: Tensor, scale: Tensor) -> Tensor:
    """How laplace_bits rises with the magnitude."""
    low, high = torch.exp((magnitude - 0.5).clamp_max(0) / scale), torch.exp(-(magnitude + 0.5) / scale)
    none = (1 - 0.5 * low - 0.5 * high).clamp_min(1e-9)
    inside = 0.5 * (low - high) / none
    return torch.where(magnitude < 0.5, inside, torch.ones_like(inside)) / (scale * math.log(2))
