"""Cells of groups and q as the networks want them."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..nets.blocks import GroupMask
from ..nets.masking import BorderMask
from ..nets.pictures import Masks
from .stacked_mask import StackedMask

__all__ = ["CellMaps", "cell_mask", "group_mask", "q_tensor"]


class CellMaps:
    """q and group of every cell of a picture or a part of it, as integers and, when asked for, as the networks want.

    Or of N pictures that are computed together; these have no windows.
    """

    def __init__(self, q: NDArray[np.int64], groups: NDArray[np.integer], device: str) -> None:
        """q, groups: (rows, columns), or (N, rows, columns)."""
        self.q, self.groups, self.device = q, groups, device

    @cached_property
    def q_map(self) -> Tensor:
        """See q_tensor."""
        return q_tensor(self.q, self.device)

    @cached_property
    def at2(self) -> GroupMask | None:
        """The group mask at 1/2."""
        return group_mask(self.groups, 16, self.device)

    @cached_property
    def at4(self) -> GroupMask | None:
        """The group mask at 1/4."""
        return group_mask(self.groups, 8, self.device)

    @cached_property
    def at8(self) -> GroupMask | None:
        """The group mask at 1/8."""
        return group_mask(self.groups, 4, self.device)

    @cached_property
    def at16(self) -> GroupMask | None:
        """The group mask at 1/16."""
        return group_mask(self.groups, 2, self.device)

    @property
    def masks(self) -> Masks:
        """The group masks of I frames."""
        return Masks(self.at2, self.at8, self.at16)

    def within(self, rows: slice, columns: slice, cells: NDArray[np.bool_]) -> CellMaps:
        """Those of a rectangle. cells: (rows, columns) of it; all others become one group whose q does not matter."""
        q, groups = self.q[rows, columns], self.groups[rows, columns]
        if not cells.all():
            q = np.where(cells, q, q[cells][0])
            groups = np.where(cells, groups.astype(np.int64), int(self.groups.max()) + 1)
        return CellMaps(q, groups, self.device)


def q_tensor(q: NDArray[np.integer], device: str) -> Tensor:
    """(N,) where all cells of a picture have one q_index, else (N, rows, columns). q: (rows, columns), N being 1, or
    (N, rows, columns)."""
    pictures = q.reshape(-1, *q.shape[-2:])
    first = pictures[:, 0, 0]
    if (pictures == first[:, None, None]).all():
        return torch.from_numpy(first.astype(np.int64)).to(device)
    return torch.from_numpy(pictures.astype(np.int64)).to(device)


def group_mask(groups: NDArray[np.integer], per_cell: int, device: str) -> GroupMask | None:
    """The mask of a (rows, columns) map, or of N such maps, at per_cell positions a cell and side; None for one
    group."""
    if groups.ndim == 3:
        masks = [group_mask(picture, per_cell, device) for picture in groups]
        parts = {k: mask for k, mask in enumerate(masks) if isinstance(mask, BorderMask)}
        return StackedMask(parts, groups[0].size * per_cell**2) if parts else None
    if (groups == groups.flat[0]).all():
        return None
    cells = torch.from_numpy(groups.astype(np.int64)).to(device)
    return BorderMask(cells.repeat_interleave(per_cell, 0).repeat_interleave(per_cell, 1))


def cell_mask(cells: NDArray[np.bool_], per_cell: int, device: str) -> Tensor:
    """(1, 1, H, W) float32, 1 where a (rows, columns) map is true."""
    grid = torch.from_numpy(cells).to(device).float()
    return grid.repeat_interleave(per_cell, 0).repeat_interleave(per_cell, 1)[None, None]
