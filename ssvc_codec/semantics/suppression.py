"""Boxes that say too much: the same object twice, or the whole scene as one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from ssvc_codec.semantics.box_motion import Box, overlaps

__all__ = ["Candidate", "without_duplicates", "without_surroundings"]

DUPLICATE_OVERLAP: Final = 0.7  # of two boxes of one class
DUPLICATE_OVERLAP_OF_OTHER_CLASS: Final = 0.85
SCENE_SHARE: Final = 0.5  # of the picture, from which a box may be taken for the scene
SCENE_OBJECTS: Final = 3  # others inside


class Candidate(Protocol):
    """A detection or a track."""

    @property
    def class_id(self) -> int:
        """Of the class table."""
        ...

    @property
    def box(self) -> Box:
        """Inside the picture."""
        ...

    @property
    def is_given(self) -> bool:
        """Whoever found it also said which track it is: it stays, whatever it is."""
        ...


Item = TypeVar("Item", bound=Candidate)


def without_duplicates(items: Sequence[Item]) -> list[Item]:
    """Items in their order, less those whose box an earlier one has nearly too. Given ones all stay."""
    overlap = overlaps([item.box for item in items], [item.box for item in items])
    kept: list[int] = []
    for n, item in enumerate(items):
        limits = (
            DUPLICATE_OVERLAP if items[k].class_id == item.class_id else DUPLICATE_OVERLAP_OF_OTHER_CLASS for k in kept
        )
        if item.is_given or all(overlap[n, k] <= limit for k, limit in zip(kept, limits, strict=True)):
            kept.append(n)
    return [items[n] for n in kept]


def without_surroundings(items: Sequence[Item], *, area: float) -> list[Item]:
    """Items less those that fill most of a picture of this area around several others.

    All would be one group, and no part of the picture could be read alone. Given ones all stay.
    """

    def surrounds(item: Item) -> bool:
        box = item.box
        if item.is_given or (box.right - box.left) * (box.bottom - box.top) <= SCENE_SHARE * area:
            return False
        return sum(_holds(box, other.box) for other in items if other is not item) >= SCENE_OBJECTS

    return [item for item in items if not surrounds(item)]


def _holds(outer: Box, inner: Box) -> bool:
    """Whether the centre of a box lies in another."""
    x, y = 0.5 * (inner.left + inner.right), 0.5 * (inner.top + inner.bottom)
    return outer.left <= x < outer.right and outer.top <= y < outer.bottom
