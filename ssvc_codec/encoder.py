"""Frames in, packets out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from .bitstream import (
    COCO_80,
    FrameType,
    ObjectChanges,
    SceneObject,
    SequenceHeader,
    SubstreamKind,
    build_packet,
    check_picture_size,
)
from .frame import Frame, Plane, VideoFormat
from .gop.groups import group_map, group_members
from .gop.planner import FramePlan, GopPlanner
from .inference.inter import InterCoder, InterReference, PFrame
from .inference.intra import IntraCoder
from .inference.planes import tensor_to_planes
from .packet import Packet
from .weights import load_model

__all__ = ["Encoder", "FrameStatistics", "Preset"]

Preset = Literal["fast", "medium", "slow"]
MAX_CRF = 63


@dataclass(frozen=True, slots=True)
class FrameStatistics:
    """What one frame cost."""

    pts: int | None
    frame_type: FrameType
    frame_number: int  # since the I frame
    q_index: int
    n_bytes: int  # of the packet: header, motion and residual, checksums included
    n_motion_bytes: int  # MOTION payloads; 0 for I frames
    n_residual_bytes: int  # RESIDUAL payloads, or all of an I frame's

    @property
    def is_keyframe(self) -> bool:
        """An I frame."""
        return self.frame_type is FrameType.I

    @property
    def n_header_bytes(self) -> int:
        """Everything that is not payload."""
        return self.n_bytes - self.n_motion_bytes - self.n_residual_bytes


class Encoder:
    """Codes planar YUV 4:2:0 frames: I frames, and P frames that refer to the frame before.

    One instance codes one stream, without delay. Not thread safe.
    """

    def __init__(
        self,
        format: VideoFormat,
        *,
        time_base: Fraction,
        crf: float = 28,
        preset: Preset = "medium",
        keyint: int = 60,
        min_keyint: int | None = None,
        scenecut: bool = True,
        model: str = "base",
        device: str = "auto",
        threads: int = 0,
        reduced_precision: bool = True,
    ) -> None:
        """Opens an encoder.

        crf: 0 (best) to 63, the nearest whole number counts. preset: encoder effort; "fast" rounds latents
        and searches motion at 1/8, the others weigh each latent against its rate and search at 1/4, "slow" with
        more candidates. keyint: largest distance of I frames, 1 for I frames alone. min_keyint: smallest distance at
        which a scene cut makes an I frame (default: a tenth of keyint). scenecut: look for cuts. model: name or folder.
        device: auto, cpu or cuda. threads: 0 leaves torch's own choice. reduced_precision: bfloat16 where it is fast.
        Raises ValueError, LimitError (picture size), ModelError.
        """
        if not (math.isfinite(crf) and 0 <= crf <= MAX_CRF):
            raise ValueError(f"crf {crf}: 0 (best) to {MAX_CRF} are possible")
        if preset not in get_args(Preset):
            raise ValueError(f"preset {preset!r}: {', '.join(get_args(Preset))} are possible")
        self.q_index = round(MAX_CRF - crf)
        self._planner = GopPlanner(q_index=self.q_index, keyint=keyint, min_keyint=min_keyint, scenecut=scenecut)
        check_picture_size(width=format.width, height=format.height)
        if threads > 0:
            torch.set_num_threads(threads)
        self.format = format
        self.time_base = time_base
        loaded = load_model(model)
        self._header = SequenceHeader(format, loaded.name, loaded.fingerprint)
        self._header_with_objects = SequenceHeader(format, loaded.name, loaded.fingerprint, classes=COCO_80)
        self._intra = IntraCoder(loaded, device=device, reduced_precision=reduced_precision, optimise=preset != "fast")
        self._inter: InterCoder | None = None
        if keyint > 1:
            self._inter = InterCoder(loaded, device=device, reduced_precision=reduced_precision, effort=preset)
        self._reference: InterReference | None = None
        self._objects: tuple[SceneObject, ...] = ()
        self._picture: torch.Tensor | None = None
        self.p_frame: PFrame | None = None  # the frame coded last, if it was a P frame: for measurements
        self.statistics: FrameStatistics | None = None  # of the frame coded last

    @property
    def sequence_header(self) -> bytes:
        """For CodecPrivate (docs/bitstream.md, section 7)."""
        return self._header.to_bytes()

    @property
    def device(self) -> str:
        """Where the networks run: cpu or cuda."""
        return self._intra.device

    @property
    def phase_seconds(self) -> dict[str, float]:
        """Time spent so far by phase of coding."""
        return dict(self._intra.seconds) | {
            f"P {k}": v for k, v in (self._inter.seconds if self._inter else {}).items()
        }

    @property
    def reconstruction(self) -> tuple[Plane, Plane, Plane] | None:
        """The frame coded last as a decoder will show it; None without P frames, which alone need it."""
        return None if self._picture is None else tensor_to_planes(self._picture, self.format)

    def send(
        self,
        frame: Frame,
        *,
        objects: Sequence[SceneObject] = (),
        q_offsets: Sequence[int] = (),
        force_key: bool = False,
    ) -> list[Packet]:
        """Codes one frame and returns what is ready: its packet, at once.

        objects: makes groups that can be decoded alone. q_offsets: added to q_index, one for
        each group. force_key: make it an I frame. Raises ValueError for a frame of another format or
        boxes outside of it.
        """
        if frame.format != self.format:
            raise ValueError(f"frame is {frame.format}, the encoder was opened for {self.format}")
        groups = group_map(objects, width=self.format.width, height=self.format.height)
        plan = self._planner.plan(frame, force_key=force_key)
        offsets = np.zeros(int(groups.max()) + 1, dtype=np.int64)
        offsets[: len(q_offsets)] = q_offsets[: len(offsets)]
        q = np.clip(plan.q_index + offsets, 0, MAX_CRF)[groups]
        code = self._code_intra if plan.frame_type is FrameType.I else self._code_inter
        data, n_motion, n_residual = code(frame, plan, q, groups, tuple(objects), offsets.tolist())
        self._objects = tuple(objects)
        self.statistics = FrameStatistics(
            frame.pts, plan.frame_type, plan.frame_number, plan.q_index, len(data), n_motion, n_residual
        )
        return [Packet(data, frame.pts, self.statistics.is_keyframe, frame.duration, frame.time_base)]

    def flush(self) -> list[Packet]:
        """Packets of frames still held back: none, as coding has no delay."""
        return []

    def _code_intra(
        self,
        frame: Frame,
        plan: FramePlan,
        q: NDArray[np.int64],
        groups: NDArray[np.uint16],
        objects: tuple[SceneObject, ...],
        offsets: list[int],
    ) -> tuple[bytes, int, int]:
        symbols = self._intra.analyse(frame, q, groups)
        strings = self._intra.write_groups(symbols, q, groups)
        substreams: dict[tuple[int, int], bytes] = {
            (SubstreamKind.OBJECT if group else SubstreamKind.BACKGROUND, group): data
            for group, data in strings.items()
        }
        header = self._header_with_objects if objects else self._header
        data = build_packet(
            substreams, q_index=plan.q_index, sequence_header=header, objects=objects, q_offsets=offsets
        )
        self.p_frame = None
        if self._inter is not None:
            self._picture = self._intra.reconstruct(symbols, q, groups)
            maps = self._inter.frame_maps(q, groups, group_members(objects, groups))
            self._reference = self._inter.after_intra(self._picture, maps)
        return data, 0, sum(map(len, strings.values()))

    def _code_inter(
        self,
        frame: Frame,
        plan: FramePlan,
        q: NDArray[np.int64],
        groups: NDArray[np.uint16],
        objects: tuple[SceneObject, ...],
        offsets: list[int],
    ) -> tuple[bytes, int, int]:
        assert self._inter is not None
        assert self._reference is not None
        maps = self._inter.frame_maps(q, groups, group_members(objects, groups))
        coded = self._inter.encode(frame, maps, self._reference)
        self._reference, self._picture, self.p_frame = coded.reference, coded.picture, coded
        data = build_packet(
            _substreams(coded.motion, SubstreamKind.MOTION) | _substreams(coded.residual, SubstreamKind.RESIDUAL),
            q_index=plan.q_index,
            frame_number=plan.frame_number,
            changes=ObjectChanges.between(self._objects, objects),
            q_offsets=offsets,
        )
        return data, sum(map(len, coded.motion.values())), sum(map(len, coded.residual.values()))


def _substreams(strings: Mapping[int, bytes], kind: SubstreamKind) -> dict[tuple[int, int], bytes]:
    return {(kind, group): data for group, data in strings.items()}
