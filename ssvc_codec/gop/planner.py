"""Which frame is I, which is P, what it refers to, and how finely it is coded: all of that is decided here.

Low delay: frames are coded in the order in which they are shown, and a P frame refers to the frame before it. Closed
groups: an I frame, then P frames up to the next I frame; nothing refers across an I frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from ssvc_codec.bitstream.frame_header import MAX_Q_INDEX, FrameType
from ssvc_codec.frame import Frame
from ssvc_codec.gop.scene_cut import SceneCutDetector

__all__ = ["HIERARCHIES", "FramePlan", "GopPlanner", "Hierarchy", "is_refresh", "q_offset"]


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """How much finer frames are that others inherit."""

    i_offset: int  # levels of q of an I frame where P frames follow
    heritage: float  # levels of a P frame, times the logarithm of how many frames inherit it: see INHERITED


HIERARCHIES: Final = {"psnr": Hierarchy(17, 6.0), "ms-ssim": Hierarchy(12, 0.0)}  # by the tuning of the model
INHERITED: Final = 0.9  # what an heir counts, times the one before it
FAR: Final = 64  # heirs, about: more change nothing
LOWEST: Final = -8  # no P frame is coarser against q: the end of a long group would be seen to sink
REFRESH: Final = (8, 8)  # every eighth P frame refreshes the picture by so much of q,
LEAST_HEIRS: Final = 8  # where at least so many frames up to the next I frame inherit it
_N_FRAME_NUMBERS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class FramePlan:
    """How one frame is to be coded."""

    frame_type: FrameType
    frame_number: int  # frames since the I frame, modulo 2^16 (Table 5)
    q_index: int  # 0 (coarse) to 63 (fine)
    is_scene_cut: bool = False  # also where a P frame must do, so soon after the last I frame
    q_offset: int = 0  # what q_index has over that of the stream, but for the limits of q_index

    @property
    def reference(self) -> int | None:
        """frame_number of the frame that a P frame refers to; None for an I frame."""
        return None if self.frame_type is FrameType.I else (self.frame_number - 1) % _N_FRAME_NUMBERS

    def with_base(self, base_q: int) -> FramePlan:
        """The same plan where the stream's q_index is base_q, which may lie outside of 0..63.

        At 63 no frame is coarser than that.
        """
        offset = max(self.q_offset, base_q - MAX_Q_INDEX)
        return replace(self, q_index=min(max(base_q + offset, 0), MAX_Q_INDEX))


def is_refresh(distance: int, *, keyint: int) -> bool:
    """Whether a P frame refreshes the picture. distance: frames since the I frame."""
    return distance % REFRESH[0] == 0 and 0 < distance < keyint - LEAST_HEIRS


def q_offset(distance: int, *, keyint: int, hierarchy: Hierarchy) -> int:
    """What a frame gets added to the stream's q_index. distance: frames since the I frame."""
    if not distance:
        return hierarchy.i_offset if keyint > 1 else 0
    refresh = REFRESH[1] if is_refresh(distance, keyint=keyint) else 0
    return refresh + _by_heirs(keyint - 1, hierarchy.heritage)[min(keyint - 1 - distance, FAR)]


@lru_cache(maxsize=16)
def _by_heirs(n_p_frames: int, heritage: float) -> tuple[int, ...]:
    """Offsets of P frames of a group of so many, by how many inherit them, up to FAR. Their mean is 0."""
    below = [heritage * math.log(1 - INHERITED ** (heirs + 1)) for heirs in range(FAR + 1)]
    mean = sum(below[: min(n_p_frames, FAR)]) / n_p_frames
    return tuple(max(round(level - mean), LOWEST) for level in below)


class GopPlanner:
    """Plans the frames of one stream, one by one, without looking ahead."""

    def __init__(
        self,
        *,
        q_index: int,
        keyint: int,
        min_keyint: int | None = None,
        scenecut: bool = True,
        hierarchy: Hierarchy = HIERARCHIES["psnr"],
    ) -> None:
        """Opens a planner.

        q_index: of the stream, 0 to 63; frames get offsets to it. keyint: largest distance of I frames, 1 for I
        frames only. min_keyint: smallest distance at which a scene cut makes an I frame, a tenth of keyint if
        None. scenecut: look for cuts. Raises ValueError.
        """
        if not 0 <= q_index <= MAX_Q_INDEX:
            raise ValueError(f"q_index {q_index} is not in 0..{MAX_Q_INDEX}")
        if keyint < 1:
            raise ValueError(f"keyint {keyint}: 1 or more frames")
        if min_keyint is not None and not 1 <= min_keyint <= keyint:
            raise ValueError(f"min_keyint {min_keyint}: 1 frame to keyint, which is {keyint}")
        self.keyint, self.hierarchy = keyint, hierarchy
        self.min_keyint = max(1, keyint // 10) if min_keyint is None else min_keyint
        self._q_index = q_index
        self._detector = SceneCutDetector() if scenecut and keyint > 1 else None
        self._distance: int | None = None  # of the last frame from its I frame

    def plan(self, frame: Frame, *, force_key: bool = False) -> FramePlan:
        """Plans the next frame. force_key: it is an I frame whatever keyint and min_keyint say."""
        is_cut = self._detector is not None and self._detector.send(frame)
        distance = 0 if self._distance is None else self._distance + 1
        if force_key or distance >= self.keyint or (is_cut and distance >= self.min_keyint):
            distance = 0
        self._distance = distance
        frame_type = FrameType.P if distance else FrameType.I
        offset = q_offset(distance, keyint=self.keyint, hierarchy=self.hierarchy)
        plan = FramePlan(frame_type, distance % _N_FRAME_NUMBERS, 0, is_cut, offset)
        return plan.with_base(self._q_index)
