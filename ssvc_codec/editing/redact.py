"""Takes objects out of a stream, and what was predicted from them: docs/redaction.md says why and what remains."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from ..bitstream import (
    CELL_LOG2,
    ByteWriter,
    Directory,
    DirectoryEntry,
    GroupQOffsets,
    ObjectChanges,
    ObjectList,
    ParsedPacket,
    SceneObject,
    SubstreamKind,
)
from ..bitstream.checksums import crc32
from ..frame import VideoFormat
from ..gop.groups import group_map
from ..selection import Selection
from .chains import ReadableChains
from .extract import SelectionInStream
from .scene import Scene, SceneReader

__all__ = ["BoxPolicy", "MotionPolicy", "Redactor", "snapped"]

BoxPolicy = Literal["keep", "cells"]
MotionPolicy = Literal["all", "others", "none"]


class Redactor:
    """Drops the content of every group with a matching object, and all that could show it by prediction.

    A packet that cannot be understood must not be passed on: nobody knows what it shows.
    """

    def __init__(
        self,
        selection: Selection,
        *,
        boxes: BoxPolicy = "keep",
        motion: MotionPolicy = "others",
        keep_residual: bool = False,
    ) -> None:
        """selection: whom to take out. boxes: "cells" makes them as coarse as the grid and sets the score to 0.

        motion: whose MOTION stays once a redacted object has been there. keep_residual: of other groups, which shows
        ghosts. Raises ValueError.
        """
        if boxes not in get_args(BoxPolicy) or motion not in get_args(MotionPolicy):
            raise ValueError(f"boxes {boxes!r}, motion {motion!r}: see BoxPolicy and MotionPolicy")
        self.n_frames = 0  # in which something was redacted
        self.n_key_frames = 0  # of these, I frames
        self._selection = SelectionInStream(selection)
        self._boxes = boxes
        self._motion = motion
        self._keep_residual = keep_residual
        self._scenes = SceneReader()
        self._chains = ReadableChains()
        self._is_tainted = False  # a redacted object was seen since the I frame, so prediction may show it
        self._written: tuple[SceneObject, ...] = ()  # objects of the packet before as they were written

    def edit(self, data: bytes) -> bytes:
        """The next packet without them. Raises BitstreamError, LimitError; ValueError for names that are unknown."""
        scene = self._scenes.read(data)
        redacted = self._redacted(scene)
        groups = frozenset(scene.group_of(item) for item in redacted)
        self._is_tainted = bool(groups) or (self._is_tainted and not scene.is_key)
        self.n_frames += bool(groups)
        self.n_key_frames += bool(groups) and scene.is_key
        kept = self._chains.keep(scene, lambda entry: self._is_clean(entry, groups))
        objects = scene.objects
        if self._boxes == "cells":
            objects = _with_snapped_boxes(scene, redacted)
        before, self._written = self._written, objects
        changes = ObjectChanges() if scene.is_key else ObjectChanges.between(before, objects)
        return _rewritten(scene.packet, kept, objects, changes)

    def _redacted(self, scene: Scene) -> tuple[SceneObject, ...]:
        if not scene.objects:
            return ()
        resolved = self._selection.resolve(scene)
        return tuple(item for item in scene.objects if resolved.wants(item))

    def _is_clean(self, entry: DirectoryEntry, redacted: frozenset[int]) -> bool:
        """Whether a substream may stay."""
        if not self._is_tainted:
            return True
        match entry.kind:
            case SubstreamKind.OBJECT | SubstreamKind.BACKGROUND:
                return entry.group not in redacted
            case SubstreamKind.MOTION:
                return self._motion == "all" or (self._motion == "others" and entry.group not in redacted)
            case SubstreamKind.RESIDUAL:
                return self._keep_residual and entry.group not in redacted
        return False  # nobody knows what a reserved kind shows


def snapped(item: SceneObject, video: VideoFormat) -> SceneObject:
    """The object with its box made whole cells, within the picture, and without its score. Touches the same cells."""
    left, top = item.x >> CELL_LOG2 << CELL_LOG2, item.y >> CELL_LOG2 << CELL_LOG2
    right = min(((item.x + item.width - 1 >> CELL_LOG2) + 1) << CELL_LOG2, video.width)
    bottom = min(((item.y + item.height - 1 >> CELL_LOG2) + 1) << CELL_LOG2, video.height)
    return replace(item, score=0, x=left, y=top, width=right - left, height=bottom - top)


def _with_snapped_boxes(scene: Scene, redacted: tuple[SceneObject, ...]) -> tuple[SceneObject, ...]:
    video = scene.sequence_header.format
    objects = tuple(snapped(item, video) if item in redacted else item for item in scene.objects)
    assert np.array_equal(group_map(objects, width=video.width, height=video.height), scene.groups)
    return objects


def _rewritten(
    packet: ParsedPacket,
    entries: tuple[DirectoryEntry, ...],
    objects: tuple[SceneObject, ...],
    changes: ObjectChanges,
) -> bytes:
    """The packet with other objects (changes on P frames) and some of its entries, whose payloads stay as they are."""
    is_key = packet.sequence_header is not None
    w = ByteWriter()
    replace(packet.header, has_objects=bool(objects if is_key else changes)).write(w)
    if packet.sequence_header is not None:
        packet.sequence_header.write(w)
    if is_key and objects:
        ObjectList(objects).write(w)
    elif changes:
        changes.write(w)
    if packet.q_offsets:
        GroupQOffsets(packet.q_offsets).write(w)
    Directory(entries).write(w)
    w.uint(crc32(w.getvalue()), 4)
    for entry in entries:
        w.raw(packet.data[entry.offset : entry.offset + entry.coded_size])
    return w.getvalue()
