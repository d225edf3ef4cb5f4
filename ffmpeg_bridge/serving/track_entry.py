"""The track entry of the decoded video, in place of that of an .ssv."""

from __future__ import annotations

from ffmpeg_bridge import ebml
from ffmpeg_bridge.mux import display_size
from ssvc_codec.container.tracks import CODEC_DELAY, ENCODINGS, SourceTrack
from ssvc_codec.frame import VideoFormat

__all__ = ["raw_video_entry"]

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
    {ebml.CODEC_ID, ebml.CODEC_PRIVATE, ebml.VIDEO, ebml.VOID, ENCODINGS, CODEC_DELAY, _CODEC_NAME, _CRC32}
    | {_BLOCK_ADDITION_MAX, _BLOCK_ADDITION_MAPPING, _CODED_ATTACHMENT}
)


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
