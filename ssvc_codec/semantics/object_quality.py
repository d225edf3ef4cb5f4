"""Objects and background coded finer or coarser than the rest (`--object-quality`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Self

from ssvc_codec.bitstream.class_table import ClassTable
from ssvc_codec.bitstream.frame_header import MAX_Q_INDEX
from ssvc_codec.bitstream.objects import SceneObject

__all__ = ["BACKGROUND", "ObjectQuality"]

BACKGROUND = "background"


@dataclass(frozen=True, slots=True)
class ObjectQuality:
    """Offsets of q_index: by class, and of the background."""

    of_class: Mapping[int, int] = field(default_factory=dict)
    of_background: int = 0

    @classmethod
    def by_name(cls, offsets: Mapping[str, int], classes: ClassTable) -> Self:
        """From class names and "background". Raises ValueError for unknown names and offsets beyond -63..63."""
        ids = {name: class_id for class_id, name in classes.names}
        for name, offset in offsets.items():
            if not -MAX_Q_INDEX <= offset <= MAX_Q_INDEX:
                raise ValueError(f"object quality {name}={offset}: -{MAX_Q_INDEX} to +{MAX_Q_INDEX} are possible")
            if name not in ids and name != BACKGROUND:
                near = get_close_matches(name, [*ids, BACKGROUND], n=3)
                raise ValueError(f"no class {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))
        of_class = {ids[name]: offset for name, offset in offsets.items() if name != BACKGROUND}
        return cls(of_class, offsets.get(BACKGROUND, 0))

    def group_offsets(self, objects: Sequence[SceneObject], members: Sequence[frozenset[int]]) -> list[int]:
        """The offset of every group: the largest of its objects. members: track ids of each group."""
        if not self.of_class and not self.of_background:
            return []
        of_track = {item.track_id: self.of_class.get(item.class_id, 0) for item in objects}
        return [self.of_background, *(max(of_track[track] for track in group) for group in members[1:])]
