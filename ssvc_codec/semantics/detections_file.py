"""Detections made elsewhere, read from a JSON file in one of COCO's two forms."""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from ssvc_codec.bitstream.class_table import COCO_80, ClassTable, ClassTableId
from ssvc_codec.errors import LimitError, MediaError
from ssvc_codec.frame import Frame
from ssvc_codec.semantics.detection import Detection, check_min_score, class_ids

__all__ = ["COCO_CATEGORY_IDS", "DetectionsFile"]

_UNUSED_CATEGORY_IDS = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
COCO_CATEGORY_IDS: Final = tuple(number for number in range(1, 91) if number not in _UNUSED_CATEGORY_IDS)
"""COCO's own category ids, 1..90 with gaps, in the order of COCO_80."""

_MAX_TRACK_ID = (1 << 32) - 1


class _Contents(NamedTuple):
    classes: ClassTable
    frames: Mapping[int, list[Detection]]  # by frame number
    first: int  # frames first, first + step, ... without an entry are known to be empty
    step: int  # 0: only those in `frames` are known
    sizes: Mapping[int, tuple[int, int]]  # (width, height) of the pictures that give theirs


class DetectionsFile:
    """A Detector that looks up what a file says about a frame.

    A list of COCO results has `image_id` (the frame's number, from 0), `category_id` (COCO's 1..90), `bbox` [x, y,
    width, height] and `score`. Its frames are known at the spacing at which they occur: of a list with images 0, 8
    and 24, frame 16 is empty, and nothing is known about the frames between.

    A COCO data set has `images`, `annotations` and `categories`. An image is the frame that its `frame_id` says; else
    the last number in its `file_name`, less 1 where the lowest is 1; else its place in the list. Listed images without
    annotations are empty, others unknown. Annotations of crowds are left out; `score` is 1 where it is missing.

    Both may give a `track_id`.
    """

    def __init__(
        self, path: str | Path, *, min_score: float | None = None, classes: Collection[str] | None = None
    ) -> None:
        """min_score: of what is reported, all where None. classes: names of those to report, all where None.

        Raises MediaError, naming the entry, for a file that breaks these rules; ValueError for the options.
        """
        limit = check_min_score(min_score or 0)
        contents = _Reader(Path(path)).read()
        wanted = class_ids(classes, contents.classes)
        self.classes = contents.classes
        self.description = f"detections of {Path(path).name}"
        self._path = path
        self._contents = contents
        self._frames = {
            number: sorted(
                (item for item in items if item.score >= limit and (wanted is None or item.class_id in wanted)),
                key=lambda item: -item.score,
            )
            for number, items in contents.frames.items()
        }

    @property
    def last_frame_number(self) -> int:
        """The last frame that the file names; -1 where it names none."""
        return max(self._frames, default=-1)

    def detect(self, frame: Frame, number: int) -> list[Detection] | None:
        """See Detector. Raises MediaError where the file says that this picture has another size."""
        size = (frame.format.width, frame.format.height)
        if (stated := self._contents.sizes.get(number, size)) != size:
            raise MediaError(
                f"{self._path}: the picture of frame {number} is {stated[0]}x{stated[1]}, the video {size[0]}x{size[1]}"
            )
        if number in self._frames:
            return list(self._frames[number])
        step = self._contents.step
        return [] if step and (number - self._contents.first) % step == 0 else None


class _Reader:
    """Reads one file, and knows where in it an error is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> _Contents:
        try:
            data = json.loads(self._path.read_bytes())
        except OSError as error:
            raise MediaError(f"{self._path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise MediaError(f"{self._path}: no JSON: {error}") from error
        if isinstance(data, list):
            return self._results(data)
        if not isinstance(data, dict):
            self._fail("the file", "neither a list of COCO results nor a COCO data set")
        return self._data_set(data)

    def _results(self, entries: list[Any]) -> _Contents:
        by_category = {category: place for place, category in enumerate(COCO_CATEGORY_IDS)}
        frames: dict[int, list[Detection]] = defaultdict(list)
        for place, entry in enumerate(entries):
            where = f"entry {place}"
            number = self._integer(where, entry, "image_id", lowest=0)
            frames[number].append(self._detection(where, entry, by_category, has_score=True))
        first = min(frames, default=0)
        step = reduce(math.gcd, (number - first for number in frames), 0)
        return _Contents(COCO_80, dict(frames), first, step, {})

    def _data_set(self, data: dict[str, Any]) -> _Contents:
        images, annotations, categories = (self._list(data, field) for field in ("images", "annotations", "categories"))
        classes, by_category = self._categories(categories)
        numbers, sizes = self._images(images)
        frames: dict[int, list[Detection]] = {number: [] for number in numbers.values()}
        for place, entry in enumerate(annotations):
            where = f"annotations[{place}]"
            image_id = self._field(where, entry, "image_id")
            if isinstance(image_id, (list, dict)) or image_id not in numbers:
                self._fail(where, f"image_id {image_id!r} is none of the images")
            if not entry.get("iscrowd"):
                frames[numbers[image_id]].append(self._detection(where, entry, by_category, has_score=False))
        return _Contents(classes, frames, 0, 0, sizes)

    def _categories(self, entries: list[Any]) -> tuple[ClassTable, dict[int, int]]:
        """The class table, and the class of each category id. COCO's own names become COCO_80."""
        names: dict[int, str] = {}
        for place, entry in enumerate(entries):
            where = f"categories[{place}]"
            category = self._integer(where, entry, "id", lowest=0)
            if category in names:
                self._fail(where, f"id {category} is there twice")
            names[category] = str(self._field(where, entry, "name"))
        coco = {name: class_id for class_id, name in COCO_80.names}
        if all(name in coco for name in names.values()):
            return COCO_80, {category: coco[name] for category, name in names.items()}
        try:
            table = ClassTable(ClassTableId.INLINE, tuple(sorted(names.items())))
        except (ValueError, LimitError) as error:
            raise MediaError(f"{self._path}: categories: {error}") from error
        return table, {category: category for category in names}

    def _images(self, entries: list[Any]) -> tuple[dict[Any, int], dict[int, tuple[int, int]]]:
        """Frame number of each image id, and picture sizes by frame number."""
        ids = [self._integer(f"images[{place}]", entry, "id", lowest=0) for place, entry in enumerate(entries)]
        if twice := [image_id for image_id, count in Counter(ids).items() if count > 1]:
            self._fail("images", f"id {twice[0]} is there twice")
        numbers = self._frame_numbers(entries)
        sizes = {
            number: (
                self._integer(f"images[{place}]", entry, "width", lowest=1),
                self._integer(f"images[{place}]", entry, "height", lowest=1),
            )
            for place, (number, entry) in enumerate(zip(numbers, entries, strict=True))
            if "width" in entry and "height" in entry
        }
        return dict(zip(ids, numbers, strict=True)), sizes

    def _frame_numbers(self, entries: list[Any]) -> list[int]:
        if any("frame_id" in entry for entry in entries):
            numbers = [
                self._integer(f"images[{place}]", entry, "frame_id", lowest=0) for place, entry in enumerate(entries)
            ]
            if len(set(numbers)) < len(numbers):
                self._fail("images", "a frame_id is there twice")
            return numbers
        found = [re.findall(r"\d{1,9}", Path(str(entry.get("file_name", ""))).stem) for entry in entries]
        if found and all(found):
            numbers = [int(digits[-1]) for digits in found]
            if len(set(numbers)) == len(numbers):
                return [number - 1 for number in numbers] if min(numbers) == 1 else numbers
        return list(range(len(entries)))

    def _detection(self, where: str, entry: Any, classes: Mapping[int, int], *, has_score: bool) -> Detection:
        category = self._integer(where, entry, "category_id", lowest=0)
        if category not in classes:
            known = f"one of {len(classes)} from {min(classes)} to {max(classes)}" if classes else "none is known"
            self._fail(where, f"unknown category_id {category}: {known}")
        box = self._field(where, entry, "bbox")
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
            self._fail(where, f"bbox {box!r} is not [x, y, width, height]")
        x, y, width, height = (float(value) for value in box)
        if width <= 0 or height <= 0:
            self._fail(where, f"bbox is {width:g}x{height:g}: both sides must be above 0")
        score = self._field(where, entry, "score") if has_score else entry.get("score", 1.0)
        if not _is_number(score) or not 0 <= score <= 1:
            self._fail(where, f"score {score!r} is not in 0..1")
        track_id = None
        if entry.get("track_id") is not None:
            track_id = self._integer(where, entry, "track_id", lowest=0)
            if track_id > _MAX_TRACK_ID:
                self._fail(where, f"track_id {track_id} is above {_MAX_TRACK_ID}")
        return Detection(classes[category], float(score), x, y, width, height, track_id)

    def _list(self, data: dict[str, Any], field: str) -> list[Any]:
        value = data.get(field)
        if not isinstance(value, list):
            self._fail("the data set", f"no list of {field}")
        return value

    def _field(self, where: str, entry: Any, field: str) -> Any:
        if not isinstance(entry, dict):
            self._fail(where, "not an object with fields")
        if field not in entry:
            self._fail(where, f"no {field}")
        return entry[field]

    def _integer(self, where: str, entry: Any, field: str, *, lowest: int) -> int:
        value = self._field(where, entry, field)
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            self._fail(where, f"{field} {value!r} is not a whole number from {lowest} on")
        return value

    def _fail(self, where: str, what: str) -> NoReturn:
        raise MediaError(f"{self._path}: {where}: {what}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9  # nan is not
