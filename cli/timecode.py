"""Times as ffmpeg's options write and print them."""

from __future__ import annotations

import math
import re

__all__ = ["format_time", "parse_time"]

_SEXAGESIMAL = re.compile(r"(?:(?P<hours>\d+):)?(?P<minutes>[0-5]?\d):(?P<seconds>[0-5]?\d(?:\.\d*)?)")
_SECONDS = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<unit>s|ms|us)?")
_UNITS = {None: 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


def parse_time(text: str) -> float:
    """Seconds of `90`, `90.5`, `500ms`, `01:30` or `00:01:30.5`; ValueError for anything else."""
    if match := _SEXAGESIMAL.fullmatch(text):
        return int(match["hours"] or 0) * 3600 + int(match["minutes"]) * 60 + float(match["seconds"])
    if match := _SECONDS.fullmatch(text):
        return float(match["number"]) * _UNITS[match["unit"]]
    raise ValueError(f"{text!r} is no time: write seconds (90.5) or [HH:]MM:SS[.ms]")


def format_time(seconds: float) -> str:
    """`HH:MM:SS.cc`, cut (not rounded) to hundredths as ffmpeg prints it."""
    hundredths = math.floor(max(seconds, 0.0) * 100 + 1e-6)
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"
