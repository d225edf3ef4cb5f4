"""All items of a task by all codecs at all their quality points, from the cache where it has them."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ffmpeg_bridge.bench.clips import clip_digest
from ffmpeg_bridge.bench.codec import Codec
from ffmpeg_bridge.tasks.own_stream import TaskEncoder
from ffmpeg_bridge.tasks.task import ORIGINAL, Item, Reading, Task
from ssvc_codec.errors import MediaError, SsvcError
from ssvc_codec.evaluation.clip import Clip

__all__ = ["ReadingCache", "StepDone", "TaskFailure", "TaskResults", "TaskRow", "TaskRun"]


@dataclass(frozen=True)
class TaskRow:
    """One way of reading one codec at one quality point, over all items."""

    codec: str
    way: str
    point: float  # NaN for the originals
    n_items: int
    n_bits: int
    bpp: float  # bits read for each luma sample of all frames of the items
    scores: tuple[float, ...]  # the task's metrics
    decode_seconds: float


@dataclass(frozen=True)
class TaskFailure:
    """An item that could not be measured with a codec: it is left out for all of them."""

    item: str
    codec: str
    point: float
    reason: str


@dataclass(frozen=True)
class StepDone:
    """One item by one codec at one point, for whoever shows how far a run has come."""

    number: int  # from 1
    n_steps: int
    item: str
    codec: str
    point: float
    is_cached: bool
    is_failed: bool
    seconds_left: float | None


@dataclass
class TaskResults:
    """What a run has found out so far."""

    n_pixels: dict[str, int] = field(default_factory=dict)  # luma samples of items
    readings: dict[tuple[str, float, str], list[Reading]] = field(default_factory=dict)  # by codec, point, item
    failures: list[TaskFailure] = field(default_factory=list)
    is_complete: bool = False


class ReadingCache:
    """Readings and streams of ssvc, each in a file named by all that decides it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clear(self) -> None:
        """Forgets everything."""
        if self._folder.is_dir():
            shutil.rmtree(self._folder)

    def find(self, identity: Sequence[str]) -> list[Reading] | None:
        """Readings that were kept; None where there are none, or none that can be read."""
        try:
            return [Reading(**values) for values in json.loads(self._path(identity, ".json").read_text())]
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, identity: Sequence[str], readings: Sequence[Reading]) -> None:
        """Keeps readings for a later run; what was written is whole even if the program is killed."""
        path = self._path(identity, ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps([asdict(reading) for reading in readings]))
        temporary.replace(path)

    def stream(self, identity: Sequence[str]) -> Path:
        """Where the stream with this identity is, or is to be written."""
        return self._path(identity, ".ssv")

    def _path(self, identity: Sequence[str], suffix: str) -> Path:
        return self._folder / (hashlib.sha256(json.dumps(list(identity)).encode()).hexdigest()[:32] + suffix)


@dataclass
class TaskRun:
    """One run. results grows while run() lasts and is good after any exception."""

    task: Task
    own: TaskEncoder
    anchors: Sequence[Codec]
    cache: ReadingCache
    should_stop: Callable[[], bool] = bool
    on_step: Callable[[StepDone], None] = lambda _done: None
    results: TaskResults = field(default_factory=TaskResults)
    _number: int = 0
    _n_measured: int = 0
    _seconds: float = 0.0

    @property
    def steps(self) -> list[tuple[str, float]]:
        """Codec and point of every column of measurements."""
        own = [(self.own.name, point) for point in self.own.points]
        return [(ORIGINAL, math.nan), *own, *[(codec.name, point) for codec in self.anchors for point in codec.points]]

    def run(self) -> TaskResults:
        """Everything, item by item; ends early when should_stop says so. Raises MediaError for an item's file."""
        for item in self.task.items:
            if self.should_stop():
                return self.results
            clip = item.load()
            digest = clip_digest(clip)
            self.results.n_pixels[item.name] = clip.n_pixels
            for codec, point in self.steps:
                if self.should_stop():
                    return self.results
                self._step(item, clip, digest, codec, point)
        self.results.is_complete = True
        return self.results

    def _step(self, item: Item, clip: Clip, digest: str, codec: str, point: float) -> None:
        start = time.perf_counter()
        identity = [digest, item.name, *self._identity(codec, point), *self.task.identity()]
        readings = self.cache.find(identity)
        is_cached, is_failed = readings is not None, False
        if readings is None:
            try:
                readings = self._measure(item, clip, digest, codec, point)
                self.cache.keep(identity, readings)
            except SsvcError as error:
                reason = " ".join(str(error).split())
                self.results.failures.append(TaskFailure(item.name, codec, point, reason))
                is_failed = True
            self._seconds += time.perf_counter() - start
            self._n_measured += 1
        if readings is not None:
            self.results.readings[codec, _key(point), item.name] = readings
        self._number += 1
        n_steps = len(self.task.items) * len(self.steps)
        left = (n_steps - self._number) * self._seconds / self._n_measured if self._n_measured else None
        self.on_step(StepDone(self._number, n_steps, item.name, codec, point, is_cached, is_failed, left))

    def _identity(self, codec: str, point: float) -> list[str]:
        if codec == ORIGINAL:
            return [ORIGINAL]
        if codec == self.own.name:
            return self.own.identity(point)
        return self._anchor(codec).identity(point)

    def _anchor(self, name: str) -> Codec:
        return next(codec for codec in self.anchors if codec.name == name)

    def _measure(self, item: Item, clip: Clip, digest: str, codec: str, point: float) -> list[Reading]:
        if codec == self.own.name:
            path = self.cache.stream([digest, *self.own.identity(point)])
            return self.task.read_own(item, clip, self.own.write(clip, point, path))
        n_bytes, seconds, frames = 0, 0.0, clip.frames
        if codec != ORIGINAL:
            with tempfile.TemporaryDirectory(prefix="ssvc-eval-") as folder:
                coded = self._anchor(codec).code(clip, point, folder=Path(folder))
            n_bytes, seconds, frames = coded.n_bytes, coded.decode_seconds, coded.frames
        found = self.task.read_pictures(item, clip, frames)
        return [Reading(way, n_bytes, seconds, value) for way, value in found.items()]

    def rows(self) -> list[TaskRow]:
        """A row for each codec, point and way, over the items that all of them have. Raises MediaError for none."""
        names = self.whole_items
        if not names:
            raise MediaError("no item was measured with every codec")
        n_pixels = sum(self.results.n_pixels[name] for name in names)
        rows: list[TaskRow] = []
        for codec, point in self.steps:
            readings = [{r.way: r for r in self.results.readings[codec, _key(point), name]} for name in names]
            for way in readings[0]:
                read = [by_way[way] for by_way in readings]
                found: dict[str, Any] = {name: r.found for name, r in zip(names, read, strict=True)}
                n_bits = 8 * sum(r.n_bytes for r in read)
                seconds = sum(r.decode_seconds for r in read)
                scores = self.task.score(found)
                rows.append(TaskRow(codec, way, point, len(names), n_bits, n_bits / n_pixels, scores, seconds))
        return rows

    @property
    def whole_items(self) -> list[str]:
        """Items that were measured with every codec at every point."""
        return [name for name in self.results.n_pixels if self._is_whole(name)]

    def _is_whole(self, name: str) -> bool:
        return all((codec, _key(point), name) in self.results.readings for codec, point in self.steps)


def _key(point: float) -> float:
    """A point that equals itself: of the originals, which have none, -1."""
    return -1.0 if math.isnan(point) else point
