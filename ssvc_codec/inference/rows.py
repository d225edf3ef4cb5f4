"""Tensors of latents to rows of symbols, one row a cell, and back (docs/bitstream.md, section 5)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["from_rows", "rows_by_group", "y_rows", "z_rows"]


def rows_by_group(groups: NDArray[np.integer]) -> list[tuple[int, NDArray[np.intp]]]:
    """Each group of a (rows, columns) map with the flat indexes of its cells, in raster order."""
    flat = groups.reshape(-1)
    return [(int(group), np.flatnonzero(flat == group)) for group in np.unique(flat)]


def z_rows(z: Tensor) -> NDArray[np.int32]:
    """(1, C, rows, columns) to (n, C)."""
    return z[0].permute(1, 2, 0).flatten(0, 1).to(torch.int32).cpu().numpy()


def y_rows(y: Tensor) -> NDArray[np.int32]:
    """(1, C, 2 rows, 2 columns) to (n, 4 C)."""
    _, channels, height, width = y.shape
    cells = y[0].view(channels, height // 2, 2, width // 2, 2).permute(1, 3, 2, 4, 0)
    return cells.reshape(height * width // 4, 4 * channels).to(torch.int32).cpu().numpy()


def from_rows(rows: Tensor, cells: tuple[int, ...], device: str) -> Tensor:
    """(n, 4 C) rows of cells to (N, C, 2 rows, 2 columns), channels last in memory. cells: (rows, columns), n for each
    of N pictures."""
    height, width = cells
    blocks = rows.to(device).view(-1, height, width, 2, 2, rows.shape[1] // 4).permute(0, 1, 3, 2, 4, 5)
    return blocks.reshape(-1, 2 * height, 2 * width, rows.shape[1] // 4).permute(0, 3, 1, 2)
