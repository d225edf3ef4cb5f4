"""Section 4 of docs/bitstream.md: which cell belongs to which group, by rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.bitstream.limits import CELL_LOG2, MAX_GROUPS
from ssvc_codec.bitstream.objects import SceneObject
from ssvc_codec.errors import LimitError

__all__ = ["Box", "cells_of", "group_map", "group_members"]


class Box(Protocol):
    """Anything with a box in luma samples, such as a SceneObject."""

    @property
    def x(self) -> int:
        """Left, luma samples."""
        ...

    @property
    def y(self) -> int:
        """Top, luma samples."""
        ...

    @property
    def width(self) -> int:
        """Luma samples, 1 or more."""
        ...

    @property
    def height(self) -> int:
        """Luma samples, 1 or more."""
        ...


def group_map(objects: Sequence[Box], *, width: int, height: int) -> NDArray[np.uint16]:
    """Group of every grid cell: 0 is the background, objects count from 1.

    width, height: of the picture in luma samples. Returns (rows, columns) uint16.
    Raises ValueError if a box is empty or leaves the picture, LimitError above 255 groups.
    """
    cell = 1 << CELL_LOG2
    groups = np.zeros(((height + cell - 1) // cell, (width + cell - 1) // cell), dtype=np.uint16)
    if not objects:
        return groups
    boxes = np.array([(box.x, box.y, box.width, box.height) for box in objects], dtype=np.int64)
    starts, ends = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    if (boxes[:, 2:] < 1).any() or (starts < 0).any() or (ends > (width, height)).any():
        raise ValueError(f"a box is empty or leaves the {width}x{height} picture")
    first = starts >> CELL_LOG2
    last = (ends - 1) >> CELL_LOG2
    members = _components(first, last)
    if len(members) > MAX_GROUPS:
        raise LimitError(f"{len(members)} groups of objects, the limit is {MAX_GROUPS} (bitstream.md 8)")
    members.sort(key=lambda indexes: min((first[i, 1], first[i, 0]) for i in indexes))
    for group, indexes in enumerate(members, start=1):
        for i in indexes:
            groups[first[i, 1] : last[i, 1] + 1, first[i, 0] : last[i, 0] + 1] = group
    return groups


def group_members(objects: Sequence[SceneObject], groups: NDArray[np.uint16]) -> tuple[frozenset[int], ...]:
    """Track ids of the objects of every group; the background, group 0, has none.

    groups: what group_map gives for the same objects.
    """
    members: list[set[int]] = [set() for _ in range(int(groups.max()) + 1)]
    for item in objects:
        members[groups[item.y >> CELL_LOG2, item.x >> CELL_LOG2]].add(item.track_id)
    return tuple(frozenset(group) for group in members)


def cells_of(groups: NDArray[np.uint16], group: int) -> NDArray[np.int64]:
    """Flat indexes of the cells of one group, in raster order: (n,) int64."""
    return np.flatnonzero(groups == group)


def _components(first: NDArray[np.int64], last: NDArray[np.int64]) -> list[list[int]]:
    """Boxes joined through shared cells. first, last: (n, 2) cells (x, y), both inclusive."""
    starts_before_end = (first[:, None] <= last[None]).all(axis=2)
    overlap: NDArray[np.bool_] = starts_before_end & starts_before_end.T
    unseen = np.ones(len(first), dtype=bool)
    components: list[list[int]] = []
    while unseen.any():
        component = [int(unseen.argmax())]
        unseen[component[0]] = False
        for i in component:
            joined = np.flatnonzero(overlap[i] & unseen)
            unseen[joined] = False
            component += joined.tolist()
        components.append(component)
    return components
