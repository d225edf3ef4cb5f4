"""Objects with an identity: detected now and then, carried along by the flow in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from ssvc_codec.bitstream.class_table import ClassTable
from ssvc_codec.bitstream.limits import MAX_GROUPS, MAX_OBJECTS
from ssvc_codec.bitstream.objects import SceneObject
from ssvc_codec.frame import Frame
from ssvc_codec.semantics.box_motion import FLOW_SCALE, MIN_SIDE, Box, clip_box, move_box, overlaps, touches_border
from ssvc_codec.semantics.detection import Detection, Detector
from ssvc_codec.semantics.suppression import without_duplicates, without_surroundings

__all__ = ["Tracker"]

MAX_TRACKS: Final = min(MAX_OBJECTS, MAX_GROUPS)  # apart from each other, each is a group of its own
MAX_TRACK_ID: Final = (1 << 32) - 1

MIN_OVERLAP: Final = 0.2  # of a track and the detection that continues it, same class
MIN_OVERLAP_OF_OTHER_CLASS: Final = 0.5  # the detector took it for something else

MAX_MISSES: Final = 2  # detections in a row that do not find the object
SCORE_AFTER_MISS: Final = 0.65
BOX_GAIN: Final = 0.9  # how far the box goes to the one detected
SCORE_GAIN: Final = 0.5
VOTES_KEPT: Final = 0.8  # of earlier votes for a class, at every detection

MIN_TOLERANCE: Final = 3.0  # luma samples
RELATIVE_TOLERANCE: Final = 0.05  # of the side


@dataclass(slots=True)
class _Track:
    track_id: int
    box: Box  # inside the picture
    score: float
    votes: dict[int, float]  # by class
    is_confirmed: bool  # found more than once, or given
    is_given: bool  # its id came with the detection
    n_misses: int = 0
    shown: SceneObject | None = None  # as last given out

    @property
    def class_id(self) -> int:
        return max(self.votes, key=lambda class_id: (self.votes[class_id], -class_id))


@dataclass(frozen=True, slots=True)
class _Found:
    """A detection with its box inside the picture."""

    class_id: int
    score: float
    box: Box
    given_id: int | None

    @property
    def is_given(self) -> bool:
        return self.given_id is not None


@dataclass(slots=True)
class _TrackIds:
    """Track ids: those given with detections where they are free, else counted up. None comes twice."""

    own: set[int] = field(default_factory=set)
    of_given: dict[int, int] = field(default_factory=dict)
    next_id: int = 0

    def new(self) -> int:
        given = set(self.of_given.values())
        while self.next_id in given:
            self.next_id += 1
        self.own.add(self.next_id)
        self.next_id += 1
        return self.next_id - 1

    def of(self, given_id: int) -> int:
        """Always the same for the same given id."""
        if given_id not in self.of_given:
            is_free = 0 <= given_id <= MAX_TRACK_ID and given_id not in self.own
            self.of_given[given_id] = given_id if is_free else self.new()
        return self.of_given[given_id]


class Tracker:
    """Gives the objects of every frame. Frames come in order, none is left out.

    Detects on key frames and `every` frames after the last answer of the detector. min_score: a detection below it is
    not looked at; start_score: only from here on does it start an object, a lower one continues an object that is
    there. Detections with a track id of their own are taken as they are.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        width: int,
        height: int,
        every: int = 4,
        min_score: float = 0.25,
        start_score: float = 0.4,
    ) -> None:
        if every < 1:
            raise ValueError(f"detection every {every} frames: 1 or more")
        self._detector = detector
        self._size = (width, height)
        self._every = every
        self._min_score = min_score
        self._start_score = max(start_score, min_score)
        self._tracks: list[_Track] = []
        self._ids = _TrackIds()
        self._frame_number = 0
        self._n_since_detection = 0
        self._is_new_scene = True  # nothing was detected in it yet

    @property
    def classes(self) -> ClassTable:
        """What class ids mean: those of the detector."""
        return self._detector.classes

    def objects(self, frame: Frame, *, flow: NDArray[np.float32] | None, is_key: bool) -> tuple[SceneObject, ...]:
        """The objects of the next frame, track ids ascending, boxes inside the picture, at most 255.

        flow: (2, ceil(height / 4), ceil(width / 4)) in luma samples, from this frame to the one before; None on the
        first frame and on a scene cut, where all objects end. Score and class of an object change on key frames only.
        Raises ValueError if the flow has another shape.
        """
        self._propagate(flow)
        self._n_since_detection += 1
        if is_key or self._is_new_scene or self._n_since_detection >= self._every:
            self._detect(frame)
        self._frame_number += 1
        shown = [self._shown(track, is_key=is_key) for track in self._tracks]
        return tuple(sorted(shown, key=lambda item: item.track_id))

    def _propagate(self, flow: NDArray[np.float32] | None) -> None:
        width, height = self._size
        if flow is None:
            self._tracks.clear()
            self._is_new_scene = True
            return
        expected = (2, -(-height // FLOW_SCALE), -(-width // FLOW_SCALE))
        if flow.shape != expected:
            raise ValueError(f"flow is {flow.shape}, a {width}x{height} picture needs {expected}")
        for track in self._tracks.copy():
            if (box := move_box(track.box, flow, width=width, height=height)) is None:
                self._tracks.remove(track)
            else:
                track.box = box

    def _detect(self, frame: Frame) -> None:
        detections = self._detector.detect(frame, self._frame_number)
        if detections is None:  # asked again at the next frame
            return
        self._n_since_detection = 0
        found = self._usable(detections)
        seen = self._identify([item for item in found if item.is_given])
        rest = [item for item in found if not item.is_given]
        new = self._associate([item for item in rest if item.score >= self._start_score], seen)
        self._associate([item for item in rest if item.score < self._start_score], seen)
        self._update(seen)
        self._start(new)
        self._drop_duplicates_and_surplus()
        self._is_new_scene = False

    def _usable(self, detections: Sequence[Detection]) -> list[_Found]:
        """Detections of some size in the picture, best first, without duplicates."""
        width, height = self._size
        found: list[_Found] = []
        for item in sorted(detections, key=lambda item: -item.score):
            box = Box(item.x, item.y, item.x + item.width, item.y + item.height)
            if not all(map(math.isfinite, (item.score, *box))):
                continue
            if (box := clip_box(box, width=width, height=height)) is None:
                continue
            if item.track_id is not None or (item.score >= self._min_score and min(box.width, box.height) >= MIN_SIDE):
                found.append(_Found(item.class_id, item.score, box, item.track_id))
        return without_surroundings(without_duplicates(found), area=width * height)

    def _identify(self, found: Sequence[_Found]) -> dict[int, _Found]:
        """The detections that say who they are, by track id; a track that is not there starts."""
        tracks = {track.track_id for track in self._tracks}
        seen: dict[int, _Found] = {}
        for item in found:
            assert item.given_id is not None
            track_id = self._ids.of(item.given_id)
            seen.setdefault(track_id, item)
            if track_id not in tracks:
                tracks.add(track_id)
                self._tracks.append(_Track(track_id, item.box, item.score, {}, is_confirmed=True, is_given=True))
        return seen

    def _associate(self, found: Sequence[_Found], seen: dict[int, _Found]) -> list[_Found]:
        """Give detections to tracks not in `seen` yet, so that the sum of overlaps is largest. Returns those left."""
        tracks = [track for track in self._tracks if track.track_id not in seen]
        if not tracks or not found:
            return list(found)
        overlap = overlaps([track.box for track in tracks], [item.box for item in found])
        same_class = np.array([[item.class_id in track.votes for item in found] for track in tracks])
        overlap[overlap < np.where(same_class, MIN_OVERLAP, MIN_OVERLAP_OF_OTHER_CLASS)] = 0
        pairs = [(t, d) for t, d in zip(*linear_sum_assignment(-overlap), strict=True) if overlap[t, d] > 0]
        seen.update((tracks[t].track_id, found[d]) for t, d in pairs)
        taken = {d for _, d in pairs}
        return [item for d, item in enumerate(found) if d not in taken]

    def _update(self, seen: dict[int, _Found]) -> None:
        width, height = self._size
        for track in self._tracks.copy():
            if (item := seen.get(track.track_id)) is not None:
                _follow(track, item)
                continue
            track.n_misses += 1
            track.score *= SCORE_AFTER_MISS
            is_doubtful = not track.is_confirmed or touches_border(track.box, width=width, height=height)
            if is_doubtful or track.n_misses > MAX_MISSES or track.score < self._min_score:
                self._tracks.remove(track)

    def _start(self, found: Sequence[_Found]) -> None:
        for item in found:
            votes = {item.class_id: item.score}
            self._tracks.append(
                _Track(self._ids.new(), item.box, item.score, votes, is_confirmed=False, is_given=False)
            )

    def _drop_duplicates_and_surplus(self) -> None:
        """Of two tracks of one object the one found last stays, then the older one."""
        order = sorted(self._tracks, key=lambda track: (track.n_misses, not track.is_confirmed, track.track_id))
        kept = without_duplicates(order)
        self._tracks = sorted(kept, key=lambda track: -track.score)[:MAX_TRACKS]

    def _shown(self, track: _Track, *, is_key: bool) -> SceneObject:
        """The object as the stream gets it: on P frames it changes only where its box is beyond the tolerance."""
        box, before = track.box, track.shown
        if before is None or is_key or not _is_near(box, before):
            left, top = int(box.left), int(box.top)
            right, bottom = math.ceil(box.right), math.ceil(box.bottom)
            keep = None if is_key else before
            class_id = track.class_id if keep is None else keep.class_id
            score = round(255 * min(max(track.score, 0.0), 1.0)) if keep is None else keep.score
            track.shown = SceneObject(track.track_id, class_id, score, left, top, right - left, bottom - top)
        assert track.shown is not None
        return track.shown


def _follow(track: _Track, item: _Found) -> None:
    gain = 1.0 if item.is_given or track.n_misses else BOX_GAIN
    track.box = Box(*(a + gain * (b - a) for a, b in zip(track.box, item.box, strict=True)))
    track.score += SCORE_GAIN * (item.score - track.score)
    track.votes = {class_id: VOTES_KEPT * votes for class_id, votes in track.votes.items()}
    track.votes[item.class_id] = track.votes.get(item.class_id, 0.0) + item.score
    track.n_misses = 0
    track.is_confirmed = True


def _is_near(box: Box, shown: SceneObject) -> bool:
    """Whether no edge is further from the box given out than the tolerance."""
    across = max(MIN_TOLERANCE, RELATIVE_TOLERANCE * shown.width)
    down = max(MIN_TOLERANCE, RELATIVE_TOLERANCE * shown.height)
    return (
        max(abs(box.left - shown.x), abs(box.right - shown.x - shown.width)) <= across
        and max(abs(box.top - shown.y), abs(box.bottom - shown.y - shown.height)) <= down
    )
