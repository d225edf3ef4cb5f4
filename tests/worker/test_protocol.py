"""Whatever a host sends, the worker answers with an error in words and ends."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffmpeg_bridge.worker_protocol import ErrorCode, FrameHead, MessageType, PacketHead, hello

from .conftest import Host, error_of, options


def test_layouts_are_those_of_the_specification() -> None:
    assert PacketHead(None, 3, True).to_bytes() == bytes(7) + b"\x80" + b"\3" + bytes(7) + b"\1" + bytes(7)
    head = FrameHead(-1, 2, 0x102, 3, 10, True, (4, 5), (9, 16, 9), 2, 6)
    expected = b"\xff" * 8 + struct.pack("<Q4I", 2, 0x102, 3, 4, 5) + bytes([10, 1, 9, 16, 9, 2, 6, 0])
    assert head.to_bytes() == expected
    assert FrameHead.from_bytes(expected) == head


@given(st.integers(-(2**63) + 1, 2**63 - 1) | st.none(), st.integers(0, 2**40), st.booleans())
def test_heads_of_packets_survive(pts: int | None, duration: int, is_keyframe: bool) -> None:
    head = PacketHead(pts, duration, is_keyframe)
    assert PacketHead.from_bytes(head.to_bytes()) == head


def _message(type: int, payload: bytes, *, size: int | None = None) -> bytes:
    return struct.pack("<IB3x", len(payload) if size is None else size, type) + payload


HELLO = _message(MessageType.HELLO, hello())
DECODER = _message(MessageType.CONFIGURE_DECODER, bytes(4))


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (_message(99, b""), "99"),
        (DECODER, "HELLO comes first"),
        (_message(MessageType.HELLO, b"SSVW\2\0\0\0"), "version 2"),
        (_message(MessageType.HELLO, b"HTTP/1.1"), "SSVW"),
        (_message(MessageType.HELLO, b"SSVW"), "SSVW"),
        (HELLO + HELLO, "HELLO"),
        (HELLO + _message(MessageType.PACKET, bytes(30)), "before the configuration"),
        (HELLO + _message(MessageType.CONFIGURE_DECODER, b"\x05\0\0\0SSV1"), "extradata"),
        (HELLO + _message(MessageType.CONFIGURE_DECODER, b"", size=1 << 31), "configuration of 2147483648 bytes"),
        (HELLO + _message(MessageType.CONFIGURE_DECODER, bytes(4) + b"fill=gray"), "no end"),
        (HELLO + _message(MessageType.CONFIGURE_DECODER, bytes(4) + b"fill\0"), "name=value"),
        (HELLO + _message(MessageType.CONFIGURE_DECODER, bytes(4) + options(fill="blur") * 2), "twice"),
        (HELLO + _message(MessageType.CONFIGURE_DECODER, bytes(4) + b"\xff=\0"), "utf-8"),
        (HELLO + DECODER + _message(MessageType.FRAME, bytes(50)), "FRAME for a decoder"),
        (HELLO + DECODER + _message(MessageType.PACKET, bytes(24)), "packet of 0 bytes"),
        (HELLO + DECODER + _message(MessageType.PACKET, b"", size=0xFFFFFFFF), "packet of 4294967271 bytes"),
        (HELLO + DECODER + _message(MessageType.DRAIN, b"now"), "DRAIN with 3 bytes"),
    ],
)
def test_a_broken_rule_is_named(host: Host, sent: bytes, said: str) -> None:
    host.channel._write_all([memoryview(sent)])
    answer = host.answer()
    while answer[0] in (MessageType.HELLO, MessageType.CONFIGURED):
        answer = host.answer()
    code, text = error_of(answer)
    assert code in (ErrorCode.FAILED, ErrorCode.ARGUMENT)
    assert said in text
    assert host.channel.read_head() is None


@pytest.mark.parametrize("length", [0, 3, 8, 12, len(HELLO) + 4])
def test_a_host_that_leaves_in_the_middle_is_no_fault(open_host: Callable[[], Host], length: int) -> None:
    open_host().channel._write_all([memoryview((HELLO + DECODER)[:length])])


@settings(max_examples=50, deadline=None)
@given(st.binary(min_size=8, max_size=64))
def test_noise_is_answered_by_an_error(sent: bytes) -> None:
    import socket
    import threading

    from ffmpeg_bridge.worker import serve
    from ffmpeg_bridge.worker_protocol import Channel

    ours, theirs = socket.socketpair()
    with ours, theirs:
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(serve(Channel(theirs.fileno(), theirs.fileno()))))
        thread.start()
        ours.sendall(sent)
        ours.shutdown(socket.SHUT_WR)
        thread.join()
    assert codes in ([0], [1])
