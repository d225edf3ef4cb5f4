from __future__ import annotations

from fractions import Fraction
from importlib import import_module

import pytest
import typer

keyint = import_module("ssvc_codec.cli.keyint")


@pytest.mark.parametrize(
    ("text", "rate", "frames"),
    [
        ("60", Fraction(25), 60),
        ("2s", Fraction(25), 50),
        ("2s", Fraction(30000, 1001), 60),
        ("2.5s", Fraction(24), 60),
        (".5s", Fraction(50), 25),
        ("500ms", Fraction(50), 25),
        ("2s", None, 50),
        ("0.001s", Fraction(25), 1),
    ],
)
def test_an_interval_is_frames_or_seconds(text: str, rate: Fraction | None, frames: int) -> None:
    assert keyint.parse_keyint(text).frames(rate) == frames


@pytest.mark.parametrize(
    "text", ["", "s", "x", "-1", "1.5", "2 s", "2m", "1e3", "inf", "0", "0s", "\N{SUPERSCRIPT TWO}"]
)
def test_what_is_no_interval_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        keyint.parse_keyint(text)


@pytest.mark.parametrize(("min_keyint", "largest"), [(None, 1), (1, 1), (10, 10)])
def test_the_smallest_distance_may_reach_the_largest(min_keyint: int | None, largest: int) -> None:
    keyint.check_min_keyint(min_keyint, largest)


def test_the_smallest_distance_is_not_above_the_largest() -> None:
    with pytest.raises(typer.BadParameter, match="11 frames are more than --keyint, 10"):
        keyint.check_min_keyint(11, 10)


def test_times_are_written_as_for_ss() -> None:
    assert keyint.parse_key_times("1.5, 00:01:30,200ms") == [1.5, 90, 0.2]


@pytest.mark.parametrize("text", ["", "1,", "1;2", "1,-1", "expr:gte(t,1)"])
def test_what_is_no_list_of_times_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no time"):
        keyint.parse_key_times(text)


def due_at(times: list[float], pts: list[int | None], time_base: Fraction) -> list[int]:
    forced = keyint.ForcedKeyFrames(times)
    return [number for number, ticks in enumerate(pts) if forced.is_due(pts=ticks, time_base=time_base)]


def test_the_first_frame_at_or_after_a_time_is_forced() -> None:
    assert due_at([0.5, 0.0, 0.08], list(range(20)), Fraction(1, 25)) == [0, 2, 13]


def test_a_time_written_in_decimals_meets_its_frame() -> None:
    # frame 50 of 29.97 is at 1.668333.. s; printed to microseconds it lies just after the frame
    assert due_at([1.668334], [number * 1001 for number in range(60)], Fraction(1, 30000)) == [50]


def test_two_times_before_one_frame_force_it_once() -> None:
    assert due_at([0.01, 0.02], list(range(5)), Fraction(1, 25)) == [1]


def test_times_count_from_the_first_frame() -> None:
    assert due_at([0.04], [100, 101, 102], Fraction(1, 25)) == [1]


def test_a_frame_without_time_is_not_forced() -> None:
    assert due_at([0.0], [None, 0], Fraction(1, 25)) == [1]
