"""Encoding through the worker gives what the library gives."""

from __future__ import annotations

import pytest

from ffmpeg_bridge.worker_options import EncoderOptions
from ffmpeg_bridge.worker_protocol import ErrorCode, FrameHead, MessageType, PacketHead
from ssvc_codec.frame import Frame
from ssvc_codec.packet import Packet

from .conftest import ENCODER_OPTIONS, FORMAT, Host, bytes_of, error_of


def _send(host: Host, frame: Frame, *, is_keyframe: bool = False) -> tuple[PacketHead, bytes]:
    head = FrameHead.of(frame, is_keyframe=is_keyframe).to_bytes()
    type, data = host.ask(MessageType.FRAME, head, bytes_of(frame))
    assert type is MessageType.PACKET, data
    return PacketHead.from_bytes(data[:24]), data[24:]


def test_packets_and_sequence_header_are_those_of_the_encoder(
    host: Host, frames: list[Frame], coded: tuple[bytes, list[Packet]]
) -> None:
    header, packets = coded
    assert host.configure_encoder(**ENCODER_OPTIONS, scenecut=0) == (MessageType.CONFIGURED, header)
    made = [_send(host, frame) for frame in frames]
    assert [data for _, data in made] == [packet.data for packet in packets]
    assert [head for head, _ in made] == [PacketHead.of(packet) for packet in packets]
    assert host.ask(MessageType.DRAIN) == (MessageType.NOTHING, b"")


def test_the_host_can_ask_for_a_key_frame(host: Host, frames: list[Frame]) -> None:
    host.configure_encoder(**ENCODER_OPTIONS)
    made = [_send(host, frame, is_keyframe=index == 1)[0].is_keyframe for index, frame in enumerate(frames[:3])]
    assert made == [True, True, False]


def test_without_a_key_interval_there_are_two_seconds() -> None:
    options = {name: value for name, value in ENCODER_OPTIONS.items() if name != "keyint"}
    assert EncoderOptions.parse(options).keyint == 60
    assert EncoderOptions.parse(options).format == FORMAT


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", "0"),
        ("height", "-3"),
        ("bit_depth", "9"),
        ("width", "99999"),
        ("time_base", "1/0"),
        ("frame_rate", "fast"),
        ("keyint", "0"),
        ("min_keyint", "4"),
        ("crf", "64"),
        ("crf", "nan"),
        ("crf", "good"),
        ("preset", "placebo"),
        ("range", "3"),
        ("object_quality", "person"),
        ("object_quality", "persom=+3"),
        ("chroma_location", "7"),
    ],
)
def test_a_wrong_option_ends_the_conversation(host: Host, name: str, value: str) -> None:
    code, text = error_of(host.configure_encoder(**{**ENCODER_OPTIONS, name: value}))
    assert code in (ErrorCode.ARGUMENT, ErrorCode.FAILED)
    assert value.partition("=")[0] in text
    assert host.channel.read_head() is None


def test_a_size_is_needed(host: Host) -> None:
    code, text = error_of(host.configure_encoder(width=16))
    assert (code, text) == (ErrorCode.ARGUMENT, "height is missing")


def test_a_frame_of_another_size_is_refused(host: Host) -> None:
    host.configure_encoder(**ENCODER_OPTIONS)
    head = FrameHead(0, 0, 16, 16, 8, False).to_bytes()
    code, text = error_of(host.ask(MessageType.FRAME, head, bytes(16 * 16 * 3 // 2)))
    assert code == ErrorCode.FAILED
    assert "frame" in text
