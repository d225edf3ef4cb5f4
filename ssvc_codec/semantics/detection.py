"""What a detector is, and what it finds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

from ssvc_codec.bitstream.class_table import ClassTable
from ssvc_codec.frame import Frame

__all__ = ["Detection", "Detector", "check_min_score", "class_ids"]


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing found in one picture. Its box may reach beyond the picture."""

    class_id: int  # named by the detector's class table
    score: float  # 0..1
    x: float  # left, luma samples
    y: float  # top, luma samples
    width: float  # luma samples, above 0
    height: float  # luma samples, above 0
    track_id: int | None = None  # 0..2^32-1 where the source knows who it is


class Detector(Protocol):
    """Finds things in pictures."""

    @property
    def classes(self) -> ClassTable:
        """Names of the class ids."""
        ...

    @property
    def description(self) -> str:
        """What is in use, for the user: the model and where it runs."""
        ...

    def detect(self, frame: Frame, number: int) -> list[Detection] | None:
        """What is in a frame, best first; None where nothing is known about it.

        number: of the frame, from 0 at the start of the video. [] says that nothing is there.
        """
        ...


def check_min_score(min_score: float) -> float:
    """Returns min_score. ValueError outside 0..1."""
    if not 0 <= min_score <= 1:
        raise ValueError(f"min_score {min_score}: must be in 0..1")
    return min_score


def class_ids(names: Collection[str] | None, table: ClassTable) -> frozenset[int] | None:
    """Ids of classes by name, or by number as in "17". None, for all, stays None.

    Raises ValueError for a class that the table lacks, with the near ones.
    """
    if names is None:
        return None
    by_name = {name.casefold(): class_id for class_id, name in table.names}
    return frozenset(_class_id(name.strip().casefold(), by_name, table) for name in names)


def _class_id(name: str, by_name: dict[str, int], table: ClassTable) -> int:
    if name in by_name:
        return by_name[name]
    if name.isascii() and name.isdigit() and int(name) <= 0xFFFF and int(name) in table:
        return int(name)
    if not by_name:
        raise ValueError(f"no class {name!r}: this detector names no classes, give their numbers")
    near = get_close_matches(name, by_name, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {len(by_name)}, such as {next(iter(by_name))}"
    raise ValueError(f"no class {name!r}: {hint}")
