"""What `ssvc query` prints: runs of frames that match, or the classes of a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from ssvc_codec.bitstream import NO_CLASSES, ClassTable, SceneObject

from .timecode import format_time

if TYPE_CHECKING:
    from ssvc_codec.editing import Scene
    from ssvc_codec.scene_query import Condition, SceneQuery

__all__ = ["ClassListing", "MatchListing", "Moment"]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a frame is shown, in seconds from the first frame, and its number."""

    start: float
    end: float
    number: int


@dataclass(slots=True)
class _Run:
    """A run of frames that match, as --json prints it."""

    start_seconds: float
    end_seconds: float
    first_frame: int
    n_frames: int
    most: dict[str, int]

    def add(self, moment: Moment, counts: Counter[str]) -> None:
        self.end_seconds = round(moment.end, 6)
        self.n_frames += 1
        for name, count in counts.items():
            self.most[name] = max(count, self.most.get(name, 0))


class MatchListing:
    """Runs of frames for which a query holds."""

    def __init__(self, expression: SceneQuery) -> None:
        self._expression = expression
        self._conditions: dict[ClassTable | None, Condition] = {}
        self._runs: list[_Run] = []
        self._is_open = False
        self._has_objects = False

    @property
    def n_found(self) -> int:
        """Frames that match."""
        return sum(run.n_frames for run in self._runs)

    def add(self, moment: Moment, scene: Scene | None) -> None:
        """The next frame; None where its objects are unknown. Raises ValueError for a class that the file lacks."""
        if scene is None or not self._matches(scene):
            self._is_open = False
            return
        if not self._is_open:
            self._runs.append(_Run(round(moment.start, 6), 0.0, moment.number, 0, {}))
            self._is_open = True
        self._runs[-1].add(moment, Counter(_name(item, scene) for item in scene.objects))

    def _matches(self, scene: Scene) -> bool:
        """Names are looked up where the first objects are: without any a stream may have no class table."""
        classes = scene.sequence_header.classes
        table = classes if scene.objects or classes != NO_CLASSES else None
        if table not in self._conditions:
            self._conditions[table] = self._expression.bind(table)
        self._has_objects = self._has_objects or bool(scene.objects)
        return self._conditions[table](scene.objects)

    def json_lines(self) -> Iterator[str]:
        """One object for each run."""
        for run in self._runs:
            yield json.dumps(asdict(run), ensure_ascii=False)

    def text_lines(self, n_frames: int) -> Iterator[str]:
        """A table, and the sum of it. n_frames: in the part of the file that was searched."""
        if self._runs:
            yield f"{'start':>11}  {'end':>11}  {'frames':>7}  most at once"
        for run in self._runs:
            most = ", ".join(f"{name} {count}" for name, count in sorted(run.most.items()))
            yield f"{format_time(run.start_seconds)}  {format_time(run.end_seconds)}  {run.n_frames:>7}  {most or '-'}"
        share = 100 * self.n_found / max(n_frames, 1)
        end = "" if self._has_objects else "; there are no objects"
        in_runs = "in 1 run" if len(self._runs) == 1 else f"in {len(self._runs)} runs"
        yield f"{self.n_found} of {n_frames} frames match ({share:.1f} %), {in_runs}{end}"


@dataclass(slots=True)
class _ClassRow:
    """What is known of one class."""

    name: str | None
    first_seconds: float
    last_seconds: float = 0.0
    tracks: set[int] = field(default_factory=set)
    n_frames: int = 0
    n_boxes: int = 0
    area: int = 0  # sum over boxes, luma samples
    share: float = 0.0  # sum over boxes, of the picture


class ClassListing:
    """The classes of a file: how many objects, when, how large."""

    def __init__(self) -> None:
        self._rows: dict[int, _ClassRow] = {}

    @property
    def n_found(self) -> int:
        """Boxes."""
        return sum(row.n_boxes for row in self._rows.values())

    def add(self, moment: Moment, scene: Scene | None) -> None:
        """The next frame; None where its objects are unknown."""
        if scene is None:
            return
        video = scene.sequence_header.format
        for class_id in {item.class_id for item in scene.objects}:
            name = scene.sequence_header.classes.name_of(class_id)
            row = self._rows.setdefault(class_id, _ClassRow(name, moment.start))
            row.last_seconds = moment.start
            row.n_frames += 1
            for item in scene.objects:
                if item.class_id == class_id:
                    row.tracks.add(item.track_id)
                    row.n_boxes += 1
                    row.area += item.width * item.height
                    row.share += item.width * item.height / (video.width * video.height)

    def json_lines(self) -> Iterator[str]:
        """One object for each class, by class id."""
        for class_id, row in sorted(self._rows.items()):
            facts = {
                "class_id": class_id,
                "class": row.name,
                "n_tracks": len(row.tracks),
                "n_frames": row.n_frames,
                "first_seconds": round(row.first_seconds, 6),
                "last_seconds": round(row.last_seconds, 6),
                "mean_area": round(row.area / row.n_boxes, 1),
                "mean_share": round(row.share / row.n_boxes, 6),
            }
            yield json.dumps(facts, ensure_ascii=False)

    def text_lines(self, n_frames: int) -> Iterator[str]:
        """A table. n_frames: in the part of the file that was searched."""
        if not self._rows:
            yield f"no objects in {n_frames} frames"
            return
        yield f"{'class':<16} {'tracks':>6} {'frames':>7}  {'first':>11}  {'last':>11}  {'mean box':>16}"
        for class_id, row in sorted(self._rows.items()):
            times = f"{format_time(row.first_seconds)}  {format_time(row.last_seconds)}"
            box = f"{row.area / row.n_boxes:.0f} ({100 * row.share / row.n_boxes:.1f} %)"
            yield f"{row.name or class_id:<16} {len(row.tracks):>6} {row.n_frames:>7}  {times}  {box:>16}"


def _name(item: SceneObject, scene: Scene) -> str:
    return scene.sequence_header.classes.name_of(item.class_id) or str(item.class_id)
