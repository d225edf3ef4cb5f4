"""Writes decoded frames with any encoder and container of FFmpeg's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import av
from av.error import FFmpegError
from av.video.reformatter import VideoReformatter

from ffmpeg_bridge.color import CHROMA_LOCATIONS, apply_color
from ffmpeg_bridge.containers import (
    COUNTS_FRAMES,
    PICTURES_ALONE,
    choose_container,
    container_options,
    default_encoder,
    with_fixed_quality,
)
from ffmpeg_bridge.copies import CopyPlan
from ffmpeg_bridge.demux import CopySource
from ffmpeg_bridge.files import OutputFile, Sink, media_errors
from ffmpeg_bridge.mux import SHAPE_SLACK, ShapedFile, display_size
from ffmpeg_bridge.planes import to_av
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Frame, VideoFormat

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet as AvPacket
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["VideoWriter"]

_PLAIN_FORMATS = {8: "yuv420p", 10: "yuv420p10le"}
_EVEN_SIDES_ONLY = {"libx264"}  # encoders that take 4:2:0 only where both sides are even
_BT601 = 5
_ROTATING = {"matroska", "webm", "mp4", "mov", "ipod"}
_MIN_SLICED_SIDE = 16  # FFV1 finds no slices for some narrower pictures; its version 1 has none


class VideoWriter:
    """One video in the making. The file has its name only after close(); abort() leaves nothing.

    Image sequences (a name with %d) are written in place.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        format: VideoFormat,
        time_base: Fraction,
        average_rate: Fraction | None = None,
        source: CopySource | None = None,
        vcodec: str | None = None,
        vcodec_options: Mapping[str, str] | None = None,
        acodec: str | None = None,
        container: str | None = None,
        threads: int = 0,
    ) -> None:
        """sink: a path whose suffix chooses the container, "-" for Matroska on standard output, or a file object.

        container: FFmpeg's name of a muxer, or mkv, y4m, ts, raw, instead of what the suffix says.
        acodec: "copy", or an encoder for sound; None copies where the container takes it.
        source: where sound, subtitles, chapters, tags and attachments come from.
        vcodec, vcodec_options: an encoder of FFmpeg's and its options, instead of default_encoder's.
        Raises MediaError for an unknown container or encoder, or where nothing can be written.
        """
        self.notes: list[str] = []
        self._format = format
        self._source = source or CopySource()
        self._is_open, self._is_started = True, False
        self._title_slack = ""
        self._reformatter = VideoReformatter()
        is_sequence = isinstance(sink, str | Path) and sink != "-" and "%" in Path(sink).name
        self._output = None if is_sequence else OutputFile(sink)
        self.name = str(sink) if self._output is None else self._output.name
        with self._aborting():
            seekable = self._output is None or self._output.seekable()
            muxer, suffix = choose_container(sink, container, name=self.name, seekable=seekable)
            encoder, options = default_encoder(suffix, bit_depth=format.bit_depth)
            if vcodec is not None:
                encoder, options = vcodec, {}
            self._container = self._open(muxer, suffix)
            rate = average_rate or Fraction(25)
            self._stream = self._add_video(encoder, {**options, **(vcodec_options or {})}, time_base, rate, threads)
            self._plan = self._add_others(acodec)

    @contextlib.contextmanager
    def _aborting(self) -> Iterator[None]:
        """Leaves nothing behind when the body fails, and names the file in the error."""
        try:
            with media_errors(f"cannot write {self.name}"):
                yield
        except BaseException:
            self.abort()
            raise

    def _open(self, muxer: str | None, suffix: str) -> OutputContainer:
        if self._output is None:
            return av.open(self.name, "w", format=muxer)
        options = dict(container_options(muxer, suffix, seekable=self._output.seekable()))
        file: OutputFile | ShapedFile = self._output
        if self._format.sample_aspect_ratio != 1 and (muxer == "matroska" or suffix.lower() in (".mkv", ".webm")):
            file = ShapedFile(self._output, display_size=display_size(self._format))
            options["write_crc32"] = "0"  # the track entry is replaced after the sum is made
            self._title_slack = SHAPE_SLACK
        try:
            return av.open(file, "w", format=muxer, options=options)
        except ValueError as error:
            raise MediaError(f"cannot write {self.name}: no container is known for the name {suffix!r}") from error

    def _add_video(
        self, encoder: str, options: dict[str, str], time_base: Fraction, rate: Fraction, threads: int
    ) -> VideoStream:
        formats = _formats_of(encoder)
        if encoder in _EVEN_SIDES_ONLY and (self._format.width % 2 or self._format.height % 2):
            formats = [name for name in formats if "444" in name]
        if encoder == "ffv1" and min(self._format.width, self._format.height) < _MIN_SLICED_SIDE:
            options = {**options, "level": "1"}
        container = self._container.format.name
        self._counts_frames = container in COUNTS_FRAMES
        self._n_frames = 0
        self._time_base = 1 / rate if self._counts_frames else time_base
        try:
            added = self._container.add_stream(encoder, rate=rate)
        except (ValueError, FFmpegError) as error:
            raise MediaError(f"cannot write {self.name}: {container} does not take {encoder}") from error
        stream = cast("VideoStream", added)
        plain = _PLAIN_FORMATS[self._format.bit_depth]
        context = stream.codec_context
        context.width, context.height = self._format.width, self._format.height
        context.pix_fmt = plain if not formats or plain in formats else _closest(formats, self._format)
        context.time_base = self._time_base
        context.sample_aspect_ratio = self._format.sample_aspect_ratio
        context.thread_count = threads
        self._is_jpeg = encoder == "mjpeg"
        if self._is_jpeg:
            context.pix_fmt = "yuvj420p"
        elif context.pix_fmt != plain:
            self.notes.append(f"converting {plain} to {context.pix_fmt} for {encoder}")
        color = self._format.color
        apply_color(stream, replace(color, full_range=True, matrix=_BT601) if self._is_jpeg else color)
        location = CHROMA_LOCATIONS[self._format.color.chroma_location]
        settings = {} if location == "unspecified" else {"chroma_sample_location": location}
        context.options = {**settings, **with_fixed_quality(options)}
        stream.metadata.update(self._source.video_metadata)
        if self._title_slack:
            stream.metadata["title"] = stream.metadata.get("title", "") + self._title_slack
        stream.disposition = self._source.video_disposition or 1  # pyright: ignore[reportAttributeAccessIssue]
        if degrees := self._format.rotation:
            stream.set_display_rotation(degrees if degrees <= 180 else degrees - 360)
            if container not in _ROTATING:
                self.notes.append(f"rotation by {degrees} degrees is left out: {container} cannot hold it")
        return stream

    def _add_others(self, acodec: str | None) -> CopyPlan:
        is_matroska = self._container.format.name == "matroska"
        if self._container.format.name in PICTURES_ALONE:
            if self._container.format.name == "rawvideo":
                size, rate = f"{self._format.width}x{self._format.height}", 1 / self._time_base
                pixels = self._stream.codec_context.pix_fmt
                self.notes.append(f"to read it: ffmpeg -f rawvideo -pix_fmt {pixels} -s {size} -r {rate} -i ...")
            kinds = sorted({stream.type for stream in self._source.copies})
            self.notes += [f"{kind} is left out: {self.name} holds pictures alone" for kind in kinds]
            return CopyPlan(self._container, CopySource(), keeps_attachments=False)
        plan = CopyPlan(self._container, self._source, keeps_attachments=is_matroska, acodec=acodec)
        self._container.metadata.update(self._source.metadata)
        if chapters := self._source.chapters():
            self._container.set_chapters(chapters)  # pyright: ignore[reportArgumentType]
        return plan

    def write(self, frame: Frame) -> None:
        """Adds one frame, and what the source has that is due before it.

        Frames with negative pts that lead up to the start of a trimmed source are dropped.
        Raises MediaError where the disk is full, BrokenPipeError where the reader has gone. Nothing is left then.
        """
        if not self._is_open:
            raise ValueError(f"{self.name} is closed")
        if frame.pts is None:
            raise ValueError("a frame without pts cannot be written")
        if frame.y.shape != (self._format.height, self._format.width) or frame.y.dtype != self._format.dtype:
            raise ValueError(f"frame is {frame.format}, {self.name} was opened for {self._format}")
        if frame.pts < 0 and self._source.is_trimmed:
            return
        with self._aborting():
            picture = to_av(self._even(frame) if self._counts_frames else frame)
            if self._is_jpeg:
                picture = self._as_jpeg(picture)
            if not self._is_started:
                self._is_started = True
                self._source.peek_sound()  # it may begin before the picture: the container's clock does with it
            self._copy_others(frame.pts * frame.time_base)
            for packet in [*self._stream.encode(picture), *self._take_covers()]:
                self._container.mux(packet)

    def _even(self, frame: Frame) -> Frame:
        """The frame at its place in a container of one frame rate."""
        seconds = (frame.pts or 0) * frame.time_base
        if self._n_frames == 0:
            self._first_seconds = seconds
        drift = abs(seconds - self._first_seconds - self._n_frames * self._time_base)
        note = f"{self.name} has one frame rate: its times differ from the source's"
        if drift > self._time_base / 2 and note not in self.notes:
            self.notes.append(note)
        self._n_frames += 1
        return replace(frame, pts=self._n_frames - 1, duration=1, time_base=self._time_base)

    def _copy_others(self, before: Fraction | None) -> None:
        for packet in self._source.take_packets(before=before):
            for ready in self._plan.packets(packet):
                self._container.mux(ready)

    def _take_covers(self) -> list[AvPacket]:
        covers, self._plan.covers = self._plan.covers, []
        return covers

    def _as_jpeg(self, picture: VideoFrame) -> VideoFrame:
        """The picture in BT.601 and full range, which all JPEG files are."""
        color = self._format.color
        jpeg = self._reformatter.reformat(
            picture,
            format="yuvj420p",
            src_colorspace=None if color.matrix == 2 else color.matrix,
            dst_colorspace=None if color.matrix == 2 else _BT601,
            src_color_range=2 if color.full_range else 1,
            dst_color_range=2,
        )
        jpeg.pts, jpeg.time_base = picture.pts, picture.time_base
        return jpeg

    def close(self) -> None:
        """Writes what is left, and gives the file its name. Also after an interruption."""
        if not self._is_open:
            return
        with self._aborting():
            for packet in cast("list[AvPacket]", self._stream.encode(None) if self._is_started else []):
                self._container.mux(packet)
            self._copy_others(None)
            for packet in self._plan.flush():
                self._container.mux(packet)
            self._container.start_encoding()
            self._container.close()
        self._is_open = False
        if self._output is not None:
            self._output.commit()

    def abort(self) -> None:
        """Throws the file away."""
        if self._is_open:
            self._is_open = False
            if self._output is not None:
                self._output.discard()
            container: Any = getattr(self, "_container", None)
            if container is not None:
                with contextlib.suppress(Exception):
                    container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()


def _formats_of(encoder: str) -> list[str]:
    """Pixel formats an encoder takes; empty where it takes any. Raises MediaError if there is no such encoder."""
    try:
        codec = av.Codec(encoder, "w")
    except (ValueError, FFmpegError) as error:
        raise MediaError(f"no video encoder {encoder!r} in this build of FFmpeg") from error
    if codec.type != "video":
        raise MediaError(f"{encoder!r} is no video encoder")
    return [pixel_format.name for pixel_format in codec.video_formats or []]


def _closest(formats: list[str], video: VideoFormat) -> str:
    """What an encoder without our 4:2:0 takes that loses least."""
    wanted = ["yuv420p10le", "yuv444p10le", "rgb48be", "rgb48le"] if video.bit_depth == 10 else []
    wanted += ["yuvj420p", "yuv420p", "yuv444p", "rgb24", "bgr24", "bgr0", "rgba"]
    return next((name for name in wanted if name in formats), formats[0])
