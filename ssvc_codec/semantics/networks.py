"""The kinds of detection networks: what each wants as its input, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.bitstream.limits import MAX_OBJECTS
from ssvc_codec.errors import ModelError

__all__ = ["Boxes", "CenterNet", "Detr", "Network", "Picture", "Yolox", "non_maximum_suppression"]

Arrays = list[NDArray[np.generic]]
Run = Callable[[Mapping[str, NDArray[np.generic]]], Arrays]
"""Runs a network: input arrays by name, to output arrays in the order in which it names them."""

_MAX_CANDIDATES = 1024  # enter non-maximum suppression, best first


class Boxes(NamedTuple):
    """Things found, best first."""

    corners: NDArray[np.floating]  # (n, 4): left, top, right, bottom in pixels of the picture
    labels: NDArray[np.int64]  # (n,)
    scores: NDArray[np.float32]  # (n,), 0..1

    def best(self, n: int) -> Boxes:
        """At most n with the highest scores, without those whose box is empty or not finite."""
        valid = np.isfinite(self.corners).all(1)
        valid &= (self.corners[:, 2:] > self.corners[:, :2]).all(1)
        order = np.argsort(-self.scores, kind="stable")
        return self.take(order[valid[order]][:n])

    def take(self, indexes: NDArray[np.intp]) -> Boxes:
        """Those at the given places."""
        return Boxes(self.corners[indexes], self.labels[indexes], self.scores[indexes])


class Picture(Protocol):
    """A picture that can be had at any size."""

    @property
    def width(self) -> int:
        """Pixels."""
        ...

    @property
    def height(self) -> int:
        """Pixels."""
        ...

    def rgb(self, *, width: int, height: int) -> NDArray[np.uint8]:
        """The whole picture as (height, width, 3) RGB."""
        ...


class Network(Protocol):
    """One kind of network."""

    name: ClassVar[str]
    default_min_score: ClassVar[float]

    @property
    def n_classes(self) -> int | None:
        """How many classes it tells apart, where its signature says so."""
        ...

    def detect(self, picture: Picture, run: Run, *, min_score: float) -> Boxes:
        """What scores min_score or more, at most 256. Raises ModelError for outputs of unexpected shapes."""
        ...


@dataclass(frozen=True, slots=True)
class Detr:
    """DEIM, D-FINE and RT-DETR with their post-processing: RGB 0..1, plain resize, boxes in pixels of the picture."""

    name: ClassVar[str] = "DETR"
    default_min_score: ClassVar[float] = 0.3
    image: str  # name of the input
    size: str  # name of the input for (width, height) of the picture
    outputs: tuple[int, int, int]  # places of labels, boxes and scores
    width: int
    height: int
    n_classes: int | None = None

    def detect(self, picture: Picture, run: Run, *, min_score: float) -> Boxes:
        """See Network."""
        image = _planes(picture.rgb(width=self.width, height=self.height)) / np.float32(255)
        found = run({self.image: image, self.size: np.array([[picture.width, picture.height]], np.int64)})
        labels, corners, scores = (found[place] for place in self.outputs)
        n = scores.size
        if scores.shape != (1, n) or labels.shape != (1, n) or corners.shape != (1, n, 4):
            raise ModelError(f"labels {labels.shape}, boxes {corners.shape} and scores {scores.shape} do not match")
        boxes = Boxes(corners[0].astype(np.float32), labels[0].astype(np.int64), scores[0].astype(np.float32))
        return boxes.take(np.flatnonzero(boxes.scores >= min_score)).best(MAX_OBJECTS)


@dataclass(frozen=True, slots=True)
class Yolox:
    """YOLOX as its authors export it (Ge et al. 2021): BGR 0..255, at the top left over grey 114, raw grids."""

    name: ClassVar[str] = "YOLOX"
    default_min_score: ClassVar[float] = 0.3
    strides: ClassVar[tuple[int, ...]] = (8, 16, 32)
    pad: ClassVar[int] = 114
    max_overlap: ClassVar[float] = 0.45
    image: str
    width: int
    height: int
    n_classes: int

    @classmethod
    def n_rows(cls, *, width: int, height: int) -> int:
        """How many boxes a network of this input size gives."""
        return sum((width // stride) * (height // stride) for stride in cls.strides)

    def detect(self, picture: Picture, run: Run, *, min_score: float) -> Boxes:
        """See Network."""
        scale = min(self.width / picture.width, self.height / picture.height)
        width, height = (max(1, int(side * scale)) for side in (picture.width, picture.height))
        image = np.full((1, 3, self.height, self.width), self.pad, np.float32)
        image[:, :, :height, :width] = _planes(picture.rgb(width=width, height=height)[..., ::-1])
        rows = run({self.image: image})[0]
        expected = (1, self.n_rows(width=self.width, height=self.height), 5 + self.n_classes)
        if rows.shape != expected:
            raise ModelError(f"the output is {rows.shape}, a YOLOX of {self.width}x{self.height} gives {expected}")
        boxes = self._decode(rows[0].astype(np.float32), min_score).best(_MAX_CANDIDATES)
        boxes = boxes.take(non_maximum_suppression(boxes, max_overlap=self.max_overlap)[:MAX_OBJECTS])
        return boxes._replace(corners=boxes.corners * _pixels_per_pixel(picture, width, height))

    def _decode(self, rows: NDArray[np.float32], min_score: float) -> Boxes:
        """rows (n, 5 + classes): centre in cells from its own, log of the size in cells, objectness, classes."""
        likely = np.flatnonzero(rows[:, 4] >= min_score)  # no class makes a score higher than its objectness
        rows, cells = rows[likely], self._cells()[likely]
        stride = cells[:, 2:]
        centers = (rows[:, :2] + cells[:, :2]) * stride
        with np.errstate(over="ignore"):
            halves = np.exp(rows[:, 2:4]) * stride / 2
        labels = rows[:, 5:].argmax(1)
        scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + labels]
        boxes = Boxes(np.concatenate([centers - halves, centers + halves], 1), labels.astype(np.int64), scores)
        return boxes.take(np.flatnonzero(scores >= min_score))

    def _cells(self) -> NDArray[np.float32]:
        """(n, 3): column, row and stride of the cell of every output row."""
        levels = [
            np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], 1)
            for stride in self.strides
            for rows, columns in [np.indices((self.height // stride, self.width // stride))]
        ]
        return np.concatenate(levels).astype(np.float32)


@dataclass(frozen=True, slots=True)
class CenterNet:
    """Zhou et al., Objects as Points, 2019: RGB 0..1, aspect kept, at the top left over black.

    Outputs heatmap (1, classes, h, w) in 0..1, size (1, 2, h, w) in input pixels and offset (1, 2, h, w) in cells.
    """

    name: ClassVar[str] = "CenterNet"
    default_min_score: ClassVar[float] = 0.3
    stride: ClassVar[int] = 4
    multiple: ClassVar[int] = 32  # sides of the input, where they are free
    image: str
    outputs: tuple[int, int, int]  # places of heatmap, size and offset
    sides: tuple[int, int] | None  # fixed (width, height) of the input
    long_side: int  # of the picture within a free input
    n_classes: int | None

    def detect(self, picture: Picture, run: Run, *, min_score: float) -> Boxes:
        """See Network."""
        limits = self.sides or (self.long_side, self.long_side)
        scale = min(limits[0] / picture.width, limits[1] / picture.height)
        width, height = (max(1, round(side * scale)) for side in (picture.width, picture.height))
        padded = self.sides or tuple(-(-side // self.multiple) * self.multiple for side in (width, height))
        image = np.zeros((1, 3, padded[1], padded[0]), np.float32)
        image[:, :, :height, :width] = _planes(picture.rgb(width=width, height=height)) / np.float32(255)
        found = run({self.image: image})
        heatmap, size, offset = (found[place] for place in self.outputs)
        grid = (padded[1] // self.stride, padded[0] // self.stride)
        if heatmap.shape[2:] != grid or size.shape != (1, 2, *grid) or offset.shape != (1, 2, *grid):
            raise ModelError(
                f"heatmap {heatmap.shape}, size {size.shape} and offset {offset.shape} do not fit an input of "
                f"{padded[0]}x{padded[1]} at stride {self.stride}"
            )
        boxes = self._decode(heatmap[0], size[0], offset[0], min_score).best(MAX_OBJECTS)
        return boxes._replace(corners=boxes.corners * _pixels_per_pixel(picture, width, height))

    def _decode(
        self, heatmap: NDArray[np.generic], size: NDArray[np.generic], offset: NDArray[np.generic], min_score: float
    ) -> Boxes:
        labels, rows, columns = _peaks(heatmap.astype(np.float32, copy=False), min_score)
        cells = np.stack([columns, rows], 1).astype(np.float32)
        centers = (cells + offset[:, rows, columns].T.astype(np.float32)) * np.float32(self.stride)
        halves = size[:, rows, columns].T.astype(np.float32) / 2
        scores = heatmap[labels, rows, columns].astype(np.float32)
        return Boxes(np.concatenate([centers - halves, centers + halves], 1), labels.astype(np.int64), scores)


def _peaks(heatmap: NDArray[np.float32], min_score: float) -> tuple[NDArray[np.intp], ...]:
    """Class, row and column of what a 3x3 maximum leaves as it is; of equal neighbours the first alone."""
    labels, rows, columns = np.nonzero(heatmap >= min_score)
    values = heatmap[labels, rows, columns]
    padded = np.pad(heatmap, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    is_peak = np.ones(len(values), bool)
    for dy, dx in np.ndindex(3, 3):
        neighbors = padded[labels, rows + dy, columns + dx]
        if (dy, dx) < (1, 1):
            is_peak &= values > neighbors
        elif (dy, dx) > (1, 1):
            is_peak &= values >= neighbors
    return labels[is_peak], rows[is_peak], columns[is_peak]


def non_maximum_suppression(boxes: Boxes, *, max_overlap: float) -> NDArray[np.intp]:
    """Places of the boxes to keep: greedily the best, without those of its class that overlap it by more.

    boxes: best first. max_overlap: intersection over union. Returns (n,) ascending.
    """
    corners, labels = boxes.corners, boxes.labels
    areas = (corners[:, 2:] - corners[:, :2]).prod(1)
    left = np.arange(len(labels))
    kept: list[int] = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(int(best))
        starts = np.maximum(corners[left, :2], corners[best, :2])
        ends = np.minimum(corners[left, 2:], corners[best, 2:])
        shared = (ends - starts).clip(0).prod(1)
        overlap = shared / (areas[left] + areas[best] - shared)
        left = left[(overlap <= max_overlap) | (labels[left] != labels[best])]
    return np.array(kept, np.intp)


def _planes(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) to (1, 3, H, W) in the same units."""
    return np.ascontiguousarray(np.moveaxis(rgb, 2, 0)[None], np.float32)


def _pixels_per_pixel(picture: Picture, width: int, height: int) -> NDArray[np.float32]:
    """(4,): what brings corners in a resized picture back to the picture."""
    return np.array(2 * [picture.width / width, picture.height / height], np.float32)
