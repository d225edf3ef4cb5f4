"""Tables 5 and 8: the frame header and the q offsets of groups."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from ssvc_codec.bitstream.byte_io import ByteReader, ByteWriter
from ssvc_codec.bitstream.limits import MAX_GROUPS, check_limit
from ssvc_codec.errors import BitstreamError

__all__ = ["MAX_Q_INDEX", "FrameHeader", "FrameType", "GroupQOffsets"]

MAX_Q_INDEX: Final = 63
_SEQUENCE_HEADER, _OBJECTS, _Q_OFFSETS, _RESERVED = 4, 8, 16, 0xE0


class FrameType(IntEnum):
    """How a frame is coded."""

    I = 0  # noqa: E741
    P = 1


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Table 5: one coded frame."""

    frame_type: FrameType
    q_index: int  # 0 (coarse) to 63 (fine)
    frame_number: int = 0  # frames since the I frame, modulo 2^16
    has_objects: bool = False
    has_q_offsets: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.q_index <= MAX_Q_INDEX:
            raise ValueError(f"q_index {self.q_index} is not in 0..{MAX_Q_INDEX}")
        if not 0 <= self.frame_number <= 0xFFFF:
            raise ValueError(f"frame_number {self.frame_number} is not in 0..65535")
        if self.frame_type is FrameType.I and self.frame_number:
            raise ValueError(f"frame_number of an I frame is {self.frame_number}, not 0")

    @property
    def has_sequence_header(self) -> bool:
        """I frames carry one, P frames do not."""
        return self.frame_type is FrameType.I

    def check_follows(self, previous_frame_number: int | None) -> None:
        """BitstreamError unless the reference of this frame is the one decoded last.

        previous_frame_number: that of the frame decoded last; None when there was none.
        """
        if self.frame_type is FrameType.I:
            return
        reference = (self.frame_number - 1) & 0xFFFF
        if previous_frame_number != reference:
            found = "no frame" if previous_frame_number is None else f"frame {previous_frame_number}"
            raise BitstreamError(
                f"frame header: P frame {self.frame_number} needs frame {reference}, {found} came before"
                " (bitstream.md 3.1)"
            )

    def write(self, w: ByteWriter) -> None:
        """Table 5."""
        flags = _SEQUENCE_HEADER * self.has_sequence_header | _OBJECTS * self.has_objects
        w.uint(self.frame_type | flags | _Q_OFFSETS * self.has_q_offsets, 1)
        w.uint(self.q_index, 1)
        w.varint(self.frame_number)

    @classmethod
    def read(cls, r: ByteReader) -> Self:
        """Table 5."""
        with r.structure("frame header", "3.1"):
            first = r.uint(1)
            if first & _RESERVED:
                raise r.error(f"reserved bits are set: {first:#04x}")
            frame_type = FrameType(first & 3)
            if bool(first & _SEQUENCE_HEADER) != (frame_type is FrameType.I):
                raise r.error(f"has_sequence_header is {bool(first & _SEQUENCE_HEADER)} on an {frame_type.name} frame")
            q_index, frame_number = r.uint(1), r.varint()
            return cls(frame_type, q_index, frame_number, bool(first & _OBJECTS), bool(first & _Q_OFFSETS))


@dataclass(frozen=True, slots=True)
class GroupQOffsets:
    """Table 8: what groups add to q_index."""

    offsets: tuple[int, ...]  # of groups 0, 1, ...; -63..63

    def __post_init__(self) -> None:
        check_limit("q offsets", len(self.offsets), MAX_GROUPS + 1)
        if not self.offsets or self.offsets[-1] == 0:
            raise ValueError("the last q offset is missing or 0")
        if any(abs(offset) > MAX_Q_INDEX for offset in self.offsets):
            raise ValueError(f"a q offset is not in -{MAX_Q_INDEX}..{MAX_Q_INDEX}")

    def write(self, w: ByteWriter) -> None:
        """Table 8."""
        w.varint(len(self.offsets))
        for offset in self.offsets:
            w.svarint(offset)

    @classmethod
    def read(cls, r: ByteReader) -> Self:
        """Table 8."""
        with r.structure("group q offsets", "3.4"):
            count = check_limit("q offsets", r.varint(), MAX_GROUPS + 1)
            return cls(tuple(r.svarint() for _ in range(count)))
