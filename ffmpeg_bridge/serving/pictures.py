"""Packets of one part to the samples of its frames, damaged ones too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ssvc_codec.bitstream import FrameType
from ssvc_codec.errors import BitstreamError, LimitError

if TYPE_CHECKING:
    from ffmpeg_bridge.serving.part import Part
    from ssvc_codec.decoder import Decoder
    from ssvc_codec.flow import FlowField
    from ssvc_codec.frame import Frame, VideoFormat
    from ssvc_codec.packet import Packet

__all__ = ["DecoderOptions", "PictureDecoder"]


@dataclass(frozen=True, slots=True)
class DecoderOptions:
    """How the networks run."""

    device: str = "auto"
    threads: int = 0
    model: str | None = None
    strict: bool = False  # a damaged packet is an error


class PictureDecoder:
    """Decodes packets in their order to planes one after the other, as rawvideo has them. Not thread safe.

    A damaged packet repeats the frame before it (mid grey where there is none), as does what depends on it; with
    a part that is flow it stands still, in white, like key frames.
    """

    def __init__(self, sequence_header: bytes, video: VideoFormat, part: Part, options: DecoderOptions) -> None:
        """video: of the stream. Raises BitstreamError, ModelError, ValueError."""
        self._header, self._video, self._part, self._options = sequence_header, video, part, options
        self._decoder = self._open()
        self._last: bytes | None = None
        self._awaits_key = True
        self.is_damaged = False  # whether the frame given last stands in for a damaged one

    def _open(self) -> Decoder[Any]:
        from ssvc_codec.decoder import Decoder

        options, part = self._options, self._part
        how: dict[str, Any] = {"device": options.device, "threads": options.threads, "model": options.model}
        if part.flow:
            return cast("Decoder[Any]", Decoder(self._header, parts={"motion"}, select=part.select, **how))
        return cast("Decoder[Any]", Decoder(self._header, select=part.select, fill=part.fill, **how))

    def restart(self) -> None:
        """Forgets what was decoded: the next packet comes from elsewhere."""
        self._last = None
        self._awaits_key = True

    def decode(self, packet: Packet) -> bytes:
        """The samples of one frame. Raises ModelError; with strict BitstreamError and LimitError too."""
        self.is_damaged = False
        if self._awaits_key and _is_p_frame(packet):
            return self._stand_in()
        if self._part.fill == "hold" and packet.is_keyframe:
            self._decoder = self._open()  # what a place shows must not depend on how a reader came there
        try:
            outputs = self._decoder.send(packet)
            self._awaits_key = False
            samples = self._flow_samples(outputs) if self._part.flow else self._samples(outputs[0])
        except (BitstreamError, LimitError):
            if self._options.strict:
                raise
            self._awaits_key = True
            return self._stand_in()
        self._last = samples
        return samples

    def _samples(self, frame: Frame) -> bytes:
        if frame.format != self._video:
            raise BitstreamError("the picture format changes: decode the parts one by one")
        return b"".join(np.ascontiguousarray(plane).data for plane in (frame.y, frame.u, frame.v))

    def _flow_samples(self, fields: list[FlowField]) -> bytes:
        from ffmpeg_bridge.flow_video import draw_flow
        from ssvc_codec.flow import default_flow_max

        video = self._video
        values = np.zeros((2, video.height, video.width), np.float32)
        for field in fields:
            values = field.resampled(1).values
        largest = default_flow_max(width=video.width, height=video.height)
        return b"".join(plane.tobytes() for plane in draw_flow(values, rotation=video.rotation, max_pixels=largest))

    def _stand_in(self) -> bytes:
        self.is_damaged = True
        if self._part.flow:
            return self._flow_samples([])
        if self._last is None:
            video = self._video
            n_samples = video.width * video.height + 2 * video.chroma_width * video.chroma_height
            self._last = np.full(n_samples, 1 << (video.bit_depth - 1), video.dtype).tobytes()
        return self._last


def _is_p_frame(packet: Packet) -> bool:
    return bool(packet.data) and packet.data[0] & 3 == FrameType.P
