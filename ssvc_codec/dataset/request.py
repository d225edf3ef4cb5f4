"""What a loader is asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, Required, TypedDict

from ..selection import Selection

__all__ = ["PARTS", "Request", "RequestOptions", "Size"]

PARTS = frozenset({"boxes", "crops", "flow", "frames", "keyframes", "latents"})
SCALES = (1, 2, 4, 8, 16)
Size = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True)
class Request:
    """What is read of every clip, and in which shape. Raises ValueError for what makes no sense."""

    parts: Collection[str]
    objects: tuple[str, ...] | None = None  # classes or "#5" for tracks, as in Selection; None: all, and the background
    exclude: tuple[str, ...] = ()
    background: bool | None = None  # decode what belongs to no object; None: only where `objects` is None
    n_frames: int | None = None  # of a clip; None: a clip is a whole GoP
    step: int | None = None  # frames from one clip of a GoP to the next; None: n_frames
    scale: int | Literal["fit"] = 1  # key frames and crops at 1/2, 1/4, 1/8 or 1/16, without the synthesis network
    size: Size | None = None  # of key frames and frames; None: as they come
    crop_size: Size = (128, 128)
    flow_size: Size | None = None  # None: 1/4 of the picture, rounded up

    def __post_init__(self) -> None:
        if not self.parts or not PARTS.issuperset(self.parts) or isinstance(self.parts, str):
            raise ValueError(f"parts {self.parts!r}: one or more of {', '.join(sorted(PARTS))} are possible")
        if isinstance(self.objects, str) or isinstance(self.exclude, str):
            raise ValueError("objects and exclude are tuples of words, as in objects=('person',)")
        if self.scale != "fit" and self.scale not in SCALES:
            raise ValueError(f"scale {self.scale!r}: 'fit', {', '.join(map(str, SCALES))} are possible")
        if self.scale == "fit" and self.size is None:
            raise ValueError("scale 'fit' goes with a size")
        for name, number in (("n_frames", self.n_frames), ("step", self.step)):
            if number is not None and number < 1:
                raise ValueError(f"{name} {number}: 1 or more")
        if self.step is not None and self.n_frames is None:
            raise ValueError("step goes with n_frames: without it a clip is a whole GoP")
        if self.n_frames == 1 and "flow" in self.parts:
            raise ValueError("flow is from frame to frame: n_frames must be 2 or more")
        for name, size in (("size", self.size), ("crop_size", self.crop_size), ("flow_size", self.flow_size)):
            if size is not None and (len(size) != 2 or min(size) < 1):
                raise ValueError(f"{name} {size}: (height, width), 1 or more each")

    @property
    def selection(self) -> Selection | None:
        """For a decoder; None for everything."""
        background = self.objects is None if self.background is None else self.background
        if self.objects is None and not self.exclude and background:
            return None
        return Selection(self.objects, self.exclude, background)

    def scale_for(self, width: int, height: int) -> int:
        """The scale at which key frames of a size are made: where it is to fit, the largest that loses nothing."""
        if self.scale != "fit":
            return self.scale
        assert self.size is not None
        wanted_height, wanted_width = self.size
        fitting = [s for s in SCALES if -(-height // s) >= wanted_height and -(-width // s) >= wanted_width]
        return fitting[-1] if fitting else 1


class RequestOptions(TypedDict, total=False):
    """The fields of a Request as keyword arguments."""

    parts: Required[Collection[str]]
    objects: tuple[str, ...] | None
    exclude: tuple[str, ...]
    background: bool | None
    n_frames: int | None
    step: int | None
    scale: int | Literal["fit"]
    size: Size | None
    crop_size: Size
    flow_size: Size | None
