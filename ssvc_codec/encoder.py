"""Frames in, packets out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from .bitstream import (
    COCO_80,
    ClassTable,
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
from .gop.planner import HIERARCHIES, FramePlan, GopPlanner
from .gop.rate_control import CodedPicture, FrameFacts, RateControl
from .gop.statistics import FrameStatistics
from .inference.inter import InterCoder, PFrame
from .inference.intra import IntraCoder
from .inference.planes import tensor_to_planes
from .inference.reference import InterReference
from .inference.seam import filter_picture
from .packet import Packet
from .semantics.object_quality import ObjectQuality
from .weights import load_model

__all__ = ["Encoder", "FrameStatistics", "ObjectSource", "Preset", "RateControl"]

Preset = Literal["fast", "medium", "slow"]
MAX_CRF = 63
DEFAULT_CRF = 28


class ObjectSource(Protocol):
    """Says what is where, frame by frame: semantics.Tracker is one."""

    @property
    def classes(self) -> ClassTable:
        """What class ids mean."""
        ...

    def objects(self, frame: Frame, *, flow: NDArray[np.float32] | None, is_key: bool) -> tuple[SceneObject, ...]:
        """The objects of the next frame, boxes inside the picture.

        flow: (2, ceil(height / 4), ceil(width / 4)), in luma samples, to where things were in the frame
        before (0 in a stream of I frames alone); None where nothing connects the two: first frame, scene cut.
        """
        ...


class Encoder:
    """Codes planar YUV 4:2:0 frames: I frames, and P frames that refer to the frame before.

        Encoder(format, time_base=Fraction(1, 25), crf=24)  # constant quality
        Encoder(format, time_base=Fraction(1, 25), rate_control=BitrateControl(500_000))  # gop.rate_control

    One instance codes one stream, without delay. Not thread safe.
    """

    def __init__(
        self,
        format: VideoFormat,
        *,
        time_base: Fraction,
        crf: float | None = None,
        rate_control: RateControl | None = None,
        preset: Preset = "medium",
        keyint: int = 60,
        min_keyint: int | None = None,
        scenecut: bool = True,
        object_source: ObjectSource | None = None,
        object_quality: Mapping[str, int] | None = None,
        model: str = "base",
        device: str = "auto",
        threads: int = 0,
        reduced_precision: bool = True,
        keep_reconstruction: bool = False,
    ) -> None:
        """Opens an encoder.

        crf: 0 (best) to 63, the nearest whole number counts; 28 if None. rate_control: chooses q frame by frame, in
        place of crf. preset: encoder effort; "fast" rounds latents and searches motion at 1/8, the others weigh
        each latent and each cell against its rate, search at 1/4 and improve the latents of motion by gradient,
        "slow" in more steps. keyint: largest distance of I frames, 1 for I frames alone. min_keyint: smallest
        distance at which a scene cut makes an I frame (default: a tenth of keyint). scenecut: look for cuts.
        object_source: says where objects are, unless send is told. object_quality: added to q for classes by name,
        and for "background"; a group takes the largest of its objects. model: name or folder.
        device: auto, cpu or cuda. threads: 0 leaves torch's own choice. reduced_precision: bfloat16 where it is fast.
        keep_reconstruction: make it also where no P frame needs it.
        Raises ValueError, LimitError (picture size), ModelError.
        """
        if crf is not None and rate_control is not None:
            raise ValueError("crf and rate_control exclude one another")
        crf = DEFAULT_CRF if crf is None else crf
        if not (math.isfinite(crf) and 0 <= crf <= MAX_CRF):
            raise ValueError(f"crf {crf}: 0 (best) to {MAX_CRF} are possible")
        if preset not in get_args(Preset):
            raise ValueError(f"preset {preset!r}: {', '.join(get_args(Preset))} are possible")
        self.q_index = round(MAX_CRF - crf)
        self._control = rate_control
        check_picture_size(width=format.width, height=format.height)
        if threads > 0:
            torch.set_num_threads(threads)
        self.format = format
        self.time_base = time_base
        loaded = load_model(model)
        self._source = object_source
        classes = object_source.classes if object_source else COCO_80
        self._quality = ObjectQuality.by_name(object_quality or {}, classes)
        self._header_with_objects = SequenceHeader(format, loaded.name, loaded.fingerprint, classes=classes)
        self._header = self._header_with_objects
        if object_source is None:
            self._header = SequenceHeader(format, loaded.name, loaded.fingerprint)
        self._intra = IntraCoder(loaded, device=device, reduced_precision=reduced_precision, optimise=preset != "fast")
        self._inter: InterCoder | None = None
        self._keeps_picture = keyint > 1 or keep_reconstruction
        if keyint > 1:
            self._inter = InterCoder(loaded, device=device, reduced_precision=reduced_precision, effort=preset)
        hierarchy = HIERARCHIES[self._inter.tune if self._inter else "psnr"]
        self._planner = GopPlanner(
            q_index=self.q_index, keyint=keyint, min_keyint=min_keyint, scenecut=scenecut, hierarchy=hierarchy
        )
        self._reference: InterReference | None = None
        self._objects: tuple[SceneObject, ...] = ()
        self._q: NDArray[np.int64] = np.zeros((0, 0), np.int64)  # and groups, of the cells of the frame coded last
        self._groups: NDArray[np.integer] = self._q
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
        """The frame coded last as a decoder will show it; None where it is not made: neither P frames nor asked for."""
        if self._picture is None:
            return None
        return tensor_to_planes(filter_picture(self._picture, self._q, self._groups), self.format)

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """Those of the frame coded last."""
        return self._objects

    def send(
        self,
        frame: Frame,
        *,
        objects: Sequence[SceneObject] | None = None,
        q_offsets: Sequence[int] | None = None,
        force_key: bool = False,
    ) -> list[Packet]:
        """Codes one frame and returns what is ready: its packet, at once.

        objects: makes groups that can be decoded alone; None asks the object source. q_offsets: added
        to q_index, one for each group; None follows object_quality. force_key: make it an I frame. Raises
        ValueError for a frame of another format or boxes outside of it.
        """
        if frame.format != self.format:
            raise ValueError(f"frame is {frame.format}, the encoder was opened for {self.format}")
        plan = self._planner.plan(frame, force_key=force_key)
        facts = FrameFacts(frame, plan, self._planner.keyint, self._planner.hierarchy)
        if self._control is not None:
            plan = plan.with_base(self._control.next_q(facts))
        flow = self._estimate(frame, plan)
        if objects is None:
            objects = self._ask_source(frame, plan, flow)
        groups = group_map(objects, width=self.format.width, height=self.format.height)
        members = group_members(objects, groups)
        if q_offsets is None:
            q_offsets = self._quality.group_offsets(objects, members)
        offsets = np.zeros(len(members), dtype=np.int64)
        offsets[: len(q_offsets)] = q_offsets[: len(offsets)]
        coded = self._code(_Job(frame, plan, groups, members, tuple(objects), offsets, flow), facts)
        return [Packet(coded.data, frame.pts, plan.frame_type is FrameType.I, frame.duration, frame.time_base)]

    def _code(self, job: _Job, facts: FrameFacts) -> _CodedFrame:
        """Codes a frame, again where rate control wants so, and makes it the one coded last."""
        code = self._code_intra if job.plan.frame_type is FrameType.I else self._code_inter
        coded, n_trials = code(job), 1
        while self._control is not None:
            base_q = self._control.retry(facts, n_bytes=len(coded.data))
            if base_q is None or job.plan.with_base(base_q) == job.plan:
                break
            job = replace(job, plan=job.plan.with_base(base_q))
            coded, n_trials = code(job), n_trials + 1
        self._reference, self._picture, self.p_frame = coded.reference, coded.picture, coded.p_frame
        self._objects, self._q, self._groups = job.objects, job.q, job.groups
        self.statistics = FrameStatistics(
            job.frame.pts,
            job.plan.frame_type,
            job.plan.frame_number,
            job.plan.q_index,
            len(coded.data),
            _n_bytes(coded.motion),
            _n_bytes(coded.residual),
            n_object_bytes=_n_bytes(coded.motion)
            + _n_bytes(coded.residual)
            - _n_bytes(coded.motion, group=0)
            - _n_bytes(coded.residual, group=0),
            n_trials=n_trials,
        )
        if self._control is not None:
            self._control.update(self.statistics, CodedPicture(job.frame, lambda: self.reconstruction))
        return coded

    def _estimate(self, frame: Frame, plan: FramePlan) -> torch.Tensor | None:
        """Flow to the frame before, where it is needed: to code a P frame, to follow objects into an I frame."""
        if self._inter is None or self._reference is None or self._reference.planes is None:
            return None
        if plan.frame_type is FrameType.I and (self._source is None or plan.is_scene_cut):
            return None
        return self._inter.estimate(frame, self._reference.planes)

    def _ask_source(self, frame: Frame, plan: FramePlan, flow: torch.Tensor | None) -> Sequence[SceneObject]:
        if self._source is None:
            return ()
        height, width = -(-self.format.height // 4), -(-self.format.width // 4)
        values = None
        if plan.is_scene_cut:
            pass
        elif flow is not None:
            values = flow[0, :, :height, :width].float().cpu().numpy()
        elif self.statistics is not None:
            values = np.zeros((2, height, width), np.float32)  # without P frames nothing better is known
        return self._source.objects(frame, flow=values, is_key=plan.frame_type is FrameType.I)

    def flush(self) -> list[Packet]:
        """Packets of frames still held back: none, as coding has no delay."""
        return []

    def _code_intra(self, job: _Job) -> _CodedFrame:
        coded = self._intra.encode(job.frame, job.q, job.groups)
        substreams: dict[tuple[int, int], bytes] = {
            (SubstreamKind.OBJECT if group else SubstreamKind.BACKGROUND, group): data
            for group, data in sorted(coded.strings.items(), key=lambda item: (item[0] == 0, item[0]))
        }
        data = build_packet(
            substreams,
            q_index=job.plan.q_index,
            sequence_header=self._header_with_objects if job.objects else self._header,
            objects=job.objects,
            q_offsets=job.offsets.tolist(),
        )
        picture = coded.picture if self._keeps_picture else None
        if self._keeps_picture and picture is None:
            picture = self._intra.reconstruct(coded.symbols, job.q, job.groups)
        reference = None
        if self._inter is not None and picture is not None:
            reference = self._inter.after_intra(picture, self._inter.frame_maps(job.q, job.groups, job.members))
        return _CodedFrame(data, {}, coded.strings, picture, reference)

    def _code_inter(self, job: _Job) -> _CodedFrame:
        assert self._inter is not None
        assert self._reference is not None
        maps = self._inter.frame_maps(job.q, job.groups, job.members)
        coded = self._inter.encode(job.frame, maps, self._reference, flow=job.flow)
        data = build_packet(
            _substreams(coded.motion, SubstreamKind.MOTION) | _substreams(coded.residual, SubstreamKind.RESIDUAL),
            q_index=job.plan.q_index,
            frame_number=job.plan.frame_number,
            changes=ObjectChanges.between(self._objects, job.objects),
            q_offsets=job.offsets.tolist(),
        )
        return _CodedFrame(data, coded.motion, coded.residual, coded.picture, coded.reference, coded)


@dataclass(frozen=True, slots=True)
class _Job:
    """One frame and all that was decided about it."""

    frame: Frame
    plan: FramePlan
    groups: NDArray[np.uint16]  # (rows, columns)
    members: tuple[frozenset[int], ...]  # track ids of each group
    objects: tuple[SceneObject, ...]
    offsets: NDArray[np.int64]  # of each group
    flow: torch.Tensor | None  # to the frame before, not yet coded

    @property
    def q(self) -> NDArray[np.int64]:
        """q of every cell: (rows, columns)."""
        return np.clip(self.plan.q_index + self.offsets, 0, MAX_CRF)[self.groups]


@dataclass(frozen=True, slots=True)
class _CodedFrame:
    """One frame as coded with one q."""

    data: bytes
    motion: Mapping[int, bytes]  # payloads by group
    residual: Mapping[int, bytes]
    picture: torch.Tensor | None
    reference: InterReference | None
    p_frame: PFrame | None = None


def _substreams(strings: Mapping[int, bytes], kind: SubstreamKind) -> dict[tuple[int, int], bytes]:
    return {(kind, group): data for group, data in strings.items()}


def _n_bytes(strings: Mapping[int, bytes], *, group: int | None = None) -> int:
    return sum(len(data) for name, data in strings.items() if group is None or name == group)
