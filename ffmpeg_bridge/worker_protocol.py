"""The protocol between a C host and `ssvc worker`, version 1.

Host and worker exchange messages over a stream socket or a pair of pipes. All numbers are little-endian; a message is

| bytes | field | |
|---|---|---|
| 4 | size | of the payload |
| 1 | type | as below |
| 3 | zero | |
| size | payload | |

The host asks, the worker answers each request with exactly one message, in order.

| type | name | from | payload | answer |
|---|---|---|---|---|
| 1 | HELLO | both | `SSVW`, u32 version | HELLO |
| 2 | CONFIGURE_DECODER | host | u32 n, n bytes of extradata, options | CONFIGURED |
| 3 | CONFIGURE_ENCODER | host | u32 0, options | CONFIGURED |
| 4 | CONFIGURED | worker | encoder: the sequence header, which is the stream's extradata; decoder: nothing | |
| 5 | PACKET | both | i64 pts, i64 duration, u8 flags (1: key frame), 7 bytes zero, the packet | FRAME or NOTHING |
| 6 | FRAME | both | see below | PACKET or NOTHING |
| 7 | NOTHING | worker | nothing: no output is ready, or no more after DRAIN, or a FLUSH is done | |
| 8 | DRAIN | host | nothing: the input has ended | the next output held back, or NOTHING |
| 9 | FLUSH | host | nothing: a seek; decoding goes on with the next key frame | NOTHING |
| 10 | ERROR | worker | u32 code, UTF-8 text of at most 4096 bytes | |
| 11 | BYE | host | nothing: the worker ends | none |

HELLO comes first, then one of CONFIGURE_*, then the rest. Options are `name=value` in UTF-8, each with a byte 0
after it; worker_options.py lists those of the decoder and of the encoder. Extradata is the sequence header, with or
without the BITMAPINFOHEADER of CodecPrivate before it; what follows the header is not read. A frame is

| bytes | field | |
|---|---|---|
| 8 | i64 pts | -2^63 where unknown, in PACKET too |
| 8 | i64 duration | 0 where unknown |
| 8 | 2 u32 | width, height in luma samples |
| 8 | 2 u32 | sample aspect ratio, 0/1 where unknown |
| 1 | u8 | bits per sample, 8 or 10 |
| 1 | u8 flags | from the worker 1: key frame; from the host 1: make it a key frame |
| 3 | 3 u8 | primaries, transfer, matrix: code points of H.273 |
| 1 | u8 range | 0 unknown, 1 limited, 2 full |
| 1 | u8 | chroma location: H.273 Chroma420SampleLocType + 1, 0 where unknown |
| 1 | zero | |
| | planes | Y, U, V without padding; chroma sides are half, rounded up; 10 bits in 2 bytes each |

From the host only pts, duration, size, bits and flags count: the rest is said once, in CONFIGURE_ENCODER.

After ERROR with code 1 (a damaged packet, or one whose reference is missing) the conversation goes on. After code 2 (an
option is wrong) and 3 (anything else) the worker ends. It also ends when its socket closes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.frame import Frame, Plane, VideoFormat
from ssvc_codec.packet import Packet

__all__ = [
    "VERSION",
    "Channel",
    "ErrorCode",
    "FrameHead",
    "Message",
    "MessageType",
    "PacketHead",
    "ProtocolError",
    "frame_size",
    "hello",
    "new_planes",
]

VERSION: Final = 1
MAX_TEXT_BYTES: Final = 4096
MAX_CONFIGURATION_BYTES: Final = 1 << 20
MAX_FRAME_BYTES: Final = 1 << 28  # a picture of the largest size has 107 MB
_MAGIC: Final = b"SSVW"
_HEAD: Final = struct.Struct("<IB3x")
_UNKNOWN_PTS: Final = -(2**63)


class ProtocolError(Exception):
    """The other side breaks a rule of this protocol."""


class MessageType(IntEnum):
    """What a message is."""

    HELLO = 1
    CONFIGURE_DECODER = 2
    CONFIGURE_ENCODER = 3
    CONFIGURED = 4
    PACKET = 5
    FRAME = 6
    NOTHING = 7
    DRAIN = 8
    FLUSH = 9
    ERROR = 10
    BYE = 11


class ErrorCode(IntEnum):
    """What an ERROR means for the conversation."""

    DAMAGED = 1  # it goes on
    ARGUMENT = 2
    FAILED = 3


class Message(NamedTuple):
    """The head of a message; its payload is still to be read."""

    type: MessageType
    size: int


class PacketHead(NamedTuple):
    """What stands before the bytes of a packet."""

    pts: int | None
    duration: int
    is_keyframe: bool

    STRUCT = struct.Struct("<qqB7x")

    def to_bytes(self) -> bytes:
        """24 bytes."""
        pts = _UNKNOWN_PTS if self.pts is None else self.pts
        return self.STRUCT.pack(pts, self.duration, self.is_keyframe)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> PacketHead:
        """Reads 24 bytes."""
        pts, duration, flags = cls.STRUCT.unpack(data)
        return cls(None if pts == _UNKNOWN_PTS else pts, max(0, duration), bool(flags & 1))

    @classmethod
    def of(cls, packet: Packet) -> PacketHead:
        """That of a packet."""
        return cls(packet.pts, packet.duration, packet.is_keyframe)


class FrameHead(NamedTuple):
    """What stands before the planes of a frame."""

    pts: int | None
    duration: int
    width: int
    height: int
    bit_depth: int
    is_keyframe: bool
    sample_aspect_ratio: tuple[int, int] = (0, 1)
    code_points: tuple[int, int, int] = (2, 2, 2)
    range: int = 0
    chroma_location: int = 0

    STRUCT = struct.Struct("<qqIIIIBB3BBBx")

    def to_bytes(self) -> bytes:
        """40 bytes."""
        pts = _UNKNOWN_PTS if self.pts is None else self.pts
        sizes = (self.width, self.height, *self.sample_aspect_ratio, self.bit_depth, self.is_keyframe)
        return self.STRUCT.pack(pts, self.duration, *sizes, *self.code_points, self.range, self.chroma_location)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> FrameHead:
        """Reads 40 bytes."""
        pts, duration, width, height, num, den, depth, flags, *color = cls.STRUCT.unpack(data)
        return cls(
            None if pts == _UNKNOWN_PTS else pts,
            max(0, duration),
            width,
            height,
            depth,
            bool(flags & 1),
            (num, den),
            (color[0], color[1], color[2]),
            color[3],
            color[4],
        )

    @classmethod
    def of(cls, frame: Frame, *, is_keyframe: bool) -> FrameHead:
        """That of a decoded frame, with the range as FFmpeg names it: unknown where no colour is declared."""
        video, color = frame.format, frame.format.color
        points = (color.primaries, color.transfer, color.matrix)
        return cls(
            frame.pts,
            frame.duration,
            video.width,
            video.height,
            video.bit_depth,
            is_keyframe,
            video.sample_aspect_ratio.as_integer_ratio(),
            points,
            2 if color.full_range else int(points != (2, 2, 2)),
            color.chroma_location,
        )


def hello() -> bytes:
    """Payload of HELLO."""
    return _MAGIC + struct.pack("<I", VERSION)


def frame_size(video: VideoFormat) -> int:
    """Bytes of the three planes."""
    samples = video.width * video.height + 2 * video.chroma_width * video.chroma_height
    return samples * video.dtype.itemsize


def new_planes(video: VideoFormat) -> tuple[memoryview, tuple[Plane, Plane, Plane]]:
    """Room for a frame: its bytes as one, and its planes in them."""
    room = np.empty(frame_size(video), np.uint8)
    samples, planes, start = room.view(video.dtype), [], 0
    for index in range(3):
        shape = (video.height, video.width) if index == 0 else (video.chroma_height, video.chroma_width)
        planes.append(samples[start : start + shape[0] * shape[1]].reshape(shape))
        start += shape[0] * shape[1]
    return room.data, (planes[0], planes[1], planes[2])


class Channel:
    """Messages over two file descriptors, or one that is both ends of a socket."""

    def __init__(self, input_fd: int, output_fd: int) -> None:
        self._input = input_fd
        self._output = output_fd

    def read_head(self) -> Message | None:
        """The next message's head; None where the other side has closed. Raises ProtocolError."""
        head = bytearray(_HEAD.size)
        if not self.read_into(memoryview(head), at_start=True):
            return None
        size, number = _HEAD.unpack(head)
        try:
            return Message(MessageType(number), size)
        except ValueError:
            raise ProtocolError(f"message type {number} is unknown") from None

    def read(self, size: int) -> bytes:
        """So many bytes of a payload. Raises ProtocolError where there are less."""
        data = bytearray(size)
        self.read_into(memoryview(data))
        return bytes(data)

    def read_into(self, view: memoryview, *, at_start: bool = False) -> bool:
        """Fills view; false where the other side has closed, which at_start allows. Raises ProtocolError."""
        size = len(view)
        while view:
            try:
                n = os.readv(self._input, [view])
            except ConnectionResetError:  # closed with something of ours unread
                n = 0
            if not n:
                if at_start and len(view) == size:
                    return False
                raise ProtocolError("the other side closed in the middle of a message")
            view = view[n:]
        return True

    def write(self, type: MessageType, *parts: bytes | NDArray[np.generic]) -> None:
        """Sends one message; parts make its payload. Raises BrokenPipeError where the other side has closed."""
        views = [memoryview(p) if isinstance(p, bytes) else np.ascontiguousarray(p).data.cast("B") for p in parts]
        head = _HEAD.pack(sum(map(len, views)), type)
        self._write_all([memoryview(head), *views])

    def _write_all(self, views: Sequence[memoryview]) -> None:
        rest = [view for view in views if view]
        while rest:
            n = os.writev(self._output, rest)
            while rest and n >= len(rest[0]):
                n -= len(rest.pop(0))
            if n:
                rest[0] = rest[0][n:]

    def write_error(self, code: ErrorCode, text: str) -> None:
        """Sends an ERROR."""
        data = text.encode("utf-8", "replace")[:MAX_TEXT_BYTES].decode("utf-8", "ignore").encode()
        self.write(MessageType.ERROR, struct.pack("<I", code), data)
