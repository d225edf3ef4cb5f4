"""Table 2: the sequence header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import Final, Self

from ssvc_codec.bitstream.byte_io import ByteReader, ByteWriter
from ssvc_codec.bitstream.checksums import crc32, read_crc32
from ssvc_codec.bitstream.class_table import NO_CLASSES, ClassTable, ClassTableId
from ssvc_codec.bitstream.limits import CELL_LOG2, MAX_HEADER_BODY_BYTES, check_limit, check_picture_size
from ssvc_codec.frame import Color, VideoFormat

__all__ = ["MAGIC", "VERSION", "SequenceHeader"]

MAGIC: Final = b"SSV1"
VERSION: Final = 1

_TEN_BIT, _FULL_RANGE, _COLOR, _SAR = 1, 2, 4, 8
_MODEL_NAME = re.compile(r"[a-z0-9._-]{1,32}", re.ASCII)
_MAX_SAR = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """Table 2: what all pictures of a stream have in common."""

    format: VideoFormat
    model: str
    weights_hash: bytes  # first 8 bytes of the SHA-256 of the weights file
    classes: ClassTable = NO_CLASSES
    extension: bytes = b""  # fields of later versions, kept as they came

    def __post_init__(self) -> None:
        check_picture_size(width=self.format.width, height=self.format.height)
        color = self.format.color
        if not all(0 <= code <= 255 for code in _code_points(color)):
            raise ValueError(f"colour code points {_code_points(color)}: 0..255 are possible")
        if not 0 <= color.chroma_location <= 6:
            raise ValueError(f"chroma location {color.chroma_location}: 0..6 are possible")
        sar = self.format.sample_aspect_ratio
        if not (1 <= sar.numerator <= _MAX_SAR and 1 <= sar.denominator <= _MAX_SAR):
            raise ValueError(f"sample aspect ratio {sar}: both terms must be in 1..2^31-1")
        if not _MODEL_NAME.fullmatch(self.model):
            raise ValueError(f"model name {self.model!r} is not 1..32 of a-z 0-9 . _ -")
        if len(self.weights_hash) != 8:
            raise ValueError(f"weights hash of {len(self.weights_hash)} bytes, 8 are needed")

    def to_bytes(self) -> bytes:
        """The header alone."""
        w = ByteWriter()
        self.write(w)
        return w.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """Parse a header; bytes after its end are ignored. Raises BitstreamError, LimitError."""
        return cls.read(ByteReader(data))

    def write(self, w: ByteWriter) -> None:
        """Table 2."""
        body = ByteWriter()
        self._write_body(body)
        check_limit("bytes in a sequence header", len(body), MAX_HEADER_BODY_BYTES)
        header = ByteWriter()
        header.raw(MAGIC)
        header.uint(VERSION, 1)
        header.varint(len(body))
        header.raw(body.getvalue())
        header.uint(crc32(header.getvalue()), 4)
        w.raw(header.getvalue())

    @classmethod
    def read(cls, r: ByteReader) -> Self:
        """Table 2. The CRC is checked before the body is read."""
        with r.structure("sequence header", "2"):
            start = r.offset
            if (magic := r.raw(4)) != MAGIC:
                raise r.error(f"magic is {magic!r}, not {MAGIC!r}")
            if (version := r.uint(1)) != VERSION:
                raise r.error(f"version {version} is unknown, this decoder reads version {VERSION}")
            body_length = check_limit("bytes in a sequence header", r.varint(), MAX_HEADER_BODY_BYTES)
            body_start = r.offset
            r.raw(body_length)
            read_crc32(r, start)
            end = r.offset
            r.offset = body_start
            with r.limited(body_length):
                header = cls._read_body(r)
            r.offset = end
            return header

    def _write_body(self, w: ByteWriter) -> None:
        color, sar = self.format.color, self.format.sample_aspect_ratio
        has_color = _code_points(color) != (2, 2, 2)
        flags = _TEN_BIT * (self.format.bit_depth == 10) | _FULL_RANGE * color.full_range
        flags |= _COLOR * has_color | _SAR * (sar != 1)
        w.uint(flags | self.format.rotation // 90 << 4 | self.classes.table_id << 6, 1)
        w.uint(color.chroma_location | CELL_LOG2 << 4, 1)
        w.varint(self.format.width)
        w.varint(self.format.height)
        if has_color:
            w.raw(bytes(_code_points(color)))
        if sar != 1:
            w.varint(sar.numerator)
            w.varint(sar.denominator)
        self.classes.write(w)
        w.uint(len(self.model), 1)
        w.raw(self.model.encode("ascii"))
        w.raw(self.weights_hash)
        w.raw(self.extension)

    @classmethod
    def _read_body(cls, r: ByteReader) -> Self:
        flags = r.uint(1)
        layout = r.uint(1)
        if layout & 8 or layout >> 4 != CELL_LOG2:
            raise r.error(f"layout {layout:#04x}: cells of 2^{layout >> 4} samples or bit 3 are reserved")
        width, height = r.varint(), r.varint()
        check_picture_size(width=width, height=height)
        primaries, transfer, matrix = _read_code_points(r) if flags & _COLOR else (2, 2, 2)
        sar = _read_sample_aspect_ratio(r) if flags & _SAR else Fraction(1)
        classes = ClassTable.read(r, ClassTableId(flags >> 6))
        model = r.raw(r.uint(1)).decode("ascii")
        weights_hash = r.raw(8)
        color = Color(primaries, transfer, matrix, bool(flags & _FULL_RANGE), layout & 7)
        bit_depth = 10 if flags & _TEN_BIT else 8
        video = VideoFormat(width, height, bit_depth, color, (flags >> 4 & 3) * 90, sar)
        return cls(video, model, weights_hash, classes, r.raw(r.remaining))


def _code_points(color: Color) -> tuple[int, int, int]:
    return color.primaries, color.transfer, color.matrix


def _read_code_points(r: ByteReader) -> tuple[int, int, int]:
    primaries, transfer, matrix = r.raw(3)
    if (primaries, transfer, matrix) == (2, 2, 2):
        raise r.error("unspecified colour must be omitted")
    return primaries, transfer, matrix


def _read_sample_aspect_ratio(r: ByteReader) -> Fraction:
    numerator, denominator = r.varint(), r.varint()
    if 0 in (numerator, denominator) or numerator == denominator or gcd(numerator, denominator) != 1:
        raise r.error(f"sample aspect ratio {numerator}:{denominator} is 1:1 or not in lowest terms")
    return Fraction(numerator, denominator)
