"""Video object segmentation: masks carried by decoded flow (paper, 5.2.3), in its three settings.

Given is the mask of the first frame, to every codec. ssvc carries it on by the flow in the stream, over key frames,
which have none, by that of the frames beside them. Where a setting decodes key frames, the mask there is segmented
anew: by GrabCut inside a band around the carried mask, or, with a refiner, by that, which then sees the picture.

    flow     all flows and no picture
    keys/2   and the key frame of every second GoP
    keys     and the key frame of each GoP

Anchors are decoded in full; their masks are carried by DIS flow between decoded pictures (full), with GrabCut at the
same key frames (full, keys), or with a refiner that sees every picture.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.tasks.davis import DavisSequence
from ffmpeg_bridge.tasks.motion import bridge_flow, dis_flow, opencv
from ffmpeg_bridge.tasks.own_stream import OwnStream
from ffmpeg_bridge.tasks.pictures import rgb_of
from ffmpeg_bridge.tasks.refiner import Refiner, carry
from ffmpeg_bridge.tasks.task import FULL, Item, Reading
from ssvc_codec.bitstream import CELL_LOG2
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.mask_quality import TOLERANCE, boundary_f, jaccard
from ssvc_codec.frame import Frame
from ssvc_codec.gop.groups import group_map
from ssvc_codec.selection import Selection

__all__ = ["SegmentTask", "resegment"]

SoftMask = NDArray[np.float32]  # (H, W), 0..1
FLOW, OBJECTS, KEYS, HALF_KEYS, FULL_KEYS = "flow", "keys, object", "keys", "keys/2", "full, keys"
REFINED = " + U-Net"
BAND = 0.06  # of the square root of the object's area, on either side of its contour
_GRABCUT_SCALE, _GRABCUT_ROUNDS = 2, 3
_LEAST_PART = 0.1  # of a mask in a box: that object is decoded
_LEAST_COVER = 0.5  # of a mask by such boxes: below, the whole key frame is decoded


@dataclass(frozen=True)
class _Seen:
    """A decoded picture, and where it was decoded; None: everywhere."""

    rgb: NDArray[np.uint8]
    where: NDArray[np.bool_] | None = None


class SegmentTask:
    """A DAVIS data set."""

    name = "Video object segmentation"
    metrics = ("mIoU (J)", "boundary F")

    def __init__(
        self,
        sequences: Sequence[DavisSequence],
        *,
        keyint: int,
        refiner: Refiner | None,
        with_full: bool = False,
        with_objects: bool = False,
    ) -> None:
        """refiner: improves carried masks; measured beside unrefined ones. with_full: decode ssvc in full as well.

        with_objects: streams have boxes; of key frames decode the object alone as well.
        """
        self.items = tuple(sequences)
        self._keyint, self._refiner = keyint, refiner
        self._with_full, self._with_objects = with_full, with_objects
        ways = [KEYS, *([OBJECTS] if with_objects else []), HALF_KEYS]
        pairs = [*[(way, FULL_KEYS) for way in ways], (FLOW, FULL)]
        pairs += [(FULL, FULL), (FULL_KEYS, FULL_KEYS)] if with_full else []
        refined = [(way + REFINED, FULL + REFINED) for way, _ in pairs if way != FULL_KEYS] if refiner else []
        self.pairs = (*pairs, *refined)
        self.notes = (
            "given: the mask of the first frame, to every codec; it is not scored",
            "masks are moved by the flow inside the object, carried on over its contour",
            f"{FLOW}: by the flow in the stream, no picture decoded; {KEYS}, {HALF_KEYS}: the key frame of each"
            " or of every second GoP decoded too, and the mask segmented anew there by GrabCut around the carried one",
            f"anchors: all decoded; masks carried by OpenCV's DIS flow ({FULL}), segmented anew at the same key frames"
            f" ({FULL_KEYS})",
            "the paper's OSVOS and RAFT are not used: numbers are not comparable with its own",
        )
        if with_objects:
            self.notes += (f"{OBJECTS}: of each key frame the objects whose boxes overlap the carried mask alone",)
        if refiner:
            self.notes += (
                f"{REFINED.strip(' +')}: {refiner.description}, in place of GrabCut, on every carried mask and with"
                " every picture that was decoded",
            )

    def identity(self) -> list[str]:
        """Settings and refiner."""
        refiner = self._refiner.description if self._refiner else "none"
        return ["segment 3", str(self._keyint), refiner, str(self._with_full), str(self._with_objects)]

    def read_own(self, item: Item, clip: Clip, stream: OwnStream) -> list[Reading]:
        """The settings, each with and without refinement."""
        assert isinstance(item, DavisSequence)
        flows = stream.flows()
        fields = {number: field.resampled(1).values for number, field in flows.fields.items()}
        for number in stream.key_frames()[1:]:
            if (bridge := bridge_flow(fields, number)) is not None:
                fields[number] = bridge
        carried = _Carry(item, clip, fields)
        keys = stream.key_frames()
        readings = []
        for way, chosen in ((FLOW, []), (HALF_KEYS, keys[::2]), (KEYS, keys)):
            pictures = stream.pictures(only=chosen)
            n_bytes = flows.n_bytes + pictures.n_bytes - stream.head_bytes(chosen)
            seen = {number: _Seen(rgb_of(frame)) for number, frame in enumerate(pictures.frames) if frame is not None}
            readings += self._readings(way, n_bytes, flows.seconds + pictures.seconds, carried, seen, keys)
        if self._with_objects:
            seen, n_bytes, seconds = _objects_at(stream, keys, carried.masks({}, (), None))
            readings += self._readings(OBJECTS, flows.n_bytes + n_bytes, flows.seconds + seconds, carried, seen, keys)
        if self._with_full:
            whole = stream.pictures()
            frames = [frame for frame in whole.frames if frame is not None]
            found = self.read_pictures(item, clip, frames)
            readings += [Reading(way, whole.n_bytes, whole.seconds, scores) for way, scores in found.items()]
        return readings

    def read_pictures(self, item: Item, clip: Clip, frames: Sequence[Frame]) -> dict[str, Any]:
        """DIS flow between all pictures, without and with new segmentation at key frames."""
        assert isinstance(item, DavisSequence)
        fields = {number: dis_flow(frames[number], frames[number - 1]) for number in range(1, len(frames))}
        carried = _Carry(item, clip, fields)
        keys = range(self._keyint, len(frames), self._keyint)
        seen = {number: _Seen(rgb_of(frame)) for number, frame in enumerate(frames)}
        found = {FULL: carried.scores(seen, (), None), FULL_KEYS: carried.scores(seen, keys, None)}
        if self._refiner:
            found[FULL + REFINED] = carried.scores(seen, (), self._refiner)
        return found

    def score(self, found: Mapping[str, Any]) -> tuple[float, ...]:
        """J and F, means over frames and then over sequences."""
        return tuple(float(np.mean([scores[k] for scores in found.values()])) for k in (0, 1))

    def _readings(
        self,
        way: str,
        n_bytes: int,
        seconds: float,
        carried: _Carry,
        seen: Mapping[int, _Seen],
        keys: Collection[int],
    ) -> list[Reading]:
        readings = [Reading(way, n_bytes, seconds, carried.scores(seen, keys, None))]
        if self._refiner:
            readings.append(Reading(way + REFINED, n_bytes, seconds, carried.scores(seen, (), self._refiner)))
        return readings


@dataclass(frozen=True)
class _Carry:
    """One sequence and its flow."""

    item: DavisSequence
    clip: Clip
    flows: Mapping[int, NDArray[np.float32]]

    def masks(self, seen: Mapping[int, _Seen], cut: Collection[int], refiner: Refiner | None) -> list[SoftMask]:
        """Masks of all frames from the first, which is given. cut: frames to segment by GrabCut if they are seen."""
        masks = [self._truth(0).astype(np.float32)]
        for number in range(1, len(self.clip.frames)):
            moved, picture = carry(masks[-1], self.flows.get(number)), seen.get(number)
            if refiner is not None:
                masks.append(refiner.refine(moved, picture and picture.rgb, picture and picture.where))
            elif number in cut and picture is not None:
                masks.append(_resegment_where(moved.own, picture))
            else:
                masks.append(moved.own)
        return masks

    def scores(self, seen: Mapping[int, _Seen], cut: Collection[int], refiner: Refiner | None) -> list[float]:
        """Mean J and F of all frames but the first."""
        masks = self.masks(seen, cut, refiner)
        scores = [_score(mask >= 0.5, self._truth(number)) for number, mask in enumerate(masks) if number]
        return [float(value) for value in np.mean(scores, axis=0)] if scores else [1.0, 1.0]

    def _truth(self, number: int) -> NDArray[np.bool_]:
        video = self.clip.format
        return self.item.truth(number, width=video.width, height=video.height)


def _score(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """J and F; the latter in the part of the picture where one of the masks is, which is all that counts."""
    radius = math.ceil(TOLERANCE * math.hypot(*truth.shape))
    rows, columns = np.nonzero(found | truth)
    if not len(rows):
        return 1.0, 1.0
    margin = radius + 2
    part = tuple(slice(max(int(p.min()) - margin, 0), int(p.max()) + margin + 1) for p in (rows, columns))
    diagonal = math.hypot(*truth[part].shape)
    return jaccard(found, truth), boundary_f(found[part], truth[part], tolerance=(radius - 0.5) / diagonal)


def _resegment_where(mask: SoftMask, picture: _Seen) -> SoftMask:
    """resegment on what was decoded; elsewhere the mask stays."""
    if picture.where is None:
        return resegment(mask, picture.rgb)
    rows, columns = (np.flatnonzero(picture.where.any(axis)) for axis in (1, 0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    found = mask.copy()
    found[part] = np.where(picture.where[part], resegment(mask[part], picture.rgb[part]), mask[part])
    return found


def _objects_at(
    stream: OwnStream, keys: Sequence[int], masks: Sequence[SoftMask]
) -> tuple[dict[int, _Seen], int, float]:
    """Key frames with nothing but the objects that overlap the mask there; bytes and seconds beside those of flow.

    Where boxes cover less than half of the mask the whole picture is decoded.
    """
    heads = stream.heads()
    seen, n_bytes, seconds = {}, 0, 0.0
    for number in keys:
        mask = masks[number] >= 0.5
        objects, (height, width) = heads.objects[number], mask.shape
        boxes = {f"#{o.track_id}": np.s_[o.y : o.y + o.height, o.x : o.x + o.width] for o in objects}
        chosen = tuple(name for name, box in boxes.items() if mask[box].sum() > _LEAST_PART * mask.sum())
        select = Selection(objects=chosen, background=False)
        cells = group_map(objects, width=width, height=height)
        decoded = np.isin(cells, list(select.resolve(heads.classes).groups(objects, cells)))
        where = decoded.repeat(1 << CELL_LOG2, 0).repeat(1 << CELL_LOG2, 1)[:height, :width]
        if (mask & where).sum() < _LEAST_COVER * mask.sum():
            select, where = None, None
        pictures = stream.pictures(select=select, only=[number])
        frame = next(frame for frame in pictures.frames if frame is not None)
        seen[number] = _Seen(rgb_of(frame), where)
        n_bytes += pictures.n_bytes - stream.head_bytes([number])
        seconds += pictures.seconds
    return seen, n_bytes, seconds


def resegment(mask: SoftMask, rgb: NDArray[np.uint8]) -> SoftMask:
    """GrabCut in a band around the contour of a mask; the rest stays as it is.

    mask: (H, W). rgb: (H, W, 3). Runs at half size. A mask that is nearly empty, or that GrabCut would nearly
    empty or double, is returned unchanged.
    """
    cv2 = opencv()
    height, width = mask.shape
    size = (max(width // _GRABCUT_SCALE, 1), max(height // _GRABCUT_SCALE, 1))
    small = cv2.resize(mask, size, interpolation=cv2.INTER_AREA) >= 0.5
    area = int(np.count_nonzero(small))
    band = max(round(BAND * area**0.5), 2)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * band + 1, 2 * band + 1))
    inner, outer = cv2.erode(small.astype(np.uint8), disk), cv2.dilate(small.astype(np.uint8), disk)
    if not inner.any() or outer.all():
        return mask
    labels = np.where(small, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[inner > 0], labels[outer == 0] = cv2.GC_FGD, cv2.GC_BGD
    cv2.setRNGSeed(0)
    picture = cv2.resize(rgb[..., ::-1], size, interpolation=cv2.INTER_AREA)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, labels, None, *models, _GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if not area / 2 < np.count_nonzero(found) < 2 * area:
        return mask
    return cv2.resize(found.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
