"""All clips by all codecs at all their quality points, from the cache where it has them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ffmpeg_bridge.bench.clips import ClipSource, clip_digest, load_clip
from ffmpeg_bridge.bench.codec import Codec
from ffmpeg_bridge.bench.own_codec import StoppedError
from ffmpeg_bridge.bench.results import Row, RowCache, measure
from ssvc_codec.errors import SsvcError
from ssvc_codec.evaluation.clip import Clip

__all__ = ["Bench", "ClipFacts", "Failure", "PointDone", "Results"]


@dataclass(frozen=True)
class ClipFacts:
    """What was measured on."""

    name: str
    path: str
    width: int
    height: int
    n_frames: int
    rate: float  # frames per second
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A point that could not be measured."""

    clip: str
    codec: str
    point: float
    reason: str


@dataclass
class Results:
    """What a run has found out so far."""

    clips: list[ClipFacts] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    n_cached: int = 0
    is_complete: bool = False


@dataclass(frozen=True)
class PointDone:
    """One point more, for whoever shows how far a run has come."""

    number: int  # of the point, from 1
    n_points: int
    clip: str
    codec: str
    point: float
    row: Row | None  # None where it failed
    is_cached: bool
    seconds_left: float | None  # None before anything was measured


@dataclass
class Bench:
    """One run. results grows while run() lasts and is good after any exception."""

    sources: Sequence[ClipSource]
    codecs: Sequence[Codec]
    n_frames: int
    cache: RowCache
    kept: Path | None = None  # folder for the coded files
    should_stop: Callable[[], bool] = bool
    on_point: Callable[[PointDone], None] = lambda _done: None
    on_clip: Callable[[Results], None] = lambda _results: None
    results: Results = field(default_factory=Results)
    _seconds: dict[str, float] = field(default_factory=dict)  # measuring, by codec
    _pixels: dict[str, int] = field(default_factory=dict)
    _number: int = 0

    def run(self) -> Results:
        """Everything, clip by clip; ends early when should_stop says so. Raises MediaError for a clip."""
        for index, source in enumerate(self.sources):
            if self.should_stop():
                return self.results
            clip, notes = load_clip(source, n_frames=self.n_frames)
            rate = float(clip.frame_rate)
            size = (clip.format.width, clip.format.height)
            self.results.clips.append(
                ClipFacts(source.name, source.path, *size, len(clip.frames), rate, tuple(dict.fromkeys(notes)))
            )
            try:
                self._run_clip(clip, index)
            except StoppedError:
                return self.results
            finally:
                self.on_clip(self.results)
        self.results.is_complete = True
        return self.results

    def _run_clip(self, clip: Clip, index: int) -> None:
        digest = clip_digest(clip)
        for codec_index, codec in enumerate(self.codecs):
            for n_points, point in enumerate(codec.points, 1):
                if self.should_stop():
                    raise StoppedError
                row, is_cached = self._point(clip, codec, point, digest)
                self._number += 1
                left = self._seconds_left(clip, index, codec_index, n_points)
                total = len(self.sources) * sum(len(codec.points) for codec in self.codecs)
                self.on_point(PointDone(self._number, total, clip.name, codec.name, point, row, is_cached, left))

    def _point(self, clip: Clip, codec: Codec, point: float, digest: str) -> tuple[Row | None, bool]:
        start = time.perf_counter()
        try:
            identity = [digest, *codec.identity(point)]
            row = self.cache.find(identity, clip=clip.name, codec=codec.name, point=point)
            if row is not None:
                self.results.n_cached += 1
                self.results.rows.append(row)
                return row, True
            row = self._measured(clip, codec, point)
        except SsvcError as error:
            reason = " ".join(str(error).split())
            self.results.failures.append(Failure(clip.name, codec.name, point, reason))
            return None, False
        self.cache.keep(identity, row)
        self.results.rows.append(row)
        self._seconds[codec.name] = self._seconds.get(codec.name, 0.0) + time.perf_counter() - start
        self._pixels[codec.name] = self._pixels.get(codec.name, 0) + clip.n_pixels
        return row, False

    def _measured(self, clip: Clip, codec: Codec, point: float) -> Row:
        with tempfile.TemporaryDirectory(prefix="ssvc-bench-") as name:
            coded = codec.code(clip, point, folder=Path(name))
            row = measure(clip, coded, codec=codec.name, point=point)
            if self.kept is not None and coded.path is not None:
                self.kept.mkdir(parents=True, exist_ok=True)
                target = self.kept / f"{clip.name}_{codec.name}_{point:g}{coded.path.suffix}"
                shutil.move(coded.path, target)
        return row

    def _seconds_left(self, clip: Clip, index: int, codec_index: int, n_points: int) -> float | None:
        """For the points to come, by what a sample has taken with the same codec, or with all where that is new."""
        if not self._seconds:
            return None
        mean = sum(self._seconds.values()) / sum(self._pixels.values())
        later = sum(source.n_pixels for source in self.sources[index + 1 :])
        left = 0.0
        for number, codec in enumerate(self.codecs):
            speed = self._seconds[codec.name] / self._pixels[codec.name] if codec.name in self._seconds else mean
            done = len(codec.points) if number < codec_index else n_points if number == codec_index else 0
            left += speed * ((len(codec.points) - done) * clip.n_pixels + len(codec.points) * later)
        return left
