"""libjpeg-turbo through Pillow: 4:2:0, progressive, optimised Huffman tables."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from ffmpeg_bridge.bench.codec import Coded, decode_with_ffmpeg
from ffmpeg_bridge.bench.programs import FFMPEG, has_program, run_program
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.frame import Frame, Plane

__all__ = ["JPEG_QUALITIES", "LibjpegCodec"]

JPEG_QUALITIES = (98, 95, 91, 85, 75, 60, 40, 20, 8)


@dataclass(frozen=True)
class LibjpegCodec:
    """Every frame a file of its own; whole files are counted."""

    points: tuple[float, ...] = JPEG_QUALITIES
    name: str = "libjpeg"
    is_intra: bool = True

    def missing(self) -> str:
        """Why it cannot be measured here; empty where it can."""
        return "" if has_program("ffmpeg") else "ffmpeg, which decodes its files, is not installed"

    def version(self) -> str:
        """Of Pillow, which brings the library."""
        return f"Pillow {PIL.__version__}"

    def command(self) -> str:
        """The options of Pillow."""
        return 'Image.save("JPEG", quality=POINT, subsampling="4:2:0", optimize=True, progressive=True)'

    def identity(self, point: float) -> list[str]:
        """Options and version."""
        return [self.name, self.command(), f"{point:g}", self.version()]

    def code(self, clip: Clip, point: float, *, folder: Path) -> Coded:
        """Encodes and decodes clip.

        Pillow takes full-size chroma; repeating each chroma sample 2x2 makes libjpeg's averaging give it back
        unchanged. ffmpeg decodes, because it hands out the chroma planes before any upsampling.
        """
        pictures = []
        encode_seconds = 0.0
        for frame in clip.frames:
            image = Image.merge("YCbCr", [Image.fromarray(p) for p in (frame.y, *full_size_chroma(frame))])
            buffer = io.BytesIO()
            start = time.perf_counter()
            image.save(buffer, "JPEG", quality=int(point), subsampling="4:2:0", optimize=True, progressive=True)
            encode_seconds += time.perf_counter() - start
            pictures.append(buffer.getvalue())
        path = folder / "libjpeg.mjpeg"
        path.write_bytes(b"".join(pictures))
        start = time.perf_counter()
        run_program([*FFMPEG, "-f", "mjpeg", "-i", str(path), "-f", "null", "-"])
        decode_seconds = time.perf_counter() - start
        frames = decode_with_ffmpeg(path, clip, pixel_format="yuvj420p")
        return Coded(sum(len(p) for p in pictures), encode_seconds, decode_seconds, frames, path)


def full_size_chroma(frame: Frame) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """U and V with each sample repeated 2x2, cut to the size of luma."""

    def repeat(plane: Plane) -> NDArray[np.generic]:
        return plane.repeat(2, axis=0).repeat(2, axis=1)[: frame.y.shape[0], : frame.y.shape[1]]

    return repeat(frame.u), repeat(frame.v)
