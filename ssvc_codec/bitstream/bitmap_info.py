"""Table 11: CodecPrivate, a BITMAPINFOHEADER and the sequence header."""

from __future__ import annotations

import struct
from typing import Final

from ssvc_codec.bitstream.byte_io import ByteReader
from ssvc_codec.bitstream.sequence_header import SequenceHeader

__all__ = ["BITMAP_INFO_SIZE", "FOURCC", "build_codec_private", "parse_codec_private"]

FOURCC: Final = b"SSV1"
BITMAP_INFO_SIZE: Final = 40
_BITMAP_INFO = struct.Struct("<IIIHH4sIIIII")


def build_codec_private(header: SequenceHeader) -> bytes:
    """CodecPrivate of a stream: Table 11."""
    width, height = header.format.width, header.format.height
    sequence_header = header.to_bytes()
    size = BITMAP_INFO_SIZE + len(sequence_header)
    return _BITMAP_INFO.pack(size, width, height, 1, 24, FOURCC, 3 * width * height, 0, 0, 0, 0) + sequence_header


def parse_codec_private(data: bytes | memoryview) -> SequenceHeader:
    """The sequence header in CodecPrivate. Raises BitstreamError, LimitError."""
    r = ByteReader(data)
    with r.structure("codec private", "7"):
        size, *_, four_cc, _, _, _, _, _ = _BITMAP_INFO.unpack(r.raw(BITMAP_INFO_SIZE))
        if size < BITMAP_INFO_SIZE or four_cc != FOURCC:
            raise r.error(f"biSize {size}, biCompression {four_cc!r}; {FOURCC!r} is needed")
        return SequenceHeader.read(r)
