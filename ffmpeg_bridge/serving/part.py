"""What of a stream a URL asks for: the query after its path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.bitstream import NO_CLASSES, ClassTable
from ssvc_codec.selection import Selection

if TYPE_CHECKING:
    from ssvc_codec.inference.fill import Fill

__all__ = ["Part", "encode_query"]

_KEYS = ("objects", "exclude", "background", "flow", "fill", "keyframes", "every")
_FILLS = ("gray", "black", "blur", "hold")


@dataclass(frozen=True, slots=True)
class Part:
    """The options of `ssvc decode` that choose what is shown."""

    select: Selection | None = None
    fill: Fill = "gray"
    flow: bool = False
    keyframes_only: bool = False
    every: int = 1  # of so many groups of pictures only the first

    @classmethod
    def from_query(cls, query: str) -> Part:
        """What a query asks for, percent-encoded or not. Raises ValueError, which says what is wrong with it."""
        values: dict[str, str] = {}
        for item in filter(None, query.split("&")):
            key, _, value = item.partition("=")
            key = unquote(key)
            if key not in _KEYS:
                raise ValueError(f"{key!r} is unknown: {', '.join(_KEYS)} are possible")
            if key in values:
                raise ValueError(f"{key} is given twice")
            values[key] = unquote(value)
        fill = values.get("fill", "gray")
        if fill not in _FILLS:
            raise ValueError(f"fill={fill}: {', '.join(_FILLS)} are possible")
        every = values.get("every", "1")
        if not (every.isascii() and every.isdecimal() and int(every[:9]) >= 1 and len(every) < 10):
            raise ValueError(f"every={every}: a number from 1 on is needed")
        flow, keyframes = _flag(values, "flow"), _flag(values, "keyframes")
        if flow and keyframes:
            raise ValueError("key frames have no flow: flow and keyframes exclude one another")
        return cls(_selection(values), cast("Fill", fill), flow, keyframes, int(every))

    def check(self, classes: ClassTable) -> None:
        """Raises ValueError for a class that the stream does not have."""
        if self.select is not None and classes != NO_CLASSES:
            self.select.resolve(classes)

    def wanted(self, is_key: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Numbers of the frames that are shown, of a stream with key frames where is_key says."""
        in_time = np.maximum(np.cumsum(is_key) - 1, 0) % self.every == 0
        return np.flatnonzero(in_time & (is_key | (not self.keyframes_only)))


def _flag(values: dict[str, str], key: str) -> bool:
    value: Literal["0", "1"] | str = values.get(key, "0")
    if value not in ("0", "1"):
        raise ValueError(f"{key}={value}: 0 and 1 are possible")
    return value == "1"


def _words(values: dict[str, str], key: str) -> tuple[str, ...] | None:
    if key not in values:
        return None
    words = tuple(word.strip() for word in values[key].split(",") if word.strip())
    if not words:
        raise ValueError(f"{key} names nothing")
    return words


def _selection(values: dict[str, str]) -> Selection | None:
    objects, exclude = _words(values, "objects"), _words(values, "exclude")
    background = values.get("background")
    if background not in (None, "0", "1", "only"):
        raise ValueError(f"background={background}: 0, 1 and only are possible")
    if background == "only":
        if objects or exclude:
            raise ValueError("background=only does not go with objects and exclude")
        return Selection((), (), True)
    if objects is None and exclude is None and background != "0":
        return None
    return Selection(objects, exclude or (), background == "1" if background else objects is None)


def encode_query(query: str) -> str:
    """A query as a user writes it, "objects=person,#3&flow=1", with percent signs where a URL needs them."""
    pairs = (item.partition("=") for item in query.split("&") if item)
    return "&".join(quote(unquote(key)) + equals + quote(unquote(value), safe=",") for key, equals, value in pairs)
