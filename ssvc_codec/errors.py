"""Every error that ssvc raises on purpose, split by whose fault it is.

Exception
├── SsvcError                  base of all below
│   ├── BitstreamError         the bytes break a rule of docs/bitstream.md
│   │   ├── TruncatedError     the bytes end before the syntax does
│   │   └── ChecksumError      a CRC does not match
│   ├── LimitError             valid, but above a limit (pixels, objects, bytes)
│   ├── MediaError             the world: a file that is no video, a full disk, a closed pipe
│   └── ModelError             weights that are missing, damaged or not those the stream names
└── ValueError                 the caller: an argument out of range (Python's own)
"""

__all__ = [
    "BitstreamError",
    "ChecksumError",
    "LimitError",
    "MediaError",
    "ModelError",
    "SsvcError",
    "TruncatedError",
]


class SsvcError(Exception):
    """Base of every error that ssvc raises on purpose."""


class BitstreamError(SsvcError):
    """The bytes break a rule of docs/bitstream.md. The message names the section."""


class TruncatedError(BitstreamError):
    """The bytes end before the syntax does."""


class ChecksumError(BitstreamError):
    """A CRC does not match: the bytes were damaged after they were written."""


class LimitError(SsvcError):
    """A valid request or stream above a limit: pixels, objects, bytes."""


class MediaError(SsvcError):
    """The outside world failed: no video in a file, a full disk, an unreadable path."""


class ModelError(SsvcError):
    """Weights that are missing, damaged, or not those that a stream names."""
