"""Decoding through the worker gives what the library gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ffmpeg_bridge.worker_protocol import ErrorCode, FrameHead, MessageType, PacketHead
from ssvc_codec.bitstream import SequenceHeader, build_codec_private
from ssvc_codec.decoder import Decoder
from ssvc_codec.packet import Packet

from .conftest import Host, bytes_of, error_of

Coded = tuple[bytes, list[Packet]]


@pytest.fixture(scope="module")
def expected(coded: Coded) -> list[bytes]:
    decoder = Decoder(coded[0])
    return [bytes_of(frame) for packet in coded[1] for frame in decoder.send(packet)]


def test_frames_are_those_of_the_decoder_with_times_keys_and_colour(
    host: Host, coded: Coded, expected: list[bytes]
) -> None:
    header, packets = coded
    assert host.configure_decoder(header) == (MessageType.CONFIGURED, b"")
    heads, pictures = zip(*[host.decode(packet) for packet in packets], strict=True)
    assert list(pictures) == expected
    assert [head.pts for head in heads] == [0, 2, 4, 6, 8, 10]
    assert [head.is_keyframe for head in heads] == [True, False, False, True, False, False]
    assert heads[0] == FrameHead(0, 2, 51, 35, 8, True, (4, 3), (1, 1, 1), 1, 1)
    assert host.ask(MessageType.DRAIN) == (MessageType.NOTHING, b"")


def test_extradata_may_have_a_bitmap_header_before_it_and_bytes_after_it(
    open_host: Callable[[], Host], coded: Coded, expected: list[bytes]
) -> None:
    header, packets = coded
    for extradata in (build_codec_private(SequenceHeader.from_bytes(header)), header + b"\0", b""):
        host = open_host()
        assert host.configure_decoder(extradata)[0] is MessageType.CONFIGURED
        assert host.decode(packets[0])[1] == expected[0]


def test_damaged_extradata_is_made_up_for_by_the_first_key_frame(
    host: Host, coded: Coded, expected: list[bytes]
) -> None:
    header, packets = coded
    assert host.configure_decoder(header[:-1] + b"?")[0] is MessageType.CONFIGURED
    assert host.decode(packets[0])[1] == expected[0]


def test_after_a_flush_p_frames_wait_for_a_key_frame(host: Host, coded: Coded, expected: list[bytes]) -> None:
    header, packets = coded
    host.configure_decoder(header)
    host.decode(packets[0])
    assert host.ask(MessageType.FLUSH) == (MessageType.NOTHING, b"")
    for packet in packets[1:3]:
        answer = host.ask(MessageType.PACKET, PacketHead.of(packet).to_bytes(), packet.data)
        assert error_of(answer)[0] == ErrorCode.DAMAGED
    assert [host.decode(packet)[1] for packet in packets[3:]] == expected[3:]


def test_a_damaged_packet_is_an_error_after_which_decoding_goes_on(
    host: Host, coded: Coded, expected: list[bytes]
) -> None:
    header, packets = coded
    host.configure_decoder(header)
    host.decode(packets[0])
    damaged = packets[1].data[:-1] + bytes([packets[1].data[-1] ^ 1])
    code, text = error_of(host.ask(MessageType.PACKET, PacketHead.of(packets[1]).to_bytes(), damaged))
    assert code == ErrorCode.DAMAGED
    assert "CRC" in text
    answer = host.ask(MessageType.PACKET, PacketHead.of(packets[2]).to_bytes(), packets[2].data)
    assert error_of(answer)[0] == ErrorCode.DAMAGED
    assert host.decode(packets[3])[1] == expected[3]


def test_an_unknown_time_stays_unknown(host: Host, coded: Coded) -> None:
    host.configure_decoder(coded[0])
    assert host.decode(replace(coded[1][0], pts=None))[0].pts is None


def test_without_a_background_nothing_but_the_fill_is_shown(host: Host, coded: Coded) -> None:
    header, packets = coded
    host.configure_decoder(header, objects="person", fill="black")
    _, picture = host.decode(packets[0])
    assert set(picture[: 51 * 35]) == {16}


def test_flow_of_a_key_frame_is_white_and_of_the_next_has_the_size_of_the_picture(host: Host, coded: Coded) -> None:
    header, packets = coded
    host.configure_decoder(header, flow_only=1)
    head, white = host.decode(packets[0])
    assert (head.width, head.height, head.bit_depth, head.code_points) == (51, 35, 8, (1, 1, 1))
    assert set(white[: 51 * 35]) == {235}
    assert len(host.decode(packets[1])[1]) == len(white)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("fill", "pink", "gray"),
        ("flow_only", "2", "0 to 1"),
        ("background", "yes", "0 to 1"),
        ("threads", "-1", "0 to"),
        ("device", "abacus", "cuda"),
        ("objects", "persom", "person"),
        ("colour", "red", "unknown"),
        ("model", "/nonexistent", "/nonexistent"),
    ],
)
def test_a_wrong_option_is_named(host: Host, coded: Coded, name: str, value: str, said: str) -> None:
    header = SequenceHeader.from_bytes(coded[0])
    from ssvc_codec.bitstream import COCO_80

    code, text = error_of(host.configure_decoder(replace(header, classes=COCO_80).to_bytes(), **{name: value}))
    assert code == (ErrorCode.FAILED if name == "model" else ErrorCode.ARGUMENT)
    assert said in text
