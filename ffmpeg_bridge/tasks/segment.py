"""Video object segmentation: masks carried by decoded flow (paper, 5.2.3), in its three settings.

Given is the mask of the first frame, to every codec. ssvc carries it on by the flow in the stream. From the last
P frame of a GoP to the next key frame there is no flow: the mask stays where it is. Where a setting decodes
key frames, the mask there is segmented anew, by GrabCut on the decoded picture inside a band around the carried mask.

    flow     all flows and no picture
    keys/2   and the key frame of every second GoP
    keys     and the key frame of each GoP

Anchors are decoded in full; their masks are carried by DIS flow between decoded pictures (full), and the same
re-segmentation may be done at the same key frames (full, keys).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.tasks.davis import DavisSequence
from ffmpeg_bridge.tasks.motion import dis_flow, opencv, warp
from ffmpeg_bridge.tasks.own_stream import OwnStream
from ffmpeg_bridge.tasks.pictures import rgb_of
from ffmpeg_bridge.tasks.refiner import Refiner
from ffmpeg_bridge.tasks.task import FULL, Item, Reading
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.mask_quality import boundary_f, jaccard
from ssvc_codec.frame import Frame

__all__ = ["SegmentTask", "resegment"]

SoftMask = NDArray[np.float32]  # (H, W), 0..1
FLOW, KEYS, HALF_KEYS, FULL_KEYS = "flow", "keys", "keys/2", "full, keys"
REFINED = " + U-Net"
BAND = 0.06  # of the square root of the object's area, on either side of its contour
_GRABCUT_SCALE, _GRABCUT_ROUNDS = 2, 3


class SegmentTask:
    """A DAVIS data set."""

    name = "Video object segmentation"
    metrics = ("mIoU (J)", "boundary F")

    def __init__(
        self, sequences: Sequence[DavisSequence], *, keyint: int, refiner: Refiner | None, with_full: bool = False
    ) -> None:
        """refiner: improves carried masks; measured beside unrefined ones. with_full: decode ssvc in full as well."""
        self.items = tuple(sequences)
        self._keyint, self._refiner, self._with_full = keyint, refiner, with_full
        pairs = [(KEYS, FULL_KEYS), (HALF_KEYS, FULL_KEYS), (FLOW, FULL)]
        pairs += [(FULL, FULL), (FULL_KEYS, FULL_KEYS)] if with_full else []
        refined = [(way + REFINED, other + REFINED) for way, other in pairs] if refiner else []
        self.pairs = (*pairs, *refined)
        self.notes = (
            "given: the mask of the first frame, to every codec; it is not scored",
            f"{FLOW}: carried by the flow in the stream, no picture decoded; {KEYS}, {HALF_KEYS}: the key frame of each"
            " or of every second GoP decoded too, and the mask segmented anew there by GrabCut around the carried one",
            f"anchors: all decoded; masks carried by OpenCV's DIS flow ({FULL}), segmented anew at the same key frames"
            f" ({FULL_KEYS})",
            "the paper's OSVOS and RAFT are not used: numbers are not comparable with its own",
        )
        if refiner:
            self.notes += (f"{REFINED.strip(' +')}: {refiner.description}",)

    def identity(self) -> list[str]:
        """Settings and refiner."""
        refiner = self._refiner.description if self._refiner else "none"
        return ["segment 1", str(self._keyint), refiner, str(self._with_full)]

    def read_own(self, item: Item, clip: Clip, stream: OwnStream) -> list[Reading]:
        """The three settings, each with and without refinement."""
        assert isinstance(item, DavisSequence)
        flows = stream.flows()
        fields = {number: field.resampled(1).values for number, field in flows.fields.items()}
        keys = stream.key_frames()
        readings = []
        for way, chosen in ((FLOW, []), (HALF_KEYS, keys[::2]), (KEYS, keys)):
            pictures = stream.pictures(only=chosen)
            n_bytes = flows.n_bytes + pictures.n_bytes - stream.head_bytes(chosen)
            seconds = flows.seconds + pictures.seconds
            carry = _Carry(item, clip, fields.get, dict(enumerate(pictures.frames)))
            for name, scores in self._variants(way, carry, chosen):
                readings.append(Reading(name, n_bytes, seconds, scores))
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
        carry = _Carry(item, clip, fields.get, dict(enumerate(frames)))
        keys = range(0, len(frames), self._keyint)
        return {
            name: scores
            for way, chosen in ((FULL, ()), (FULL_KEYS, keys))
            for name, scores in self._variants(way, carry, chosen)
        }

    def score(self, found: Mapping[str, Any]) -> tuple[float, ...]:
        """J and F, means over frames and then over sequences."""
        return tuple(float(np.mean([scores[k] for scores in found.values()])) for k in (0, 1))

    def _variants(self, way: str, carry: _Carry, keys: Collection[int]) -> list[tuple[str, list[float]]]:
        variants = [(way, carry.scores(keys, None))]
        return variants + ([(way + REFINED, carry.scores(keys, self._refiner))] if self._refiner else [])


class _Carry:
    """One sequence, its flow and what is known of its pictures."""

    def __init__(
        self,
        item: DavisSequence,
        clip: Clip,
        flow_of: Callable[[int], NDArray[np.float32] | None],
        pictures: Mapping[int, Frame | None],
    ) -> None:
        size = {"width": clip.format.width, "height": clip.format.height}
        self._truth = [item.truth(number, **size) for number in range(len(clip.frames))]
        self._flow_of, self._pictures = flow_of, pictures

    def scores(self, keys: Collection[int], refiner: Refiner | None) -> list[float]:
        """Mean J and F of all frames but the first. keys: frames to segment anew."""
        mask = self._truth[0].astype(np.float32)
        scores = []
        for number, truth in enumerate(self._truth[1:], 1):
            flow, picture = self._flow_of(number), self._pictures.get(number)
            if flow is not None:
                mask = warp(mask, flow)
            if number in keys and picture is not None:
                mask = resegment(mask, rgb_of(picture))
            if refiner is not None:
                mask = refiner.refine(mask, flow, None if picture is None else rgb_of(picture))
            found = mask >= 0.5
            scores.append((jaccard(found, truth), boundary_f(found, truth)))
        return [float(value) for value in np.mean(scores, axis=0)] if scores else [1.0, 1.0]


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
