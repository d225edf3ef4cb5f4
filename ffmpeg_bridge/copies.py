"""Which streams can be copied into which container, and how."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import av
from av.error import FFmpegError
from av.stream import AttachmentStream, Disposition

from ffmpeg_bridge.demux import Attachment, CopySource
from ffmpeg_bridge.transcode import SoundEncoder
from ssvc_codec.errors import MediaError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet as AvPacket
    from av.stream import Stream

__all__ = ["CopyPlan", "collect_streams"]

_ATTACHED_PIC = 1 << 10
_COVER_TYPES = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}
_CONTAINER_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "vendor_id"}
_STATISTICS = re.compile(r"(BPS|DURATION|NUMBER_OF_FRAMES|NUMBER_OF_BYTES|_STATISTICS_.*|SSVC_.*)(-\w+)?", re.I)
_COVER_MIMES = {mime for _, mime in _COVER_TYPES.values()}
_TS_SUBTITLES = {"dvbsub", "dvb_subtitle", "dvb_teletext"}
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

    def __init__(
        self, container: OutputContainer, source: CopySource, *, keeps_attachments: bool, acodec: str | None = None
    ) -> None:
        """Adds the streams. What the container cannot hold is converted or left out, which source.notes tells.

        acodec: "copy", or an encoder for sound; None copies where the container takes it.
        """
        self.streams: dict[int, Stream] = {}  # by index in the source
        self.covers: list[AvPacket] = []  # to be muxed first
        self._convert: dict[int, Callable[[AvPacket], AvPacket | None]] = {}
        self._sound: dict[int, SoundEncoder] = {}
        self._container, self._acodec = container, acodec
        self._formats = set(container.format.name.split(","))
        for stream in source.copies:
            added = self._add(stream, source.notes)
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
            elif not self._add_cover(attachment):
                source.notes.append(f"attachment {attachment.name} is left out: {container.format.name} cannot hold it")

    def _add(self, stream: Stream, notes: list[str]) -> Stream | None:
        name = codec_name(stream)
        formats, container = self._formats, self._container
        if name == "mov_text" and "matroska" in formats:
            self._convert[stream.index] = _mov_text_to_subrip
            return container.add_mux_stream("subrip")
        if name in _TEXT_SUBTITLES and formats & {"mp4", "mov"} and name != "mov_text":
            added = container.add_stream("mov_text")
            added.codec_context.subtitle_header = _ASS_HEADER  # pyright: ignore[reportAttributeAccessIssue]
            self._convert[stream.index] = _subrip_to_mov_text
            return added
        if name in _TEXT_SUBTITLES and "webm" in formats:
            self._convert[stream.index] = _mov_text_to_subrip if name == "mov_text" else _subrip_to_webvtt
            return container.add_mux_stream("webvtt")
        if stream.type == "subtitle" and "mpegts" in formats and name not in _TS_SUBTITLES:
            return None  # libavformat would write them as data that nobody can name
        if stream.type == "audio" and self._acodec not in (None, "copy"):
            return self._add_sound(stream, str(self._acodec), notes)
        try:
            return container.add_stream_from_template(stream, opaque=True)
        except (ValueError, FFmpegError):
            default = container.default_audio_codec
            if stream.type != "audio" or self._acodec == "copy" or default == "none":
                return None
            return self._add_sound(stream, default, notes)

    def _add_sound(self, stream: Stream, codec: str, notes: list[str]) -> Stream | None:
        try:
            sound = SoundEncoder(self._container, cast("AudioStream", stream), codec)
        except (ValueError, FFmpegError) as error:
            if self._acodec is not None:
                raise MediaError(f"{self._container.format.name} takes no sound by {codec!r}: {error}") from error
            return None
        self._sound[stream.index] = sound
        if self._acodec is None:
            notes.append(
                f"stream {stream.index} (audio, {codec_name(stream)}) becomes {sound.codec}: "
                f"{self._container.format.name} cannot hold it"
            )
        return sound.stream

    def _add_cover(self, attachment: Attachment) -> bool:
        """Adds a picture as the cover of an .mp4. False for what is no picture, or for other containers."""
        if not (self._formats & {"mp4", "mov"} and attachment.mimetype in _COVER_MIMES):
            return False
        try:
            with av.open(io.BytesIO(attachment.data)) as picture:
                added = self._container.add_stream_from_template(picture.streams.video[0], opaque=True)
        except (ValueError, IndexError, FFmpegError):
            return False
        added.disposition = Disposition.attached_pic
        packet = av.Packet(attachment.data)
        packet.stream, packet.is_keyframe = added, True
        packet.pts = packet.dts = 0
        self.covers.append(packet)
        return True

    def packets(self, packet: AvPacket) -> Iterator[AvPacket]:
        """What a packet of the source becomes in the output."""
        sound = self._sound.get(packet.stream_index)
        if sound is not None:
            yield from sound.encode(packet)
        elif (ready := self.packet(packet)) is not None:
            yield ready

    def flush(self) -> Iterator[AvPacket]:
        """What encoders of sound held back."""
        for sound in self._sound.values():
            yield from sound.flush()

    def packet(self, packet: AvPacket) -> AvPacket | None:
        """A packet ready to be muxed as it is, or None for one whose stream is left out."""
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


def _subrip_to_webvtt(packet: AvPacket) -> AvPacket | None:
    """The text without SubRip's fonts and ASS codes, which WebVTT does not know; <b>, <i> and <u> are the same."""
    text = re.sub(rb"</?font[^>]*>|\{\\[^}]*\}", b"", bytes(packet)).replace(b"\r\n", b"\n").strip()
    return _with_times_of(packet, text) if text else None


def _subrip_to_mov_text(packet: AvPacket) -> AvPacket | None:
    """The text without SubRip's markup, after its length."""
    text = re.sub(rb"</?[a-zA-Z][^>]*>|\{\\[^}]*\}", b"", bytes(packet)).replace(b"\r\n", b"\n").strip()
    return _with_times_of(packet, len(text).to_bytes(2, "big") + text) if text else None
