"""Boxes of objects: how much they overlap, and how they move with the flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FLOW_SCALE", "MIN_SIDE", "Box", "clip_box", "move_box", "overlaps", "touches_border"]

FLOW_SCALE: Final = 4  # luma samples each way for one vector of the flow
MIN_SIDE: Final = 4.0  # luma samples; what is thinner is no object any more

CENTRAL_PART: Final = 0.7  # of each side: what is nearer the edge is often background
N_ITERATIONS: Final = 3  # the flow is known at the new place, which is what is looked for
MAX_GROWTH: Final = 0.03  # of a side in one frame, either way
MIN_VECTORS_FOR_GROWTH: Final = 6  # each way; a smaller box keeps its size
MAX_VECTORS: Final = 24  # looked at each way: every other one, every third .. of a large box
BORDER: Final = 1.0  # luma samples; an edge this near the picture's edge is where the object is cut off


class Box(NamedTuple):
    """A box in luma samples; right and bottom are the first samples outside."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Luma samples."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Luma samples."""
        return self.bottom - self.top


def clip_box(box: Box, *, width: int, height: int) -> Box | None:
    """The part of the box inside the picture; None if nothing is there, or if a side is not a number."""
    clipped = Box(max(box.left, 0.0), max(box.top, 0.0), min(box.right, float(width)), min(box.bottom, float(height)))
    return clipped if clipped.width > 0 and clipped.height > 0 else None


def touches_border(box: Box, *, width: int, height: int) -> bool:
    """Whether an edge lies at the border of the picture, so that the object may be cut off there."""
    return min(box.left, box.top, width - box.right, height - box.bottom) <= BORDER


def overlaps(rows: Sequence[Box], columns: Sequence[Box]) -> NDArray[np.float64]:
    """Intersection over union of each box with each: (len(rows), len(columns)) in 0..1."""
    a = np.array(rows, np.float64).reshape(-1, 1, 4)
    b = np.array(columns, np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(min=0).prod(axis=-1)
    union = (a[..., 2:] - a[..., :2]).prod(axis=-1) + (b[..., 2:] - b[..., :2]).prod(axis=-1) - shared
    return shared / np.maximum(union, 1e-9)


def move_box(box: Box, flow: NDArray[np.float32], *, width: int, height: int) -> Box | None:
    """Where a box of the frame before is in this frame; None if it left the picture or is thinner than MIN_SIDE.

    flow: (2, ceil(height / 4), ceil(width / 4)) backward: what is at (x, y) was at (x + dx, y + dy) before.
    width, height: of the picture. An edge at the border of the picture follows the motion outwards only: the object
    is cut off there, and what enters is more of it.
    """
    moved = box
    for _ in range(N_ITERATIONS):
        visible = clip_box(moved, width=width, height=height)
        if visible is None:
            return None
        dx, growth_x, dy, growth_y = _motion_within(visible, flow)
        left, right = _move_side(box.left, box.right, (visible.left + visible.right) / 2, dx, growth_x)
        top, bottom = _move_side(box.top, box.bottom, (visible.top + visible.bottom) / 2, dy, growth_y)
        moved = Box(left, top, right, bottom)
    moved = _hold_cut_edges(moved, box, width=width, height=height)
    visible = clip_box(moved, width=width, height=height)
    return visible if visible is not None and min(visible.width, visible.height) >= MIN_SIDE else None


def _move_side(start: float, end: float, center: float, displacement: float, growth: float) -> tuple[float, float]:
    """Both ends of one side in this frame, by x_before = x + displacement + growth * (x - center)."""
    shift = growth * center - displacement
    return (start + shift) / (1 + growth), (end + shift) / (1 + growth)


def _motion_within(box: Box, flow: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Median flow in the central part, and how it grows with position: dx, d(dx)/dx, dy, d(dy)/dy."""
    columns = _central_vectors(box.left, box.right, flow.shape[2])
    rows = _central_vectors(box.top, box.bottom, flow.shape[1])
    dx, dy = flow[:, rows, columns]
    growth_x = _slope(dx, axis=1, spacing=FLOW_SCALE * columns.step)
    growth_y = _slope(dy, axis=0, spacing=FLOW_SCALE * rows.step)
    return float(np.median(dx)), growth_x, float(np.median(dy)), growth_y


def _central_vectors(start: float, end: float, n_vectors: int) -> slice:
    """Vectors whose centres lie in the central part of a side; at least the one in the middle."""
    center, half = (start + end) / 2, CENTRAL_PART * (end - start) / 2
    first = int(np.ceil((center - half) / FLOW_SCALE - 0.5))
    last = int(np.floor((center + half) / FLOW_SCALE - 0.5))
    if first > last:
        first = last = int(center / FLOW_SCALE)
    first, last = min(max(first, 0), n_vectors - 1), min(max(last, 0), n_vectors - 1)
    return slice(first, last + 1, -(-(last + 1 - first) // MAX_VECTORS))


def _slope(values: NDArray[np.float32], *, axis: int, spacing: int) -> float:
    """Growth of one component along its own axis, per luma sample: medians of the outer thirds, within MAX_GROWTH."""
    length = values.shape[axis]
    if length < MIN_VECTORS_FOR_GROWTH:
        return 0.0
    third = length // 3
    first, last = (np.take(values, part, axis=axis) for part in (range(third), range(length - third, length)))
    slope = float(np.median(last) - np.median(first)) / (spacing * (length - third))
    return float(np.clip(slope, -MAX_GROWTH, MAX_GROWTH))


def _hold_cut_edges(moved: Box, box: Box, *, width: int, height: int) -> Box:
    """Edges that lay at the border of the picture stay there rather than move inwards."""
    return Box(
        min(moved.left, 0.0) if box.left <= BORDER else moved.left,
        min(moved.top, 0.0) if box.top <= BORDER else moved.top,
        max(moved.right, float(width)) if box.right >= width - BORDER else moved.right,
        max(moved.bottom, float(height)) if box.bottom >= height - BORDER else moved.bottom,
    )
