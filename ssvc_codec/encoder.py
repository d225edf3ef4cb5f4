"""Frames in, packets out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import torch

from .bitstream import COCO_80, SceneObject, SequenceHeader, SubstreamKind, build_packet, check_picture_size
from .frame import Frame, VideoFormat
from .gop.groups import group_map
from .inference.intra import IntraCoder
from .packet import Packet
from .weights import load_model

__all__ = ["Encoder", "FrameStatistics", "Preset"]

Preset = Literal["fast", "medium", "slow"]
MAX_CRF = 63


@dataclass(frozen=True, slots=True)
class FrameStatistics:
    """What one frame cost."""

    pts: int | None
    is_keyframe: bool
    q_index: int
    n_bytes: int  # of the packet


class Encoder:
    """Codes planar YUV 4:2:0 frames, each as an I frame.

    One instance codes one stream. Not thread safe.
    """

    def __init__(
        self,
        format: VideoFormat,
        *,
        time_base: Fraction,
        crf: float = 28,
        preset: Preset = "medium",
        keyint: int = 1,
        model: str = "base",
        device: str = "auto",
        threads: int = 0,
    ) -> None:
        """Opens an encoder.

        crf: 0 (best) to 63, the nearest whole number counts. preset: encoder effort; "fast" rounds latents,
        the others weigh each against its rate. keyint: largest distance of key frames; every
        frame is one for now. model: name or folder. device: auto, cpu or cuda. threads: 0
        leaves torch's own choice.
        Raises ValueError, LimitError (picture size), ModelError.
        """
        if not (math.isfinite(crf) and 0 <= crf <= MAX_CRF):
            raise ValueError(f"crf {crf}: 0 (best) to {MAX_CRF} are possible")
        if preset not in get_args(Preset):
            raise ValueError(f"preset {preset!r}: {', '.join(get_args(Preset))} are possible")
        if keyint < 1:
            raise ValueError(f"keyint {keyint}: 1 or more frames")
        check_picture_size(width=format.width, height=format.height)
        if threads > 0:
            torch.set_num_threads(threads)
        self.format = format
        self.time_base = time_base
        self.q_index = round(MAX_CRF - crf)
        loaded = load_model(model)
        self._header = SequenceHeader(format, loaded.name, loaded.fingerprint)
        self._header_with_objects = SequenceHeader(format, loaded.name, loaded.fingerprint, classes=COCO_80)
        self._intra = IntraCoder(loaded, device=device, optimise=preset != "fast")
        self.statistics: FrameStatistics | None = None  # of the frame coded last

    @property
    def sequence_header(self) -> bytes:
        """For CodecPrivate (docs/bitstream.md, section 7)."""
        return self._header.to_bytes()

    @property
    def device(self) -> str:
        """Where the networks run: cpu or cuda."""
        return self._intra.device

    def send(self, frame: Frame, *, objects: Sequence[SceneObject] = (), q_offsets: Sequence[int] = ()) -> list[Packet]:
        """Codes one frame and returns what is ready: its packet, at once.

        objects: makes groups that can be decoded alone. q_offsets: added to q_index, one for
        each group. Raises ValueError for a frame of another format or boxes outside of it.
        """
        if frame.format != self.format:
            raise ValueError(f"frame is {frame.format}, the encoder was opened for {self.format}")
        header = self._header_with_objects if objects else self._header
        groups = group_map(objects, width=self.format.width, height=self.format.height)
        offsets = np.zeros(int(groups.max()) + 1, dtype=np.int64)
        offsets[: len(q_offsets)] = q_offsets[: len(offsets)]
        q = np.clip(self.q_index + offsets, 0, MAX_CRF)[groups]
        strings = self._intra.encode(frame, q, groups)
        substreams: dict[tuple[int, int], bytes] = {
            (SubstreamKind.OBJECT if group else SubstreamKind.BACKGROUND, group): data
            for group, data in strings.items()
        }
        data = build_packet(
            substreams, q_index=self.q_index, sequence_header=header, objects=objects, q_offsets=offsets.tolist()
        )
        self.statistics = FrameStatistics(frame.pts, True, self.q_index, len(data))
        return [Packet(data, frame.pts, True, frame.duration, frame.time_base)]

    def flush(self) -> list[Packet]:
        """Packets of frames still held back: none, as coding has no delay."""
        return []
