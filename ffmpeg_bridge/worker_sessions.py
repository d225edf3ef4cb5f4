"""One decoder or encoder behind the worker's protocol (worker_protocol.py). Loads torch."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.worker_options import DecoderOptions, EncoderOptions
from ffmpeg_bridge.worker_protocol import (
    Channel,
    ErrorCode,
    FrameHead,
    Message,
    MessageType,
    PacketHead,
    ProtocolError,
    frame_size,
    new_planes,
)
from ssvc_codec.bitstream import BITMAP_INFO_SIZE, FOURCC, FrameType
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder, ObjectSource
from ssvc_codec.errors import BitstreamError, LimitError
from ssvc_codec.flow import FlowField, default_flow_max
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.packet import Packet
from ssvc_codec.semantics.open import open_detector

__all__ = ["DecoderSession", "EncoderSession"]

MAX_PACKET_BYTES = 1 << 30
Output = TypeVar("Output", Frame, Packet)


class _Queue(Generic[Output]):
    """Gives what a codec has made one by one, as the protocol wants it."""

    def __init__(self) -> None:
        self._ready: deque[Output] = deque()
        self._has_ended = False

    def add(self, outputs: list[Output]) -> Output | None:
        """The next output, after more have come."""
        self._ready.extend(outputs)
        return self._ready.popleft() if self._ready else None

    def clear(self) -> None:
        """Forgets them."""
        self._ready.clear()


def _check_empty(message: Message) -> None:
    if message.size:
        raise ProtocolError(f"{message.type.name} with {message.size} bytes")


class DecoderSession:
    """Packets in, frames or coloured flow out."""

    def __init__(self, extradata: bytes, options: DecoderOptions) -> None:
        """Raises ValueError, ModelError, LimitError."""
        self._flow_only = options.flow_only
        self._awaits_key = True  # nothing that a P packet may refer to
        self._queue = _Queue[Frame]()
        header = extradata[BITMAP_INFO_SIZE:] if extradata[16:20] == FOURCC else extradata
        how: dict[str, Any] = {"select": options.select, "fill": options.fill, "model": options.model}
        how |= {"device": options.device, "threads": options.threads}
        if options.flow_only:
            how["parts"] = {"motion"}
        try:
            self._decoder: Decoder[Any] = Decoder(header or None, **how)
        except BitstreamError:
            self._decoder = Decoder(**how)  # the first key frame repeats it

    def answer(self, message: Message, channel: Channel) -> None:
        """One request. Raises ProtocolError, ValueError, ModelError."""
        match message.type:
            case MessageType.PACKET:
                self._decode(message, channel)
            case MessageType.DRAIN:
                _check_empty(message)
                self._send(self._queue.add(self._decoder.flush()), channel, is_keyframe=False)
            case MessageType.FLUSH:
                _check_empty(message)
                self._queue.clear()
                self._awaits_key = True
                channel.write(MessageType.NOTHING)
            case _:
                raise ProtocolError(f"{message.type.name} for a decoder")

    def _decode(self, message: Message, channel: Channel) -> None:
        size = message.size - PacketHead.STRUCT.size
        if not 0 < size <= MAX_PACKET_BYTES:
            raise ProtocolError(f"a packet of {size} bytes")
        head = PacketHead.from_bytes(channel.read(PacketHead.STRUCT.size))
        packet = Packet(channel.read(size), head.pts, head.is_keyframe, head.duration)
        is_p_frame = packet.data[0] & 3 == FrameType.P
        if is_p_frame and self._awaits_key:
            channel.write_error(ErrorCode.DAMAGED, "a P frame without the frame it refers to; waiting for a key frame")
            return
        try:
            outputs = self._decoder.send(packet)
        except (BitstreamError, LimitError) as error:
            self._awaits_key = True
            channel.write_error(ErrorCode.DAMAGED, str(error))
            return
        self._awaits_key = False
        if self._flow_only:
            assert self._decoder.format is not None
            outputs = [_flow_picture(outputs[0] if outputs else None, packet, self._decoder.format)]
        self._send(self._queue.add(outputs), channel, is_keyframe=not is_p_frame)

    def _send(self, frame: Frame | None, channel: Channel, *, is_keyframe: bool) -> None:
        if frame is None:
            channel.write(MessageType.NOTHING)
            return
        head = FrameHead.of(frame, is_keyframe=is_keyframe)
        channel.write(MessageType.FRAME, head.to_bytes(), frame.y, frame.u, frame.v)


def _flow_picture(flow: FlowField | None, packet: Packet, video: VideoFormat) -> Frame:
    """The flow in the usual colours, as `ssvc decode --flow-only` shows it: white for a key frame."""
    from ffmpeg_bridge.flow_video import FLOW_COLOR, draw_flow

    values: NDArray[np.float32] = np.zeros((2, video.height, video.width), np.float32)
    if flow is not None:
        values = flow.resampled(1).values
    largest = default_flow_max(width=video.width, height=video.height)
    planes = draw_flow(values, rotation=video.rotation, max_pixels=largest)
    video = replace(video, bit_depth=8, color=FLOW_COLOR)
    return Frame(*planes, video, packet.pts, packet.duration, packet.time_base)


class EncoderSession:
    """Frames in, packets out."""

    def __init__(self, options: EncoderOptions) -> None:
        """Raises ValueError, LimitError, ModelError, MediaError."""
        self._format = options.format
        self._queue = _Queue[Packet]()
        self._time_base = options.time_base
        self._encoder = Encoder(
            options.format,
            time_base=options.time_base,
            crf=options.crf,
            preset=options.preset,
            keyint=options.keyint,
            min_keyint=options.min_keyint,
            scenecut=options.scenecut,
            object_source=_object_source(options),
            object_quality=options.object_quality,
            model=options.model,
            device=options.device,
            threads=options.threads,
        )

    @property
    def sequence_header(self) -> bytes:
        """For the stream's extradata."""
        return self._encoder.sequence_header

    def answer(self, message: Message, channel: Channel) -> None:
        """One request. Raises ProtocolError, ValueError."""
        match message.type:
            case MessageType.FRAME:
                frame, is_keyframe = self._read_frame(message, channel)
                packet = self._queue.add(self._encoder.send(frame, force_key=is_keyframe))
            case MessageType.DRAIN:
                _check_empty(message)
                packet = self._queue.add(self._encoder.flush())
            case _:
                raise ProtocolError(f"{message.type.name} for an encoder")
        if packet is None:
            channel.write(MessageType.NOTHING)
        else:
            channel.write(MessageType.PACKET, PacketHead.of(packet).to_bytes(), packet.data)

    def _read_frame(self, message: Message, channel: Channel) -> tuple[Frame, bool]:
        video = self._format
        if message.size != FrameHead.STRUCT.size + frame_size(video):
            raise ProtocolError(f"a frame of {message.size} bytes, not of the size that was configured")
        head = FrameHead.from_bytes(channel.read(FrameHead.STRUCT.size))
        if (head.width, head.height, head.bit_depth) != (video.width, video.height, video.bit_depth):
            raise ProtocolError(f"a frame of {head.width}x{head.height} in {head.bit_depth} bits was not configured")
        room, planes = new_planes(video)
        channel.read_into(room)
        return Frame(*planes, video, head.pts, head.duration, self._time_base), head.is_keyframe


def _object_source(options: EncoderOptions) -> ObjectSource | None:
    detector = open_detector(options.detector, device=options.device, classes=options.classes, threads=options.threads)
    if detector is None:
        return None
    from ssvc_codec.semantics.tracker import Tracker

    video = options.format
    return Tracker(detector, width=video.width, height=video.height, every=options.detect_every)
