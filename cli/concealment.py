"""What stands in for a frame that cannot be decoded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.bitstream import ClassTable, FrameType, SceneObject
from ssvc_codec.decoder import Decoder
from ssvc_codec.errors import BitstreamError, LimitError
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.inference.fill import Fill
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection

__all__ = ["ConcealingDecoder"]


class ConcealingDecoder:
    """A Decoder that repeats the last good frame, or shows mid grey, where a packet is damaged.

    The P frames after it lack their reference, so they are concealed too, until the next I frame.
    With conceal=False the first damaged packet raises its BitstreamError or LimitError.
    """

    def __init__(
        self,
        sequence_header: bytes | None,
        *,
        model: str | None,
        device: str,
        threads: int,
        conceal: bool,
        select: Selection | None = None,
        fill: Fill = "gray",
    ) -> None:
        self.n_decoded = 0
        self.n_concealed = 0
        self.n_dependent = 0  # of those concealed: P frames that only lack their reference
        self.first_error: BitstreamError | LimitError | None = None
        self._conceal = conceal
        self._last: Frame | None = None
        self._awaits_key = False  # the reference of the next P frame is lost
        self._stands_in = False  # the frame given last is no picture of its own
        how: dict[str, Any] = {"model": model, "device": device, "threads": threads, "select": select, "fill": fill}
        try:
            self._decoder: Decoder[Frame] = Decoder(sequence_header, **how)
        except BitstreamError:
            if not conceal:
                raise
            self._decoder = Decoder(**how)  # the first key frame repeats it

    @property
    def objects(self) -> tuple[SceneObject, ...]:
        """Of the frame given last; none where it stands in for one that is damaged."""
        return () if self._stands_in else self._decoder.objects

    @property
    def classes(self) -> ClassTable:
        """What class ids mean."""
        return self._decoder.classes

    def send(self, packet: Packet) -> list[Frame]:
        """The frames that this packet completes; a stand-in where it is damaged or its reference is."""
        if self._awaits_key and _is_p_frame(packet):
            self.n_dependent += 1
            return self._stand_in(packet)
        try:
            frames = self._decoder.send(packet)
        except (BitstreamError, LimitError) as error:
            self.first_error = self.first_error or error
            if not self._conceal:
                raise
            self._awaits_key = True
            return self._stand_in(packet)
        self._awaits_key = False
        return self._keep(frames)

    def flush(self) -> list[Frame]:
        """The frames that were still held back."""
        return self._keep(self._decoder.flush())

    def _keep(self, frames: list[Frame]) -> list[Frame]:
        self._stands_in = False
        self.n_decoded += len(frames)
        if frames:
            self._last = frames[-1]
        return frames

    def _stand_in(self, packet: Packet) -> list[Frame]:
        """Nothing where not even the size of the picture is known."""
        self.n_concealed += 1
        self._stands_in = True
        last = self._last
        if last is None:
            format = self._decoder.format
            if format is None:
                return []
            last = self._last = _grey(format)
        return [replace(last, pts=packet.pts, duration=packet.duration, time_base=packet.time_base)]


def _is_p_frame(packet: Packet) -> bool:
    """Where container and frame header agree. If one of them is damaged, the Decoder finds out."""
    return not packet.is_keyframe and bool(packet.data) and packet.data[0] & 3 == FrameType.P


def _grey(format: VideoFormat) -> Frame:
    luma = _flat(format.width, format.height, format.bit_depth)
    chroma = _flat(format.chroma_width, format.chroma_height, format.bit_depth)
    return Frame(y=luma, u=chroma, v=chroma, format=format)


def _flat(width: int, height: int, bit_depth: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if bit_depth == 8:
        return np.full((height, width), 128, np.uint8)
    return np.full((height, width), 512, np.uint16)
