"""Packets in, frames out."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from .bitstream import FrameType, ParsedPacket, SequenceHeader, SubstreamKind, parse_packet
from .errors import BitstreamError
from .frame import Frame, Plane, VideoFormat
from .gop.groups import group_map
from .inference.intra import GroupSymbols, IntraCoder
from .packet import Packet
from .weights import load_model

__all__ = ["Decoder"]


class Decoder:
    """Decodes packets in their order. Not thread safe."""

    def __init__(
        self,
        sequence_header: bytes | None = None,
        *,
        model: str | None = None,
        device: str = "auto",
        threads: int = 0,
        reduced_precision: bool = True,
    ) -> None:
        """Opens a decoder.

        sequence_header: as CodecPrivate carries it; without it the first key frame tells.
        model: folder of the weights where they are not the installed ones. reduced_precision:
        bfloat16 where it is fast; symbols are the same either way.
        Raises BitstreamError, ModelError, ValueError.
        """
        if threads > 0:
            torch.set_num_threads(threads)
        self._device, self._model, self._reduced = device, model, reduced_precision
        self._header: SequenceHeader | None = None
        self._intra: IntraCoder | None = None
        if sequence_header is not None:
            self._open(SequenceHeader.from_bytes(sequence_header))

    @property
    def format(self) -> VideoFormat | None:
        """Format of the frames; None until a sequence header was seen."""
        return self._header.format if self._header else None

    @property
    def phase_seconds(self) -> dict[str, float]:
        """Time spent so far by phase of decoding."""
        return dict(self._intra.seconds) if self._intra else {}

    def send(self, packet: Packet) -> list[Frame]:
        """Decodes one packet to its frame.

        Groups that are not in the packet are mid grey. Raises BitstreamError (nothing was
        decoded, the next key frame is unaffected), LimitError, ModelError.
        """
        parsed = parse_packet(packet.data)
        planes = self._planes(parsed)
        assert self._header is not None
        return [Frame(*planes, self._header.format, packet.pts, packet.duration, packet.time_base)]

    def flush(self) -> list[Frame]:
        """Frames still held back: none, as decoding has no delay."""
        return []

    def symbols(self, data: bytes) -> dict[int, GroupSymbols]:
        """Every coded symbol of an I packet by group: what all decoders must agree on."""
        parsed = parse_packet(data)
        return self._symbols(parsed)[3]

    def _open(self, header: SequenceHeader) -> None:
        if self._intra is None or self._header is None or self._header.weights_hash != header.weights_hash:
            model = load_model(self._model or header.model, header.weights_hash)
            self._intra = IntraCoder(model, device=self._device, reduced_precision=self._reduced)
        self._header = header

    def _symbols(
        self, parsed: ParsedPacket
    ) -> tuple[IntraCoder, NDArray[np.int64], NDArray[np.uint16], dict[int, GroupSymbols]]:
        if parsed.header.frame_type is not FrameType.I:
            raise BitstreamError("this version of ssvc decodes I frames; the packet is a P frame (bitstream.md 3.1)")
        self._open(cast(SequenceHeader, parsed.sequence_header))
        assert self._intra is not None
        assert self._header is not None
        video = self._header.format
        groups = group_map(parsed.objects, width=video.width, height=video.height)
        n_groups = int(groups.max()) + 1
        parsed.check_groups(n_groups)
        q = np.array([parsed.q_of(group) for group in range(n_groups)], dtype=np.int64)[groups]
        symbols: dict[int, GroupSymbols] = {}
        for group in range(n_groups):
            data = parsed.substream(SubstreamKind.OBJECT if group else SubstreamKind.BACKGROUND, group)
            if data is not None:
                symbols[group] = self._intra.read(data, q[groups == group])
        return self._intra, q, groups, symbols

    def _planes(self, parsed: ParsedPacket) -> tuple[Plane, Plane, Plane]:
        intra, q, groups, symbols = self._symbols(parsed)
        assert self._header is not None
        video = self._header.format
        planes = intra.synthesise(symbols, q, groups, video)
        absent = ~np.isin(groups, list(symbols))
        if absent.any():
            for plane, size in zip(planes, (32, 16, 16), strict=True):
                cells = absent.repeat(size, 0).repeat(size, 1)[: plane.shape[0], : plane.shape[1]]
                plane[cells] = 1 << (video.bit_depth - 1)
        return planes
