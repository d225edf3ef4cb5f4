"""What a machine task is, for the run that measures it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ffmpeg_bridge.tasks.own_stream import OwnStream
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.frame import Frame

__all__ = ["FULL", "ORIGINAL", "Item", "Reading", "Task"]

FULL = "full"
"""The way that decodes everything."""
ORIGINAL = "original"
"""Name in tables of the pictures before any coding."""


class Item(Protocol):
    """A picture or a clip of a data set."""

    @property
    def name(self) -> str:
        """Unlike that of any other item of the set."""
        ...

    def load(self) -> Clip:
        """The samples that every codec gets. Raises MediaError."""
        ...


@dataclass(frozen=True)
class Reading:
    """What one way of reading a stream cost, and what the task found with it."""

    way: str
    n_bytes: int  # heads, payloads and checksums actually read
    decode_seconds: float
    found: Any  # JSON: the task's own


class Task(Protocol):
    """One task on one data set with its networks."""

    @property
    def name(self) -> str:
        """Heading of the report."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names; larger is better, 0..1. BD-rates are told for each."""
        ...

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Ways of ssvc, each with the way of the anchors that it is compared with."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers must know."""
        ...

    @property
    def items(self) -> Sequence[Item]:
        """What is measured on."""
        ...

    def identity(self) -> list[str]:
        """All that decides what is found besides the stream: names it in the cache."""
        ...

    def read_own(self, item: Item, clip: Clip, stream: OwnStream) -> list[Reading]:
        """The task on parts of a stream of ssvc."""
        ...

    def read_pictures(self, item: Item, clip: Clip, frames: Sequence[Frame]) -> dict[str, Any]:
        """What is found, by way, where all frames are decoded: those of an anchor, or the originals."""
        ...

    def score(self, found: Mapping[str, Any]) -> tuple[float, ...]:
        """The metrics, over what was found by the name of the item."""
        ...
