"""Writes which objects are where as annotations. Frames count from 0, but from 1 in MOTChallenge.

| kind         | suffix | what it is                                                                               |
|--------------|--------|------------------------------------------------------------------------------------------|
| jsonl        | .jsonl | one JSON object a frame: frame, pts, time_seconds, objects; of each object track_id,     |
|              |        | class_id, class, score (0..1), bbox [x, y, width, height]                                |
| coco         | .json  | a COCO data set: images (with frame_id, pts, time_seconds), annotations (with track_id   |
|              |        | and score), categories                                                                   |
| coco-results |        | the list that COCO's tools take as detections, with track_id                             |
| mot          | .txt   | MOTChallenge, no header: frame, track id, left, top (both from 1), width, height, score, |
|              |        | class id, visibility (-1: unknown)                                                       |
| csv          | .csv   | a header, then a line an object: see CSV_COLUMNS                                         |

Boxes are integers in luma samples of the coded picture, before rotation. A class is named by the stream's
class table, else "class 17". Category ids are class ids, but COCO's own (1..90) where the table is COCO-80.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

from ffmpeg_bridge.files import OutputFile, Sink, media_errors
from ssvc_codec.bitstream import ClassTable, ClassTableId, SceneObject
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import VideoFormat
from ssvc_codec.semantics.detections_file import COCO_CATEGORY_IDS

__all__ = [
    "ANNOTATION_KINDS",
    "CSV_COLUMNS",
    "AnnotationKind",
    "FrameObjects",
    "ObjectWriter",
    "annotation_kind",
    "class_label",
]

AnnotationKind = Literal["jsonl", "coco", "coco-results", "mot", "csv"]
ANNOTATION_KINDS: Final[dict[str, AnnotationKind]] = {".jsonl": "jsonl", ".json": "coco", ".txt": "mot", ".csv": "csv"}
CSV_COLUMNS: Final = (
    "frame",
    "pts",
    "time_seconds",
    "track_id",
    "class_id",
    "class",
    "score",
    "x",
    "y",
    "width",
    "height",
)


@dataclass(frozen=True, slots=True)
class FrameObjects:
    """What one frame says about objects."""

    frame: int  # place in the stream, from 0
    pts: int | None
    time_base: Fraction
    objects: tuple[SceneObject, ...]
    classes: ClassTable
    format: VideoFormat

    @property
    def time_seconds(self) -> float | None:
        """Presentation time."""
        return None if self.pts is None else float(self.pts * self.time_base)


def annotation_kind(sink: Sink) -> AnnotationKind:
    """What a name asks for; JSON lines for standard output and file objects. Raises MediaError."""
    if not isinstance(sink, str | Path) or sink == "-":
        return "jsonl"
    suffix = Path(sink).suffix.lower()
    if suffix not in ANNOTATION_KINDS:
        known = ", ".join(ANNOTATION_KINDS)
        raise MediaError(f"cannot write {sink}: {suffix or 'no suffix'} is no kind of annotation; {known} are")
    return ANNOTATION_KINDS[suffix]


def class_label(classes: ClassTable, class_id: int) -> str:
    """Name of a class, or "class 17" where the table has none."""
    return classes.name_of(class_id) or f"class {class_id}"


class ObjectWriter:
    """One file of annotations in the making. It has its name only after close(); abort() leaves nothing."""

    def __init__(self, sink: Sink, *, kind: AnnotationKind | None = None) -> None:
        """sink: a path, "-" for standard output, or a file object. kind: instead of what the suffix says.

        Raises MediaError.
        """
        kind = kind or annotation_kind(sink)
        formats: dict[AnnotationKind, Callable[[], _Format]] = {
            "jsonl": _JsonLines,
            "coco": _CocoDataSet,
            "coco-results": _CocoResults,
            "mot": _MotChallenge,
            "csv": _Csv,
        }
        self._format = formats[kind]()
        self._output = OutputFile(sink)
        self._put(self._format.head)

    def write(self, frame: FrameObjects) -> None:
        """Adds one frame. Raises MediaError, or BrokenPipeError where the reader has gone. Nothing is left then."""
        self._put(self._format.frame(frame))

    def close(self) -> None:
        """Writes what is left, and gives the file its name."""
        self._put(self._format.tail())
        self._output.commit()

    def abort(self) -> None:
        """Throws the file away."""
        self._output.discard()

    def _put(self, text: str) -> None:
        if not text:
            return
        try:
            with media_errors(f"cannot write {self._output.name}"):
                self._output.write(text.encode())
        except BaseException:
            self.abort()
            raise


class _Format:
    """Text of one kind: head, then frame() for each frame, then tail()."""

    head = ""

    def frame(self, frame: FrameObjects) -> str:
        raise NotImplementedError

    def tail(self) -> str:
        return ""


class _JsonLines(_Format):
    def frame(self, frame: FrameObjects) -> str:
        objects = [
            {
                "track_id": item.track_id,
                "class_id": item.class_id,
                "class": class_label(frame.classes, item.class_id),
                "score": _score(item),
                "bbox": _box(item),
            }
            for item in frame.objects
        ]
        facts = {"frame": frame.frame, "pts": frame.pts, "time_seconds": frame.time_seconds, "objects": objects}
        return json.dumps(facts) + "\n"


class _CocoResults(_Format):
    head = "["

    def __init__(self) -> None:
        self._separator = "\n"

    def frame(self, frame: FrameObjects) -> str:
        return "".join(self._item(_coco_result(frame, item)) for item in frame.objects)

    def tail(self) -> str:
        return "\n]\n"

    def _item(self, facts: dict[str, Any]) -> str:
        separator, self._separator = self._separator, ",\n"
        return separator + json.dumps(facts)


@dataclass
class _CocoDataSet(_Format):
    """Annotations come first, as they pass; images and categories, which are small, wait in memory."""

    head = '{"annotations": ['
    images: list[tuple[int, int | None, float | None]] = field(default_factory=list)
    categories: dict[int, str] = field(default_factory=dict)
    n_annotations: int = 0
    video: VideoFormat | None = None

    def frame(self, frame: FrameObjects) -> str:
        self.video = frame.format
        self.images.append((frame.frame, frame.pts, frame.time_seconds))
        for class_id, name in frame.classes.names:
            self.categories[_category_id(frame.classes, class_id)] = name
        return "".join(self._annotation(frame, item) for item in frame.objects)

    def _annotation(self, frame: FrameObjects, item: SceneObject) -> str:
        result = _coco_result(frame, item)
        self.categories.setdefault(result["category_id"], class_label(frame.classes, item.class_id))
        self.n_annotations += 1
        facts = {"id": self.n_annotations, **result, "area": item.width * item.height, "iscrowd": 0}
        return (",\n" if self.n_annotations > 1 else "\n") + json.dumps(facts)

    def tail(self) -> str:
        size = {} if self.video is None else {"width": self.video.width, "height": self.video.height}
        images = [
            {
                "id": frame,
                "file_name": f"{frame:06d}.png",
                **size,
                "frame_id": frame,
                "pts": pts,
                "time_seconds": seconds,
            }
            for frame, pts, seconds in self.images
        ]
        categories = [{"id": number, "name": name} for number, name in sorted(self.categories.items())]
        return f'\n],\n"images": {json.dumps(images)},\n"categories": {json.dumps(categories)}}}\n'


class _MotChallenge(_Format):
    def frame(self, frame: FrameObjects) -> str:
        return "".join(
            f"{frame.frame + 1},{item.track_id},{item.x + 1},{item.y + 1},{item.width},{item.height},"
            f"{_score(item)},{item.class_id},-1\n"
            for item in frame.objects
        )


class _Csv(_Format):
    head = ",".join(CSV_COLUMNS) + "\n"

    def frame(self, frame: FrameObjects) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for item in frame.objects:
            label = class_label(frame.classes, item.class_id)
            times = (frame.frame, frame.pts, frame.time_seconds)
            writer.writerow((*times, item.track_id, item.class_id, label, _score(item), *_box(item)))
        return text.getvalue()


def _coco_result(frame: FrameObjects, item: SceneObject) -> dict[str, Any]:
    return {
        "image_id": frame.frame,
        "category_id": _category_id(frame.classes, item.class_id),
        "bbox": _box(item),
        "score": _score(item),
        "track_id": item.track_id,
    }


def _category_id(classes: ClassTable, class_id: int) -> int:
    return COCO_CATEGORY_IDS[class_id] if classes.table_id is ClassTableId.COCO_80 else class_id


def _box(item: SceneObject) -> list[int]:
    return [item.x, item.y, item.width, item.height]


def _score(item: SceneObject) -> float:
    return round(item.score / 255, 4)
