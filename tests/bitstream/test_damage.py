"""Every truncation and every flipped bit of a packet is reported, and harms nothing it need not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ssvc_codec.errors
from ssvc_codec.bitstream import SequenceHeader, parse_packet
from ssvc_codec.errors import BitstreamError, ChecksumError, LimitError, TruncatedError
from ssvc_codec.gop.groups import group_map

KINDS = [(1, 1), (1, 2), (2, 0)]
FUZZ = Path(__file__).parent.parent / "fuzz" / "fuzz_packet.py"
MUST_FAIL: list[dict[str, Any]] = [
    row
    for row in json.loads((FUZZ.parent.parent / "vectors" / "x_headers.json").read_text("utf-8"))
    if row["syntax"] != "string"  # a string takes an entropy decoder
]


def read_substreams(data: bytes) -> list[bytes]:
    packet = parse_packet(data)
    return [packet.payload(entry) for entry in packet.entries]


def read_after(i_packet: bytes, p_packet: bytes) -> None:
    """All that a decoder checks of a P packet before it reads substreams."""
    before = parse_packet(i_packet)
    packet = parse_packet(p_packet)
    assert before.sequence_header is not None
    packet.header.check_follows(before.header.frame_number)
    objects = packet.objects_after(before.objects, before.sequence_header)
    video = before.sequence_header.format
    packet.check_groups(int(group_map(objects, width=video.width, height=video.height).max()) + 1)


@pytest.mark.parametrize("row", MUST_FAIL, ids=[row["what"] for row in MUST_FAIL])
def test_a_vector_that_must_fail_fails_with_its_error(row: dict[str, Any], example_packet: bytes) -> None:
    read = {
        "packet": parse_packet,
        "sequence_header": SequenceHeader.from_bytes,
        "substreams": read_substreams,
        "after_example": lambda data: read_after(example_packet, data),
    }
    with pytest.raises(ssvc_codec.errors.SsvcError) as caught:
        read[row["syntax"]](bytes.fromhex(row["hex"]))
    assert caught.type is getattr(ssvc_codec.errors, row["error"])


def test_every_truncation_of_a_packet_is_reported(example_packet: bytes) -> None:
    head_length = parse_packet(example_packet).head_length
    for length in range(len(example_packet)):
        with pytest.raises(TruncatedError):
            parse_packet(example_packet[:length])
        if length < head_length:
            with pytest.raises(TruncatedError):
                parse_packet(example_packet[:length], partial=True)


def test_every_flipped_bit_of_a_head_is_reported(example_packet: bytes) -> None:
    for bit in range(parse_packet(example_packet).head_length * 8):
        damaged = bytearray(example_packet)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((BitstreamError, LimitError)):
            parse_packet(bytes(damaged))


def test_every_byte_value_in_every_place_of_a_head_is_reported(example_packet: bytes) -> None:
    for place in range(parse_packet(example_packet).head_length):
        for value in set(range(256)) - {example_packet[place]}:
            damaged = bytearray(example_packet)
            damaged[place] = value
            with pytest.raises((BitstreamError, LimitError)):
                parse_packet(bytes(damaged))


def test_every_flipped_bit_of_a_substream_is_reported_and_harms_no_other(example_packet: bytes) -> None:
    good = parse_packet(example_packet)
    for entry in good.entries:
        for bit in range(entry.offset * 8, (entry.offset + entry.coded_size) * 8):
            damaged = bytearray(example_packet)
            damaged[bit // 8] ^= 1 << bit % 8
            packet = parse_packet(bytes(damaged))
            with pytest.raises(ChecksumError, match=f"substream kind {entry.kind} group {entry.group}"):
                packet.substream(entry.kind, entry.group)
            for key in KINDS:
                if key != (entry.kind, entry.group):
                    assert packet.substream(*key) == good.substream(*key)


def test_the_fuzz_target_finds_nothing_in_a_short_run() -> None:
    command = [sys.executable, str(FUZZ), "--seed", "1", "--count", "1500"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_crash_that_was_found_stays_fixed() -> None:
    crashes = sorted((FUZZ.parent / "crashes").glob("*.bin"))
    command = [sys.executable, str(FUZZ), *map(str, crashes), "--count", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
