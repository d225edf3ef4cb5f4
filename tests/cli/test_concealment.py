"""Damage in groups of pictures, with a decoder whose pictures are numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ffmpeg_bridge.writer import SsvWriter
from ssvc_codec.bitstream import SequenceHeader, SubstreamKind, build_codec_private, build_packet, parse_packet
from ssvc_codec.errors import BitstreamError
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.packet import Packet

FORMAT = VideoFormat(width=64, height=48)
HEADER = SequenceHeader(FORMAT, "base", bytes(8))
TIME_BASE = Fraction(1, 25)
GREY = 128


class NumberDecoder:
    """Checks packets and references as bitstream.md 3 asks; the luma of a frame is the last byte of its payload."""

    def __init__(self, sequence_header: bytes | None = None, **_options: object) -> None:
        self.format = None if sequence_header is None else SequenceHeader.from_bytes(sequence_header).format
        self._number: int | None = None

    def send(self, packet: Packet) -> list[Frame]:
        parsed = parse_packet(packet.data)
        parsed.header.check_follows(self._number)
        level = parsed.payload(parsed.entries[0])[-1]
        self._number, self.format = parsed.header.frame_number, FORMAT
        y, c = np.full((48, 64), level, np.uint8), np.full((24, 32), GREY, np.uint8)
        return [Frame(y, c, c, FORMAT, packet.pts, packet.duration, packet.time_base)]

    def flush(self) -> list[Frame]:
        return []


def coded(pts: int, frame_number: int) -> Packet:
    """A frame with luma pts + 1."""
    payload = bytes([1, pts + 1])
    if frame_number:
        data = build_packet({(SubstreamKind.RESIDUAL, 0): payload}, q_index=20, frame_number=frame_number)
    else:
        data = build_packet({(SubstreamKind.BACKGROUND, 0): payload}, q_index=20, sequence_header=HEADER)
    return Packet(data, pts, not frame_number, 1, TIME_BASE)


def stream(*gop_lengths: int) -> list[Packet]:
    numbers = [number for length in gop_lengths for number in range(length)]
    return [coded(pts, number) for pts, number in enumerate(numbers)]


def damage(packets: list[Packet], *places: int) -> list[Packet]:
    """Flips a bit in the payload of some packets."""
    return [
        replace(packet, data=packet.data[:-3] + bytes([packet.data[-3] ^ 1]) + packet.data[-2:])
        if place in places
        else packet
        for place, packet in enumerate(packets)
    ]


@pytest.fixture
def number_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("ssvc_codec.decoder")
    module.__dict__["Decoder"] = NumberDecoder
    monkeypatch.setitem(sys.modules, "ssvc_codec.decoder", module)
    monkeypatch.setitem(sys.modules, "ssvc_codec.cli.concealment", None)  # it imports the decoder
    monkeypatch.delitem(sys.modules, "ssvc_codec.cli.concealment", raising=False)


@pytest.fixture
def open_decoder(number_decoder: None) -> Callable[..., Any]:
    del number_decoder

    def call(*, conceal: bool = True, sequence_header: bytes | None = None) -> Any:
        decoder = import_module("ssvc_codec.cli.concealment").ConcealingDecoder
        header = HEADER.to_bytes() if sequence_header is None else sequence_header
        return decoder(header, model=None, device="cpu", threads=1, conceal=conceal)

    return call


def levels(decoder: Any, packets: list[Packet]) -> list[int]:
    frames = [frame for packet in packets for frame in decoder.send(packet)]
    assert [frame.pts for frame in frames] == [packet.pts for packet in packets]
    return [int(frame.y[0, 0]) for frame in frames]


def test_a_damaged_p_frame_is_repeated_up_to_the_next_key_frame(open_decoder: Callable[..., Any]) -> None:
    decoder = open_decoder()
    assert levels(decoder, damage(stream(5, 2), 2)) == [1, 2, 2, 2, 2, 6, 7]
    assert (decoder.n_decoded, decoder.n_concealed, decoder.n_dependent) == (4, 3, 2)
    assert "CRC-16" in str(decoder.first_error)


def test_after_a_damaged_key_frame_the_last_picture_stays(open_decoder: Callable[..., Any]) -> None:
    decoder = open_decoder()
    assert levels(decoder, damage(stream(2, 3, 1), 2)) == [1, 2, 2, 2, 2, 6]
    assert (decoder.n_concealed, decoder.n_dependent) == (3, 2)


def test_a_p_frame_is_not_added_to_a_picture_of_the_group_before(open_decoder: Callable[..., Any]) -> None:
    # Frame 1 of the second group would fit frame 0 of the first by its number alone.
    assert levels(open_decoder(), damage(stream(1, 3), 1)) == [1, 1, 1, 1]
    assert levels(open_decoder(), damage(stream(4, 4), 2, 4)) == [1, 2, 2, 2, 2, 2, 2, 2]


def test_a_lost_packet_is_found_by_the_frame_number(open_decoder: Callable[..., Any]) -> None:
    decoder = open_decoder()
    packets = stream(5, 1)
    assert levels(decoder, packets[:2] + packets[3:]) == [1, 2, 2, 2, 6]
    assert str(decoder.first_error).startswith("frame header: P frame 3 needs frame 2, frame 1 came before")
    assert (decoder.n_concealed, decoder.n_dependent) == (2, 1)


def test_the_first_error_stays_the_first(open_decoder: Callable[..., Any]) -> None:
    decoder = open_decoder()
    levels(decoder, damage(stream(3, 3), 1))
    first = decoder.first_error
    levels(decoder, damage(stream(3), 0))
    assert decoder.first_error is first


def test_a_stream_that_is_cut_inside_a_group_begins_grey(open_decoder: Callable[..., Any]) -> None:
    decoder = open_decoder()
    assert levels(decoder, stream(4, 2)[2:]) == [GREY, GREY, 5, 6]
    assert (decoder.n_decoded, decoder.n_concealed) == (2, 2)
    assert "no frame came before" in str(decoder.first_error)


def test_without_any_header_frames_before_the_first_key_frame_are_left_out(open_decoder: Callable[..., Any]) -> None:
    decoder = open_decoder(sequence_header=b"damaged")
    frames = [frame for packet in stream(4, 2)[2:] for frame in decoder.send(packet)]
    assert [frame.pts for frame in frames] == [4, 5]
    assert decoder.n_concealed == 2


def test_without_concealment_the_damaged_packet_raises(open_decoder: Callable[..., Any]) -> None:
    decoder = open_decoder(conceal=False)
    with pytest.raises(BitstreamError, match="CRC-16"):
        levels(decoder, damage(stream(3), 1))


@pytest.mark.parametrize(("start", "first"), [("0", 0), ("0.2", 5), ("0.24", 6), ("0.36", 9), ("0.4", 10), ("0.5", 13)])
def test_a_start_inside_a_group_is_decoded_from_its_key_frame(
    number_decoder: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, start: str, first: int
) -> None:
    del number_decoder
    source = tmp_path / "coded.ssv"
    private = build_codec_private(HEADER)
    with SsvWriter(
        str(source), format=FORMAT, time_base=TIME_BASE, codec_private=private, average_rate=Fraction(25)
    ) as writer:
        for packet in stream(5, 5, 5):
            writer.write(packet)
    written: list[Frame] = []

    class Sink:
        def __init__(self, *_arguments: object, **_options: object) -> None:
            self.notes: list[str] = []

        def write(self, frame: Frame) -> None:
            written.append(frame)

        def close(self) -> None:
            pass

    monkeypatch.setattr("ffmpeg_bridge.writer.VideoWriter", Sink)
    run = import_module("ssvc_codec.cli.main").run
    assert run(["decode", str(source), str(tmp_path / "out.mkv"), "--ss", start, "-q"]) == 0
    assert [int(frame.y[0, 0]) for frame in written] == [pts + 1 for pts in range(first, 15)]
    assert [frame.pts for frame in written] == list(range(15 - first))
