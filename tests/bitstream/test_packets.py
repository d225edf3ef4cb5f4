"""Sections 3.1 and 3.4 to 3.6: frame header, q offsets, directory, substreams."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvc_codec.bitstream import (
    DirectoryEntry,
    FrameType,
    GroupQOffsets,
    SequenceHeader,
    SubstreamKind,
    build_packet,
    drop_substreams,
    parse_packet,
)
from ssvc_codec.bitstream import limits as limits_module
from ssvc_codec.bitstream import packets as packets_module
from ssvc_codec.errors import BitstreamError, ChecksumError, LimitError, TruncatedError
from ssvc_codec.frame import VideoFormat

Build = Callable[..., bytes]
HEADER = SequenceHeader(VideoFormat(96, 64), "base", bytes(8))


@pytest.mark.parametrize("first", ["02", "03", "06", "07"])
def test_a_reserved_frame_type_is_refused(first: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match="FrameType"):
        parse_packet(signed_packet(first + "1e00"))


@pytest.mark.parametrize("header", ["241e00", "441e00", "841e00", "044000", "048000", "04ff00", "815e01"])
def test_reserved_bits_of_the_frame_header_are_refused(header: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match=r"frame header.*3\.1"):
        parse_packet(signed_packet(header))


@pytest.mark.parametrize("header", ["001e00", "051e01"])
def test_a_sequence_header_belongs_to_i_frames_alone(header: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match="has_sequence_header"):
        parse_packet(signed_packet(header))


@pytest.mark.parametrize("header", ["041e01", "011e808004"])
def test_a_frame_number_out_of_range_is_refused(header: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match="frame_number"):
        parse_packet(signed_packet(header))


def test_a_p_frame_without_its_reference_is_refused(signed_packet: Build) -> None:
    third = parse_packet(signed_packet("011e03")).header
    third.check_follows(2)
    for previous in (None, 0, 1, 3, 4):
        with pytest.raises(BitstreamError, match="P frame 3 needs frame 2"):
            third.check_follows(previous)
    parse_packet(signed_packet("011e00")).header.check_follows(65535)
    parse_packet(signed_packet("041e00")).header.check_follows(None)


@pytest.mark.parametrize("offsets", ["00", "01 00", "02 01 00", "01 7f", "01 80 01"])
def test_bad_q_offsets_are_refused(offsets: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match=r"group q offsets.*3\.4"):
        parse_packet(signed_packet("141e00", offsets + "00"))


def test_q_is_clamped_and_groups_without_offset_have_the_frames(signed_packet: Build) -> None:
    packet = parse_packet(signed_packet("143c00", "02 7d 08 00"))
    assert packet.q_offsets == (-63, 4)
    assert [packet.q_of(group) for group in range(3)] == [0, 63, 60]


def test_a_group_that_the_frame_lacks_is_refused(signed_packet: Build) -> None:
    packet = parse_packet(signed_packet("141e00", "03 00 00 01 01 11 02 00"))
    packet.check_groups(3)
    with pytest.raises(BitstreamError, match=r"of 2 groups"):
        packet.check_groups(2)
    with pytest.raises(BitstreamError, match="3 q offsets"):
        parse_packet(signed_packet("141e00", "03 00 00 01 00")).check_groups(2)


@pytest.mark.parametrize("entry", ["00 00", "01 01 00", "22 00", "24 00", "28 00", "71 00 00", "11 8002 00"])
def test_a_bad_directory_entry_is_refused(entry: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match=r"directory, byte \d+: .*3\.5"):
        parse_packet(signed_packet("041e00", "01" + entry))


def test_reserved_kinds_are_skipped(signed_packet: Build) -> None:
    packet = parse_packet(signed_packet("041e00", "03 50 01 20 02 f1ff01 01", "aa 0000 f00d 63df bb 0000"))
    assert [(entry.kind, entry.is_reserved) for entry in packet.entries] == [(5, True), (2, False), (15, True)]
    assert packet.substream(SubstreamKind.BACKGROUND) == b"\xf0\x0d"
    packet.check_groups(1)


@pytest.mark.parametrize(
    ("header", "entry"),
    [("041e00", "30 00"), ("041e00", "41 01 00"), ("011e01", "20 00"), ("011e01", "11 01 00"), ("041e00", "10 00"),
     ("041e00", "21 01 00")],
)  # fmt: skip
def test_a_kind_in_the_wrong_place_is_refused(header: str, entry: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match=r"OBJECT|BACKGROUND|MOTION|RESIDUAL"):
        parse_packet(signed_packet(header, "01" + entry))


@pytest.mark.parametrize("entries", ["20 00 20 00", "11 07 00 11 07 00", "70 00 70 00"])
def test_a_substream_listed_twice_is_refused(entries: str, signed_packet: Build) -> None:
    with pytest.raises(BitstreamError, match="listed twice"):
        parse_packet(signed_packet("041e00", "02" + entries))


@pytest.mark.parametrize(
    ("rest", "what"), [("8120", "4097 substreams"), ("01 20 8180808001", "268435457 bytes in a substream")]
)
def test_sizes_above_the_limits_are_refused(rest: str, what: str, signed_packet: Build) -> None:
    with pytest.raises(LimitError, match=rf"directory, byte \d+: {what}"):
        parse_packet(signed_packet("041e00", rest))


def test_a_packet_above_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch, example_packet: bytes) -> None:
    assert limits_module.MAX_PACKET_BYTES == 2**30
    monkeypatch.setattr(packets_module, "MAX_PACKET_BYTES", len(example_packet) - 1)
    with pytest.raises(LimitError, match="bytes in a packet"):
        parse_packet(example_packet)
    with pytest.raises(LimitError, match="bytes in a packet"):
        build_packet({(2, 0): example_packet}, q_index=0, sequence_header=HEADER)


def test_bytes_after_the_last_substream_are_refused(example_packet: bytes) -> None:
    with pytest.raises(BitstreamError, match="1 bytes after the last substream"):
        parse_packet(example_packet + b"\0")


def test_an_all_zero_substream_takes_no_bytes() -> None:
    empty = build_packet({(2, 0): b""}, q_index=35, sequence_header=HEADER)
    packet = parse_packet(empty)
    assert packet.substream(SubstreamKind.BACKGROUND) == b""
    assert packet.head_length == len(empty)


def test_a_substream_that_is_left_out_leaves_the_rest_as_it_was(example_packet: bytes) -> None:
    whole = parse_packet(example_packet)
    part = parse_packet(drop_substreams(example_packet, lambda entry: entry.kind == SubstreamKind.BACKGROUND))
    assert part.substream(SubstreamKind.BACKGROUND) is None
    assert part.objects == whole.objects
    assert part.q_offsets == whole.q_offsets
    for group in (1, 2):
        assert part.substream(SubstreamKind.OBJECT, group) == whole.substream(SubstreamKind.OBJECT, group)
    assert len(part.data) == len(example_packet) - 2 - 4


def test_leaving_nothing_out_changes_no_byte(example_packet: bytes) -> None:
    assert drop_substreams(example_packet, lambda entry: False) == example_packet


def test_everything_can_be_left_out(example_packet: bytes) -> None:
    packet = parse_packet(drop_substreams(example_packet, lambda entry: True))
    assert packet.entries == ()
    assert len(packet.objects) == 2


def test_a_damaged_substream_is_copied_as_it_is(example_packet: bytes) -> None:
    damaged = example_packet[:-1] + bytes([example_packet[-1] ^ 1])
    kept = drop_substreams(damaged, lambda entry: entry.kind == SubstreamKind.OBJECT)
    with pytest.raises(ChecksumError):
        parse_packet(kept).substream(SubstreamKind.BACKGROUND)


def test_the_head_can_be_read_alone(example_packet: bytes) -> None:
    whole = parse_packet(example_packet)
    for length in range(whole.head_length, len(example_packet)):
        head = parse_packet(example_packet[:length], partial=True)
        assert head.objects == whole.objects
        with pytest.raises(TruncatedError, match="substream kind 2 group 0"):
            head.substream(SubstreamKind.BACKGROUND)


@pytest.mark.parametrize(
    "arguments",
    [{"q_index": 64}, {"q_index": -1}, {"frame_number": 1}, {"q_offsets": [64]}, {"substreams": {(3, 0): b""}},
     {"substreams": {(1, 256): b""}}, {"sequence_header": None}],
)  # fmt: skip
def test_a_packet_that_cannot_be_written_is_the_callers_fault(arguments: dict[str, object]) -> None:
    fields = {"substreams": {(2, 0): b"x"}, "q_index": 30, "sequence_header": HEADER} | arguments
    with pytest.raises(ValueError, match=r"."):
        build_packet(fields.pop("substreams"), **fields)  # type: ignore[arg-type]


payloads = st.binary(max_size=50)
i_substreams = st.dictionaries(
    st.one_of(
        st.tuples(st.just(1), st.integers(1, 255)), st.just((2, 0)), st.tuples(st.integers(5, 15), st.integers(0, 255))
    ),
    payloads,
)
p_substreams = st.dictionaries(st.tuples(st.sampled_from([3, 4]), st.integers(0, 255)), payloads)
q_offsets = st.lists(st.integers(-63, 63), max_size=256)


@given(st.one_of(i_substreams, p_substreams), st.integers(0, 63), st.integers(0, 65535), q_offsets)
def test_every_packet_comes_back(
    substreams: dict[tuple[int, int], bytes], q_index: int, frame_number: int, q_offsets: list[int]
) -> None:
    is_p = any(kind in (3, 4) for kind, _ in substreams)
    data = build_packet(
        substreams,
        q_index=q_index,
        sequence_header=None if is_p else HEADER,
        frame_number=frame_number if is_p else 0,
        q_offsets=q_offsets,
    )
    packet = parse_packet(data)
    assert {(e.kind, e.group): packet.payload(e) for e in packet.entries} == substreams
    assert packet.header.frame_type is (FrameType.P if is_p else FrameType.I)
    assert (packet.header.q_index, packet.header.frame_number) == (q_index, frame_number if is_p else 0)
    assert [packet.q_of(g) - q_index for g in range(len(q_offsets))] == [
        min(max(q_index + o, 0), 63) - q_index for o in q_offsets
    ]
    dropped = parse_packet(drop_substreams(data, lambda entry: entry.group % 2 == 1))
    expected = {key: value for key, value in substreams.items() if key[1] % 2 == 0}
    assert {(e.kind, e.group): dropped.payload(e) for e in dropped.entries} == expected


def test_entries_know_their_place(example_packet: bytes) -> None:
    entries = parse_packet(example_packet).entries
    assert [(e.kind, e.group, e.length) for e in entries] == [(1, 1, 3), (1, 2, 4), (2, 0, 2)]
    assert [example_packet[e.offset : e.offset + e.length].hex() for e in entries] == ["0a0b0c", "01020304", "f00d"]
    assert DirectoryEntry(1, 1, 3).coded_size == 5


def test_too_many_q_offsets_are_refused() -> None:
    with pytest.raises(LimitError, match="257 q offsets"):
        GroupQOffsets((1,) * 257)
