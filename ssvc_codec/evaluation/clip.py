"""Clips in memory, read from YUV4MPEG2 (y4m): the one raw format that says its own size, rate and depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Color, Frame, Plane, VideoFormat

__all__ = ["Y4M_FRAME_MARKER", "Clip", "Y4mReader", "as_plane", "frame_bytes", "read_y4m", "write_y4m", "y4m_header"]

MAX_HEADER_BYTES = 256
Y4M_FRAME_MARKER = b"FRAME\n"
CHROMA_BIT_DEPTHS = {"420": 8, "420jpeg": 8, "420mpeg2": 8, "420paldv": 8, "420p10": 10}


@dataclass(frozen=True)
class Clip:
    """Frames of one format at a constant rate."""

    name: str
    format: VideoFormat
    frame_rate: Fraction  # frames per second
    frames: tuple[Frame, ...]

    @property
    def n_pixels(self) -> int:
        """Luma samples in all frames: what bits per pixel are counted by."""
        return self.format.width * self.format.height * len(self.frames)


class Y4mReader:
    """Frames of a y4m stream, one at a time. pts count frames.

    Raises MediaError for anything but 4:2:0 of 8 or 10 bits, for a bad header, and for a frame that is cut short.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.format, self.frame_rate = parse_header(read_line(source))

    def __iter__(self) -> Iterator[Frame]:
        for pts in count():
            marker = self._source.read(1)
            if not marker:
                return
            if not (marker + read_line(self._source)).startswith(b"FRAME"):
                raise MediaError(f"y4m frame {pts}: no FRAME marker")
            yield read_frame(self._source, self.format, pts=pts, time_base=1 / self.frame_rate)


def read_y4m(source: Path | BinaryIO, *, name: str = "", max_frames: int | None = None) -> Clip:
    """Read the first max_frames frames (all when None). Raises MediaError as Y4mReader does, and for no frame."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            return read_y4m(file, name=name or source.stem, max_frames=max_frames)
    reader = Y4mReader(source)
    frames = tuple(islice(reader, max_frames))
    if not frames:
        raise MediaError("y4m holds no frame")
    return Clip(name, reader.format, reader.frame_rate, frames)


def write_y4m(clip: Clip, destination: BinaryIO) -> None:
    """Write clip so that read_y4m gives the same samples, size, rate and depth."""
    destination.write(y4m_header(clip.format, clip.frame_rate))
    for frame in clip.frames:
        destination.write(Y4M_FRAME_MARKER + frame_bytes(frame))


def y4m_header(format: VideoFormat, frame_rate: Fraction) -> bytes:
    """The first line of a y4m file."""
    chroma = "420jpeg" if format.bit_depth == 8 else "420p10 XYSCSS=420P10"
    color_range = "FULL" if format.color.full_range else "LIMITED"
    aspect = format.sample_aspect_ratio
    return (
        f"YUV4MPEG2 W{format.width} H{format.height} F{frame_rate.numerator}:{frame_rate.denominator} Ip "
        f"A{aspect.numerator}:{aspect.denominator} C{chroma} XCOLORRANGE={color_range}\n"
    ).encode()


def frame_bytes(frame: Frame) -> bytes:
    """The planes Y, U, V one after the other, little-endian, without padding."""
    return b"".join(
        np.ascontiguousarray(p, dtype=p.dtype.newbyteorder("<")).tobytes() for p in (frame.y, frame.u, frame.v)
    )


def read_frame(source: BinaryIO, format: VideoFormat, *, pts: int, time_base: Fraction) -> Frame:
    """Read one raw frame as frame_bytes writes it. Raises MediaError when it is cut short."""
    chroma = (format.chroma_height, format.chroma_width)
    planes: list[Plane] = []
    for height, width in ((format.height, format.width), chroma, chroma):
        n_bytes = height * width * format.dtype.itemsize
        data = source.read(n_bytes)
        if len(data) != n_bytes:
            raise MediaError(f"raw frame {pts}: {len(data)} of the {n_bytes} bytes of a plane")
        planes.append(
            as_plane(np.frombuffer(data, dtype=format.dtype.newbyteorder("<")), format).reshape(height, width)
        )
    y, u, v = planes
    return Frame(y, u, v, format, pts=pts, duration=1, time_base=time_base)


def as_plane(samples: NDArray[np.integer], format: VideoFormat) -> Plane:
    """The same samples in the type of the format's planes."""
    if format.bit_depth == 8:
        return samples.astype(np.uint8, copy=False)
    return samples.astype(np.uint16, copy=False)


def read_line(source: BinaryIO) -> bytes:
    """Bytes up to a newline, without it. Raises MediaError when there is none within MAX_HEADER_BYTES."""
    line = source.readline(MAX_HEADER_BYTES)
    if not line.endswith(b"\n"):
        raise MediaError("y4m header line does not end")
    return line[:-1]


def parse_header(line: bytes) -> tuple[VideoFormat, Fraction]:
    """Format and frame rate from the first line of a y4m file."""
    magic, *fields = line.decode("ascii", errors="replace").split(" ")
    if magic != "YUV4MPEG2":
        raise MediaError("not a y4m file: it does not start with YUV4MPEG2")
    values = {field[0]: field[1:] for field in fields if field and field[0] != "X"}
    chroma = values.get("C", "420jpeg")
    if chroma not in CHROMA_BIT_DEPTHS:
        raise MediaError(f"y4m chroma {chroma}: only 4:2:0 of 8 or 10 bits is read")
    try:
        aspect = Fraction(values.get("A", "1:1").replace(":", "/")) if values.get("A") != "0:0" else Fraction(1)
        format = VideoFormat(
            width=int(values["W"]),
            height=int(values["H"]),
            bit_depth=CHROMA_BIT_DEPTHS[chroma],
            color=Color(full_range="XCOLORRANGE=FULL" in fields),
            sample_aspect_ratio=aspect,
        )
        frame_rate = Fraction(values["F"].replace(":", "/"))
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise MediaError(f"y4m header {line!r} is not valid") from error
    if frame_rate <= 0:
        raise MediaError(f"y4m frame rate {frame_rate} is not above 0")
    return format, frame_rate
