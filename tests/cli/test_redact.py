from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ffmpeg_bridge.reader import open_ssv
from ssvc_codec.bitstream import parse_packet

if TYPE_CHECKING:
    from .conftest import MakeSsv, Result, SsvContents

    Ssvc = Callable[..., Result]
    ReadSsv = Callable[[Path], SsvContents]


def test_the_object_and_all_residual_that_may_show_it_go(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path
) -> None:
    source = make_ssv("in.ssv", ["c", "c", "pc", "c", "c", "c"])
    result = ssvc("redact", source, tmp_path / "out.ssv", "--objects", "person")
    assert result.code == 0
    assert "1 frames redacted" in result.stderr
    assert read_ssv(tmp_path / "out.ssv").payloads == [
        {"I0", "I1"},
        {"M0", "R0", "M1", "R1"},
        {"M0", "M2"},  # the person is group 1
        {"M0", "M1"},  # it is gone, but the prediction may have seen it
        {"I0", "I1"},
        {"M0", "R0", "M1", "R1"},
    ]


@pytest.mark.parametrize(
    ("option", "payloads", "note"),
    [
        ("--no-motion", set(), "boxes, classes and track ids stay"),
        ("--keep-motion", {"M0", "M1", "M2"}, "outline"),
        ("--keep-residual", {"M0", "M2", "R0", "R2"}, "ghosts"),
        ("--boxes=cells", {"M0", "M2"}, "coarse boxes"),
        ("--video-only", {"M0", "M2"}, "track ids stay\n"),
    ],
)
def test_options_change_what_stays_and_say_so(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path, option: str, payloads: set[str], note: str
) -> None:
    result = ssvc("redact", make_ssv("in.ssv", ["pc"] * 3), tmp_path / "out.ssv", "--objects", "person", option)
    assert result.code == 0
    assert note in result.stderr
    assert read_ssv(tmp_path / "out.ssv").payloads == [{"I0", "I2"}, payloads, payloads]


def test_boxes_become_as_coarse_as_the_grid(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path) -> None:
    source = make_ssv("in.ssv", ["pc", "Pc"])
    assert ssvc("redact", source, tmp_path / "out.ssv", "--objects", "#1", "--boxes", "cells").code == 0
    with open_ssv(str(tmp_path / "out.ssv")) as reader:
        key, following = (parse_packet(packet.data) for packet in reader)
    boxes = [(item.track_id, item.score, item.x, item.y, item.width, item.height) for item in key.objects]
    assert boxes == [(1, 0, 0, 32, 32, 32), (2, 200, 40, 40, 16, 20)]
    assert not following.changes


def test_sound_goes_when_asked(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path, sound_file: Path
) -> None:
    source = make_ssv("in.ssv", ["p"] * 8, sound=sound_file)
    for options, has_sound in (([], True), (["--video-only"], False)):
        assert ssvc("redact", source, tmp_path / "out.ssv", "--objects", "person", "-y", *options).code == 0
        assert bool(read_ssv(tmp_path / "out.ssv").sound) == has_sound


def test_a_file_without_the_object_is_copied(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path, read_ssv: ReadSsv) -> None:
    source = make_ssv("in.ssv", ["c"] * 6)
    result = ssvc("redact", source, tmp_path / "out.ssv", "--objects", "person")
    assert (result.code, "0 frames redacted" in result.stderr) == (0, True)
    assert read_ssv(tmp_path / "out.ssv") == read_ssv(source)


def test_nothing_that_is_not_understood_is_passed_on(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path
) -> None:
    source = make_ssv("in.ssv", ["pc"] * 8)
    data = bytearray(source.read_bytes())
    data[data.index(b"\x01\x1e\x02") + 1] ^= 1  # the q_index of P frame 2, which the CRC-32 of the head covers
    source.write_bytes(data)
    result = ssvc("redact", source, tmp_path / "out.ssv", "--objects", "person")
    assert result.code == 3
    assert "2 of 8 packets were damaged" in result.stderr
    out = read_ssv(tmp_path / "out.ssv")
    assert out.times == [0, 1, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--objects", "preson"], 1, "person"),
        (["--objects", ","], 2, "nothing is named"),
        (["--objects", "person", "--no-motion", "--keep-motion"], 2, "contradicts"),
        (["--objects", "person", "--no-motion", "--keep-residual"], 2, "without motion"),
        ([], 2, "--objects"),
    ],
)
def test_a_wish_that_cannot_be_met_leaves_no_file(
    ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    result = ssvc("redact", make_ssv("in.ssv", ["pc"]), tmp_path / "out.ssv", *options)
    assert result.code == code
    assert message in result.stderr
    assert not (tmp_path / "out.ssv").exists()
