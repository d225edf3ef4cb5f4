"""Which streams can be copied into which container, and how."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import av
from av.error import FFmpegError
from av.stream import AttachmentStream

from ffmpeg_bridge.demux import Attachment, CopySource

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet as AvPacket
    from av.stream import Stream

__all__ = ["CopyPlan", "collect_streams"]

_ATTACHED_PIC = 1 << 10
_COVER_TYPES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
_CONTAINER_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "vendor_id"}
_STATISTICS = re.compile(r"(BPS|DURATION|NUMBER_OF_FRAMES|NUMBER_OF_BYTES|_STATISTICS_.*|SSVC_.*)(-\w+)?", re.I)
_TEXT_SUBTITLES = {"subrip", "srt", "text", "mov_text"}
_ASS_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, "
    b"Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, "
    b"MarginR, MarginV, Encoding\r\nStyle: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,"
    b"10,10,10,1\r\n\r\n[Events]\r\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)


def own_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Tags without those that describe the old container."""
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _CONTAINER_TAGS and not _STATISTICS.fullmatch(key)
    }


def codec_name(stream: Stream) -> str:
    """The codec's name, or "unknown codec"."""
    context = stream.codec_context
    return context.name if context is not None else "unknown codec"


def is_cover(stream: Stream) -> bool:
    """Whether a video stream is a cover picture."""
    return bool(int(stream.disposition) & _ATTACHED_PIC)


def collect_streams(source: CopySource, container: InputContainer, video: Stream) -> None:
    """Fills a source with everything of a container beside its video."""
    source.metadata = own_tags(container.metadata)
    source.video_metadata = own_tags(video.metadata)
    source.video_disposition = int(video.disposition)
    source._chapters = [dict(chapter) for chapter in container.chapters()]  # pyright: ignore[reportPrivateUsage]
    for stream in container.streams:
        if stream.index == video.index:
            continue
        if stream.type in ("audio", "subtitle"):
            source.copies.append(stream)
        elif stream.type == "attachment":
            name = stream.metadata.get("filename", f"attachment{stream.index}")
            mimetype = stream.metadata.get("mimetype", "application/octet-stream")
            data = stream.data if isinstance(stream, AttachmentStream) else b""
            source.attachments.append(Attachment(name, mimetype, data))
        elif not is_cover(stream) and not (_label(stream) == "bin_data" and container.chapters()):  # .mp4's chapters
            source.notes.append(f"stream {stream.index} ({stream.type}, {_label(stream)}) is left out")


def _label(stream: Stream) -> str:
    if stream.type == "data":
        return str(getattr(stream, "name", None) or "no codec")
    return codec_name(stream)


def cover_attachment(stream: Stream, data: bytes) -> Attachment:
    """A cover picture as the attachment that Matroska wants."""
    name, mimetype = _COVER_TYPES.get(codec_name(stream), (f"cover.{codec_name(stream)}", "image/*"))
    return Attachment(stream.metadata.get("filename", name), stream.metadata.get("mimetype", mimetype), data)


class CopyPlan:
    """The copied streams of one source in one output container."""

    def __init__(self, container: OutputContainer, source: CopySource, *, keeps_attachments: bool) -> None:
        """Adds the streams. What the container cannot hold is named in source.notes."""
        self.streams: dict[int, Stream] = {}  # by index in the source
        self._convert: dict[int, Callable[[AvPacket], AvPacket | None]] = {}
        formats = set(container.format.name.split(","))
        for stream in source.copies:
            added = self._add(container, stream, formats)
            if added is None:
                source.notes.append(
                    f"stream {stream.index} ({stream.type}, {codec_name(stream)}) is left out: "
                    f"{container.format.name} cannot hold it"
                )
                continue
            added.metadata.update(own_tags(stream.metadata))
            added.disposition = stream.disposition
            self.streams[stream.index] = added
        for attachment in source.attachments:
            if keeps_attachments:
                container.add_attachment(attachment.name, attachment.mimetype, attachment.data)
            else:
                source.notes.append(f"attachment {attachment.name} is left out: {container.format.name} cannot hold it")

    def _add(self, container: OutputContainer, stream: Stream, formats: set[str]) -> Stream | None:
        name = codec_name(stream)
        if name == "mov_text" and "matroska" in formats:
            self._convert[stream.index] = _mov_text_to_subrip
            return container.add_mux_stream("subrip")
        if name in _TEXT_SUBTITLES and name != "mov_text" and formats & {"mp4", "mov"}:
            added = container.add_stream("mov_text")
            added.codec_context.subtitle_header = _ASS_HEADER  # pyright: ignore[reportAttributeAccessIssue]
            self._convert[stream.index] = _subrip_to_mov_text
            return added
        try:
            return container.add_stream_from_template(stream, opaque=True)
        except (ValueError, FFmpegError):
            return None

    def packet(self, packet: AvPacket) -> AvPacket | None:
        """A packet ready to be muxed, or None for one whose stream is left out."""
        target = self.streams.get(packet.stream_index)
        if target is None:
            return None
        convert = self._convert.get(packet.stream_index)
        ready = packet if convert is None else convert(packet)
        if ready is not None:
            ready.stream = target
        return ready


def _with_times_of(packet: AvPacket, data: bytes) -> AvPacket:
    copy = av.Packet(data)
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base = packet.time_base
    copy.is_keyframe = True
    return copy


def _mov_text_to_subrip(packet: AvPacket) -> AvPacket | None:
    """3GPP timed text is a 16-bit length, the text, then style boxes. Empty samples are gaps."""
    data = bytes(packet)
    text = data[2 : 2 + int.from_bytes(data[:2], "big")]
    if text[:2] in (b"\xfe\xff", b"\xff\xfe"):
        text = text.decode("utf-16", "replace").encode()
    return _with_times_of(packet, text) if text.strip() else None


def _subrip_to_mov_text(packet: AvPacket) -> AvPacket | None:
    """The text without SubRip's markup, after its length."""
    text = re.sub(rb"</?[a-zA-Z][^>]*>|\{\\[^}]*\}", b"", bytes(packet)).replace(b"\r\n", b"\n").strip()
    return _with_times_of(packet, len(text).to_bytes(2, "big") + text) if text else None
