from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import MakeSsv, Result, SsvContents

    Ssvc = Callable[..., Result]
    ReadSsv = Callable[[Path], SsvContents]


def cut(ssvc: Ssvc, read_ssv: ReadSsv, source: Path, *options: str) -> tuple[Result, SsvContents]:
    target = source.with_name("cut.ssv")
    result = ssvc("cut", source, target, *options)
    assert result.code == 0, result.stderr
    return result, read_ssv(target)


def test_a_cut_starts_at_the_key_frame_before_and_ends_exactly(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv
) -> None:
    """12 frames at 25 a second, key frames at 0, 0.16 and 0.32 s. 0.24 s is in the second group of pictures."""
    result, part = cut(ssvc, read_ssv, make_ssv("in.ssv", ["p"] * 12), "--ss", "0.24", "--to", "0.4")
    assert "starts at 0.160 s" in result.stderr
    assert part.times == list(range(6))  # frames 4 to 9; the frame at 0.4 s is the first one not wanted
    assert part.keys == [True, False, False, False, True, False]
    assert part.payloads[0] == {"I0", "I1"}


def test_a_cut_at_a_key_frame_is_exact(ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv) -> None:
    result, part = cut(ssvc, read_ssv, make_ssv("in.ssv", ["p"] * 12), "--ss", "0.32", "-t", "80ms")
    assert "starts at" not in result.stderr
    assert (part.times, part.keys) == ([0, 1], [True, False])


def test_without_an_end_the_rest_is_kept(ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv) -> None:
    _, part = cut(ssvc, read_ssv, make_ssv("in.ssv", ["p"] * 12), "--ss", "0.2")
    assert part.times == list(range(8))


def test_without_a_start_it_is_the_beginning(ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv) -> None:
    _, part = cut(ssvc, read_ssv, make_ssv("in.ssv", ["p"] * 12), "--to", "0.1")
    assert part.times == [0, 1, 2]


def test_times_count_from_the_first_frame(ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv) -> None:
    _, part = cut(ssvc, read_ssv, make_ssv("in.ssv", ["p"] * 12, first=100), "--ss", "0.16", "--to", "0.2")
    assert (part.times, part.payloads) == ([0], [{"I0", "I1"}])


def test_sound_is_cut_with_the_picture(ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, sound_file: Path) -> None:
    source = make_ssv("in.ssv", ["p"] * 20, sound=sound_file)
    _, part = cut(ssvc, read_ssv, source, "--ss", "0.32", "--to", "0.48")
    assert len(part.times) == 4
    assert 0 <= min(part.sound) < 0.03
    assert 0.1 < max(part.sound) < 0.16
    # a packet of sound stands where it stood, less where the cut starts
    assert min(part.sound) + Fraction(8, 25) in read_ssv(source).sound


def test_a_part_that_is_not_there_is_an_error(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path) -> None:
    source, target = make_ssv("in.ssv", ["p"] * 12), tmp_path / "out.ssv"
    result = ssvc("cut", source, target, "--ss", "7")
    assert (result.code, "ends before 7.000 s" in result.stderr) == (1, True)
    assert ssvc("cut", source, target).code == 2
    assert ssvc("cut", source, target, "--ss", "0.2", "--to", "0.1").code == 2
    result = ssvc("cut", "-", target, "--ss", "0.2")
    assert (result.code, "not of a pipe" in result.stderr) == (1, True)
    assert not target.exists()


def test_a_part_of_a_damaged_file_is_copied_and_reported(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path) -> None:
    source = make_ssv("in.ssv", ["p"] * 12)
    source.write_bytes(source.read_bytes()[:-400])
    assert ssvc("cut", source, tmp_path / "out.ssv", "--ss", "0").code == 3
