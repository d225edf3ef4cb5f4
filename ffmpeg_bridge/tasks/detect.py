"""Detection: boxes from the heads of packets, and a detector on full and on object-only pictures (paper, 5.1.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ffmpeg_bridge.tasks.coco import CocoImage, CocoSet
from ffmpeg_bridge.tasks.own_stream import OwnStream
from ffmpeg_bridge.tasks.task import FULL, Item, Reading
from ssvc_codec.bitstream import ClassTable
from ssvc_codec.evaluation.average_precision import box_average_precision
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.frame import Frame
from ssvc_codec.selection import Selection
from ssvc_codec.semantics.detection import Detector

__all__ = ["DetectTask"]

HEADERS, OBJECTS = "headers", "objects"
_ROWS = list[tuple[int, list[float], float]]  # category id, x y width height, score


class DetectTask:
    """A COCO data set, every picture an I frame."""

    name = "Object detection"
    metrics = ("mAP 50:95", "AP50")
    pairs = ((HEADERS, FULL), (OBJECTS, FULL), (FULL, FULL))

    def __init__(self, data: CocoSet, judge: Detector, *, headers_only: bool = False) -> None:
        """judge: the detector for decoded pictures; with a low min_score, as average precision wants.

        headers_only: decode no picture of ssvc.
        """
        self._data, self._judge, self._headers_only = data, judge, headers_only
        self.notes = (
            f"headers: the boxes that the encoder wrote, as the heads of packets tell; {OBJECTS}, {FULL}: what"
            f" {judge.description} finds on pictures decoded without and with the background",
            "the network reads pictures as they come: it was not trained with any of the codecs",
            "images are scored for the classes that are labelled completely in them, where the set says so",
        )

    @property
    def items(self) -> Sequence[CocoImage]:
        """The pictures."""
        return self._data.images

    def identity(self) -> list[str]:
        """The detector."""
        ways = ["headers only"] if self._headers_only else []
        return ["detect 1", self._judge.description, str(sorted(self._data.categories.items())), *ways]

    def read_own(self, item: Item, clip: Clip, stream: OwnStream) -> list[Reading]:
        """All three ways, or headers alone."""
        del item, clip
        heads = stream.heads()
        boxes = [
            (item.class_id, [item.x, item.y, item.width, item.height], item.score / 255) for item in heads.objects[0]
        ]
        readings = [Reading(HEADERS, heads.n_bytes, heads.seconds, self._in_categories(boxes, heads.classes))]
        ways = () if self._headers_only else ((OBJECTS, Selection(background=False)), (FULL, None))
        for way, select in ways:
            pictures = stream.pictures(select=select)
            frame = pictures.frames[0]
            assert frame is not None
            readings.append(Reading(way, pictures.n_bytes, pictures.seconds, self._detect(frame)))
        return readings

    def read_pictures(self, item: Item, clip: Clip, frames: Sequence[Frame]) -> dict[str, Any]:
        """The detector on a whole picture."""
        del item, clip
        return {FULL: self._detect(frames[0])}

    def score(self, found: Mapping[str, Any]) -> tuple[float, ...]:
        """mAP over IoU 0.50:0.95, and at 0.50."""
        results = [
            {"image_id": int(name), "category_id": category, "bbox": box, "score": score}
            for name, rows in found.items()
            for category, box, score in rows
        ]
        return tuple(
            box_average_precision(self._data.content, results, image_ids=frozenset(int(name) for name in found))
        )

    def _detect(self, frame: Frame) -> _ROWS:
        found = self._judge.detect(frame, 0) or []
        boxes = [(d.class_id, [round(v, 2) for v in (d.x, d.y, d.width, d.height)], d.score) for d in found]
        return self._in_categories(boxes, self._judge.classes)

    def _in_categories(self, boxes: Sequence[tuple[int, list[Any], float]], classes: ClassTable) -> _ROWS:
        """Boxes of classes that the data set knows by name."""
        ids = self._data.categories
        named = [(ids.get(classes.name_of(class_id) or ""), box, score) for class_id, box, score in boxes]
        return [(category, box, round(score, 4)) for category, box, score in named if category is not None]
