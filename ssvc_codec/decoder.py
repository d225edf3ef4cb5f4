"""Packets in, frames, flow or latents out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import replace
from typing import Generic, Literal, NamedTuple, TypeVar, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .bitstream import (
    CELL_LOG2,
    NO_CLASSES,
    ClassTable,
    FrameType,
    ParsedPacket,
    SceneObject,
    SequenceHeader,
    SubstreamKind,
    parse_packet,
)
from .errors import BitstreamError, LimitError, ModelError
from .flow import FlowField
from .frame import Frame, VideoFormat
from .gop.groups import group_map, group_members
from .inference.fill import Fill, Filler
from .inference.inter import InterCoder, MotionFrame
from .inference.intra import GroupSymbols, IntraCoder
from .inference.merging import shown_flow
from .inference.planes import tensor_to_planes
from .inference.reference import FrameMaps, InterReference
from .inference.seam import filter_picture
from .latents import LATENT_STRIDE, Latents, ReducedPicture
from .packet import Packet
from .selection import ResolvedSelection, Selection
from .weights import Model, load_model

__all__ = ["Decoder"]

PARTS = frozenset({"motion"})
P_KINDS = (SubstreamKind.MOTION, SubstreamKind.RESIDUAL)
POSITIONS_PER_CELL = (1 << CELL_LOG2) // LATENT_STRIDE
Output = TypeVar("Output", Frame, FlowField, Latents)


class _Grouping(NamedTuple):
    """Which cell belongs to which group, and what that follows from."""

    objects: tuple[SceneObject, ...]
    video: VideoFormat
    groups: NDArray[np.uint16]  # (rows, columns)
    members: tuple[frozenset[int], ...]  # track ids of each group


class _State(NamedTuple):
    """What a P packet needs of the packet before."""

    frame_number: int
    objects: tuple[SceneObject, ...]
    reference: InterReference | None  # None where the model has no P-frame networks


class Decoder(Generic[Output]):
    """Decodes packets in their order: to frames, or with parts={"motion"} to flow. Not thread safe.

    With output="latents" it stops before synthesis: Latents of I frames, or of motion with parts={"motion"}.
    """

    @overload
    def __init__(
        self: Decoder[Frame],
        sequence_header: bytes | None = None,
        *,
        parts: None = None,
        output: Literal["pictures"] = "pictures",
        select: Selection | None = None,
        fill: Fill = "gray",
        model: str | None = None,
        device: str = "auto",
        threads: int = 0,
        reduced_precision: bool = True,
    ) -> None: ...

    @overload
    def __init__(
        self: Decoder[FlowField],
        sequence_header: bytes | None = None,
        *,
        parts: Collection[str],
        output: Literal["pictures"] = "pictures",
        select: Selection | None = None,
        fill: Fill = "gray",
        model: str | None = None,
        device: str = "auto",
        threads: int = 0,
        reduced_precision: bool = True,
    ) -> None: ...

    @overload
    def __init__(
        self: Decoder[Latents],
        sequence_header: bytes | None = None,
        *,
        parts: Collection[str] | None = None,
        output: Literal["latents"],
        select: Selection | None = None,
        model: str | None = None,
        device: str = "auto",
        threads: int = 0,
        reduced_precision: bool = True,
    ) -> None: ...

    def __init__(
        self,
        sequence_header: bytes | None = None,
        *,
        parts: Collection[str] | None = None,
        output: Literal["pictures", "latents"] = "pictures",
        select: Selection | None = None,
        fill: Fill = "gray",
        model: str | None = None,
        device: str = "auto",
        threads: int = 0,
        reduced_precision: bool = True,
    ) -> None:
        """Opens a decoder.

        sequence_header: as CodecPrivate carries it; without it the first key frame tells. parts:
        None for the picture; {"motion"} for the optical flow alone, which reads no other substream. output: pictures
        (frames or flow), or the latents that they are made of.
        select: groups to decode; no byte of another substream is looked at. None: all. fill: what frames show
        where nothing was selected: gray, black, blur (what is around, smoothed) or hold (what was decoded there last).
        model: folder of the weights where they are not the installed ones. reduced_precision:
        bfloat16 where it is fast; symbols are the same either way.
        Raises BitstreamError, ModelError, ValueError (a selection names what the stream's class table does not have:
        later, from send, where the first key frame tells).
        """
        if parts is not None and (not parts or not PARTS.issuperset(parts)):
            raise ValueError(f"parts {sorted(parts)}: {', '.join(sorted(PARTS))} can be decoded alone")
        if output not in ("pictures", "latents"):
            raise ValueError(f"output {output!r}: pictures and latents are possible")
        if threads > 0:
            torch.set_num_threads(threads)
        self._flow_only = parts is not None
        self._latents_only = output == "latents"
        self._device, self._model, self._reduced = device, model, reduced_precision
        self._select, self._filler = select, Filler(fill)
        self._wanted: ResolvedSelection | None = None
        self._shown: NDArray[np.bool_] = np.zeros((0, 0), np.bool_)
        self._q: NDArray[np.int64] = np.zeros((0, 0), np.int64)
        self._groups: NDArray[np.integer] = self._q
        self._n_bytes_read = 0
        self._objects: tuple[SceneObject, ...] = ()
        self._header: SequenceHeader | None = None
        self._intra: IntraCoder | None = None
        self._inter: InterCoder | None = None
        self._state: _State | None = None
        self._last_maps: FrameMaps | None = None
        self._last_grouping: _Grouping | None = None
        if sequence_header is not None:
            self._open(SequenceHeader.from_bytes(sequence_header))

    @property
    def format(self) -> VideoFormat | None:
        """Format of the frames; None until a sequence header was seen."""
        return self._header.format if self._header else None

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """All objects of the frame decoded last, selected or not."""
        return self._objects

    @property
    def classes(self) -> ClassTable:
        """What class ids mean; no names until a sequence header was seen."""
        return self._header.classes if self._header else NO_CLASSES

    @property
    def shown(self) -> NDArray[np.bool_]:
        """(rows, columns) cells of 32x32 luma samples that were decoded in the last frame."""
        return self._shown

    @property
    def n_bytes_read(self) -> int:
        """Heads, payloads and their checksums used so far."""
        return self._n_bytes_read

    @property
    def phase_seconds(self) -> dict[str, float]:
        """Time spent so far by phase of decoding."""
        intra = dict(self._intra.seconds) if self._intra else {}
        return intra | {f"P {k}": v for k, v in (self._inter.seconds if self._inter else {}).items()}

    def send(self, packet: Packet) -> list[Output]:
        """Decodes one packet to its frame, or with parts={"motion"} to its flow (none for an I packet).

        With output="latents" to its latents: those of the picture of an I packet, none for a P packet, which may be
        left out; or with parts={"motion"} those of the flow.

        Groups that are not in the packet are mid grey (I), the reference (no motion) or the prediction (no residual);
        with a selection, cells that are not decoded are filled.
        Raises BitstreamError (nothing was decoded; P packets are refused until the next I packet), LimitError,
        ModelError.
        """
        state, self._state = self._state, None  # after an error nothing may refer to this frame
        parsed = parse_packet(packet.data, partial=self._select is not None)
        self._n_bytes_read += parsed.head_length
        if self._flow_only:
            self._state = state
            flow = self._flow(parsed, packet)
            return [] if flow is None else [cast(Output, flow)]
        if self._latents_only:
            is_intra = parsed.header.frame_type is FrameType.I
            return [cast(Output, self._intra_latents(parsed, packet))] if is_intra else []
        picture, self._state = self._picture(parsed, state)
        assert self._header is not None
        picture = filter_picture(picture, self._q, self._groups, self._shown)
        if self._select is not None:
            picture = self._filler(picture, self._shown, self._header.format)
        planes = tensor_to_planes(picture, self._header.format)
        frame = Frame(*planes, self._header.format, packet.pts, packet.duration, packet.time_base)
        return [cast(Output, frame)]

    def another(self) -> Decoder[Output]:
        """A decoder of the same kind for another stream. It shares the networks: use both in one thread."""
        other = copy(self)
        other._state, other._filler = None, Filler(self._filler.kind)
        other._n_bytes_read = 0
        return other

    @staticmethod
    def send_together(
        decoders: Sequence[Decoder[FlowField]], packets: Sequence[ParsedPacket]
    ) -> list[FlowField | BitstreamError | LimitError | ModelError | None]:
        """Flow of the next packet of several streams at once: faster than one by one where pictures are small.

        decoders: with parts={"motion"}, made by `another` of each other; packets: one for each, whole or up to the
        end of MOTION, all of as many rows and columns of cells. Gives for each what send gives or raises: flow,
        without times, and None for an I packet.
        """
        found: list[FlowField | BitstreamError | LimitError | ModelError | None] = []
        begun: dict[int, dict[int, MotionFrame]] = {}  # by InterCoder, by number
        for number, (decoder, parsed) in enumerate(zip(decoders, packets, strict=True)):
            found.append(None)
            decoder._n_bytes_read += parsed.head_length
            try:
                frame = decoder._begin_flow(parsed)
            except (BitstreamError, LimitError, ModelError) as error:
                found[number] = error
                continue
            if frame is not None:
                begun.setdefault(id(decoder._inter), {})[number] = frame
        for frames in begun.values():
            inter = decoders[next(iter(frames))]._inter
            assert inter is not None
            for number, reference in zip(frames, inter.decode_motions([*frames.values()]), strict=True):
                if isinstance(reference, BitstreamError):
                    found[number] = reference
                else:
                    found[number] = decoders[number]._end_flow(packets[number], reference)
        return found

    def flush(self) -> list[Output]:
        """What is still held back: nothing, as decoding has no delay."""
        return []

    def reduced_picture(self, latents: Latents, *, scale: int) -> ReducedPicture:
        """The picture of an I frame's latents at 1/scale, without the network that mends it.

        That is the mean over scale x scale samples of the linear part of the synthesis, which carries nearly all of
        the picture (docs/dataset.md has numbers). latents: of a frame that this decoder gave. Raises ValueError for a
        scale other than 2, 4, 8 and 16, and for latents of motion.
        """
        n_channels = latents.values.shape[0]
        if self._intra is None or self._header is None or n_channels != self._intra.net.config.n_y:
            raise ValueError(f"reduced pictures are made of I frames' latents, not of {n_channels} channels")
        values = torch.from_numpy(latents.values).to(self._intra.device)[None]
        peak = 2**self._header.format.bit_depth - 1
        picture = self._intra.reduced_picture(values, scale)[0].add(0.5).mul(peak).cpu().numpy()
        height, width = -(-latents.height // scale), -(-latents.width // scale)
        return ReducedPicture(picture[:, :height, :width], latents.width, latents.height, scale)

    def symbols(self, data: bytes) -> dict[int, GroupSymbols]:
        """Every coded symbol of an I packet by group: what all decoders must agree on."""
        parsed = parse_packet(data)
        if parsed.header.frame_type is not FrameType.I:
            raise BitstreamError("symbols are asked for of I packets")
        q, groups = self._cells(parsed, self._list_objects(parsed, None))
        return self._intra_symbols(parsed, q, groups)

    def _open(self, header: SequenceHeader) -> None:
        if self._header is None or self._header.weights_hash != header.weights_hash:
            model = load_model(self._model or header.model, header.weights_hash)
            self._intra, self._inter = self._load(model)
        if self._header is None or self._header.classes != header.classes:
            self._wanted = None
            if self._select is not None and header.classes != NO_CLASSES:
                self._wanted = self._select.resolve(header.classes)
        self._header = header

    def _load(self, model: Model) -> tuple[IntraCoder | None, InterCoder | None]:
        intra = inter = None
        if not self._flow_only:
            intra = IntraCoder(model, device=self._device, reduced_precision=self._reduced)
        if self._latents_only and not self._flow_only:
            return intra, None
        if "inter" in model.config:
            inter = InterCoder(model, device=self._device, reduced_precision=self._reduced)
        elif self._flow_only:
            raise ModelError(f"model {model.name} codes I frames alone: its streams have no flow")
        return intra, inter

    def _list_objects(self, parsed: ParsedPacket, state: _State | None) -> tuple[SceneObject, ...]:
        """Objects of the frame. Raises BitstreamError for a P packet without its reference."""
        if parsed.sequence_header is not None:
            self._open(parsed.sequence_header)
        elif state is None or self._header is None:
            raise BitstreamError(
                f"P frame {parsed.header.frame_number} without the frame it refers to; the next I frame goes on"
                " (bitstream.md 3.1)"
            )
        elif self._inter is None:
            raise BitstreamError(f"P frame, but model {self._header.model} codes I frames alone (bitstream.md 6.3)")
        else:
            parsed.header.check_follows(state.frame_number)
        assert self._header is not None
        self._objects = parsed.objects_after(state.objects if state else (), self._header)
        return self._objects

    def _cells(
        self, parsed: ParsedPacket, objects: tuple[SceneObject, ...]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint16]]:
        """q and group of every cell, (rows, columns) each."""
        assert self._header is not None
        _, _, groups, members = self._grouping(objects)
        parsed.check_groups(len(members))
        self._groups = groups
        self._q = np.array([parsed.q_of(group) for group in range(len(members))], dtype=np.int64)[groups]
        return self._q, groups

    def _grouping(self, objects: tuple[SceneObject, ...]) -> _Grouping:
        """Groups of the frame; the same arrays while the objects are the same."""
        assert self._header is not None
        video = self._header.format
        if self._last_grouping is None or self._last_grouping[:2] != (objects, video):
            groups = group_map(objects, width=video.width, height=video.height)
            self._last_grouping = _Grouping(objects, video, groups, group_members(objects, groups))
        return self._last_grouping

    def _maps(self, parsed: ParsedPacket, objects: tuple[SceneObject, ...]) -> FrameMaps:
        """What follows from groups and q of all cells; that of the frame before where they are the same."""
        assert self._inter is not None
        before, (q, groups) = self._last_maps, self._cells(parsed, objects)
        if before is not None and before.groups is groups and np.array_equal(before.q, q):
            return before
        self._last_maps = self._inter.frame_maps(q, groups, self._grouping(objects).members)
        return self._last_maps

    def _intra_symbols(
        self, parsed: ParsedPacket, q: NDArray[np.int64], groups: NDArray[np.uint16]
    ) -> dict[int, GroupSymbols]:
        assert self._intra is not None
        strings = self._strings(parsed, (SubstreamKind.BACKGROUND, SubstreamKind.OBJECT), groups)
        return self._intra.read_groups(strings, q, groups)

    def _strings(
        self, parsed: ParsedPacket, kinds: tuple[SubstreamKind, SubstreamKind], groups: NDArray[np.integer]
    ) -> dict[int, bytes]:
        """Payloads of the groups that are asked for. kinds: of the background, of objects. Raises ChecksumError."""
        strings: dict[int, bytes] = {}
        wanted = self._wanted_groups(groups)
        for entry in parsed.entries:
            if entry.kind == kinds[entry.group > 0] and (wanted is None or entry.group in wanted):
                strings[entry.group] = parsed.payload(entry)
                self._n_bytes_read += entry.coded_size
        return strings

    def _wanted_groups(self, groups: NDArray[np.integer]) -> frozenset[int] | None:
        """Numbers of the groups to decode, None for all. Raises ValueError where a class has no name."""
        if self._select is None:
            return None
        if not self._objects:  # such a stream may have no class table to look names up in
            return frozenset({0} if self._select.background else ())
        if self._wanted is None:
            self._wanted = self._select.resolve(self.classes)
        return self._wanted.groups(self._objects, groups)

    def _picture(self, parsed: ParsedPacket, state: _State | None) -> tuple[Tensor, _State]:
        """The picture (1, 6, H/2, W/2) and what the next packet needs."""
        objects = self._list_objects(parsed, state)
        number = parsed.header.frame_number
        if parsed.header.frame_type is FrameType.I:
            assert self._intra is not None
            q, groups = self._cells(parsed, objects)
            symbols = self._intra_symbols(parsed, q, groups)
            picture = self._intra.reconstruct(symbols, q, groups)
            self._shown = np.isin(groups, list(symbols))
            if self._inter is None:
                return picture, _State(number, objects, None)
            maps = self._inter.frame_maps(q, groups, self._grouping(objects).members)
            reference = self._inter.after_intra(picture, maps, known=self._shown)
            return picture, _State(number, objects, reference)
        assert state is not None
        assert state.reference is not None
        assert self._inter is not None
        maps = self._maps(parsed, objects)
        motion, residual = (self._strings(parsed, (kind, kind), maps.groups) for kind in P_KINDS)
        picture, reference = self._inter.decode(motion, residual, maps, state.reference)
        self._shown = reference.motion.known.reshape(maps.groups.shape)
        return picture, _State(number, objects, reference)

    def _intra_latents(self, parsed: ParsedPacket, packet: Packet) -> Latents:
        assert parsed.sequence_header is not None
        q, groups = self._cells(parsed, self._list_objects(parsed, None))
        assert self._intra is not None
        symbols = self._intra_symbols(parsed, q, groups)
        self._shown = np.isin(groups, list(symbols))
        return self._to_latents(self._intra.latents(symbols, q, groups), groups, packet)

    def _to_latents(
        self, values: Tensor, groups: NDArray[np.integer], packet: Packet, *, frame_number: int = 0
    ) -> Latents:
        """values: (1, C_y, H/16, W/16); groups: (rows, columns)."""
        assert self._header is not None
        video = self._header.format
        at16 = groups.repeat(POSITIONS_PER_CELL, 0).repeat(POSITIONS_PER_CELL, 1).astype(np.uint16)
        times = (packet.pts, packet.duration, packet.time_base)
        return Latents(values[0].contiguous().cpu().numpy(), at16, video.width, video.height, *times, frame_number)

    def _flow(self, parsed: ParsedPacket, packet: Packet) -> FlowField | Latents | None:
        """The flow of a P packet or its latents, None for an I packet."""
        frame = self._begin_flow(parsed)
        if frame is None:
            return None
        assert self._inter is not None
        latents = self._inter.empty_motion_latents(frame.maps) if self._latents_only else None
        reference = self._inter.decode_motion(*frame, latents=latents)
        flow = self._end_flow(parsed, reference, packet)
        if latents is None:
            return flow
        return self._to_latents(latents, frame.maps.groups, packet, frame_number=flow.frame_number)

    def _begin_flow(self, parsed: ParsedPacket) -> MotionFrame | None:
        """What is to be decoded of a P packet; None for an I packet, of which nothing is."""
        state, self._state = self._state, None  # after an error nothing may refer to this frame
        objects = self._list_objects(parsed, state)
        assert self._inter is not None
        maps = self._maps(parsed, objects)
        if parsed.header.frame_type is FrameType.I:
            self._shown = np.zeros(maps.groups.shape, np.bool_)
            self._state = _State(parsed.header.frame_number, objects, self._inter.after_intra(None, maps))
            return None
        assert state is not None
        assert state.reference is not None
        strings = self._strings(parsed, (SubstreamKind.MOTION, SubstreamKind.MOTION), maps.groups)
        return MotionFrame(strings, maps, state.reference)

    def _end_flow(self, parsed: ParsedPacket, reference: InterReference, packet: Packet | None = None) -> FlowField:
        """The flow of a P packet that was begun, and makes it what the next packet refers to."""
        assert self._header is not None
        number, video = parsed.header.frame_number, self._header.format
        self._state = _State(number, self._objects, reference)
        self._shown = reference.motion.known.reshape(reference.groups.shape)
        values = shown_flow(reference)[0, :, : -(-video.height // 4), : -(-video.width // 4)].cpu().numpy()
        flow = FlowField(np.ascontiguousarray(values), video.width, video.height, 4, frame_number=number)
        return (
            flow
            if packet is None
            else replace(flow, pts=packet.pts, duration=packet.duration, time_base=packet.time_base)
        )
