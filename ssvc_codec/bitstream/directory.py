"""Table 9: the directory, which finds every substream without reading any."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from ssvc_codec.bitstream.byte_io import ByteReader, ByteWriter
from ssvc_codec.bitstream.frame_header import FrameType
from ssvc_codec.bitstream.limits import MAX_GROUPS, MAX_SUBSTREAM_BYTES, MAX_SUBSTREAMS, check_limit

__all__ = ["Directory", "DirectoryEntry", "SubstreamKind"]

_HAS_GROUP, _RESERVED = 1, 14


class SubstreamKind(IntEnum):
    """What a substream holds. Kinds 5..15 are reserved and skipped."""

    OBJECT = 1
    BACKGROUND = 2
    MOTION = 3
    RESIDUAL = 4


_KINDS: Final = {
    FrameType.I: (SubstreamKind.OBJECT, SubstreamKind.BACKGROUND),
    FrameType.P: (SubstreamKind.MOTION, SubstreamKind.RESIDUAL),
}


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """Table 9, one substream, and where its payload lies."""

    kind: int  # a SubstreamKind, or 5..15
    group: int  # 0 is the background
    length: int  # bytes of payload; 0 means that every symbol is 0
    offset: int = 0  # of the payload from the start of the packet; not coded

    def __post_init__(self) -> None:
        if not 1 <= self.kind <= 15:
            raise ValueError(f"substream kind {self.kind} is not in 1..15")
        if not 0 <= self.group <= MAX_GROUPS:
            raise ValueError(f"group {self.group} is not in 0..{MAX_GROUPS}")
        if (self.kind == SubstreamKind.BACKGROUND and self.group) or (
            self.kind == SubstreamKind.OBJECT and not self.group
        ):
            raise ValueError(f"{SubstreamKind(self.kind).name} with group {self.group}")
        check_limit("bytes in a substream", self.length, MAX_SUBSTREAM_BYTES)

    @property
    def is_reserved(self) -> bool:
        """A kind that this version does not know and skips."""
        return self.kind > SubstreamKind.RESIDUAL

    @property
    def coded_size(self) -> int:
        """Bytes of payload and CRC-16 in the packet."""
        return self.length + 2 if self.length else 0

    def write(self, w: ByteWriter) -> None:
        """Table 9, one row."""
        w.uint(self.kind << 4 | _HAS_GROUP * (self.group > 0), 1)
        if self.group:
            w.varint(self.group)
        w.varint(self.length)

    @classmethod
    def read(cls, r: ByteReader) -> Self:
        """Table 9, one row. The offset is not known yet."""
        first = r.uint(1)
        if first & _RESERVED:
            raise r.error(f"reserved bits are set: {first:#04x}")
        group = r.varint() if first & _HAS_GROUP else 0
        if first & _HAS_GROUP and not group:
            raise r.error("group 0 must be omitted")
        return cls(first >> 4, group, r.varint())


@dataclass(frozen=True, slots=True)
class Directory:
    """Table 9: the substreams of a packet, in their order."""

    entries: tuple[DirectoryEntry, ...]

    def __post_init__(self) -> None:
        check_limit("substreams", len(self.entries), MAX_SUBSTREAMS)
        if len({(entry.kind, entry.group) for entry in self.entries}) < len(self.entries):
            raise ValueError("a substream is listed twice")

    def check_kinds(self, frame_type: FrameType) -> None:
        """ValueError if a kind does not go with the frame type. Reserved kinds do."""
        for entry in self.entries:
            if not entry.is_reserved and entry.kind not in _KINDS[frame_type]:
                raise ValueError(f"{SubstreamKind(entry.kind).name} in an {frame_type.name} frame")

    def located(self, start: int) -> Directory:
        """The same entries with their offsets; the first payload lies at start."""
        entries: list[DirectoryEntry] = []
        for entry in self.entries:
            entries.append(DirectoryEntry(entry.kind, entry.group, entry.length, start))
            start += entry.coded_size
        return Directory(tuple(entries))

    def write(self, w: ByteWriter) -> None:
        """Table 9."""
        w.varint(len(self.entries))
        for entry in self.entries:
            entry.write(w)

    @classmethod
    def read(cls, r: ByteReader) -> Self:
        """Table 9."""
        with r.structure("directory", "3.5"):
            count = check_limit("substreams", r.varint(), MAX_SUBSTREAMS)
            return cls(tuple(DirectoryEntry.read(r) for _ in range(count)))
