"""Track entries of a Matroska file, as far as packets are read without libavformat."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from ..errors import MediaError
from . import ebml

__all__ = ["CODEC_DELAY", "ENCODINGS", "SourceTrack", "read_source_tracks"]

CODEC_DELAY, ENCODINGS = 0x56AA, 0x6D80
_NUMBER, _UID = 0xD7, 0x73C5
_ENCODING, _COMPRESSION, _ALGORITHM, _SETTINGS = 0x6240, 0x5034, 0x4254, 0x4255
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
        numbers = {i: int.from_bytes(fields.get(i, b""), "big") for i in (_NUMBER, _UID, CODEC_DELAY)}
        track = ebml.Track(
            int.from_bytes(fields.get(ebml.TRACK_TYPE, b""), "big"),
            fields.get(ebml.CODEC_ID, b"").rstrip(b"\0").decode("ascii", "replace"),
            fields.get(ebml.CODEC_PRIVATE, b""),
            int.from_bytes(fields.get(ebml.DEFAULT_DURATION, b""), "big"),
        )
        delay = (numbers[CODEC_DELAY] + 500_000) // 10**6
        packed = _compression(fields[ENCODINGS]) if ENCODINGS in fields else None
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
