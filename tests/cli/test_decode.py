from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ssvc_codec.errors import TruncatedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ssvc_codec.packet import Packet

    from .conftest import Fakes, Result

    Ssvc = Callable[..., Result]
    Damaged = Callable[[int], Packet]


def test_every_packet_becomes_a_frame(ssvc: Ssvc, fakes: Fakes, packets: list[Packet], tmp_path: Path) -> None:
    fakes.inputs = list(packets)
    result = ssvc("decode", "in.ssv", tmp_path / "out.mkv")
    assert (result.code, result.stdout, fakes.endings) == (0, "", ["closed"])
    assert fakes.levels() == [50, 51, 52, 53, 54]
    assert [frame.pts for frame in fakes.written] == [0, 1, 2, 3, 4]


def test_codec_options_are_repeated_or_parted_by_commas(
    ssvc: Ssvc, fakes: Fakes, packets: list[Packet], tmp_path: Path
) -> None:
    fakes.inputs = list(packets)
    options = ["--vcodec", "libx264", "--vcodec-opts", "crf=18,preset=slow", "--vcodec-opts", "x264-params=a=1:b=2"]
    assert ssvc("decode", "in.ssv", tmp_path / "out.mp4", *options).code == 0
    assert fakes.writer_arguments["vcodec"] == "libx264"
    assert fakes.writer_arguments["vcodec_options"] == {"crf": "18", "preset": "slow", "x264-params": "a=1:b=2"}


def test_frames_that_only_lead_up_to_the_start_are_dropped(
    ssvc: Ssvc, fakes: Fakes, packets: list[Packet], tmp_path: Path
) -> None:
    fakes.is_trimmed = True
    fakes.inputs = [replace(packet, pts=number - 2) for number, packet in enumerate(packets)]
    assert ssvc("decode", "in.ssv", tmp_path / "out.mkv", "--ss", "0.08", "--frames", "3").code == 0
    assert fakes.reader_arguments == {"path": "in.ssv", "start_seconds": 0.08, "max_frames": 3}
    assert fakes.levels() == [52, 53, 54]


def test_weights_that_are_not_installed_are_named_by_their_folder(
    ssvc: Ssvc, fakes: Fakes, packets: list[Packet], tmp_path: Path
) -> None:
    fakes.inputs = list(packets)
    assert ssvc("decode", "in.ssv", tmp_path / "out.mkv", "--model", "weights/mine", "--threads", "1").code == 0
    assert fakes.decoder_arguments == {
        "model": "weights/mine",
        "device": "auto",
        "threads": 1,
        "select": None,
        "fill": "gray",
    }


def test_a_damaged_frame_repeats_the_one_before_in_its_own_time(
    ssvc: Ssvc, fakes: Fakes, packets: list[Packet], damaged: Damaged, tmp_path: Path
) -> None:
    fakes.inputs = [*packets[:2], damaged(2), damaged(3), packets[4]]
    result = ssvc("decode", "in.ssv", tmp_path / "out.mkv", "-q")
    assert (result.code, fakes.endings) == (3, ["closed"])
    assert fakes.levels() == [50, 51, 51, 51, 54]
    assert [frame.pts for frame in fakes.written] == [0, 1, 2, 3, 4]
    assert (
        "2 of 5 frames were damaged or refer to one that was, and are concealed; the first: packet: CRC-32"
        in result.stderr
    )


@pytest.mark.parametrize("bit_depth", [8, 10])
def test_a_damaged_first_frame_is_mid_grey(
    ssvc: Ssvc, fakes: Fakes, packets: list[Packet], damaged: Damaged, tmp_path: Path, bit_depth: int
) -> None:
    fakes.format = replace(fakes.format, bit_depth=bit_depth)
    fakes.inputs = [damaged(0), packets[1]]
    assert ssvc("decode", "in.ssv", tmp_path / "out.mkv").code == 3
    grey = fakes.written[0]
    assert grey.format.bit_depth == bit_depth
    assert all(np.all(plane == 2 ** (bit_depth - 1)) for plane in (grey.y, grey.u, grey.v))


def test_a_damaged_sequence_header_is_taken_from_the_first_key_frame(
    ssvc: Ssvc, fakes: Fakes, packets: list[Packet], tmp_path: Path
) -> None:
    fakes.inputs, fakes.sequence_header = list(packets), b"damaged"
    assert ssvc("decode", "in.ssv", tmp_path / "out.mkv").code == 0
    assert fakes.levels() == [50, 51, 52, 53, 54]
    assert ssvc("decode", "in.ssv", tmp_path / "strict.mkv", "--strict").code == 1


def test_a_stream_without_one_good_frame_is_an_error_and_leaves_nothing(
    ssvc: Ssvc, fakes: Fakes, damaged: Damaged, tmp_path: Path
) -> None:
    fakes.inputs = [damaged(0), damaged(1)]
    result = ssvc("decode", "in.ssv", tmp_path / "out.mkv")
    assert (result.code, fakes.endings) == (1, ["aborted"])
    assert result.stderr == "ssvc: error: packet: CRC-32 does not match (bitstream.md 3)\n"


def test_strict_stops_at_the_first_damaged_frame_and_keeps_those_before(
    ssvc: Ssvc, fakes: Fakes, packets: list[Packet], damaged: Damaged, tmp_path: Path
) -> None:
    fakes.inputs = [*packets[:2], damaged(2), *packets[3:]]
    result = ssvc("decode", "in.ssv", tmp_path / "out.mkv", "--strict", "-q")
    assert (result.code, fakes.levels(), fakes.endings) == (3, [50, 51], ["closed"])
    assert "the rest is lost after 2 frames, which were kept: packet: CRC-32" in result.stderr


def test_a_truncated_file_keeps_the_frames_before_its_end(
    ssvc: Ssvc, fakes: Fakes, packets: list[Packet], tmp_path: Path
) -> None:
    fakes.inputs = [*packets[:3], TruncatedError("the file ends inside a block")]
    result = ssvc("decode", "in.ssv", tmp_path / "out.mkv", "-q")
    assert (result.code, fakes.levels(), fakes.endings) == (3, [50, 51, 52], ["closed"])


def test_a_file_that_says_it_is_truncated_is_damaged(
    ssvc: Ssvc, fakes: Fakes, packets: list[Packet], tmp_path: Path
) -> None:
    fakes.inputs, fakes.truncated = list(packets), True
    result = ssvc("decode", "in.ssv", tmp_path / "out.mkv", "-q")
    assert (result.code, fakes.endings) == (3, ["closed"])
    assert "after 5 frames, which were kept: the file is truncated" in result.stderr
