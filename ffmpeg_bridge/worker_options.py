"""The options of CONFIGURE_DECODER and CONFIGURE_ENCODER (worker_protocol.py), checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal, Self, TypeVar, cast, get_args

from ssvc_codec.frame import Color, VideoFormat
from ssvc_codec.selection import Selection

__all__ = ["DecoderOptions", "EncoderOptions", "parse_options"]

Fill = Literal["gray", "black", "blur", "hold"]
Preset = Literal["fast", "medium", "slow"]
_KEYINT_SECONDS = 2  # as `ssvc encode` has it
_UNKNOWN_RATE = Fraction(25)
_FULL_RANGE = 2  # AVColorRange
_RESERVED = frozenset({0, 3})  # code points of H.273
_RATIO = re.compile(r"(\d{1,10})/(\d{1,10})", re.ASCII)
Word = TypeVar("Word", bound=str)


def parse_options(data: bytes) -> dict[str, str]:
    """`name=value` strings, each ended by a byte 0. Raises ValueError."""
    if not data:
        return {}
    if not data.endswith(b"\0"):
        raise ValueError("the last option has no end")
    options: dict[str, str] = {}
    for item in data[:-1].decode("utf-8").split("\0"):
        name, equals, value = item.partition("=")
        if not equals or not name or name in options:
            raise ValueError(f"option {item!r} is not of the form name=value, or comes twice")
        options[name] = value
    return options


class _Reader:
    """Takes options out of a dict by name and kind. All raise ValueError."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._left = dict(options)

    def text(self, name: str) -> str | None:
        return self._left.pop(name, None)

    def choice(self, name: str, choices: tuple[Word, ...], default: Word) -> Word:
        value = self._left.pop(name, default)
        if value not in choices:
            raise ValueError(f"{name} {value!r}: {', '.join(choices)} are possible")
        return cast(Word, value)

    def integer(self, name: str, default: int | None, *, low: int, high: int = 2**31 - 1) -> int:
        text = self._left.pop(name, None if default is None else str(default))
        if text is None:
            raise ValueError(f"{name} is missing")
        if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or not low <= int(text) <= high:
            raise ValueError(f"{name} {text!r}: {low} to {high} are possible")
        return int(text)

    def ratio(self, name: str, default: Fraction | None) -> Fraction | None:
        text = self._left.pop(name, None)
        if text is None:
            return default
        match = _RATIO.fullmatch(text)
        if match is None or not int(match[1]) or not int(match[2]):
            raise ValueError(f"{name} {text!r} is no fraction above 0")
        return Fraction(int(match[1]), int(match[2]))

    def finish(self) -> None:
        if self._left:
            raise ValueError(f"option {next(iter(self._left))!r} is unknown")


@dataclass(frozen=True, slots=True)
class DecoderOptions:
    """What the host says about decoding.

    objects, exclude: classes and #tracks, parted by commas. background: 0 or 1; shown unless objects are named.
    fill: gray, black, blur or hold. flow_only: 0 or 1. threads, device, model: as of the Decoder.
    """

    select: Selection | None = None
    fill: Fill = "gray"
    flow_only: bool = False
    threads: int = 0
    device: str = "auto"
    model: str | None = None

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Self:
        """Raises ValueError."""
        take = _Reader(options)
        parsed = cls(
            _selection(take),
            take.choice("fill", get_args(Fill), "gray"),
            bool(take.integer("flow_only", 0, low=0, high=1)),
            take.integer("threads", 0, low=0),
            take.choice("device", ("auto", "cpu", "cuda"), "auto"),
            take.text("model"),
        )
        take.finish()
        return parsed


def _selection(take: _Reader) -> Selection | None:
    objects, exclude = _words(take.text("objects")), _words(take.text("exclude"))
    background = bool(take.integer("background", int(objects is None), low=0, high=1))
    if objects is None and exclude is None and background:
        return None
    return Selection(objects, exclude or (), background)


def _words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """What the host says about the video and how to code it.

    width, height, bit_depth, primaries, transfer, matrix, range (as in FRAME), chroma_location, sample_aspect_ratio
    (`num/den`): the format. time_base: of pts; frame_rate: where known (`num/den`). keyint: frames, 2 seconds if
    not given. classes: parted by commas; object_quality: `person=+6,background=-6`. Others: as of the Encoder.
    """

    format: VideoFormat
    time_base: Fraction
    keyint: int
    min_keyint: int | None = None
    crf: float = 28
    preset: Preset = "medium"
    scenecut: bool = True
    detector: str = "parser"
    classes: tuple[str, ...] | None = None
    detect_every: int = 4
    object_quality: Mapping[str, int] = field(default_factory=dict)
    threads: int = 0
    device: str = "auto"
    model: str = "base"

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Self:
        """Raises ValueError, LimitError."""
        take = _Reader(options)
        rate = take.ratio("frame_rate", None)
        usual = max(1, round(_KEYINT_SECONDS * (rate or _UNKNOWN_RATE)))
        keyint = take.integer("keyint", usual, low=1)
        min_keyint = take.integer("min_keyint", 0, low=0, high=keyint)
        parsed = cls(
            _format(take),
            take.ratio("time_base", None) or 1 / (rate or _UNKNOWN_RATE),
            keyint,
            min_keyint or None,
            float(take.text("crf") or 28),
            take.choice("preset", get_args(Preset), "medium"),
            bool(take.integer("scenecut", 1, low=0, high=1)),
            take.text("detector") or "parser",
            _words(take.text("classes")),
            take.integer("detect_every", 4, low=1),
            _object_quality(take.text("object_quality") or ""),
            take.integer("threads", 0, low=0),
            take.choice("device", ("auto", "cpu", "cuda"), "auto"),
            take.text("model") or "base",
        )
        take.finish()
        return parsed


def _format(take: _Reader) -> VideoFormat:
    width, height = (take.integer(name, None, low=1) for name in ("width", "height"))
    depth = take.integer("bit_depth", 8, low=8, high=10)
    points = [take.integer(name, 2, low=0, high=255) for name in ("primaries", "transfer", "matrix")]
    primaries, transfer, matrix = (2 if point in _RESERVED else point for point in points)
    full_range = take.integer("range", 0, low=0, high=2) == _FULL_RANGE
    color = Color(primaries, transfer, matrix, full_range, take.integer("chroma_location", 0, low=0, high=6))
    sar = take.ratio("sample_aspect_ratio", None) or Fraction(1)
    return VideoFormat(width, height, depth, color, sample_aspect_ratio=sar)


def _object_quality(text: str) -> dict[str, int]:
    offsets: dict[str, int] = {}
    for pair in (pair.strip() for pair in text.split(",") if pair.strip()):
        name, _, number = pair.rpartition("=")
        if not name or not re.fullmatch(r"[+-]?\d{1,3}", number, re.ASCII):
            raise ValueError(f"object_quality {pair!r} is not of the form class=+N")
        offsets[name.strip()] = int(number)
    return offsets
