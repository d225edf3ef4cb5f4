from __future__ import annotations

from importlib import import_module

import pytest

timecode = import_module("ssvc_codec.cli.timecode")


# The forms of "Time duration" in ffmpeg-utils(1).
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("55", 55),
        ("0.2", 0.2),
        (".5", 0.5),
        ("200ms", 0.2),
        ("200000us", 0.2),
        ("12:03:45", 43425),
        ("1:30", 90),
        ("00:01:30.5", 90.5),
        ("100:00:00", 360000),
    ],
)
def test_ffmpegs_ways_to_write_a_time_are_read(text: str, seconds: float) -> None:
    assert timecode.parse_time(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "x", "-1", "1:60", "1:2:3:4", "60:00:00x", "nan", "inf", "1e3", "1:-1"])
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        timecode.parse_time(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "00:00:00.00"),
        (4.96, "00:00:04.96"),
        (0.999, "00:00:00.99"),
        (3599.999, "00:59:59.99"),
        (360000, "100:00:00.00"),
        (-1, "00:00:00.00"),
    ],
)
def test_times_are_printed_as_ffmpeg_does(seconds: float, text: str) -> None:
    assert timecode.format_time(seconds) == text
