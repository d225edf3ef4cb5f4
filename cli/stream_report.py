"""What `ssvc info` says about a stream, gathered packet by packet from headers, directories and checksums."""

from __future__ import annotations

from dataclasses import dataclass, field

from ssvc_codec.bitstream import FrameType, ParsedPacket, SequenceHeader, SubstreamKind, parse_packet
from ssvc_codec.editing.scene import SceneReader
from ssvc_codec.errors import BitstreamError, LimitError
from ssvc_codec.packet import Packet

from .track_report import TrackTable

__all__ = ["FrameReport", "KindBytes", "StreamReport"]


@dataclass(slots=True)
class KindBytes:
    """Where the bytes of packets went. The fields add up to the bytes of the packets."""

    header: int = 0  # frame and sequence headers, objects, directories, checksums
    object: int = 0
    background: int = 0
    motion: int = 0
    residual: int = 0
    reserved: int = 0  # kinds that this version does not know
    damaged: int = 0  # packets with a wrong checksum or broken syntax

    @property
    def total(self) -> int:
        """Bytes of all packets."""
        return sum(getattr(self, name) for name in self.__slots__)

    def add(self, packet: ParsedPacket) -> None:
        """Count one packet."""
        payloads = 0
        for entry in packet.entries:
            payloads += entry.length
            name = "reserved" if entry.is_reserved else SubstreamKind(entry.kind).name.lower()
            setattr(self, name, getattr(self, name) + entry.length)
        self.header += len(packet.data) - payloads


@dataclass(frozen=True, slots=True)
class FrameReport:
    """One line of `ssvc info --frames`. All but pts, time and bytes are None where the packet is damaged."""

    pts: int | None
    time_seconds: float | None
    type: str | None  # I or P
    frame_number: int | None  # frames since the I frame, modulo 2^16
    q_index: int | None
    n_objects: int | None  # also None after a lost packet, until the next I frame
    n_bytes: int
    n_header_bytes: int | None  # all but payloads: headers, object list, directory, checksums
    n_payload_bytes: dict[str, int] | None  # by kind and group, as "OBJECT 1"


@dataclass(slots=True)
class StreamReport:
    """Sums over the packets of a stream."""

    bytes: KindBytes = field(default_factory=KindBytes)
    n_frames_by_type: dict[str, int] = field(default_factory=lambda: {kind.name: 0 for kind in FrameType})
    n_damaged: int = 0
    first_error: BitstreamError | LimitError | None = None
    sequence_header: SequenceHeader | None = None  # of the first key frame
    q_indexes: list[int] = field(default_factory=list)
    gop_lengths: list[int] = field(default_factory=list)  # frames from each I frame to the next
    first_seconds: float | None = None
    end_seconds: float | None = None
    tracks: TrackTable | None = None  # filled where there is one
    _scenes: SceneReader = field(default_factory=SceneReader)
    _has_reference: bool = False  # whether the objects of a P frame can be known

    @property
    def n_frames(self) -> int:
        """All packets, the damaged ones too."""
        return sum(self.n_frames_by_type.values()) + self.n_damaged

    @property
    def duration_seconds(self) -> float | None:
        """From the first frame to the end of the last."""
        if self.first_seconds is None or self.end_seconds is None:
            return None
        return self.end_seconds - self.first_seconds

    def add(self, packet: Packet) -> FrameReport:
        """Check the sums of one packet, count it and describe it."""
        seconds = None if packet.pts is None else float(packet.pts * packet.time_base)
        if seconds is not None:
            end_seconds = seconds + float(packet.duration * packet.time_base)
            self.first_seconds = seconds if self.first_seconds is None else min(self.first_seconds, seconds)
            self.end_seconds = max(self.end_seconds or end_seconds, end_seconds)
        try:
            parsed = parse_packet(packet.data)
            for entry in parsed.entries:
                parsed.payload(entry)  # checks its CRC-16
            n_objects = self._follow(parsed, seconds)
        except (BitstreamError, LimitError) as error:
            self._has_reference = False
            self._count_in_gop(is_key=packet.is_keyframe)
            self.n_damaged += 1
            self.bytes.damaged += len(packet.data)
            self.first_error = self.first_error or error
            return FrameReport(packet.pts, seconds, None, None, None, None, len(packet.data), None, None)
        self._count_in_gop(is_key=parsed.header.frame_type is FrameType.I)
        self.bytes.add(parsed)
        self.sequence_header = self.sequence_header or parsed.sequence_header
        frame_type = parsed.header.frame_type.name
        self.n_frames_by_type[frame_type] += 1
        self.q_indexes.append(parsed.header.q_index)
        return FrameReport(
            pts=packet.pts,
            time_seconds=seconds,
            type=frame_type,
            frame_number=parsed.header.frame_number,
            q_index=parsed.header.q_index,
            n_objects=n_objects,
            n_bytes=len(packet.data),
            n_header_bytes=len(packet.data) - sum(entry.length for entry in parsed.entries),
            n_payload_bytes={_name(entry.kind, entry.group): entry.length for entry in parsed.entries},
        )

    def _follow(self, parsed: ParsedPacket, seconds: float | None) -> int | None:
        """Number of objects. Raises BitstreamError, LimitError where the packet does not fit the one before."""
        if parsed.header.frame_type is FrameType.P and not self._has_reference:
            return None
        scene = self._scenes.read(parsed.data)
        self._has_reference = True
        if self.tracks is not None:
            self.tracks.add(scene, seconds=seconds)
        return len(scene.objects)

    def _count_in_gop(self, *, is_key: bool) -> None:
        """P frames before the first I frame belong to none."""
        if is_key:
            self.gop_lengths.append(0)
        if self.gop_lengths:
            self.gop_lengths[-1] += 1


def _name(kind: int, group: int) -> str:
    name = SubstreamKind(kind).name if kind in SubstreamKind._value2member_map_ else f"RESERVED {kind}"
    return f"{name} {group}" if group else name
