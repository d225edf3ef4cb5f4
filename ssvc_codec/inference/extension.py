"""Cells of which nothing is known take the nearest sample that is (docs/bitstream.md, section 6.3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Area", "extend", "nearest_cells"]


class Area(NamedTuple):
    """A rectangle of cells."""

    top: int
    left: int
    bottom: int  # first row below
    right: int  # first column beyond

    def crop(self, x: Tensor, per_cell: int) -> Tensor:
        """A view of its part of x (N, C, H, W)."""
        return x[:, :, self.top * per_cell : self.bottom * per_cell, self.left * per_cell : self.right * per_cell]

    def of(self, cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A view of its part of a (rows, columns) map."""
        return cells[self.top : self.bottom, self.left : self.right]


def nearest_cells(known: NDArray[np.bool_], area: Area) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the known cell nearest to each cell of an area. known: (rows, columns), somewhere true.

    Distances are between centres; of equal ones the leftmost column counts, then the upper row.
    """
    rows, columns = known.nonzero()
    top, left = min(int(rows.min()), area.top), min(int(columns.min()), area.left)
    bottom, right = max(int(rows.max()) + 1, area.bottom), max(int(columns.max()) + 1, area.right)
    found = _nearest(known[top:bottom, left:right])
    inside = (slice(area.top - top, area.bottom - top), slice(area.left - left, area.right - left))
    return found[0][inside] + top, found[1][inside] + left


def _nearest(known: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    n_rows, n_columns = known.shape
    far = n_rows + n_columns
    numbers = np.arange(n_rows)[:, None]
    above = np.maximum.accumulate(np.where(known, numbers, -far), axis=0)
    below = np.minimum.accumulate(np.where(known, numbers, n_rows + far)[::-1], axis=0)[::-1]
    row = np.where(numbers - above <= below - numbers, above, below)  # nearest in the same column
    square = (row - numbers) ** 2
    steps = (np.arange(n_columns)[:, None] - np.arange(n_columns)) ** 2
    columns = np.stack([(line + steps).argmin(axis=1) for line in square])
    return row[numbers, columns], columns


def extend(x: Tensor, known: NDArray[np.bool_], *, per_cell: int, area: Area | None = None) -> Tensor:
    """The part of x in an area, samples of cells that are not known being the nearest of the nearest known cell.

    x: (1, C, H, W), per_cell positions a cell and side; known: (rows, columns). area: None for all.
    A view of x where there is nothing to replace, or nothing is known.
    """
    area = area or Area(0, 0, *known.shape)
    part = area.crop(x, per_cell)
    missing = ~area.of(known)
    if not missing.any() or not known.any():
        return part
    rows, columns = missing.nonzero()
    source_rows, source_columns = (grid[missing] for grid in nearest_cells(known, area))
    y = torch.from_numpy(_positions(rows + area.top, source_rows, per_cell)).to(x.device)
    x_ = torch.from_numpy(_positions(columns + area.left, source_columns, per_cell)).to(x.device)
    patches = x[0][:, y[:, :, None], x_[:, None, :]]  # (C, cells, per_cell, per_cell)
    result = part.clone(memory_format=torch.contiguous_format)
    blocks = result.view(x.shape[1], missing.shape[0], per_cell, missing.shape[1], per_cell).permute(0, 1, 3, 2, 4)
    blocks[:, torch.from_numpy(rows).to(x.device), torch.from_numpy(columns).to(x.device)] = patches
    return result


def _positions(target: NDArray[np.integer], source: NDArray[np.integer], per_cell: int) -> NDArray[np.int64]:
    """(cells, per_cell) positions along one axis: those of the target, clamped into the source cell."""
    inside = target[:, None] * per_cell + np.arange(per_cell)
    return np.clip(inside, source[:, None] * per_cell, source[:, None] * per_cell + per_cell - 1)
