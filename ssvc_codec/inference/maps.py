"""Cells of groups and q as the networks want them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..nets.masking import BorderMask

__all__ = ["cell_mask", "group_mask", "q_tensor"]


def q_tensor(q: NDArray[np.integer], device: str) -> Tensor:
    """(1,) where all cells have one q_index, else (1, rows, columns). q: (rows, columns)."""
    first = int(q.flat[0])
    if (q == first).all():
        return torch.tensor([first], device=device)
    return torch.from_numpy(q.astype(np.int64)).to(device)[None]


def group_mask(groups: NDArray[np.integer], per_cell: int, device: str) -> BorderMask | None:
    """The mask of a (rows, columns) map at per_cell positions a cell and side; None for one group."""
    if (groups == groups.flat[0]).all():
        return None
    cells = torch.from_numpy(groups.astype(np.int64)).to(device)
    return BorderMask(cells.repeat_interleave(per_cell, 0).repeat_interleave(per_cell, 1))


def cell_mask(cells: NDArray[np.bool_], per_cell: int, device: str) -> Tensor:
    """(1, 1, H, W) float32, 1 where a (rows, columns) map is true."""
    grid = torch.from_numpy(cells).to(device).float()
    return grid.repeat_interleave(per_cell, 0).repeat_interleave(per_cell, 1)[None, None]
