"""Crops and group masks, drawn on the device that trains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nets.inter import InterMasks
from ..nets.intra import Masks, merge_planes
from ..nets.masking import TwoGroupMask
from .shards import Clip

__all__ = ["PictureSampler", "random_inter_masks", "random_masks"]

CELL = 32


@dataclass
class PictureSampler:
    """Random crops of single frames from resident clips."""

    pools: list[tuple[float, list[Clip]]]  # (share, clips)
    device: str
    generator: torch.Generator

    def _integer(self, high: int) -> int:
        return int(torch.randint(high, (), generator=self.generator))

    def draw(self, n: int, size: int) -> Tensor:
        """(n, 96, size/8, size/8) float32 in -0.5..0.5. size: a multiple of 32."""
        shares = torch.tensor([share for share, _ in self.pools])
        planes: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for pool in torch.multinomial(shares, n, replacement=True, generator=self.generator).tolist():
            clips = self.pools[pool][1]
            clip = clips[self._integer(len(clips))]
            frames, height, width = clip.y.shape
            while min(height, width) < size:
                clip = clips[self._integer(len(clips))]
                frames, height, width = clip.y.shape
            frame = self._integer(frames)
            top = 2 * self._integer((height - size) // 2 + 1)
            left = 2 * self._integer((width - size) // 2 + 1)
            half, t, s = size // 2, top // 2, left // 2
            crops = (
                clip.y[frame, top : top + size, left : left + size],
                clip.u[frame, t : t + half, s : s + half],
                clip.v[frame, t : t + half, s : s + half],
            )
            flip = self._integer(2) == 1
            for plane, crop in zip(planes, crops, strict=True):
                plane.append(crop.flip(-1) if flip else crop)
        y, u, v = (torch.stack(plane)[:, None].float() / 255 - 0.5 for plane in planes)
        return merge_planes(y, u, v).to(memory_format=torch.channels_last)


def random_masks(n: int, size: int, device: str, generator: torch.Generator) -> Masks:
    """Two groups per sample: one to three rectangles of cells against the rest."""
    masks = random_inter_masks(n, size, device, generator)
    return Masks(masks.at2, masks.at8, masks.at16)


def random_inter_masks(n: int, size: int, device: str, generator: torch.Generator) -> InterMasks:
    """As random_masks, with 1/4 and 1/32."""
    cells = size // CELL
    inside = torch.zeros(n, cells, cells, dtype=torch.bool)
    positions = torch.arange(cells)
    for _ in range(3):
        corners = torch.rand(n, 4, generator=generator) * cells
        low = torch.minimum(corners[:, :2], corners[:, 2:]).floor()
        high = torch.maximum(corners[:, :2], corners[:, 2:]).ceil()
        kept = torch.rand(n, generator=generator) < 0.6
        rows = (positions >= low[:, :1]) & (positions < high[:, :1])
        columns = (positions >= low[:, 1:]) & (positions < high[:, 1:])
        inside |= rows[:, :, None] & columns[:, None, :] & kept[:, None, None]
    grid = inside[:, None].float().to(device)
    sizes = (16.0, 8.0, 4.0, 2.0, 1.0)
    return InterMasks(*(TwoGroupMask(F.interpolate(grid, scale_factor=k, mode="nearest")) for k in sizes))
