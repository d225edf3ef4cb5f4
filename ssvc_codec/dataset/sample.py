"""What a loader gives: one clip of one GoP."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..bitstream import SceneObject

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Boxes", "Sample"]

Array = TypeVar("Array", bound=Any)
_ABSENT: Any = None  # untyped, so that a checker does not ask for what was asked for


@dataclass(frozen=True, slots=True)
class Boxes(Generic[Array]):
    """Objects as columns, one row for each object in each frame."""

    frames: Array  # (N,) int64: which frame of the clip, from 0
    xywh: Array  # (N, 4) int64: left, top, width and height in luma pixels of the full-size picture
    class_ids: Array  # (N,) int64: named by the class table of the file
    track_ids: Array  # (N,) int64: the same in all frames of a track
    scores: Array  # (N,) float32: 0..1

    @classmethod
    def of(cls, objects: Iterable[tuple[int, SceneObject]]) -> Boxes[NDArray[Any]]:
        """From (frame of the clip, object) pairs."""
        rows = [(k, o.x, o.y, o.width, o.height, o.class_id, o.track_id, o.score) for k, o in objects]
        table = np.array(rows, np.int64).reshape(-1, 8)
        return Boxes(
            frames=np.ascontiguousarray(table[:, 0]),
            xywh=np.ascontiguousarray(table[:, 1:5]),
            class_ids=np.ascontiguousarray(table[:, 5]),
            track_ids=np.ascontiguousarray(table[:, 6]),
            scores=(table[:, 7] / 255).astype(np.float32),
        )

    def __len__(self) -> int:
        return len(self.frames)

    def to_torch(self) -> Boxes[Tensor]:
        """The same as tensors."""
        from torch import from_numpy

        columns = (self.frames, self.xywh, self.class_ids, self.track_ids, self.scores)
        return Boxes(*(from_numpy(column) for column in columns))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Generic[Array]):
    """A clip: consecutive frames of one GoP. Parts that were not asked for are None.

    Arrays are of numpy from iter_samples, tensors from the torch data sets.
    """

    index: int  # of the clip in its data set
    file: str
    label: int  # of the file, -1 where none was given
    gop: int  # of the file, from 0
    frame_numbers: Array  # (T,) int64: in the file, from 0
    seconds: Array  # (T,) float64: presentation times as stored, to the millisecond
    width: int  # of the full-size picture in luma pixels, before rotation
    height: int
    keyframe: Array = _ABSENT  # (3, H, W) uint8 RGB: the key frame of the GoP
    frames: Array = _ABSENT  # (T, 3, H, W) uint8 RGB
    flow: Array = _ABSENT  # (T-1, 2, H/4, W/4) float32: dx, dy of frames 1.. in full-size pixels; see FlowField
    boxes: Boxes[Array] = _ABSENT  # of all frames of the clip
    crops: Array = _ABSENT  # (N, 3, crop_h, crop_w) uint8 RGB: objects of the key frame
    crop_boxes: Boxes[Array] = _ABSENT  # their rows; `frames` is 0
    latents: Array = _ABSENT  # (C_y, H/16, W/16) float32: y_hat of the key frame; see Latents

    @property
    def flow_stack(self) -> Array:
        """The flow as two-stream networks take it: (2 (T-1), H/4, W/4), dx and dy in turn. Raises ValueError."""
        flow: Any = self.flow
        if flow is None:
            raise ValueError("flow was not asked for")
        return flow.reshape(-1, *flow.shape[2:])

    def to_torch(self: Self) -> Sample[Tensor]:
        """The same as tensors."""
        from torch import from_numpy

        values = {name: getattr(self, name) for name in self.__slots__}
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                values[name] = from_numpy(value)
            elif isinstance(value, Boxes):
                values[name] = value.to_torch()
        return Sample(**values)
