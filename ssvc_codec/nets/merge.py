"""Blocks of 8x8 luma samples that look their vectors up elsewhere in the flow (docs/bitstream.md, section 6.3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..entropy.plain_tables import MERGE_SHAPES, plain_frequencies
from .motion import upsample_flow

__all__ = [
    "DIRECTIONS",
    "N_MERGES",
    "RADII",
    "Blocks",
    "Field",
    "MergeTables",
    "looked_up",
    "merge_finer",
    "merge_flow",
    "merge_plan",
]

RADII = (2, 4, 8)  # in vectors
DIRECTIONS = ((-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1))  # dx, dy
N_MERGES = 1 + len(RADII) * len(DIRECTIONS)
PER_BLOCK = 2  # vectors on each side of a block


class MergeTables(nn.Module):
    """The tables that merge indexes are coded by, which are counted and not learned."""

    def __init__(self) -> None:
        super().__init__()
        for name, shape in MERGE_SHAPES.items():
            rows = plain_frequencies(np.ones(shape))
            self.register_buffer(name, torch.from_numpy(rows.astype(np.int64)))


class Field(NamedTuple):
    """Vectors of a rectangle of the picture."""

    vectors: Tensor  # (N, 2, h, w), where they are looked up
    top: int  # place of the first of them in the picture, in vectors
    left: int
    height: int  # of the picture, in vectors
    width: int

    @classmethod
    def whole(cls, flow: Tensor) -> Field:
        """That of a flow (N, 2, H/4, W/4) of whole pictures."""
        return cls(flow, 0, 0, flow.shape[2], flow.shape[3])


class Blocks(NamedTuple):
    """Some blocks of N pictures. Every part: (n,) int64."""

    item: Tensor
    row: Tensor  # in blocks of the picture
    column: Tensor
    merge: Tensor  # index

    @classmethod
    def of(cls, indexes: Tensor) -> Blocks:
        """Those that are not 0 of merge indexes (N, H/8, W/8)."""
        item, row, column = indexes.nonzero(as_tuple=True)
        return cls(item, row, column, indexes[item, row, column])

    def take(self, chosen: Tensor) -> Blocks:
        """Some of them. chosen: (n,) bool, or positions."""
        return Blocks(*(part[chosen] for part in self))

    def join(self, other: Blocks) -> Blocks:
        """These and others."""
        return Blocks(*(torch.cat(parts) for parts in zip(self, other, strict=True)))


def displacements(device: torch.device) -> Tensor:
    """(25, 2) int64: dx and dy in vectors of every merge index."""
    rows = [(0, 0)] + [(r * dx, r * dy) for r in RADII for dx, dy in DIRECTIONS]
    return torch.tensor(rows, device=device)


def looked_up(field: Field, blocks: Blocks, around: int = 1) -> Tensor:
    """The vectors of each block and `around` more on each side: (n, 2, 2 + 2 around, 2 + 2 around)."""
    reach = torch.arange(-around, PER_BLOCK + around, device=field.vectors.device)
    moved = displacements(field.vectors.device)[blocks.merge]
    y = (PER_BLOCK * blocks.row[:, None] + reach).clamp(0, field.height - 1) + moved[:, 1:]
    x = (PER_BLOCK * blocks.column[:, None] + reach).clamp(0, field.width - 1) + moved[:, :1]
    y, x = y.clamp(0, field.height - 1) - field.top, x.clamp(0, field.width - 1) - field.left
    vectors = field.vectors.permute(0, 2, 3, 1)
    return vectors[blocks.item[:, None, None], y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def _put(target: Tensor, blocks: Blocks, parts: Tensor, top: int, left: int) -> Tensor:
    """A copy of target (N, C, H, W), whose first block is (top, left), with parts (n, C, b, b) in place of blocks."""
    size = parts.shape[2]
    n, channels, height, width = target.shape
    result = target.clone(memory_format=torch.contiguous_format)
    grid = result.view(n, channels, height // size, size, width // size, size).permute(0, 2, 4, 1, 3, 5)
    grid[blocks.item, blocks.row - top, blocks.column - left] = parts.to(target.dtype)
    return result


def merge_flow(flow: Tensor, field: Field, blocks: Blocks) -> Tensor:
    """The flow that is shown: (N, 2, H/4, W/4) with the vectors that its blocks look up."""
    return _put(flow, blocks, looked_up(field, blocks, around=0), 0, 0) if blocks.item.numel() else flow


def finer_blocks(patches: Tensor, factor: int) -> Tensor:
    """What looked_up gives, between its vectors: (n, 2, 2 factor, 2 factor)."""
    return upsample_flow(patches, factor)[:, :, factor : 3 * factor, factor : 3 * factor]


def merge_finer(finer: Tensor, patches: Tensor, blocks: Blocks, factor: int, *, top: int = 0, left: int = 0) -> Tensor:
    """An interpolated flow (N, 2, factor h, factor w) whose first block is (top, left), blocks with what they look up.

    patches: of the blocks, as looked_up gives them.
    """
    return _put(finer, blocks, finer_blocks(patches, factor), top, left) if blocks.item.numel() else finer


def merge_plan(flow: Tensor, indexes: Tensor) -> tuple[Tensor, Tensor]:
    """The flow at 1/1 and at 1/2, (N, 2, H, W) and (N, 2, H/2, W/2), of whole pictures of one group each.

    flow: (N, 2, H/4, W/4), which gradients reach; indexes: (N, H/8, W/8) int64.
    """
    field, blocks = Field.whole(flow), Blocks.of(indexes)
    patches = looked_up(field, blocks)
    fine, half = (merge_finer(upsample_flow(flow, factor), patches, blocks, factor) for factor in (4, 2))
    return fine, half
