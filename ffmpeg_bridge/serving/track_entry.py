"""Track entries: those of an .ssv, and that of the decoded video in its place."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from ffmpeg_bridge import ebml
from ffmpeg_bridge.mux import display_size
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import VideoFormat

__all__ = ["SourceTrack", "raw_video_entry", "read_source_tracks"]

_NUMBER, _UID, _CODEC_DELAY = 0xD7, 0x73C5, 0x56AA
_ENCODINGS, _ENCODING, _COMPRESSION, _ALGORITHM, _SETTINGS = 0x6D80, 0x6240, 0x5034, 0x4254, 0x4255
_COLOUR_SPACE = 0x2EB524
_FOURCC = {8: b"I420", 10: b"Y3\x0b\x0a"}  # of FFmpeg's rawvideo: yuv420p, yuv420p10le
_CODEC_NAME, _CRC32, _BLOCK_ADDITION_MAX, _BLOCK_ADDITION_MAPPING, _CODED_ATTACHMENT = (
    0x258688,
    0xBF,
    0x55EE,
    0x41E4,
    0x7446,
)
_OF_THE_CODEC = frozenset(
    {ebml.CODEC_ID, ebml.CODEC_PRIVATE, ebml.VIDEO, ebml.VOID, _ENCODINGS, _CODEC_DELAY, _CODEC_NAME, _CRC32}
    | {_BLOCK_ADDITION_MAX, _BLOCK_ADDITION_MAPPING, _CODED_ATTACHMENT}
)
_ZLIB, _STRIPPED = 0, 3


@dataclass(frozen=True, slots=True)
class SourceTrack:
    """A TrackEntry."""

    number: int
    uid: int
    track: ebml.Track
    delay_ms: int  # codec delay
    compression: tuple[int, bytes] | None  # algorithm and settings of what was packed by the muxer
    payload: bytes

    @property
    def fourcc(self) -> bytes:
        """Of a V_MS/VFW/FOURCC track, else empty."""
        return self.track.fourcc

    def unpack(self, data: bytes) -> bytes:
        """A packet as the codec made it. Raises MediaError for compression that nobody uses for video."""
        if self.compression is None:
            return data
        algorithm, settings = self.compression
        if algorithm == _STRIPPED:
            return settings + data
        if algorithm != _ZLIB:
            raise MediaError(f"track {self.number} is compressed by algorithm {algorithm} of Matroska: remux it")
        try:
            return zlib.decompress(data)
        except zlib.error:
            return data  # damaged: the decoder will say so


def read_source_tracks(tracks: bytes) -> list[SourceTrack]:
    """Every track of a Tracks element's payload."""
    found: list[SourceTrack] = []
    for element, _, start, end in ebml.iter_elements(tracks):
        if element != ebml.TRACK_ENTRY:
            continue
        entry = tracks[start:end]
        fields = {i: entry[a:b] for i, _, a, b in ebml.iter_elements(entry)}
        numbers = {i: int.from_bytes(fields.get(i, b""), "big") for i in (_NUMBER, _UID, _CODEC_DELAY)}
        track = ebml.Track(
            int.from_bytes(fields.get(ebml.TRACK_TYPE, b""), "big"),
            fields.get(ebml.CODEC_ID, b"").rstrip(b"\0").decode("ascii", "replace"),
            fields.get(ebml.CODEC_PRIVATE, b""),
            int.from_bytes(fields.get(ebml.DEFAULT_DURATION, b""), "big"),
        )
        delay = (numbers[_CODEC_DELAY] + 500_000) // 10**6
        packed = _compression(fields[_ENCODINGS]) if _ENCODINGS in fields else None
        found.append(SourceTrack(numbers[_NUMBER], numbers[_UID], track, delay, packed, entry))
    return found


def _compression(encodings: bytes) -> tuple[int, bytes] | None:
    for element, _, start, end in ebml.iter_elements(encodings):
        if element != _ENCODING:
            continue
        encoding = encodings[start:end]
        for inner, _, a, b in ebml.iter_elements(encoding):
            if inner == _COMPRESSION:
                fields = {i: encoding[x:y] for i, _, x, y in ebml.iter_elements(encoding, a, b)}
                return int.from_bytes(fields.get(_ALGORITHM, b""), "big"), fields.get(_SETTINGS, b"")
    return None


def raw_video_entry(source: SourceTrack, video: VideoFormat) -> bytes:
    """The TrackEntry of the decoded video: number, flags, names and durations of the source's, pictures of `video`."""
    kept = [
        source.payload[begin:end]
        for element, begin, _, end in ebml.iter_elements(source.payload)
        if element not in _OF_THE_CODEC
    ]
    width, height = display_size(video)
    picture = _picture(video) + ebml.element(_COLOUR_SPACE, _FOURCC[video.bit_depth])
    if (width, height) != (video.width, video.height):
        picture += ebml.element(ebml.DISPLAY_WIDTH, width) + ebml.element(ebml.DISPLAY_HEIGHT, height)
    parts = [*kept, ebml.element(ebml.CODEC_ID, "V_UNCOMPRESSED"), ebml.element(ebml.VIDEO, picture)]
    return ebml.element(ebml.TRACK_ENTRY, b"".join(parts))


def _picture(video: VideoFormat) -> bytes:
    """Size, colour and rotation as children of a Video element."""
    header = ebml.template_header(video, codec_id="V_UNCOMPRESSED", codec_private=b"", rate=None)
    tracks = ebml.find_tracks(header)
    assert tracks is not None
    for entry, _, start, end in ebml.iter_elements(header, *tracks):
        for element, _, a, b in ebml.iter_elements(header, start, end):
            if entry == ebml.TRACK_ENTRY and element == ebml.VIDEO:
                return header[a:b]
    raise AssertionError("the template has a video track")
