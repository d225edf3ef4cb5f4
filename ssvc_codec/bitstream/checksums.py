"""Section 1: the two checksums."""

from __future__ import annotations

import binascii
import zlib

from ssvc_codec.bitstream.byte_io import ByteReader
from ssvc_codec.errors import ChecksumError

__all__ = ["crc16", "crc32", "read_crc32"]


def crc16(data: bytes | memoryview) -> int:
    """CRC-16/IBM-3740."""
    return binascii.crc_hqx(data, 0xFFFF)


def crc32(data: bytes | memoryview) -> int:
    """CRC-32 of zlib."""
    return zlib.crc32(data)


def read_crc32(r: ByteReader, start: int) -> None:
    """Read a u32 and compare it with the CRC-32 of the bytes from start up to it."""
    expected = crc32(r.window(start, r.offset))
    stored = r.uint(4)
    if stored != expected:
        raise r.error(f"CRC-32 is {stored:08x}, the bytes have {expected:08x}", ChecksumError)
