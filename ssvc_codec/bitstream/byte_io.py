"""Section 1: the basic types, written and read."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ssvc_codec.errors import BitstreamError, LimitError, TruncatedError

__all__ = ["ByteReader", "ByteWriter"]

MAX_VARINT: Final = (1 << 32) - 1


class ByteWriter:
    """Table 1, writing. Values out of range are the caller's: ValueError."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def getvalue(self) -> bytes:
        """Everything written so far."""
        return bytes(self._buffer)

    def uint(self, value: int, n_bytes: int) -> None:
        """A fixed-size unsigned integer, little endian."""
        if not 0 <= value < 1 << 8 * n_bytes:
            raise ValueError(f"{value} does not fit {n_bytes} bytes")
        self._buffer += value.to_bytes(n_bytes, "little")

    def varint(self, value: int) -> None:
        """Unsigned LEB128 in its shortest form."""
        if not 0 <= value <= MAX_VARINT:
            raise ValueError(f"{value} does not fit a varint")
        while value > 0x7F:
            self._buffer.append(value & 0x7F | 0x80)
            value >>= 7
        self._buffer.append(value)

    def svarint(self, value: int) -> None:
        """Zigzag in a varint."""
        self.varint(value * 2 if value >= 0 else -value * 2 - 1)

    def raw(self, data: bytes | memoryview) -> None:
        """Bytes as they are."""
        self._buffer += data


class ByteReader:
    """Table 1, reading. Every error names the offset, the structure and the section.

    offset: position of the next byte, from the start of the data.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._end = len(self._data)
        self._structure = ("bytes", "1")
        self.offset = 0

    @property
    def remaining(self) -> int:
        """Bytes not yet read."""
        return self._end - self.offset

    def window(self, start: int, end: int) -> memoryview:
        """Bytes start..end of the data, wherever the reader is."""
        return self._data[start:end]

    @contextmanager
    def structure(self, name: str, section: str) -> Generator[None]:
        """Name the syntax structure being read.

        A ValueError inside becomes a BitstreamError; a LimitError gets its place.
        """
        outer = self._structure
        self._structure = (name, section)
        try:
            yield
        except ValueError as error:
            raise self.error(str(error)) from error
        except LimitError as error:
            if error.__cause__ is not None:  # an inner structure has named its place
                raise
            raise LimitError(f"{name}, byte {self.offset}: {error}") from error
        finally:
            self._structure = outer

    @contextmanager
    def limited(self, n_bytes: int) -> Generator[None]:
        """Let the block see only the next n_bytes."""
        self._need(n_bytes)
        outer = self._end
        self._end = self.offset + n_bytes
        try:
            yield
        finally:
            self._end = outer

    def error(self, message: str, kind: type[BitstreamError] = BitstreamError) -> BitstreamError:
        """An error at the current offset, ready to be raised."""
        name, section = self._structure
        return kind(f"{name}, byte {self.offset}: {message} (bitstream.md {section})")

    def _need(self, n_bytes: int) -> None:
        if n_bytes > self.remaining:
            raise self.error(f"{n_bytes} bytes needed, {self.remaining} left", TruncatedError)

    def raw(self, n_bytes: int) -> bytes:
        """Bytes as they are."""
        self._need(n_bytes)
        self.offset += n_bytes
        return bytes(self._data[self.offset - n_bytes : self.offset])

    def uint(self, n_bytes: int) -> int:
        """A fixed-size unsigned integer, little endian."""
        return int.from_bytes(self.raw(n_bytes), "little")

    def varint(self) -> int:
        """Unsigned LEB128; BitstreamError if it is not in shortest form or above 32 bits."""
        value = 0
        for n_read in range(5):
            byte = self.uint(1)
            value |= (byte & 0x7F) << 7 * n_read
            if byte < 0x80:
                if byte == 0 and n_read:
                    raise self.error("varint is not in its shortest form")
                if value > MAX_VARINT:
                    raise self.error("varint is above 32 bits")
                return value
        raise self.error("varint is longer than 5 bytes")

    def svarint(self) -> int:
        """Zigzag in a varint."""
        value = self.varint()
        return value >> 1 ^ -(value & 1)
