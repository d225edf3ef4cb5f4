"""Tables 6 and 7: the objects of an I frame, and how a P frame changes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

from ssvc_codec.bitstream.byte_io import MAX_VARINT, ByteReader, ByteWriter
from ssvc_codec.bitstream.class_table import ClassTable
from ssvc_codec.bitstream.limits import MAX_OBJECTS, MAX_SIDE, check_limit

__all__ = ["BoxChange", "ObjectChanges", "ObjectList", "SceneObject"]


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One row of Table 6: what is where."""

    track_id: int  # 0..2^32-1, the same in all frames of a track
    class_id: int  # 0..65535, named by the class table
    score: int  # 0..255, 255 is 1.0
    x: int  # left, luma samples
    y: int  # top, luma samples
    width: int  # luma samples, 1 or more
    height: int  # luma samples, 1 or more

    def __post_init__(self) -> None:
        if not (0 <= self.track_id <= MAX_VARINT and 0 <= self.class_id <= 0xFFFF and 0 <= self.score <= 0xFF):
            raise ValueError(f"track id {self.track_id}, class {self.class_id} or score {self.score} is out of range")
        if not (0 <= self.x < MAX_SIDE and 0 <= self.y < MAX_SIDE):
            raise ValueError(f"box of object {self.track_id} starts at ({self.x}, {self.y}), outside any picture")
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise ValueError(f"box of object {self.track_id} is {self.width}x{self.height}")

    def write(self, w: ByteWriter, previous_track_id: int) -> None:
        """Table 6, one row. previous_track_id: -1 for the first."""
        w.varint(self.track_id - previous_track_id - 1)
        w.varint(self.class_id)
        w.uint(self.score, 1)
        for value in (self.x, self.y, self.width, self.height):
            w.varint(value)

    @classmethod
    def read(cls, r: ByteReader, previous_track_id: int) -> Self:
        """Table 6, one row."""
        track_id = previous_track_id + 1 + r.varint()
        return cls(track_id, r.varint(), r.uint(1), r.varint(), r.varint(), r.varint(), r.varint())


@dataclass(frozen=True, slots=True)
class BoxChange:
    """One changed row of Table 7: new box less old box."""

    track_id: int
    dx: int
    dy: int
    dwidth: int
    dheight: int

    def __post_init__(self) -> None:
        if not any((self.dx, self.dy, self.dwidth, self.dheight)):
            raise ValueError(f"box change of object {self.track_id} is all 0")

    def apply(self, item: SceneObject) -> SceneObject:
        """The object with its new box. ValueError if that is no box."""
        return replace(
            item,
            x=item.x + self.dx,
            y=item.y + self.dy,
            width=item.width + self.dwidth,
            height=item.height + self.dheight,
        )

    def write(self, w: ByteWriter, previous_track_id: int) -> None:
        """Table 7, one changed object."""
        w.varint(self.track_id - previous_track_id - 1)
        for value in (self.dx, self.dy, self.dwidth, self.dheight):
            w.svarint(value)

    @classmethod
    def read(cls, r: ByteReader, previous_track_id: int) -> Self:
        """Table 7, one changed object."""
        track_id = previous_track_id + 1 + r.varint()
        return cls(track_id, r.svarint(), r.svarint(), r.svarint(), r.svarint())


@dataclass(frozen=True, slots=True)
class ObjectList:
    """Table 6: the objects of a frame, track ids ascending. Iterable."""

    objects: tuple[SceneObject, ...] = ()

    def __post_init__(self) -> None:
        check_limit("objects", len(self.objects), MAX_OBJECTS)
        _check_ascending([item.track_id for item in self.objects])

    def check(self, *, width: int, height: int, classes: ClassTable) -> None:
        """ValueError if a box leaves the picture or a class is not in the table."""
        for item in self.objects:
            if item.x + item.width > width or item.y + item.height > height:
                raise ValueError(
                    f"box {item.width}x{item.height}+{item.x}+{item.y} of object {item.track_id}"
                    f" leaves the {width}x{height} picture"
                )
            if item.class_id not in classes:
                raise ValueError(f"class {item.class_id} of object {item.track_id} is not in the class table")

    def write(self, w: ByteWriter) -> None:
        """Table 6."""
        w.varint(len(self.objects))
        previous = -1
        for item in self.objects:
            item.write(w, previous)
            previous = item.track_id

    @classmethod
    def read(cls, r: ByteReader) -> Self:
        """Table 6."""
        with r.structure("object list", "3.2"):
            if not (objects := _read_objects(r)):
                raise r.error("an empty list must be omitted")
            return cls(objects)


@dataclass(frozen=True, slots=True)
class ObjectChanges:
    """Table 7: what a P frame does to the object list of the frame before."""

    removed: tuple[int, ...] = ()  # track ids, ascending
    changed: tuple[BoxChange, ...] = ()  # track ids ascending
    added: tuple[SceneObject, ...] = ()  # track ids ascending

    def __post_init__(self) -> None:
        track_ids = (
            list(self.removed),
            [change.track_id for change in self.changed],
            [item.track_id for item in self.added],
        )
        for part in track_ids:
            check_limit("object changes of one kind", len(part), MAX_OBJECTS)
            _check_ascending(part)

    def __bool__(self) -> bool:
        return bool(self.removed or self.changed or self.added)

    @classmethod
    def between(cls, old: Iterable[SceneObject], new: Iterable[SceneObject]) -> Self:
        """The changes that turn one list into the other."""
        before = {item.track_id: item for item in old}
        after = {item.track_id: item for item in sorted(new, key=lambda item: item.track_id)}
        replaced = {
            track_id
            for track_id, item in after.items()
            if track_id in before and _identity(before[track_id]) != _identity(item)
        }
        removed = tuple(sorted(before.keys() - after.keys() | replaced))
        changed = tuple(
            _change(before[track_id], item)
            for track_id, item in after.items()
            if track_id in before and track_id not in replaced and before[track_id] != item
        )
        added = tuple(item for track_id, item in after.items() if track_id not in before or track_id in replaced)
        return cls(removed, changed, added)

    def apply(self, objects: Iterable[SceneObject]) -> ObjectList:
        """The new list. ValueError if the changes do not fit the old one."""
        current = {item.track_id: item for item in objects}
        for track_id in self.removed:
            if current.pop(track_id, None) is None:
                raise ValueError(f"object {track_id} is removed but is not there")
        for change in self.changed:
            if change.track_id not in current:
                raise ValueError(f"object {change.track_id} is changed but is not there")
            current[change.track_id] = change.apply(current[change.track_id])
        for item in self.added:
            if item.track_id in current:
                raise ValueError(f"object {item.track_id} is added but is there already")
            current[item.track_id] = item
        return ObjectList(tuple(current[track_id] for track_id in sorted(current)))

    def write(self, w: ByteWriter) -> None:
        """Table 7."""
        w.varint(len(self.removed))
        previous = -1
        for track_id in self.removed:
            w.varint(track_id - previous - 1)
            previous = track_id
        w.varint(len(self.changed))
        previous = -1
        for change in self.changed:
            change.write(w, previous)
            previous = change.track_id
        ObjectList(self.added).write(w)

    @classmethod
    def read(cls, r: ByteReader) -> Self:
        """Table 7."""
        with r.structure("object changes", "3.3"):
            removed: list[int] = []
            for _ in range(check_limit("removed objects", r.varint(), MAX_OBJECTS)):
                removed.append((removed[-1] if removed else -1) + 1 + r.varint())
            changed: list[BoxChange] = []
            for _ in range(check_limit("changed objects", r.varint(), MAX_OBJECTS)):
                changed.append(BoxChange.read(r, changed[-1].track_id if changed else -1))
            changes = cls(tuple(removed), tuple(changed), _read_objects(r))
            if not changes:
                raise r.error("empty changes must be omitted")
            return changes


def _read_objects(r: ByteReader) -> tuple[SceneObject, ...]:
    objects: list[SceneObject] = []
    for _ in range(check_limit("objects", r.varint(), MAX_OBJECTS)):
        objects.append(SceneObject.read(r, objects[-1].track_id if objects else -1))
    return tuple(objects)


def _check_ascending(track_ids: Sequence[int]) -> None:
    if any(b <= a for a, b in pairwise(track_ids)) or any(not 0 <= t <= MAX_VARINT for t in track_ids):
        raise ValueError("track ids must ascend within 0..2^32-1, none twice")


def _identity(item: SceneObject) -> tuple[int, int]:
    return item.class_id, item.score


def _change(old: SceneObject, new: SceneObject) -> BoxChange:
    return BoxChange(new.track_id, new.x - old.x, new.y - old.y, new.width - old.width, new.height - old.height)
