"""Sound for containers that cannot hold it as it is: decoded and coded anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import av
from av.error import FFmpegError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet as AvPacket

__all__ = ["SoundEncoder"]

_ENCODERS = {"opus": "libopus", "vorbis": "libvorbis", "mp3": "libmp3lame"}
_RATES = (48000, 44100)


class SoundEncoder:
    """One sound stream in the output's own codec. Damaged packets of the source are passed over."""

    def __init__(self, container: OutputContainer, source: AudioStream, codec: str) -> None:
        """codec: an encoder, or the name of a codec. Raises ValueError, FFmpegError where it cannot be had."""
        self._source = source
        encoder = av.Codec(_ENCODERS.get(codec, codec), "w")
        rates = encoder.audio_rates or []
        rate = source.codec_context.sample_rate
        if rates and rate not in rates:
            rate = next((usual for usual in _RATES if usual in rates), rates[0])
        layout = source.codec_context.layout.name
        self.stream = cast("AudioStream", container.add_stream(encoder.name, rate=rate, layout=layout))
        if encoder.audio_formats:
            self.stream.codec_context.format = encoder.audio_formats[0]
        self.codec = self.stream.codec_context.codec.canonical_name
        self._is_started = False

    def encode(self, packet: AvPacket) -> Iterator[AvPacket]:
        """What a packet of the source becomes."""
        yield from self._encode(packet)

    def flush(self) -> Iterator[AvPacket]:
        """What was still held back."""
        if self._is_started:
            yield from self._encode(None)
            yield from self.stream.encode(None)

    def _encode(self, packet: AvPacket | None) -> Iterator[AvPacket]:
        try:
            frames = self._source.codec_context.decode(packet)
        except FFmpegError:
            return
        for frame in frames:
            self._is_started = True
            yield from self.stream.encode(frame)
