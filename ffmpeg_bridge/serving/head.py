"""All of the virtual file that comes before its clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge import ebml
from ffmpeg_bridge.serving.tags import kept_tags
from ffmpeg_bridge.serving.track_entry import raw_video_entry

if TYPE_CHECKING:
    from ffmpeg_bridge.serving.source import SsvSource
    from ssvc_codec.frame import VideoFormat

__all__ = ["HeadPiece", "build_head", "sized"]

_EBML_FIELDS = ((0x4286, 1), (0x42F7, 1), (0x42F2, 4), (0x42F3, 8), (0x4282, "matroska"), (0x4287, 4), (0x4285, 2))
_SEEK_HEAD, _SEEK, _SEEK_ID, _SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_CHAPTERS, _ATTACHMENTS, _TAGS, _CUES = 0x1043A770, 0x1941A469, 0x1254C367, 0x1C53BB6B
_SCALE, _DURATION, _MUXER, _WRITER, _TITLE, _DATE = 0x2AD7B1, 0x4489, 0x4D80, 0x5741, 0x7BA9, 0x4461
_CUE_POINT = np.dtype(
    [("head", "V4"), ("time", ">u8"), ("middle", "V7"), ("position", ">u8")]
)  # CuePoint, CueTime; CueTrackPositions, CueTrack, CueClusterPosition


class HeadPiece(NamedTuple):
    """Bytes of the head: made up here, or (source_start, size) of the source."""

    size: int
    data: bytes | None
    source_start: int = 0


def sized(element: int, size: int) -> bytes:
    """An element's id and its size in 8 bytes, whatever the size."""
    return element.to_bytes((element.bit_length() + 7) // 8, "big") + (size | 1 << 56).to_bytes(8, "big")


def _info(source: SsvSource, duration_ms: float) -> bytes:
    info = source.info
    kept = [info[begin:end] for i, begin, _, end in ebml.iter_elements(info) if i in (_TITLE, _DATE)]
    fields = ((_SCALE, 10**6), (_DURATION, float(duration_ms)), (_MUXER, "ssvc"), (_WRITER, "ssvc"))
    return ebml.element(ebml.INFO, b"".join([*(ebml.element(i, value) for i, value in fields), *kept]))


def _tracks(source: SsvSource, video: VideoFormat) -> bytes:
    entries = [
        raw_video_entry(track, video) if track is source.video else ebml.element(ebml.TRACK_ENTRY, track.payload)
        for track in source.tracks
    ]
    return ebml.element(ebml.TRACKS, b"".join(entries))


def _cues(times: NDArray[np.int64], positions: NDArray[np.int64], track: int) -> bytes:
    """times: ms; positions: of clusters in the Segment's payload."""
    points = np.zeros(len(times), _CUE_POINT)
    points["head"] = np.void(b"\xbb\x99\xb3\x88")
    points["time"] = times
    points["middle"] = np.void(b"\xb7\x8d\xf7\x81" + bytes([track]) + b"\xf1\x88")
    points["position"] = positions
    return sized(_CUES, points.nbytes) + points.tobytes()


def build_head(
    source: SsvSource,
    video: VideoFormat,
    *,
    duration_ms: float,
    times: NDArray[np.int64],
    clusters: NDArray[np.int64],
    n_cluster_bytes: int,
) -> list[HeadPiece]:
    """Everything before the first cluster.

    times: of each frame in ms; clusters: where its cluster begins, counted from the first cluster; n_cluster_bytes: of
    all clusters together.
    """
    bodies: list[tuple[int, list[HeadPiece]]] = []
    for element, data in ((ebml.INFO, _info(source, duration_ms)), (ebml.TRACKS, _tracks(source, video))):
        bodies.append((element, [HeadPiece(len(data), data)]))
    for element in (_CHAPTERS, _ATTACHMENTS):
        ranges = [(start, size) for found, start, size in source.elements if found == element]
        if ranges:
            head = sized(element, sum(size for _, size in ranges))
            pieces = [HeadPiece(len(head), head), *(HeadPiece(size, None, start) for start, size in ranges)]
            bodies.append((element, pieces))
    if tags := kept_tags(source):
        bodies.append((_TAGS, [HeadPiece(len(tags), tags)]))
    n_seek_entries = len(bodies) + 1
    seek_size = len(_seek_head([(_CUES, 0)] * n_seek_entries))
    places: list[tuple[int, int]] = []
    position = seek_size
    for element, pieces in bodies:
        places.append((element, position))
        position += sum(piece.size for piece in pieces)
    places.append((_CUES, position))
    first_cluster = position + len(sized(_CUES, 0)) + len(times) * _CUE_POINT.itemsize
    cues = _cues(times, clusters + first_cluster, source.video.number)
    start = ebml.element(ebml.EBML, b"".join(ebml.element(i, value) for i, value in _EBML_FIELDS))
    start += sized(ebml.SEGMENT, first_cluster + n_cluster_bytes) + _seek_head(places)
    return [HeadPiece(len(start), start), *(p for _, body in bodies for p in body), HeadPiece(len(cues), cues)]


def _seek_head(places: list[tuple[int, int]]) -> bytes:
    entries = [
        ebml.element(
            _SEEK,
            ebml.element(_SEEK_ID, element.to_bytes(4, "big"))
            + ebml.element(_SEEK_POSITION, position.to_bytes(8, "big")),
        )
        for element, position in places
    ]
    return ebml.element(_SEEK_HEAD, b"".join(entries))
