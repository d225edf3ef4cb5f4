from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ssvc_codec.bitstream import NO_CLASSES

if TYPE_CHECKING:
    from .conftest import MakeSsv, Result, SsvContents

    Ssvc = Callable[..., Result]
    ReadSsv = Callable[[Path], SsvContents]

FRAMES = ["pc"] * 6  # the person is group 1, the car group 2; key frames at 0 and 4
KEY, FOLLOWING = {"I0", "I1", "I2"}, {"M0", "M1", "M2", "R0", "R1", "R2"}


@pytest.mark.parametrize(
    ("options", "key", "following"),
    [
        ([], KEY, FOLLOWING),
        (["--objects", "person", "--no-background"], {"I1"}, {"M1", "R1"}),
        (["--objects", "#2,person", "--exclude", "person", "--no-background"], {"I2"}, {"M2", "R2"}),
        (["--no-background"], KEY - {"I0"}, FOLLOWING - {"M0", "R0"}),
        (["--flow-only"], set(), {"M0", "M1", "M2"}),
        (["--no-residual"], KEY, {"M0", "M1", "M2"}),
        (["--header-only"], set(), set()),
        (["--objects", "car", "--no-background", "--flow-only"], set(), {"M2"}),
    ],
)
def test_only_what_was_asked_for_is_left(
    ssvc: Ssvc,
    make_ssv: MakeSsv,
    read_ssv: ReadSsv,
    tmp_path: Path,
    options: list[str],
    key: set[str],
    following: set[str],
) -> None:
    result = ssvc("extract", make_ssv("in.ssv", FRAMES), tmp_path / "out.ssv", *options)
    assert result.code == 0, result.stderr
    out = read_ssv(tmp_path / "out.ssv")
    assert out.payloads == [key if number in (0, 4) else following for number in range(6)]
    assert out.times == list(range(6))


def test_key_frames_are_shown_until_the_next(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path, sound_file: Path
) -> None:
    source = make_ssv("in.ssv", ["p"] * 10, sound=sound_file)
    assert ssvc("extract", source, tmp_path / "out.ssv", "--keyframes-only").code == 0
    out = read_ssv(tmp_path / "out.ssv")
    assert (out.times, out.keys) == ([0, 4, 8], [True] * 3)
    assert out.sound == read_ssv(source).sound
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", tmp_path / "out.ssv"]
    seconds = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert seconds == pytest.approx(0.4, abs=0.05)
    assert max(out.sound) > 0.3


def test_the_last_key_frame_lasts_as_long_as_the_video(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path) -> None:
    assert ssvc("extract", make_ssv("in.ssv", ["p"] * 10), tmp_path / "out.ssv", "--keyframes-only").code == 0
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", tmp_path / "out.ssv"]
    assert float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == pytest.approx(0.4)


def test_every_second_group_of_pictures_is_kept(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path
) -> None:
    assert ssvc("extract", make_ssv("in.ssv", ["p"] * 10), tmp_path / "out.ssv", "--every", "2").code == 0
    assert read_ssv(tmp_path / "out.ssv").times == [0, 1, 2, 3, 8, 9]


def test_a_range_begins_with_a_key_frame(ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path) -> None:
    source = make_ssv("in.ssv", ["p"] * 12)
    assert ssvc("extract", source, tmp_path / "out.ssv", "--ss", "0.24", "-t", "0.12", "--flow-only").code == 0
    out = read_ssv(tmp_path / "out.ssv")
    assert (out.times, out.keys) == ([0, 1, 2, 3, 4], [True, False, False, False, True])


def test_an_unknown_class_is_refused_with_near_names(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path) -> None:
    result = ssvc("extract", make_ssv("in.ssv", FRAMES), tmp_path / "out.ssv", "--objects", "preson")
    assert result.code == 1
    assert "person" in result.stderr
    assert not (tmp_path / "out.ssv").exists()


def test_a_stream_without_objects_has_a_background_alone(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path
) -> None:
    source = make_ssv("in.ssv", [""] * 3, classes=NO_CLASSES)
    assert ssvc("extract", source, tmp_path / "out.ssv", "--objects", "person", "--no-background").code == 0
    assert read_ssv(tmp_path / "out.ssv").payloads == [set(), set(), set()]


@pytest.mark.parametrize(
    "options",
    [
        ["--flow-only", "--header-only"],
        ["--every", "0"],
        ["--ss", "2", "--to", "1"],
        ["--to", "1", "-t", "1"],
    ],
)
def test_options_that_make_no_sense_are_refused(
    ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path, options: list[str]
) -> None:
    assert ssvc("extract", make_ssv("in.ssv", FRAMES), tmp_path / "out.ssv", *options).code == 2


def test_what_follows_a_damaged_packet_is_left_out(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path
) -> None:
    source = make_ssv("in.ssv", ["p"] * 8)
    data = bytearray(source.read_bytes())
    place = data.index(b"\x01\x1e\x01")  # the P frame after the first key frame: q_index 30, number 1
    data[place + 1] ^= 1
    source.write_bytes(data)
    result = ssvc("extract", source, tmp_path / "out.ssv")
    assert result.code == 3
    assert "3 of 8 packets were damaged" in result.stderr
    assert read_ssv(tmp_path / "out.ssv").times == [0, 4, 5, 6, 7]


def test_an_output_that_is_there_is_kept(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path) -> None:
    source, target = make_ssv("in.ssv", FRAMES), tmp_path / "out.ssv"
    target.write_bytes(b"mine")
    assert ssvc("extract", source, target).code == 1
    assert ssvc("extract", source, source, "-y").code == 1
    assert target.read_bytes() == b"mine"
    assert ssvc("extract", source, target, "-y").code == 0
