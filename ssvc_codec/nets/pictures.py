"""Pictures as networks take them, and the groups of their cells."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import GroupMask

__all__ = ["HALF_CHANNELS", "PLANE_CHANNELS", "Masks", "merge_planes", "split_planes", "to_half"]

HALF_CHANNELS = 6  # 4 luma + 1 + 1 chroma samples of a 2x2 block
PLANE_CHANNELS = 96  # 64 luma + 16 + 16 chroma samples of an 8x8 block


class Masks(NamedTuple):
    """The group mask at each resolution; None where there is one group."""

    at2: GroupMask | None = None
    at8: GroupMask | None = None
    at16: GroupMask | None = None


def merge_planes(y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Planes of even size, multiples of 8 and 4, to one tensor (N, 96, H/8, W/8).

    y: (N, 1, H, W); u, v: (N, 1, H/2, W/2); any float range.
    """
    return torch.cat([F.pixel_unshuffle(y, 8), F.pixel_unshuffle(u, 4), F.pixel_unshuffle(v, 4)], dim=1)


def to_half(x: Tensor) -> Tensor:
    """Merged planes (N, 96, H/8, W/8) at 1/2: (N, 6, H/2, W/2), luma samples of 2x2 blocks, U, V."""
    return F.pixel_shuffle(x[:, _HALF_ORDER.to(x.device)], 4)


def split_planes(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Planes y (N, 1, H, W), u and v (N, 1, H/2, W/2) of what to_half gives."""
    return F.pixel_shuffle(x[:, :4], 2), x[:, 4:5], x[:, 5:]


def _half_order() -> Tensor:
    """Merged channels in the order in which pixel_shuffle by 4 wants them."""
    luma = torch.arange(64).view(4, 2, 4, 2).permute(1, 3, 0, 2).reshape(-1)
    return torch.cat([luma, torch.arange(64, PLANE_CHANNELS)])


_HALF_ORDER = _half_order()
