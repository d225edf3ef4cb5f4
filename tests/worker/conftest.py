"""A host in this process, and a clip of two groups of pictures."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from ffmpeg_bridge.worker import serve
from ffmpeg_bridge.worker_protocol import Channel, FrameHead, Message, MessageType, PacketHead, hello, new_planes
from ssvc_codec.frame import Color, Frame, VideoFormat
from ssvc_codec.packet import Packet

FORMAT = VideoFormat(51, 35, color=Color(1, 1, 1, chroma_location=1), sample_aspect_ratio=Fraction(4, 3))
TIME_BASE = Fraction(1, 30)
ENCODER_OPTIONS = {
    "width": "51",
    "height": "35",
    "bit_depth": "8",
    "primaries": "1",
    "transfer": "1",
    "matrix": "1",
    "range": "1",
    "chroma_location": "1",
    "sample_aspect_ratio": "4/3",
    "time_base": "1/30",
    "frame_rate": "30/1",
    "keyint": "3",
    "detector": "none",
}


def options(**values: object) -> bytes:
    """Options as the protocol writes them."""
    return b"".join(f"{name}={value}\0".encode() for name, value in values.items())


class Host:
    """The host's side of a conversation."""

    def __init__(self, connection: socket.socket) -> None:
        self.channel = Channel(connection.fileno(), connection.fileno())

    def ask(self, type: MessageType, *parts: bytes | np.ndarray[Any, Any]) -> tuple[MessageType, bytes]:
        """One request and the answer to it."""
        self.channel.write(type, *parts)
        return self.answer()

    def answer(self) -> tuple[MessageType, bytes]:
        head = self.channel.read_head()
        assert isinstance(head, Message)
        return head.type, self.channel.read(head.size)

    def greet(self) -> None:
        assert self.ask(MessageType.HELLO, hello()) == (MessageType.HELLO, hello())

    def configure_decoder(self, extradata: bytes = b"", **values: object) -> tuple[MessageType, bytes]:
        self.greet()
        data = struct.pack("<I", len(extradata)) + extradata + options(**values)
        return self.ask(MessageType.CONFIGURE_DECODER, data)

    def configure_encoder(self, **values: object) -> tuple[MessageType, bytes]:
        self.greet()
        return self.ask(MessageType.CONFIGURE_ENCODER, bytes(4) + options(**values))

    def decode(self, packet: Packet) -> tuple[FrameHead, bytes]:
        type, data = self.ask(MessageType.PACKET, PacketHead.of(packet).to_bytes(), packet.data)
        assert type is MessageType.FRAME, data
        return FrameHead.from_bytes(data[:40]), data[40:]


def error_of(answer: tuple[MessageType, bytes]) -> tuple[int, str]:
    """Code and text of an ERROR."""
    type, data = answer
    assert type is MessageType.ERROR, type
    return int.from_bytes(data[:4], "little"), data[4:].decode()


@pytest.fixture
def open_host() -> Iterator[Callable[[], Host]]:
    """Starts workers as threads of this process; each must end by itself once the host closes."""
    with contextlib.ExitStack() as stack:

        def start() -> Host:
            ours, theirs = socket.socketpair()

            def work() -> None:
                with theirs:
                    serve(Channel(theirs.fileno(), theirs.fileno()))

            thread = threading.Thread(target=work)
            thread.start()
            stack.callback(_check_ended, thread)
            stack.enter_context(ours)
            return Host(ours)

        yield start


def _check_ended(thread: threading.Thread) -> None:
    thread.join(timeout=60)
    assert not thread.is_alive()


@pytest.fixture
def host(open_host: Callable[[], Host]) -> Host:
    return open_host()


def make_frames() -> list[Frame]:
    """Six frames of noise that moves, 51x35."""
    base = np.random.default_rng(5).integers(40, 200, (64, 64), np.uint8)
    frames: list[Frame] = []
    for number in range(6):
        _, planes = new_planes(FORMAT)
        for index, plane in enumerate(planes):
            plane[:] = base[: plane.shape[0], number + index : number + index + plane.shape[1]]
        frames.append(Frame(*planes, FORMAT, pts=number * 2, duration=2, time_base=TIME_BASE))
    return frames


@pytest.fixture(scope="session")
def frames() -> list[Frame]:
    return make_frames()


@pytest.fixture(scope="session")
def coded(frames: list[Frame]) -> tuple[bytes, list[Packet]]:
    """Sequence header and packets: I P P I P P."""
    from ssvc_codec.encoder import Encoder

    encoder = Encoder(FORMAT, time_base=TIME_BASE, keyint=3, scenecut=False)
    packets = [packet for frame in frames for packet in encoder.send(frame)]
    return encoder.sequence_header, packets


def bytes_of(frame: Frame) -> bytes:
    """The planes one after the other."""
    return frame.y.tobytes() + frame.u.tobytes() + frame.v.tobytes()
