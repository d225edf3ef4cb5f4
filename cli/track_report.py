"""What `ssvc info --objects` says about each object, gathered frame by frame from heads alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ssvc_codec.bitstream import CELL_LOG2, SceneObject
from ssvc_codec.editing.scene import Scene

__all__ = ["TrackReport", "TrackTable", "object_table"]


@dataclass(slots=True)
class TrackReport:
    """One line of `ssvc info --objects`: an object over all its frames."""

    track_id: int
    class_id: int
    class_name: str | None
    first_seconds: float | None
    last_seconds: float | None
    n_frames: int = 0
    n_group_bytes: int = 0  # payloads of its groups, whole, also where it shares them
    n_frames_alone: int = 0  # in which no other object is in its group
    _sums: list[int] = field(default_factory=lambda: [0] * 5)  # of score and box

    @property
    def mean_score(self) -> float:
        """0..1."""
        return round(self._sums[0] / 255 / self.n_frames, 4)

    @property
    def mean_box(self) -> list[float]:
        """x, y, width, height in luma samples."""
        return [round(value / self.n_frames, 1) for value in self._sums[1:]]

    def add(self, item: SceneObject, *, seconds: float | None, n_bytes: int, is_alone: bool) -> None:
        """One frame more."""
        self.last_seconds = seconds
        self.n_frames += 1
        self.n_group_bytes += n_bytes
        self.n_frames_alone += is_alone
        for index, value in enumerate((item.score, item.x, item.y, item.width, item.height)):
            self._sums[index] += value

    def facts(self) -> dict[str, Any]:
        """As --json prints it."""
        return {
            "track_id": self.track_id,
            "class_id": self.class_id,
            "class": self.class_name,
            "first_seconds": self.first_seconds,
            "last_seconds": self.last_seconds,
            "n_frames": self.n_frames,
            "n_frames_alone": self.n_frames_alone,
            "mean_score": self.mean_score,
            "mean_box": self.mean_box,
            "n_group_bytes": self.n_group_bytes,
        }


class TrackTable:
    """The tracks of a stream, in the order in which they appear. A track id that changes class is two tracks."""

    def __init__(self) -> None:
        self._tracks: dict[tuple[int, int], TrackReport] = {}

    @property
    def tracks(self) -> list[TrackReport]:
        """All so far."""
        return list(self._tracks.values())

    def add(self, scene: Scene, *, seconds: float | None) -> None:
        """The objects of one frame."""
        numbers = [int(scene.groups[item.y >> CELL_LOG2, item.x >> CELL_LOG2]) for item in scene.objects]
        n_members = Counter(numbers)
        n_bytes: Counter[int] = Counter()
        for entry in scene.packet.entries:
            n_bytes[entry.group] += entry.length
        for number, item in zip(numbers, scene.objects, strict=True):
            key = (item.track_id, item.class_id)
            if key not in self._tracks:
                name = scene.sequence_header.classes.name_of(item.class_id)
                self._tracks[key] = TrackReport(*key, name, seconds, seconds)
            self._tracks[key].add(item, seconds=seconds, n_bytes=n_bytes[number], is_alone=n_members[number] == 1)


def object_table(tracks: list[dict[str, Any]]) -> list[str]:
    """TrackReport.facts() for people: a heading and a line for each track."""
    if not tracks:
        return ["  Objects: none"]
    titles = ("track", "class", "from", "to", "frames", "mean box", "score", "group bytes")
    lines = [titles, *(_track_words(track) for track in tracks)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    rows = ("  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines)
    return [f"  Objects: {len(tracks)}", *(f"    {row.rstrip()}" for row in rows)]


def _track_words(track: dict[str, Any]) -> tuple[str, ...]:
    x, y, width, height = (f"{value:.0f}" for value in track["mean_box"])
    times = ("?" if track[name] is None else f"{track[name]:.3f} s" for name in ("first_seconds", "last_seconds"))
    shared = "" if track["n_frames_alone"] == track["n_frames"] else " (shared)"
    return (
        f"#{track['track_id']}",
        track["class"] or str(track["class_id"]),
        *times,
        str(track["n_frames"]),
        f"{width}x{height}+{x}+{y}",
        f"{track['mean_score']:.2f}",
        f"{track['n_group_bytes']}{shared}",
    )
