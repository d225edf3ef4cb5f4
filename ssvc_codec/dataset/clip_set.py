"""Files, their clips, and one reader for each process."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from ..errors import BitstreamError, LimitError, MediaError
from .clips import ClipTable, DamageWarning, PathName, open_files
from .reader import ClipReader
from .request import Request
from .sample import Sample

__all__ = ["ClipSet"]

CELLS_AT_ONCE = 1600  # of pictures that are decoded at once; with more of them nothing was gained


class ClipSet:
    """What the three loaders have in common. Pickles without decoders and open files."""

    def __init__(
        self,
        paths: PathName | Iterable[PathName],
        request: Request,
        *,
        labels: Sequence[int] | None,
        strict: bool,
        model: str | None,
        device: str,
    ) -> None:
        """Indexes the files. Raises MediaError with strict, else warns and leaves out. ValueError: no file is left."""
        self.request, self.strict = request, strict
        self._model, self._device = model, device
        self.files, self.labels = open_files(paths, labels, strict=strict)
        self.clips = ClipTable(self.files, n_frames=request.n_frames, step=request.step)
        self.n_skipped = 0  # clips, in this process
        self._reader: ClipReader | None = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_reader": None}

    @property
    def reader(self) -> ClipReader:
        """This process's."""
        if self._reader is None or self._process != os.getpid():
            self._process = os.getpid()
            self._reader = ClipReader(
                self.files, self.labels, self.clips, self.request, model=self._model, device=self._device
            )
        return self._reader

    def read_all(self, indexes: Iterable[int]) -> Iterator[tuple[int, Sample[NDArray[Any]] | None]]:
        """Clips with their numbers, in order, GoPs of small pictures being decoded several at once."""
        numbers = list(indexes)
        begin = 0
        while begin < len(numbers):
            end = self._reach(numbers, begin)
            if end > begin + 1:
                self.reader.ahead(numbers[begin:end])
            for index in numbers[begin:end]:
                yield index, self.read(index)
            begin = end

    def _reach(self, numbers: Sequence[int], begin: int) -> int:
        """Where to end what is decoded at once: before the first GoP that is one too many."""
        gops: set[tuple[int, int]] = set()
        n_cells = 0
        for k in range(begin, len(numbers)):
            clip = self.clips[numbers[k]]
            if (place := (clip.file, clip.gop)) not in gops:
                video = self.files[clip.file].header.format
                n_cells += -(-video.height // 32) * -(-video.width // 32)
                if gops and n_cells > CELLS_AT_ONCE:
                    return k
                gops.add(place)
        return len(numbers)

    def read(self, index: int) -> Sample[NDArray[Any]] | None:
        """A clip; None, with a warning, where it is damaged and strict is not asked for."""
        try:
            return self.reader.read(index)
        except (BitstreamError, LimitError, MediaError) as error:
            if self.strict:
                raise
            self.n_skipped += 1
            clip = self.clips[index]
            told = f"{self.files[clip.file].path}, frames {clip.first} to {clip.first + clip.n_frames - 1}"
            warnings.warn(DamageWarning(f"left out ({self.n_skipped} so far): {told}: {error}"), stacklevel=3)
            return None
