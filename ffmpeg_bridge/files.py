"""Where bytes come from and go to: paths, standard streams, temporary names, pipes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from av.error import FFmpegError

from ssvc_codec.errors import MediaError

__all__ = ["InputFile", "OutputFile", "Sink", "Source", "describe", "media_errors"]

Source = str | Path | IO[bytes]
"""A path, "-" for standard input, or a binary file object."""

Sink = str | Path | IO[bytes]
"""A path, "-" for standard output, or a binary file object."""


def describe(place: Source | Sink) -> str:
    """How messages name a place."""
    if isinstance(place, str | Path):
        return str(place)
    name = getattr(place, "name", None)
    return name if isinstance(name, str) else "the stream"


@contextlib.contextmanager
def media_errors(action: str) -> Iterator[None]:
    """Turns FFmpeg's and the system's errors into MediaError("action: reason"). A broken pipe passes as it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except FFmpegError as error:
        if isinstance(error, OSError) and error.errno == 32:
            raise BrokenPipeError(32, "Broken pipe") from error
        raise MediaError(f"{action}: {error.strerror or error}") from error
    except OSError as error:
        raise MediaError(f"{action}: {error.strerror or error}") from error


class InputFile:
    """A binary input as PyAV takes file objects; remembers its first bytes for whoever needs them.

    Reads from pipes return what has arrived instead of waiting for a full buffer.
    """

    def __init__(self, source: Source) -> None:
        self.name = "standard input" if source == "-" else describe(source)
        self._owned = isinstance(source, str | Path) and source != "-"
        self._file: IO[bytes]
        if isinstance(source, str | Path):
            with media_errors(f"cannot open {self.name}"):
                self._file = sys.stdin.buffer if source == "-" else open(source, "rb")  # noqa: SIM115
        else:
            self._file = source
        self._read: Callable[[int], bytes] = getattr(self._file, "read1", self._file.read)
        self._is_seekable = self._file.seekable()
        self.head: bytes | None = b""  # bytes read so far; None once nobody needs them
        self.on_read = lambda data: None

    def seekable(self) -> bool:
        """Whether seek() works: false for pipes."""
        return self._is_seekable

    def read(self, n_bytes: int) -> bytes:
        """Up to n_bytes bytes; empty at the end."""
        data = self._read(n_bytes)
        if self.head is not None:
            self.head += data
        self.on_read(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves the position, as files do."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def close(self) -> None:
        """Closes the file if it was opened here."""
        if self._owned:
            self._file.close()


class OutputFile:
    """A binary output as PyAV takes file objects: written under a temporary name, then renamed.

    After a failed write it swallows what follows, so that libavformat can be closed in peace.
    """

    def __init__(self, sink: Sink) -> None:
        """Raises MediaError where nothing can be written."""
        self.name = "standard output" if sink == "-" else describe(sink)
        self._final = Path(sink) if isinstance(sink, str | Path) and sink != "-" else None
        self._temporary: Path | None = None
        self._failed = False
        self._owned = self._final is not None
        self._file: IO[bytes]
        if self._final is not None:
            self._file = self._open(self._final)
        else:
            self._file = sys.stdout.buffer if isinstance(sink, str | Path) else sink
        self._is_seekable = sink != "-" and self._file.seekable()

    def _open(self, final: Path) -> IO[bytes]:
        with media_errors(f"cannot write {final}"):
            if final.exists() and not final.is_file():
                if final.is_dir():
                    raise MediaError(f"cannot write {final}: it is a folder")
                self._final = None  # a device or a named pipe is written in place
                return open(final, "wb", buffering=0)
            self._temporary = final.with_name(f".{final.name[:80]}.{os.getpid()}.{id(self):x}.part")
            return open(self._temporary, "xb")

    def seekable(self) -> bool:
        """Whether seek() works: false for pipes."""
        return self._is_seekable

    def write(self, data: bytes) -> int:
        """Writes all of data."""
        if not self._failed:
            try:
                view = memoryview(data)
                while len(view):
                    view = view[self._file.write(view) :]
                if not self._is_seekable:
                    self._file.flush()
            except OSError:
                self._failed = True
                raise
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves the position, as files do."""
        return offset if self._failed else self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    def commit(self) -> None:
        """Ends the file and gives it its name. Raises MediaError, after which nothing is left."""
        if self._failed:
            self.discard()
            return
        try:
            with media_errors(f"cannot write {self.name}"):
                self._file.flush()
                if self._owned:
                    self._file.close()
                if self._temporary is not None and self._final is not None:
                    os.replace(self._temporary, self._final)
                    self._temporary = None
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Removes the temporary file; what has left through a pipe cannot be called back."""
        self._failed = True
        if self._owned:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None
