"""Table 4: one packet, parsed, built, and edited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ssvc_codec.bitstream.byte_io import ByteReader, ByteWriter
from ssvc_codec.bitstream.checksums import crc16, crc32, read_crc32
from ssvc_codec.bitstream.directory import Directory, DirectoryEntry
from ssvc_codec.bitstream.frame_header import MAX_Q_INDEX, FrameHeader, FrameType, GroupQOffsets
from ssvc_codec.bitstream.limits import MAX_PACKET_BYTES, check_limit
from ssvc_codec.bitstream.objects import ObjectChanges, ObjectList, SceneObject
from ssvc_codec.bitstream.sequence_header import SequenceHeader
from ssvc_codec.errors import BitstreamError, ChecksumError, TruncatedError

__all__ = ["ParsedPacket", "build_packet", "drop_substreams", "parse_packet"]


@dataclass(frozen=True, slots=True)
class ParsedPacket:
    """Table 4: the head of a packet; substreams are read from data when asked for."""

    header: FrameHeader
    sequence_header: SequenceHeader | None  # I frames only
    objects: tuple[SceneObject, ...]  # I frames; empty on P frames
    changes: ObjectChanges  # P frames; empty on I frames
    q_offsets: tuple[int, ...]  # of groups 0, 1, ..., without trailing zeros
    entries: tuple[DirectoryEntry, ...]  # in coded order, reserved kinds too
    directory_offset: int  # where the directory starts, in bytes
    head_length: int  # bytes before the first payload
    data: memoryview = field(repr=False)

    def q_of(self, group: int) -> int:
        """q of a group: 0..63."""
        offset = self.q_offsets[group] if group < len(self.q_offsets) else 0
        return min(max(self.header.q_index + offset, 0), MAX_Q_INDEX)

    def objects_after(
        self, previous: Iterable[SceneObject], sequence_header: SequenceHeader
    ) -> tuple[SceneObject, ...]:
        """Objects of this frame, given those of the frame before (not read on I frames).

        Raises BitstreamError when the changes of a P frame do not fit.
        """
        if self.header.frame_type is FrameType.I:
            return self.objects
        video = sequence_header.format
        try:
            result = self.changes.apply(previous)
            result.check(width=video.width, height=video.height, classes=sequence_header.classes)
        except ValueError as error:
            raise BitstreamError(f"object changes: {error} (bitstream.md 3.3)") from error
        return result.objects

    def check_groups(self, n_groups: int) -> None:
        """BitstreamError if the packet names a group that the frame does not have.

        n_groups: with the background, group_map(...).max() + 1.
        """
        highest = max((entry.group for entry in self.entries if not entry.is_reserved), default=0)
        if max(highest + 1, len(self.q_offsets)) > n_groups:
            raise BitstreamError(
                f"directory: group {highest} or {len(self.q_offsets)} q offsets in a frame of"
                f" {n_groups} groups (bitstream.md 3.4, 3.5)"
            )

    def substream(self, kind: int, group: int = 0) -> bytes | None:
        """Payload of a substream, its CRC-16 checked; None if it is not there.

        Raises ChecksumError, and TruncatedError when only part of the packet was given.
        """
        for entry in self.entries:
            if (entry.kind, entry.group) == (kind, group):
                return self.payload(entry)
        return None

    def payload(self, entry: DirectoryEntry) -> bytes:
        """Payload of a directory entry, its CRC-16 checked. Raises as substream."""
        place = f"substream kind {entry.kind} group {entry.group}, byte {entry.offset}"
        coded = self.data[entry.offset : entry.offset + entry.coded_size]
        if len(coded) < entry.coded_size:
            raise TruncatedError(f"{place}: {entry.coded_size} bytes needed, {len(coded)} left (bitstream.md 3.6)")
        payload = bytes(coded[: entry.length])
        stored = int.from_bytes(coded[entry.length :], "little")
        if payload and stored != crc16(payload):
            raise ChecksumError(
                f"{place}: CRC-16 is {stored:04x}, the bytes have {crc16(payload):04x} (bitstream.md 3.6)"
            )
        return payload


def parse_packet(data: bytes | memoryview, *, partial: bool = False) -> ParsedPacket:
    """Read the head of a packet; substreams are not touched.

    partial: the data may end anywhere after the head (substreams that are cut off raise
    TruncatedError when read). Raises BitstreamError and LimitError.
    """
    check_limit("bytes in a packet", len(data), MAX_PACKET_BYTES)
    r = ByteReader(data)
    header = FrameHeader.read(r)
    sequence_header = SequenceHeader.read(r) if header.has_sequence_header else None
    objects, changes = _read_objects(r, header, sequence_header)
    q_offsets = GroupQOffsets.read(r).offsets if header.has_q_offsets else ()
    directory_offset = r.offset
    directory = Directory.read(r)
    with r.structure("packet", "3"):
        read_crc32(r, 0)
        directory.check_kinds(header.frame_type)
        directory = directory.located(r.offset)
        surplus = r.remaining - sum(entry.coded_size for entry in directory.entries)
        if surplus > 0:
            raise r.error(f"{surplus} bytes after the last substream")
        if surplus < 0 and not partial:
            raise r.error(f"substreams need {-surplus} bytes more than there are", TruncatedError)
    return ParsedPacket(
        header,
        sequence_header,
        objects,
        changes,
        q_offsets,
        directory.entries,
        directory_offset,
        r.offset,
        memoryview(data),
    )


def _read_objects(
    r: ByteReader, header: FrameHeader, sequence_header: SequenceHeader | None
) -> tuple[tuple[SceneObject, ...], ObjectChanges]:
    if not header.has_objects:
        return (), ObjectChanges()
    if sequence_header is None:
        return (), ObjectChanges.read(r)
    objects = ObjectList.read(r)
    video = sequence_header.format
    with r.structure("object list", "3.2"):
        objects.check(width=video.width, height=video.height, classes=sequence_header.classes)
    return objects.objects, ObjectChanges()


def build_packet(
    substreams: Mapping[tuple[int, int], bytes],
    *,
    q_index: int,
    sequence_header: SequenceHeader | None = None,
    frame_number: int = 0,
    objects: Iterable[SceneObject] = (),
    changes: ObjectChanges | None = None,
    q_offsets: Iterable[int] = (),
) -> bytes:
    """One packet: an I frame if there is a sequence header, else a P frame.

    substreams: payload of each (kind, group), in coded order. objects: of an I frame, any
    order. changes: of a P frame. q_offsets: of groups 0, 1, ... Raises ValueError, LimitError.
    """
    frame_type = FrameType.P if sequence_header is None else FrameType.I
    listed = ObjectList(tuple(sorted(objects, key=lambda item: item.track_id)))
    if (frame_type is FrameType.P and listed.objects) or (frame_type is FrameType.I and changes):
        raise ValueError("I frames have objects, P frames have changes")
    offsets = _without_trailing_zeros(q_offsets)
    directory = Directory(tuple(DirectoryEntry(*key, len(payload)) for key, payload in substreams.items()))
    directory.check_kinds(frame_type)
    w = ByteWriter()
    header = FrameHeader(frame_type, q_index, frame_number, bool(listed.objects or changes), bool(offsets))
    header.write(w)
    if sequence_header is not None:
        video = sequence_header.format
        listed.check(width=video.width, height=video.height, classes=sequence_header.classes)
        sequence_header.write(w)
    if listed.objects:
        listed.write(w)
    elif changes:
        changes.write(w)
    if offsets:
        GroupQOffsets(offsets).write(w)
    directory.write(w)
    w.uint(crc32(w.getvalue()), 4)
    for payload in substreams.values():
        w.raw(payload)
        if payload:
            w.uint(crc16(payload), 2)
    check_limit("bytes in a packet", len(w), MAX_PACKET_BYTES)
    return w.getvalue()


def drop_substreams(data: bytes | memoryview, predicate: Callable[[DirectoryEntry], bool]) -> bytes:
    """The packet without the substreams for which predicate is true.

    Only the directory and its CRC-32 are written anew; payloads are copied unread, so a
    damaged one stays as it is. Raises BitstreamError and LimitError.
    """
    packet = parse_packet(data)
    kept = tuple(entry for entry in packet.entries if not predicate(entry))
    w = ByteWriter()
    w.raw(packet.data[: packet.directory_offset])
    Directory(kept).write(w)
    w.uint(crc32(w.getvalue()), 4)
    for entry in kept:
        w.raw(packet.data[entry.offset : entry.offset + entry.coded_size])
    return w.getvalue()


def _without_trailing_zeros(offsets: Iterable[int]) -> tuple[int, ...]:
    result = list(offsets)
    while result and result[-1] == 0:
        result.pop()
    return tuple(result)
