"""The Range header field (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["ByteRange", "UnsatisfiableRangeError", "parse_range"]

_SINGLE = re.compile(r"bytes=[ \t]*([0-9]{0,20})-([0-9]{0,20})[ \t]*", re.IGNORECASE | re.ASCII)


class ByteRange(NamedTuple):
    """Bytes start to stop of a file."""

    start: int
    stop: int


class UnsatisfiableRangeError(ValueError):
    """A well-formed range that holds no byte of the file."""


def parse_range(text: str | None, size: int) -> ByteRange | None:
    """The range asked for; None for the whole file.

    What is malformed, another unit, or several ranges at once is passed over, as section 14.2 lets a server do: the
    answer is then the whole file, which every client must be able to take. Raises UnsatisfiableRangeError.
    """
    match = _SINGLE.fullmatch(text or "")
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        length = min(int(match[2]), size)
        if not length:
            raise UnsatisfiableRangeError
        return ByteRange(size - length, size)
    start = int(match[1])
    if match[2] and int(match[2]) < start:
        return None
    if start >= size:
        raise UnsatisfiableRangeError
    return ByteRange(start, min(int(match[2]) + 1, size) if match[2] else size)
