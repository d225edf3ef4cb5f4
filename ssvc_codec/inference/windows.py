"""Rectangles of cells: what is computed when only some groups of a picture are decoded.

No network mixes positions of different groups, so the bounding rectangle of a group is enough to compute it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .extension import Area
from .maps import CellMaps, cell_mask

__all__ = ["Window", "group_window", "pick_windows"]

WINDOW_COST = 20  # cells that take as long as what a window costs whatever its size; I frames 16, P frames 22


class Window(NamedTuple):
    """A rectangle of cells, and those of them that it is computed for."""

    top: int
    left: int
    cells: NDArray[np.bool_]  # (rows, columns) of the rectangle

    @property
    def bottom(self) -> int:
        """First row of cells below."""
        return self.top + self.cells.shape[0]

    @property
    def right(self) -> int:
        """First column of cells beyond."""
        return self.left + self.cells.shape[1]

    @property
    def area(self) -> Area:
        """All its cells."""
        return Area(self.top, self.left, self.bottom, self.right)

    def maps(self, cells: CellMaps) -> CellMaps:
        """Its part of the maps of a picture; cells it is not computed for are one group."""
        if self.cells.shape == cells.groups.shape and self.cells.all():
            return cells
        return cells.within(slice(self.top, self.bottom), slice(self.left, self.right), self.cells)

    def covers(self, x: Tensor, per_cell: int) -> bool:
        """Whether all of x (N, C, H, W) is computed."""
        return (x.shape[2] // per_cell, x.shape[3] // per_cell) == self.cells.shape and bool(self.cells.all())

    def crop(self, x: Tensor, per_cell: int) -> Tensor:
        """A view of its part of x (N, C, H, W)."""
        return self.area.crop(x, per_cell)

    def rows(self, n_columns: int) -> NDArray[np.intp]:
        """Flat indexes of all its cells in a picture of n_columns, in raster order."""
        numbers = np.arange(self.top, self.bottom)[:, None] * n_columns + np.arange(self.left, self.right)
        return numbers.reshape(-1)

    def paste(self, target: Tensor, part: Tensor, per_cell: int) -> Tensor:
        """Target (N, C, H, W), changed where this window was computed; part itself if that is everywhere."""
        if self.covers(target, per_cell):
            return part
        place = self.crop(target, per_cell)
        if self.cells.all():
            place.copy_(part)
        else:
            place.copy_(torch.where(cell_mask(self.cells, per_cell, str(part.device)) > 0, part, place))
        return target


def group_window(group: NDArray[np.bool_]) -> Window:
    """The smallest window around one group. group: (rows, columns), somewhere true."""
    rows, columns = group.nonzero()
    area = Area(int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)
    return Window(area.top, area.left, area.of(group))


def pick_windows(groups: NDArray[np.integer], chosen: NDArray[np.bool_]) -> list[Window]:
    """Windows that hold the chosen cells, each of them in one, few and small. Both maps are (rows, columns).

    All cells of a group are chosen or none.
    """
    if chosen.all():
        return [Window(0, 0, chosen)]
    if not chosen.any():
        return []
    rows, columns = chosen.nonzero()
    labels, numbers = np.unique(groups[rows, columns], return_inverse=True)
    first = np.full((labels.size, 2), groups.size)
    last = np.zeros((labels.size, 2), np.int64)
    places = np.stack([rows, columns], axis=1)
    np.minimum.at(first, numbers, places)
    np.maximum.at(last, numbers, places + 1)
    boxes = np.concatenate([first, last], axis=1)
    merged = _merge(boxes)
    if _areas(merged).sum() + WINDOW_COST * len(merged) >= groups.size + WINDOW_COST:
        merged = np.array([[0, 0, *groups.shape]])
    inside = (merged[None, :, :2] <= boxes[:, None, :2]) & (boxes[:, None, 2:] <= merged[None, :, 2:])
    owner = np.full(groups.shape, -1)
    owner[rows, columns] = inside.all(axis=2).argmax(axis=1)[numbers]
    return [Window(int(t), int(left), owner[t:b, left:r] == k) for k, (t, left, b, r) in enumerate(merged)]


def _areas(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _merge(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Boxes (n, 4) of top, left, bottom, right, joined where that is less work."""
    merged = np.empty((0, 4), np.int64)
    for box in boxes:
        while len(merged):
            joined = np.concatenate([np.minimum(merged, box)[:, :2], np.maximum(merged, box)[:, 2:]], axis=1)
            saved = _areas(merged) + _areas(box) + WINDOW_COST - _areas(joined)
            best = int(saved.argmax())
            if saved[best] < 0:
                break
            box, merged = joined[best], np.delete(merged, best, axis=0)
        merged = np.concatenate([merged, box[None]])
    return merged
