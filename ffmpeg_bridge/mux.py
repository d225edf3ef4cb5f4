"""The Matroska profile of .ssv: one V_MS/VFW/FOURCC track, written by libavformat.

PyAV cannot make a stream of a codec that libavcodec does not know. So the track
goes in as MPEG-4 part 2 with our CodecPrivate, and the file object below replaces
its TrackEntry on the way to the disk (docs/decisions/0001-container-matroska-vfw.md).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from ffmpeg_bridge import ebml
from ffmpeg_bridge.files import OutputFile
from ssvc_codec.frame import VideoFormat

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["FOURCC", "SHAPE_SLACK", "ShapedFile", "SsvFile", "add_ssv_stream", "display_size"]

FOURCC = b"SSV1"
CODEC_ID = "V_MS/VFW/FOURCC"
_STAND_IN = "V_MPEG4/ISO/ASP"
_SLACK = bytes(48)  # at the end of the stand-in's CodecPrivate: room for DisplayWidth and DisplayHeight
_MAX_HEADER = 1 << 24

SHAPE_SLACK = "-" * 31 + "\x7f"
"""At the end of a track's title: room for DisplayWidth and DisplayHeight in a ShapedFile."""


class _TrackFile:
    """An OutputFile for libavformat that replaces one TrackEntry by another of equal length."""

    def __init__(self, output: OutputFile, *, mark: bytes, replace: Callable[[bytes], bytes]) -> None:
        """mark: bytes by which the TrackEntry is known. replace: makes its new payload of the old one."""
        self._output = output
        self._mark = mark
        self._replace = replace
        self._header: bytes | None = b""  # held back until the track list is whole
        self._entry = b""
        self._entry_start = 0
        self._position = 0
        self.name = output.name

    def seekable(self) -> bool:
        """Whether seek() works: false for pipes."""
        return self._output.seekable()

    def write(self, data: bytes) -> int:
        """Writes data, with the new TrackEntry wherever the old one would be."""
        if self._header is not None:
            self._header += data
            tracks = ebml.find_tracks(self._header)
            if tracks is None and len(self._header) < _MAX_HEADER:
                return len(data)
            header, self._header = self._header, None
            self._find_entry(header, *(tracks or (0, 0)))
            self._write(header)
        else:
            self._write(data)
        return len(data)

    def _find_entry(self, header: bytes, start: int, end: int) -> None:
        for element_id, _, entry_start, entry_end in ebml.iter_elements(header, start, end):
            if element_id == ebml.TRACK_ENTRY and self._mark in header[entry_start:entry_end]:
                self._entry = self._replace(header[entry_start:entry_end])
                self._entry_start = entry_start
                return
        raise RuntimeError("libavformat wrote no track entry for the video")

    def _write(self, data: bytes) -> None:
        first = max(self._entry_start - self._position, 0)
        last = min(self._entry_start + len(self._entry) - self._position, len(data))
        if first < last:
            offset = self._position - self._entry_start
            data = data[:first] + self._entry[offset + first : offset + last] + data[last:]
        self._output.write(data)
        self._position += len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves the position, as files do."""
        self._position = self._output.seek(offset, whence)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position


class SsvFile(_TrackFile):
    """Replaces the stand-in's TrackEntry by ours."""

    def __init__(self, output: OutputFile, *, display_size: tuple[int, int]) -> None:
        """display_size: (width, height) that give the picture its shape, before rotation."""
        mark = ebml.element(ebml.CODEC_ID, _STAND_IN)
        super().__init__(output, mark=mark, replace=lambda entry: _our_entry(entry, display_size))


class ShapedFile(_TrackFile):
    """Gives the video whose title ends with SHAPE_SLACK its shape: PyAV cannot set a stream's aspect ratio."""

    def __init__(self, output: OutputFile, *, display_size: tuple[int, int]) -> None:
        """display_size: (width, height) that give the picture its shape, before rotation."""
        super().__init__(output, mark=SHAPE_SLACK.encode(), replace=lambda entry: _shaped_entry(entry, display_size))


def _our_entry(stand_in: bytes, display_size: tuple[int, int]) -> bytes:
    """The stand-in's TrackEntry payload as V_MS/VFW/FOURCC, with the shape of the picture, in equally many bytes."""
    parts: list[bytes] = []
    for element_id, start, payload, end in ebml.iter_elements(stand_in):
        if element_id == ebml.CODEC_ID:
            parts.append(ebml.element(ebml.CODEC_ID, CODEC_ID))
        elif element_id == ebml.CODEC_PRIVATE:
            parts.append(ebml.element(ebml.CODEC_PRIVATE, stand_in[payload : end - len(_SLACK)]))
        elif element_id == ebml.VIDEO:
            parts.append(_shaped_video(stand_in, payload, end, display_size))
        elif element_id != ebml.VOID:
            parts.append(stand_in[start:end])
    return _padded(parts, len(stand_in))


def _shaped_entry(entry: bytes, display_size: tuple[int, int]) -> bytes:
    """A TrackEntry's payload without the slack in its title, with the shape of the picture, in equally many bytes."""
    parts: list[bytes] = []
    for element_id, start, payload, end in ebml.iter_elements(entry):
        if element_id == ebml.NAME:
            title = entry[payload:end].removesuffix(SHAPE_SLACK.encode())
            parts.append(ebml.element(ebml.NAME, title) if title else b"")
        elif element_id == ebml.VIDEO:
            parts.append(_shaped_video(entry, payload, end, display_size))
        elif element_id != ebml.VOID:
            parts.append(entry[start:end])
    return _padded(parts, len(entry))


def _shaped_video(entry: bytes, start: int, end: int, display_size: tuple[int, int]) -> bytes:
    replaced = (ebml.DISPLAY_WIDTH, ebml.DISPLAY_HEIGHT, ebml.DISPLAY_UNIT)
    kept = [entry[s:e] for i, s, _, e in ebml.iter_elements(entry, start, end) if i not in replaced]
    width, height = display_size
    shape = ebml.element(ebml.DISPLAY_WIDTH, width) + ebml.element(ebml.DISPLAY_HEIGHT, height)
    return ebml.element(ebml.VIDEO, b"".join(kept) + shape)


def _padded(parts: list[bytes], n_bytes: int) -> bytes:
    entry = b"".join(parts)
    return entry + ebml.void(n_bytes - len(entry))


def display_size(video: VideoFormat) -> tuple[int, int]:
    """DisplayWidth and DisplayHeight in pixels: the coded size with the longer side stretched."""
    sar = video.sample_aspect_ratio
    if sar >= 1:
        return max(1, round(video.width * sar)), video.height
    return video.width, max(1, round(video.height / sar))


def add_ssv_stream(
    container: OutputContainer, video: VideoFormat, *, codec_private: bytes, rate: Fraction | None
) -> VideoStream:
    """Adds the stand-in track. codec_private: BITMAPINFOHEADER with FourCC SSV1, then the sequence header."""
    if codec_private[16:20] != FOURCC:
        raise ValueError(f"codec_private holds FourCC {codec_private[16:20]!r}, expected {FOURCC!r}")
    header = ebml.template_header(video, codec_id=_STAND_IN, codec_private=codec_private + _SLACK, rate=rate)
    options = {"probesize": "32", "analyzeduration": "0"}
    with av.open(io.BytesIO(header), "r", format="matroska", options=options) as template:
        stream = container.add_stream_from_template(template.streams.video[0], opaque=True)
    if rate:
        stream.codec_context.framerate = rate  # libavformat makes DefaultDuration of it
    return stream
