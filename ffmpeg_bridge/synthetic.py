"""Writes a clip that was made in memory: frames and sound, for `ssvc demo` and tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.color import apply_color
from ffmpeg_bridge.containers import default_encoder
from ffmpeg_bridge.files import OutputFile, Sink, media_errors
from ffmpeg_bridge.planes import to_av
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Frame, VideoFormat

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["write_clip"]

_AUDIO_ENCODERS = {".webm": "libopus"}


def write_clip(
    sink: Sink,
    frames: Iterable[Frame],
    *,
    format: VideoFormat,
    rate: Fraction,
    sound: NDArray[np.float32],
    sample_rate: int,
) -> None:
    """Writes frames of constant rate, and sound of (2, n) samples in -1..1, as suits the sink's suffix.

    Raises MediaError where nothing can be written; nothing is left then.
    """
    output = OutputFile(sink)
    container: OutputContainer | None = None
    try:
        with media_errors(f"cannot write {output.name}"):
            suffix = "" if sink == "-" else Path(output.name).suffix.lower()
            try:
                container = av.open(output, "w", format=None if suffix else "matroska")
                video = _add_video(container, suffix, format, rate)
                audio = _add_audio(container, suffix, sample_rate)
            except ValueError as error:
                raise MediaError(f"cannot write {output.name}: {suffix!r} holds no video with sound") from error
            _mux(container, video, audio, frames, rate=rate, sound=sound)
            container.close()
        output.commit()
    except BaseException:
        output.discard()
        if container is not None:
            with contextlib.suppress(Exception):
                container.close()
        raise


def _add_video(container: OutputContainer, suffix: str, format: VideoFormat, rate: Fraction) -> VideoStream:
    encoder, options = default_encoder(suffix, bit_depth=format.bit_depth)
    stream = cast("VideoStream", container.add_stream(encoder, rate=rate))
    context = stream.codec_context
    context.width, context.height = format.width, format.height
    context.pix_fmt = "yuv420p" if format.bit_depth == 8 else "yuv420p10le"
    context.time_base = 1 / rate
    context.options = options
    apply_color(stream, format.color)
    return stream


def _add_audio(container: OutputContainer, suffix: str, sample_rate: int) -> AudioStream:
    encoder = _AUDIO_ENCODERS.get(suffix, "aac")
    return cast("AudioStream", container.add_stream(encoder, rate=sample_rate, layout="stereo"))


def _mux(
    container: OutputContainer,
    video: VideoStream,
    audio: AudioStream,
    frames: Iterable[Frame],
    *,
    rate: Fraction,
    sound: NDArray[np.float32],
) -> None:
    """Each frame, then the sound that is heard while it is seen."""
    n_before = 0
    for number, frame in enumerate(frames, 1):
        container.mux(video.encode(to_av(frame)))
        n_until = min(sound.shape[1], int(number / rate * audio.rate))
        if n_until > n_before:
            samples = np.ascontiguousarray(sound[:, n_before:n_until])
            heard = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            heard.sample_rate, heard.pts, heard.time_base = audio.rate, n_before, Fraction(1, audio.rate)
            container.mux(audio.encode(heard))
            n_before = n_until
    container.mux(audio.encode(None))
    container.mux(video.encode(None))
