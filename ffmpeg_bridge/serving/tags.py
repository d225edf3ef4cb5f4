"""Tags of an .ssv: the timing tags that restore its times, and what of the rest a decoded video keeps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ffmpeg_bridge import ebml
from ffmpeg_bridge.copies import own_tags
from ffmpeg_bridge.timing import TIMING_TAG, Timing

if TYPE_CHECKING:
    from ffmpeg_bridge.serving.source import SsvSource

__all__ = ["kept_tags", "timing_tags"]

TAGS = 0x1254C367
_TAG, _TARGETS, _TRACK_UID = 0x7373, 0x63C0, 0x63C5
_SIMPLE, _NAME, _STRING = 0x67C8, 0x45A3, 0x4487


def _simple_tag(data: bytes) -> tuple[str, str]:
    """Name and text."""
    fields = {i: data[a:b].rstrip(b"\0").decode("utf-8", "replace") for i, _, a, b in ebml.iter_elements(data)}
    return fields.get(_NAME, ""), fields.get(_STRING, "")


def _tags(payload: bytes) -> Iterator[bytes]:
    for element, _, start, end in ebml.iter_elements(payload):
        if element == _TAG:
            yield payload[start:end]


def timing_tags(source: SsvSource) -> dict[int, Timing]:
    """Timing of the tracks that have the tag, by the UID of the track."""
    found: dict[int, Timing] = {}
    for tag in _tags(source.read_elements(TAGS)):
        uids: list[int] = []
        for element, _, start, end in ebml.iter_elements(tag):
            part = tag[start:end]
            if element == _TARGETS:
                uids += [int.from_bytes(part[a:b], "big") for i, _, a, b in ebml.iter_elements(part) if i == _TRACK_UID]
            elif element == _SIMPLE:
                name, text = _simple_tag(part)
                timing = Timing.from_tag(text) if name == TIMING_TAG else None
                if timing is not None:
                    found.update(dict.fromkeys(uids, timing))
    return found


def kept_tags(source: SsvSource) -> bytes:
    """The Tags element without what describes the .ssv itself; b"" where nothing is left."""
    kept: list[bytes] = []
    for tag in _tags(source.read_elements(TAGS)):
        parts: list[bytes] = []
        n_simple = 0
        for element, begin, start, end in ebml.iter_elements(tag):
            if element == _SIMPLE and not own_tags({_simple_tag(tag[start:end])[0]: ""}):
                continue
            n_simple += element == _SIMPLE
            parts.append(tag[begin:end])
        if n_simple:
            kept.append(ebml.element(_TAG, b"".join(parts)))
    return ebml.element(TAGS, b"".join(kept)) if kept else b""
