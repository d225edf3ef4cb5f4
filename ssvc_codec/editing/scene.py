"""Where the objects of a packet are: what heads say, followed from packet to packet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bitstream import FrameType, ParsedPacket, SceneObject, SequenceHeader, parse_packet
from ..errors import BitstreamError
from ..gop.groups import group_map, group_members

__all__ = ["Scene", "SceneReader"]


@dataclass(frozen=True, slots=True)
class Scene:
    """One packet, its objects and its groups."""

    packet: ParsedPacket
    sequence_header: SequenceHeader
    objects: tuple[SceneObject, ...]
    groups: NDArray[np.uint16]  # (rows, columns), see gop.groups.group_map
    members: tuple[frozenset[int], ...]  # track ids of every group

    @property
    def is_key(self) -> bool:
        """An I frame."""
        return self.packet.header.frame_type is FrameType.I

    def group_of(self, item: SceneObject) -> int:
        """The group of one of its objects."""
        return next(group for group, tracks in enumerate(self.members) if item.track_id in tracks)


class SceneReader:
    """Reads the heads of packets in their order; no payload is looked at."""

    def __init__(self) -> None:
        self._before: Scene | None = None

    def read(self, data: bytes | memoryview, *, partial: bool = False) -> Scene:
        """The scene of the next packet. partial: only its head need be there.

        Raises BitstreamError or LimitError where the packet is damaged; P packets after it are refused
        with BitstreamError until the next I packet, as their objects are unknown.
        """
        before, self._before = self._before, None
        packet = parse_packet(data, partial=partial)
        if packet.sequence_header is not None:
            header = packet.sequence_header
        elif before is None:
            raise BitstreamError(
                f"P frame {packet.header.frame_number} without the frame it refers to (bitstream.md 3.1)"
            )
        else:
            packet.header.check_follows(before.packet.header.frame_number)
            header = before.sequence_header
        objects = packet.objects_after(before.objects if before else (), header)
        self._before = _scene(packet, header, objects, before)
        return self._before


def _scene(
    packet: ParsedPacket, header: SequenceHeader, objects: tuple[SceneObject, ...], before: Scene | None
) -> Scene:
    if before is not None and before.objects == objects and before.sequence_header.format == header.format:
        groups, members = before.groups, before.members
    else:
        groups = group_map(objects, width=header.format.width, height=header.format.height)
        members = group_members(objects, groups)
    packet.check_groups(len(members))
    return Scene(packet, header, objects, groups, members)
