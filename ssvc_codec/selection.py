"""Which objects a decoder is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from .bitstream import CELL_LOG2, NO_CLASSES, ClassTable, SceneObject

__all__ = ["ResolvedSelection", "Selection"]

MAX_CLASS_ID = 2**16 - 1
MAX_TRACK_ID = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Selection:
    """What to decode, in a user's words: class names, class ids as "17", or "#5" for track 5."""

    objects: tuple[str, ...] | None = None  # None: all of them; (): none
    exclude: tuple[str, ...] = ()
    background: bool = True  # what belongs to no object

    def resolve(self, classes: ClassTable) -> ResolvedSelection:
        """The selection in ids of a stream. Raises ValueError for what the stream's class table does not have."""
        wanted = None if self.objects is None else _resolve(self.objects, classes)
        return ResolvedSelection(wanted, _resolve(self.exclude, classes), self.background)


@dataclass(frozen=True, slots=True)
class _Ids:
    """Classes and tracks by their ids."""

    classes: frozenset[int]
    tracks: frozenset[int]

    def __contains__(self, item: SceneObject) -> bool:
        return item.class_id in self.classes or item.track_id in self.tracks


@dataclass(frozen=True, slots=True)
class ResolvedSelection:
    """What to decode, in ids."""

    wanted: _Ids | None  # None: all objects
    excluded: _Ids
    background: bool

    def wants(self, item: SceneObject) -> bool:
        """Whether an object is asked for."""
        return item not in self.excluded and (self.wanted is None or item in self.wanted)

    def groups(self, objects: Sequence[SceneObject], groups: NDArray[np.integer]) -> frozenset[int]:
        """Numbers of the groups to decode: those with an object that is wanted and none that is excluded.

        groups: (rows, columns), what gop.groups.group_map gives for the objects. 0, the background, is in
        the result if it is asked for and there is one.
        """
        numbers = [int(groups[item.y >> CELL_LOG2, item.x >> CELL_LOG2]) for item in objects]
        pairs = list(zip(numbers, objects, strict=True))
        chosen = {number for number, item in pairs if self.wants(item)}
        chosen -= {number for number, item in pairs if item in self.excluded}
        if self.background and not groups.all():
            chosen.add(0)
        return frozenset(chosen)


def _resolve(words: Iterable[str], classes: ClassTable) -> _Ids:
    class_ids: set[int] = set()
    tracks: set[int] = set()
    for word in words:
        if word.startswith("#"):
            tracks.add(_number(word[1:], MAX_TRACK_ID, f"object {word!r}: # goes before a track id"))
        else:
            class_ids |= _classes(word, classes)
    return _Ids(frozenset(class_ids), frozenset(tracks))


def _classes(word: str, classes: ClassTable) -> set[int]:
    """Ids of a class by its name, else by its number."""
    found = {class_id for class_id, name in classes.names if name.casefold() == word.casefold()}
    if found:
        return found
    if word.isascii() and word.isdecimal():
        number = _number(word, MAX_CLASS_ID, f"class {word}")
        if number in classes:
            return {number}
        raise ValueError(f"class {number} is not in the class table of this stream")
    if classes == NO_CLASSES:
        raise ValueError(f"class {word!r}: this stream does not name its classes; their ids and #TRACK can be used")
    names = [name for _, name in classes.names]
    near = get_close_matches(word.casefold(), [name.casefold() for name in names], n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(names[:8])}, .."
    raise ValueError(f"class {word!r} is not in the class table of this stream{hint}")


def _number(text: str, largest: int, what: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > largest:
        raise ValueError(f"{what}, 0 to {largest}")
    return int(text)
