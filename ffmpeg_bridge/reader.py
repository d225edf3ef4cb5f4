"""Reads any video that FFmpeg decodes as planar 4:2:0 frames, and .ssv files as packets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import av
from av.error import FFmpegError

from ffmpeg_bridge.color import chroma_location, color_of, rotation_of
from ffmpeg_bridge.containers import check_pixel_format, demuxer_name
from ffmpeg_bridge.copies import codec_name, collect_streams, cover_attachment, is_cover
from ffmpeg_bridge.demux import CopySource, Demuxer
from ffmpeg_bridge.files import InputFile, Source, describe, media_errors
from ffmpeg_bridge.planes import PixelConverter
from ffmpeg_bridge.ssv_reader import SsvReader, open_ssv
from ffmpeg_bridge.structure import StructureScan, scan_file
from ffmpeg_bridge.timing import nearest
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Frame, VideoFormat

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet as AvPacket
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["SsvReader", "VideoReader", "open_ssv", "open_video"]

_TEXT_ART = frozenset({"ansi", "bintext", "idf", "xbin"})  # FFmpeg takes any .txt or .bin for a film of letters
_MICROSECOND = Fraction(1, 10**6)
_MAX_DAMAGED = 1000  # packets in a row that do not decode before the file is given up


class VideoReader(CopySource):
    """Frames of one video and all that goes with them. Iterate once; use as a context manager."""

    def __init__(
        self,
        source: Source,
        *,
        start_seconds: float | None = None,
        max_frames: int | None = None,
        threads: int = 0,
        format: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Opens source and decodes its first picture, from which the format is known. See open_video."""
        super().__init__()
        self.name = "standard input" if source == "-" else describe(source)
        self._input: InputFile | None = None
        self._path = Path(source) if isinstance(source, str | Path) and source != "-" else None
        self._scan = StructureScan()
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._container = self._open(source, demuxer_name(format), dict(options or {}))
            self._stream = self._choose_stream()
            self.time_base = Fraction(self._stream.time_base or Fraction(1, 1000))
            rate = self._stream.average_rate or self._stream.guessed_rate
            self.average_rate: Fraction | None = Fraction(rate) if rate else None
            self._prepare_decoder(threads)
            collect_streams(self, self._container, self._stream)
            covers = [s for s in self._container.streams.video if is_cover(s) and s.index != self._stream.index]
            self._demuxer = Demuxer(self._container, self._stream, copies=self.copies, covers=covers)
            self._range(start_seconds, max_frames)
            self._next_pts: int | None = None
            self._last_pts: int | None = None
            self._n_undecoded = self._n_corrupt = 0
            self._break = ""  # why reading ended early
            self._pictures = self._decode()
            self._first = self._find_first()
            self.attachments += [
                cover_attachment(stream, self._demuxer.covers[stream.index])
                for stream in covers
                if stream.index in self._demuxer.covers
            ]
            on_failure.pop_all()

    def _open(self, source: Source, demuxer: str | None, options: dict[str, str]) -> InputContainer:
        name = self.name
        if (pixels := options.get("pixel_format")) is not None:
            check_pixel_format(pixels)
        how: dict[str, Any] = {"format": demuxer, "options": options, "metadata_errors": "replace"}
        if isinstance(source, str | Path) and source != "-":
            path = Path(source)
            if path.is_file() and path.stat().st_size == 0:
                raise MediaError(f"{name} is empty")
            with media_errors(f"cannot read {name}"):
                container = av.open(str(source), "r", **how)
        else:
            self._input = InputFile(source)
            if not self._input.seekable():
                self._input.on_read = self._scan.feed
            with media_errors(f"cannot read {name}"):
                container = av.open(self._input, "r", **how)
            self._input.head = None
        return container

    def _choose_stream(self) -> VideoStream:
        streams = [stream for stream in self._container.streams.video if not is_cover(stream)]
        if not streams:
            held = ", ".join(sorted({f"{stream.type} ({codec_name(stream)})" for stream in self._container.streams}))
            raise MediaError(f"{self.name} holds no video" + (f", only {held}" if held else ""))
        stream = next((s for s in streams if int(s.disposition) & 1), streams[0])
        if codec_name(stream) in _TEXT_ART:
            raise MediaError(f"{self.name} is text or unknown data, not a video")
        if stream.codec_context is None:
            raise MediaError(f"{self.name} holds video that FFmpeg cannot decode; `ssvc decode` reads .ssv files")
        return stream

    def _prepare_decoder(self, threads: int) -> None:
        is_live = self._input is not None and not self._input.seekable()
        how = "SLICE" if is_live else "AUTO"  # threads of whole frames hold back one frame each
        self._stream.thread_type = how  # pyright: ignore[reportAttributeAccessIssue]
        self._stream.codec_context.thread_count = threads

    def _range(self, start_seconds: float | None, max_frames: int | None) -> None:
        if max_frames is not None and max_frames < 1:
            raise ValueError(f"max_frames {max_frames}: 1 or more")
        if start_seconds is not None and start_seconds < 0:
            raise ValueError(f"start_seconds {start_seconds}: 0 or more")
        self._max_frames = max_frames
        self.is_trimmed = max_frames is not None or bool(start_seconds)
        self._start: Fraction | None = None
        if not start_seconds:
            return
        begin = (self._container.start_time or 0) * _MICROSECOND
        self._start = begin + Fraction(start_seconds).limit_denominator(10**6)
        self._demuxer.earliest = self._start
        if self._input is None or self._input.seekable():
            with contextlib.suppress(FFmpegError):
                self._container.seek(nearest(self._start / self.time_base), stream=self._stream, backward=True)
                self._demuxer.restart()

    def _find_first(self) -> tuple[VideoFrame, int]:
        """The first picture wanted and its pts; sets format and shift from it."""
        for picture, pts in self._pictures:
            if self._start is not None and pts * self.time_base < self._start - _MICROSECOND:
                continue
            self._shift = pts * self.time_base if self.is_trimmed else Fraction(0)
            self._n_undecoded *= self._start is None  # what leads up to the start is not wanted
            if self._max_frames and self.average_rate:
                self._expected_end = self._shift + self._max_frames / self.average_rate
            self._converter = PixelConverter(picture, base=self._format_of(picture))
            if self._converter.note:
                self.notes.append(self._converter.note)
            return picture, pts
        if self._last_pts is not None or (self._start is not None and not self._n_undecoded):
            raise MediaError(f"{self.name} ends before {float(self._start or 0):.3f} s")
        raise MediaError(f"{self.name} holds no picture that can be decoded")

    def _format_of(self, picture: VideoFrame) -> VideoFormat:
        rotation, note = rotation_of(int(getattr(picture, "rotation", 0)))
        self.notes += [note] if note else []
        if picture.interlaced_frame:
            self.notes.append("interlaced video is coded as whole frames")
        sar = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio
        location = chroma_location(self._container, self._stream.index)
        return VideoFormat(
            picture.width,
            picture.height,
            color=color_of(picture, location=location),
            rotation=rotation,
            sample_aspect_ratio=Fraction(sar) if sar and sar > 0 else Fraction(1),
        )

    @property
    def format(self) -> VideoFormat:
        """What all frames have in common."""
        return self._converter.format

    @property
    def duration_seconds(self) -> float | None:
        """Length of the whole file, or None where its container does not say."""
        duration = self._container.duration
        return None if duration is None else float(duration * _MICROSECOND)

    @property
    def n_frames_estimate(self) -> int | None:
        """About how many frames will come, for progress; None where unknown."""
        total = self._stream.frames or None
        if total is None and self.duration_seconds is not None and self.average_rate:
            total = round(self.duration_seconds * self.average_rate)
        if total is not None and self._start is not None and self.average_rate:
            total = max(1, total - round(self._start * self.average_rate))
        return self._max_frames if total is None or (self._max_frames or total) < total else total

    def _decode(self) -> Iterator[tuple[VideoFrame, int]]:
        """All pictures in order with their pts, which never stands still. Damaged packets are passed over."""
        for packet in self._packets():
            try:
                pictures = cast("list[VideoFrame]", packet.decode())
            except FFmpegError as error:
                if isinstance(error, MemoryError):
                    raise
                self._n_undecoded += 1
                if self._n_undecoded > _MAX_DAMAGED and self._last_pts is None:
                    raise MediaError(f"{self.name} does not decode: {error.strerror}") from error
                continue
            for picture in pictures:
                yield picture, self._pts_of(picture)
        if self._is_cut_off():
            self._break = self._break or "it is cut off"

    def _is_cut_off(self) -> bool:
        """Whether a Matroska file ends before its end, of which FFmpeg does not tell."""
        if "matroska" not in self._container.format.name:
            return False
        if self._input is not None:
            return not (scan_file(self._input) if self._input.seekable() else self._scan).is_whole
        if self._path is None or not self._path.is_file():
            return False
        with self._path.open("rb") as file:
            return not scan_file(file).is_whole

    @property
    def damage(self) -> str | None:
        """What is wrong with the part of the input read so far; None where nothing is."""
        faults = [f"packets that do not decode: {self._n_undecoded}"] if self._n_undecoded else []
        faults += [f"damaged pictures: {self._n_corrupt}"] if self._n_corrupt else []
        return ", ".join([*faults, *([self._break] if self._break else [])]) or None

    def _packets(self) -> Iterator[AvPacket]:
        try:
            yield from self._demuxer.video_packets()
        except BrokenPipeError:
            raise
        except (FFmpegError, OSError) as error:
            if self._last_pts is None:
                raise MediaError(f"cannot read {self.name}: {error.strerror or error}") from error
            self._break = f"it breaks off: {error.strerror or error}"

    def _pts_of(self, picture: VideoFrame) -> int:
        pts = picture.pts
        if pts is None:
            pts = self._next_pts if self._next_pts is not None else 0
        if self._last_pts is not None and pts <= self._last_pts:
            pts = self._last_pts + 1
        self._last_pts = pts
        self._next_pts = pts + self._duration_of(picture)
        return pts

    def _duration_of(self, picture: VideoFrame) -> int:
        if picture.duration:
            return picture.duration
        return nearest(1 / self.average_rate / self.time_base) if self.average_rate else 1

    def __iter__(self) -> Iterator[Frame]:
        """Frames with pts in units of time_base, from 0 on where start_seconds or max_frames is given."""
        offset = nearest(self._shift / self.time_base)
        n_frames = 0
        picture, pts = self._first
        while True:
            duration = self._duration_of(picture)
            self._end = (pts + duration) * self.time_base
            self._n_corrupt += picture.is_corrupt
            yield self._converter.convert(picture, pts=pts - offset, duration=duration, time_base=self.time_base)
            n_frames += 1
            if n_frames == self._max_frames:
                return
            following = next(self._pictures, None)
            if following is None:
                self._end = None
                return
            picture, pts = following

    def close(self) -> None:
        """Closes the file. Packets already handed out stay valid."""
        container = getattr(self, "_container", None)
        if container is not None:
            container.close()
        if self._input is not None:
            self._input.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_video(
    source: Source,
    *,
    start_seconds: float | None = None,
    max_frames: int | None = None,
    threads: int = 0,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
) -> VideoReader:
    """Opens a video of any kind that FFmpeg reads.

    source: a path, a URL, "-" for standard input, or a binary file object.
    start_seconds: frames before this time, counted from the file's start, are left out.
    max_frames: at most so many frames. With either, times start at 0.
    threads: of the decoder; 0 chooses.
    format: FFmpeg's name of a demuxer, or mkv, y4m, ts, where the input does not say; options: of the demuxer.
    Pixel formats other than 8 and 10-bit 4:2:0 are converted, which notes tells.
    Raises MediaError where there is no video to read.
    """
    return VideoReader(
        source,
        start_seconds=start_seconds,
        max_frames=max_frames,
        threads=threads,
        format=format,
        options=options,
    )
