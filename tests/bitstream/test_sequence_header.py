from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvc_codec.bitstream import (
    COCO_80,
    NO_CLASSES,
    ClassTable,
    ClassTableId,
    SequenceHeader,
    build_codec_private,
    coded_size,
    parse_codec_private,
)
from ssvc_codec.errors import BitstreamError, ChecksumError, LimitError, SsvcError, TruncatedError
from ssvc_codec.frame import Color, VideoFormat

Build = Callable[..., bytes]
TAIL = "04626173650123456789abcdef"  # model "base" and a weights hash
HASH = bytes.fromhex("0123456789abcdef")

names = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=16)
inline_tables = st.dictionaries(st.integers(0, 65535), names, min_size=1, max_size=20).map(
    lambda table: ClassTable(ClassTableId.INLINE, tuple(sorted(table.items())))
)
code_points = st.integers(0, 255)
colors = st.builds(Color, code_points, code_points, code_points, st.booleans(), st.integers(0, 6))
headers = st.builds(
    SequenceHeader,
    st.builds(
        VideoFormat,
        width=st.integers(1, 8192),
        height=st.integers(1, 4320),
        bit_depth=st.sampled_from([8, 10]),
        color=colors,
        rotation=st.sampled_from([0, 90, 180, 270]),
        sample_aspect_ratio=st.builds(Fraction, st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1)),
    ),
    model=st.text("abcxyz0189._-", min_size=1, max_size=32),
    weights_hash=st.binary(min_size=8, max_size=8),
    classes=st.one_of(st.just(NO_CLASSES), st.just(COCO_80), inline_tables),
    extension=st.binary(max_size=200),
)


@given(headers)
def test_every_sequence_header_comes_back(header: SequenceHeader) -> None:
    assert SequenceHeader.from_bytes(header.to_bytes()) == header
    assert parse_codec_private(build_codec_private(header)) == header


def test_a_typical_sequence_header_takes_at_most_32_bytes() -> None:
    bt709 = SequenceHeader(VideoFormat(1920, 1080, color=Color(1, 1, 1)), "base", HASH, COCO_80)
    assert len(bt709.to_bytes()) == 32


def test_a_wrong_magic_is_refused(signed_header: Build) -> None:
    with pytest.raises(BitstreamError, match="magic"):
        SequenceHeader.from_bytes(signed_header("00500101" + TAIL, magic=b"SSV2"))


@pytest.mark.parametrize("version", [0, 2, 255])
def test_an_unknown_version_is_refused(version: int, signed_header: Build) -> None:
    with pytest.raises(BitstreamError, match=f"version {version} is unknown"):
        SequenceHeader.from_bytes(signed_header("00500101" + TAIL, version=version))


def test_every_flipped_bit_of_a_sequence_header_is_reported(signed_header: Build) -> None:
    good = signed_header("4c5060400101010403" + TAIL)
    SequenceHeader.from_bytes(good)
    for bit in range(len(good) * 8):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((BitstreamError, LimitError)) as caught:
            SequenceHeader.from_bytes(bytes(damaged))
        if bit // 8 > 6:
            assert caught.type is ChecksumError


def test_every_truncation_of_a_sequence_header_is_reported(signed_header: Build) -> None:
    good = signed_header("00500101" + TAIL)
    for length in range(len(good)):
        with pytest.raises(TruncatedError):
            SequenceHeader.from_bytes(good[:length])


def test_bytes_of_a_later_version_are_skipped_and_kept(signed_header: Build) -> None:
    later = signed_header("00500101" + TAIL + "aabbcc")
    header = SequenceHeader.from_bytes(later)
    assert (header.format.width, header.model, header.extension) == (1, "base", b"\xaa\xbb\xcc")
    assert header.to_bytes() == later


@pytest.mark.parametrize("body", ["c0500101", "00570101", "00580101", "00400101", "00600101", "00000101"])
def test_reserved_values_of_the_sequence_header_are_refused(body: str, signed_header: Build) -> None:
    with pytest.raises(BitstreamError, match=r"bitstream\.md 2"):
        SequenceHeader.from_bytes(signed_header(body + TAIL))


@pytest.mark.parametrize("size", ["0001", "0100", "0000"])
def test_a_picture_without_samples_is_refused(size: str, signed_header: Build) -> None:
    with pytest.raises(BitstreamError, match="1 or more"):
        SequenceHeader.from_bytes(signed_header("0050" + size + TAIL))


@pytest.mark.parametrize("size", ["818001 01", "01 818001", "8040 818022", "ffffffff0f ffffffff0f"])
def test_a_picture_above_the_limits_is_refused(size: str, signed_header: Build) -> None:
    with pytest.raises(LimitError, match=r"sequence header, byte \d+: .*limit"):
        SequenceHeader.from_bytes(signed_header("0050" + size + TAIL))


@pytest.mark.parametrize("size", [(1, 1), (8192, 4320), (4320, 8192), (16384, 2176), (7680, 4320)])
def test_all_sizes_from_1x1_to_8192x4320_are_within_the_limits(size: tuple[int, int]) -> None:
    header = SequenceHeader(VideoFormat(*size), "base", HASH)
    assert SequenceHeader.from_bytes(header.to_bytes()) == header


def test_the_coded_size_is_the_next_multiple_of_the_cell() -> None:
    assert coded_size(width=1, height=1) == (32, 32)
    assert coded_size(width=1920, height=1080) == (1088, 1920)
    assert coded_size(width=33, height=64) == (64, 64)


@pytest.mark.parametrize(
    "body",
    ["04500101 020202", "08500101 0101", "08500101 0204", "08500101 0003", "08500101 0300", "08500101 8080808008 01"],
)
def test_default_fields_that_are_written_out_are_refused(body: str, signed_header: Build) -> None:
    with pytest.raises(BitstreamError, match=r"omitted|sample aspect ratio"):
        SequenceHeader.from_bytes(signed_header(body + TAIL))


@pytest.mark.parametrize(
    "table",
    ["00", "01 00 00", "02 01 01 61 01 01 62", "02 02 01 61 01 01 62", "01 808004 01 61", "01 00 01 ff", "01 00 01 1b",
     "01 00 02 c285", "01 00 41" + "61" * 65],
)  # fmt: skip
def test_a_bad_inline_class_table_is_refused(table: str, signed_header: Build) -> None:
    with pytest.raises(BitstreamError, match="inline class table"):
        SequenceHeader.from_bytes(signed_header("80500101" + table + TAIL))


def test_more_than_256_inline_classes_are_refused(signed_header: Build) -> None:
    with pytest.raises(LimitError, match="257 classes"):
        SequenceHeader.from_bytes(signed_header("80500101 8102" + TAIL))


@pytest.mark.parametrize("model", ["00", "21" + "61" * 33, "01 41", "01 20", "01 0a", "02 610a", "01 e9", "02 c3a9"])
def test_a_bad_model_name_is_refused(model: str, signed_header: Build) -> None:
    with pytest.raises(BitstreamError, match=r"model name|ascii"):
        SequenceHeader.from_bytes(signed_header("00500101" + model + "0123456789abcdef"))


def test_a_body_that_ends_before_its_fields_is_truncated(signed_header: Build) -> None:
    with pytest.raises(TruncatedError):
        SequenceHeader.from_bytes(signed_header("00500101046261736501"))


@pytest.mark.parametrize(
    "arguments",
    [{"model": "Base"}, {"weights_hash": b"1234567"}, {"format": VideoFormat(1, 1, color=Color(256, 2, 2))},
     {"format": VideoFormat(1, 1, color=Color(chroma_location=7))},
     {"format": VideoFormat(1, 1, sample_aspect_ratio=Fraction(2**31))}],
)  # fmt: skip
def test_a_header_that_cannot_be_written_is_the_callers_fault(arguments: dict[str, object]) -> None:
    fields = {"format": VideoFormat(1, 1), "model": "base", "weights_hash": HASH} | arguments
    with pytest.raises(ValueError, match=r"model|hash|colour|chroma|ratio"):
        SequenceHeader(**fields)  # type: ignore[arg-type]


def test_codec_private_is_a_bitmap_info_header_as_ffmpeg_reads_it() -> None:
    data = build_codec_private(SequenceHeader(VideoFormat(1920, 1080), "base", HASH))
    size, width, height, planes, bits, four_cc = struct.unpack_from("<IiiHH4s", data)
    assert (size, width, height, planes, bits, four_cc) == (69, 1920, 1080, 1, 24, b"SSV1")
    assert data[40:44] == b"SSV1"


@pytest.mark.parametrize(("start", "new"), [(16, b"H264"), (0, b"\x27"), (40, b"X")])
def test_a_codec_private_of_another_codec_is_refused(start: int, new: bytes) -> None:
    data = bytearray(build_codec_private(SequenceHeader(VideoFormat(16, 16), "base", HASH)))
    data[start : start + len(new)] = new
    with pytest.raises(BitstreamError):
        parse_codec_private(bytes(data))


def test_bytes_after_the_sequence_header_in_codec_private_are_ignored() -> None:
    header = SequenceHeader(VideoFormat(16, 16), "base", HASH)
    assert parse_codec_private(build_codec_private(header) + b"\0") == header


def test_every_truncation_of_codec_private_is_reported() -> None:
    data = build_codec_private(SequenceHeader(VideoFormat(16, 16), "base", HASH))
    for length in range(len(data)):
        with pytest.raises(SsvcError):
            parse_codec_private(data[:length])
