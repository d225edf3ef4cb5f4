"""Many small files that appear as one: a folder, a .zip or a .tar. None has its name before commit()."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Protocol

from ffmpeg_bridge.files import OutputFile, Sink, describe, media_errors
from ssvc_codec.errors import MediaError

__all__ = ["FileStore", "FolderStore", "TarStore", "ZipStore", "ZipTarget"]


class FileStore(Protocol):
    """Where files go one after another. OSError passes from add(); commit() and discard() may follow each other."""

    name: str

    def add(self, name: str, data: bytes) -> None:
        """One more file."""
        ...

    def commit(self) -> None:
        """Makes the files appear. Raises MediaError, after which nothing is left."""
        ...

    def discard(self) -> None:
        """Leaves nothing."""
        ...


class FolderStore:
    """Files in a folder: a new one, an empty one, or one whose earlier files of the same kind are replaced."""

    def __init__(self, path: str | Path, *, replaces: re.Pattern[str] | None = None) -> None:
        """replaces: which files of a folder that is not empty give way at commit(); others stay.

        Without it such a folder is refused. Raises MediaError.
        """
        self.name = str(path)
        self._final = Path(path)
        self._replaces = replaces
        with media_errors(f"cannot write {self.name}"):
            self._is_new = not self._final.is_dir()
            if self._is_new and os.path.lexists(self._final):
                raise MediaError(f"cannot write {self.name}: it is a file, and a folder is needed")
            if not self._is_new and replaces is None and any(self._final.iterdir()):
                raise MediaError(f"cannot write {self.name}: the folder is not empty")
            part = f".{self._final.name[:80]}.{os.getpid()}.{id(self):x}.part"
            # Beside a folder that exists there may be another disk, or no permission: its files wait inside it.
            self._temporary = self._final.parent / part if self._is_new else self._final / part
            self._temporary.mkdir()

    def add(self, name: str, data: bytes) -> None:
        """One more file."""
        (self._temporary / name).write_bytes(data)

    def commit(self) -> None:
        """Renames the folder, or moves its files up where it was there before."""
        try:
            with media_errors(f"cannot write {self.name}"):
                if self._is_new:
                    self._temporary.rename(self._final)
                    return
                for old in self._final.iterdir() if self._replaces else ():
                    if self._replaces and self._replaces.fullmatch(old.name):
                        old.unlink()
                for file in self._temporary.iterdir():
                    file.replace(self._final / file.name)
                self._temporary.rmdir()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Removes what was written."""
        shutil.rmtree(self._temporary, ignore_errors=True)


class ZipTarget(OutputFile):
    """An OutputFile as zipfile takes it."""

    def flush(self) -> None:
        """Nothing: commit() flushes."""


class ZipStore:
    """Files in a .zip, not compressed, so that each can be read in place."""

    def __init__(self, sink: Sink) -> None:
        """Raises MediaError where nothing can be written."""
        self.name = describe(sink)
        self._output = ZipTarget(sink)
        output: Any = self._output
        self._zip = zipfile.ZipFile(output, "w")

    def add(self, name: str, data: bytes) -> None:
        """One more file."""
        self._zip.writestr(zip_member(name), data)

    def commit(self) -> None:
        """Writes the index and gives the archive its name."""
        try:
            with media_errors(f"cannot write {self.name}"):
                self._zip.close()
        except BaseException:
            self.discard()
            raise
        self._output.commit()

    def discard(self) -> None:
        """Removes the archive."""
        with contextlib.suppress(Exception):
            self._zip.close()  # before its file: it would complain later, from __del__
        self._output.discard()


def zip_member(name: str) -> zipfile.ZipInfo:
    """A member that anyone may read, without the time of writing: equal contents make equal archives."""
    member = zipfile.ZipInfo(name)
    member.external_attr = 0o100644 << 16
    return member


class TarStore:
    """Files in a .tar."""

    def __init__(self, sink: Sink) -> None:
        """Raises MediaError where nothing can be written."""
        self.name = describe(sink)
        self._output = OutputFile(sink)
        output: Any = self._output
        self._tar = tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, name: str, data: bytes) -> None:
        """One more file."""
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))

    def commit(self) -> None:
        """Writes the end and gives the archive its name."""
        try:
            with media_errors(f"cannot write {self.name}"):
                self._tar.close()
        except BaseException:
            self.discard()
            raise
        self._output.commit()

    def discard(self) -> None:
        """Removes the archive."""
        self._output.discard()
        with contextlib.suppress(Exception):
            self._tar.close()
