"""A clip that the package makes itself, to try it on: moving shapes over a moving ground, with sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.files import OutputFile, media_errors
from ssvc_codec.errors import MediaError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["demo_frame", "make_demo_clip"]

_SAMPLE_RATE = 48000
_N_OCTAVES = 5
Image = NDArray[np.float32]


def _value_noise(rng: np.random.Generator, height: int, width: int) -> Image:
    """Smooth random texture in 0..1 with detail at several scales. Returns (height, width) float32."""
    total = np.zeros((height, width), np.float32)
    for octave in range(_N_OCTAVES):
        cell = max(2, min(height, width) // 3 >> octave)
        grid = rng.random((height // cell + 3, width // cell + 3), dtype=np.float32)
        y, x = np.arange(height) / cell, np.arange(width) / cell
        row, column = y.astype(int), x.astype(int)
        fade_y = ((y - row) ** 2 * (3 - 2 * (y - row)))[:, None]
        fade_x = (x - column) ** 2 * (3 - 2 * (x - column))
        top = grid[row][:, column] * (1 - fade_x) + grid[row][:, column + 1] * fade_x
        bottom = grid[row + 1][:, column] * (1 - fade_x) + grid[row + 1][:, column + 1] * fade_x
        total += (top * (1 - fade_y) + bottom * fade_y).astype(np.float32) * 0.55**octave
    low, high = total.min(), total.max()
    return (total - low) / max(high - low, 1e-6)


class DemoScene:
    """All pictures of the demo clip; the same for the same size."""

    def __init__(self, *, width: int, height: int) -> None:
        rng = np.random.default_rng(20240607)
        self._size = (height, width)
        self._margin = max(8, width // 5)
        texture = _value_noise(rng, height, width + self._margin)
        fine = rng.random((height, width + self._margin), dtype=np.float32)
        depth = np.linspace(1.0, 0.72, height, dtype=np.float32)[:, None]
        shade = (0.85 * texture + 0.15 * fine) * depth
        dark, light = np.array([38, 62, 58], np.float32), np.array([208, 196, 150], np.float32)
        self._ground = dark + shade[..., None] * (light - dark)
        self._stripes = _value_noise(rng, height, width)
        self._y, self._x = np.mgrid[0:height, 0:width].astype(np.float32)

    def picture(self, seconds: float) -> NDArray[np.uint8]:
        """The picture at a time. Returns (height, width, 3) uint8 RGB."""
        height, width = self._size
        pan = (1 - np.cos(seconds * 0.5)) / 2 * (self._margin - 2)
        column, part = int(pan), np.float32(pan % 1)
        left, right = self._ground[:, column : column + width], self._ground[:, column + 1 : column + 1 + width]
        image = left * (1 - part) + right * part
        unit = min(height, width)
        for index, color in enumerate(((214, 72, 58), (58, 120, 214), (242, 190, 60), (84, 178, 104))):
            phase = 1.7 * index
            center_x = width * (0.5 + 0.36 * np.sin(seconds * (0.6 + 0.17 * index) + phase))
            center_y = height * (0.5 + 0.3 * np.cos(seconds * (0.8 - 0.11 * index) + 2 * phase))
            radius = unit * (0.09 + 0.025 * index)
            self._draw(image, index, seconds, (center_x, center_y), radius, np.array(color, np.float32))
        return np.clip(image + 0.5, 0, 255).astype(np.uint8)

    def _draw(
        self, image: Image, index: int, seconds: float, center: tuple[float, float], radius: float, color: Image
    ) -> None:
        """Blends one turning, shaded shape with a soft edge and a shadow into image."""
        angle = seconds * (0.7 + 0.3 * index)
        left, top = (max(0, int(middle - 1.7 * radius)) for middle in center)
        box = np.s_[top : int(center[1] + 1.7 * radius) + 2, left : int(center[0] + 1.7 * radius) + 2]
        part = image[box]
        x, y = self._x[box] - np.float32(center[0]), self._y[box] - np.float32(center[1])
        across, along = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        n_sides = (0, 4, 3, 6)[index]
        if n_sides:
            sector = np.pi / n_sides
            turn = np.mod(np.arctan2(along, across) + sector, 2 * sector) - sector
            distance = np.hypot(across, along) * np.cos(turn) / np.cos(sector) ** 0.5
        else:
            distance = np.hypot(across, along)
        shadow = np.clip((radius * 1.25 - np.hypot(x - radius * 0.2, y - radius * 0.3)) / (radius * 0.4), 0, 1)
        part *= (1 - 0.35 * shadow)[..., None]
        cover = np.clip(radius - distance + 0.5, 0, 1)[..., None]
        bands = 0.82 + 0.18 * np.sin(across * (12.0 / radius)) * np.cos(along * (7.0 / radius))
        light = np.clip(1.08 - (x + y) / (4 * radius), 0.6, 1.3) * bands + 0.12 * (self._stripes[box] - 0.5)
        part += cover * (color * light[..., None] - part)


def demo_frame(index: int, *, width: int, height: int, rate: int = 25) -> NDArray[np.uint8]:
    """One picture of the demo clip. Returns (height, width, 3) uint8 RGB."""
    return DemoScene(width=width, height=height).picture(index / rate)


def _tone(start: int, n_samples: int) -> NDArray[np.float32]:
    """A slow arpeggio that wanders between the ears. Returns (2, n_samples) float32, -1..1."""
    time = (start + np.arange(n_samples)) / _SAMPLE_RATE
    notes = np.array([220.0, 277.18, 329.63, 440.0])[(time * 2).astype(int) % 4]
    within = time * 2 % 1
    envelope = np.minimum(within * 40, 1) * np.exp(-3 * within)
    wave = np.sin(2 * np.pi * notes * within / 2) + 0.3 * np.sin(4 * np.pi * notes * within / 2)
    sides = 0.5 + 0.4 * np.sin(2 * np.pi * 0.25 * time) * np.array([[1], [-1]])
    return (0.3 * envelope * wave * sides).astype(np.float32)


def make_demo_clip(
    path: str | Path, *, seconds: float = 4, width: int = 640, height: int = 360, rate: int = 25
) -> None:
    """Writes the demo clip: H.264 and AAC in .mp4 and .mov, H.264 and FLAC in .mkv. The same bytes' worth each time.

    Raises MediaError where it cannot be written, ValueError for a size or length below 1.
    """
    if width < 2 or height < 2 or width % 2 or height % 2 or rate < 1 or seconds <= 0:
        raise ValueError(f"demo clip of {width}x{height}, {rate} fps, {seconds} s: sides even, all above 0")
    output = OutputFile(path)
    try:
        with media_errors(f"cannot write {path}"):
            try:
                container = av.open(output, "w", options={"fflags": "+bitexact"})
            except ValueError as error:
                raise MediaError(f"cannot write {path}: name it .mp4, .mov or .mkv") from error
            with container:
                _write(container, n_frames=max(1, round(seconds * rate)), width=width, height=height, rate=rate)
        output.commit()
    except BaseException:
        output.discard()
        raise


def _write(container: OutputContainer, *, n_frames: int, width: int, height: int, rate: int) -> None:
    options = {"crf": "16", "preset": "fast"}
    video = cast("VideoStream", container.add_stream("libx264", rate=rate, options=options))
    video.codec_context.width, video.codec_context.height = width, height
    video.codec_context.pix_fmt = "yuv420p"
    video.codec_context.time_base = Fraction(1, rate)
    video.codec_context.color_primaries = video.codec_context.color_trc = video.codec_context.colorspace = 1
    video.codec_context.color_range = 1
    codec = "flac" if "matroska" in container.format.name else "aac"
    audio = cast("AudioStream", container.add_stream(codec, rate=_SAMPLE_RATE))
    audio.codec_context.layout = "stereo"  # pyright: ignore[reportAttributeAccessIssue]
    scene = DemoScene(width=width, height=height)
    n_samples = 0
    for index in range(n_frames):
        rgb = av.VideoFrame.from_ndarray(scene.picture(index / rate), format="rgb24")
        picture = rgb.reformat(format="yuv420p", dst_colorspace=1, src_color_range=2, dst_color_range=1)
        picture.pts, picture.time_base = index, Fraction(1, rate)
        container.mux(video.encode(picture))
        end = (index + 1) * _SAMPLE_RATE // rate
        container.mux(_encode_tone(audio, n_samples, end - n_samples))
        n_samples = end
    container.mux(video.encode(None))
    container.mux(audio.encode(None))


def _encode_tone(audio: AudioStream, start: int, n_samples: int) -> list[av.Packet]:
    name = audio.codec_context.format.name
    samples: Any = _tone(start, n_samples)
    if name.startswith("s16"):
        samples = (samples * 32767).astype(np.int16)
    if not name.endswith("p"):
        samples = np.ascontiguousarray(samples.T).reshape(1, -1)
    block = av.AudioFrame.from_ndarray(samples, format=name, layout="stereo")
    block.sample_rate, block.pts, block.time_base = _SAMPLE_RATE, start, Fraction(1, _SAMPLE_RATE)
    return audio.encode(block)
