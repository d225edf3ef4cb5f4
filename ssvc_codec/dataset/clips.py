"""Which clips a set of files has."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from .source import SsvFile

__all__ = ["Clip", "ClipTable", "DamageWarning", "open_files"]

PathName = str | PathLike[str]


class DamageWarning(UserWarning):
    """A file or a clip was left out because it is damaged."""


class Clip(NamedTuple):
    """Frames first .. first + n_frames - 1 of a file; all of them in one GoP."""

    file: int  # in the list of files
    gop: int  # of the file
    gop_start: int  # number of its key frame
    first: int  # number of the first frame
    n_frames: int


class ClipTable:
    """Every clip of some files, those of one GoP in a row."""

    def __init__(self, files: Iterable[SsvFile], *, n_frames: int | None, step: int | None) -> None:
        """n_frames: of a clip, GoPs and ends of GoPs that are shorter have none; None: clips are GoPs. step: frames
        from clip to clip within a GoP, n_frames if None."""
        parts = [_clips_of(k, file, n_frames, step or n_frames) for k, file in enumerate(files)]
        self.rows: NDArray[np.int64] = np.concatenate([np.zeros((0, 5), np.int64), *parts])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Clip:
        return Clip(*self.rows[index].tolist())

    @property
    def gops(self) -> NDArray[np.int64]:
        """(clips,) number of each clip's GoP among all GoPs of all files, ascending."""
        if not len(self.rows):
            return np.zeros(0, np.int64)
        is_new = np.any(np.diff(self.rows[:, :2], axis=0) != 0, axis=1)
        return np.concatenate([[0], np.cumsum(is_new)])


def _clips_of(number: int, file: SsvFile, n_frames: int | None, step: int | None) -> NDArray[np.int64]:
    starts = file.gop_starts
    lengths = np.diff(np.append(starts, file.n_frames))
    gops = np.arange(len(starts))
    if n_frames is None or step is None:
        return np.stack([np.full_like(starts, number), gops, starts, starts, lengths], axis=1)
    counts = np.where(lengths >= n_frames, (lengths - n_frames) // step + 1, 0)
    gop = np.repeat(gops, counts)
    within = np.arange(len(gop)) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = starts[gop]
    columns = [np.full_like(gop, number), gop, begins, begins + within * step, np.full_like(gop, n_frames)]
    return np.stack(columns, axis=1)


def open_files(
    paths: PathName | Iterable[PathName], labels: Sequence[int] | None, *, strict: bool
) -> tuple[list[SsvFile], list[int]]:
    """The files that can be read, and their labels. Warns of others, or with strict raises MediaError."""
    names = [Path(path) for path in ([paths] if isinstance(paths, str | PathLike) else paths)]
    if labels is not None and len(labels) != len(names):
        raise ValueError(f"{len(labels)} labels for {len(names)} files")
    files: list[SsvFile] = []
    kept: list[int] = []
    for k, name in enumerate(names):
        try:
            files.append(SsvFile(name))
        except MediaError as error:
            if strict:
                raise
            warnings.warn(DamageWarning(f"left out: {error}"), stacklevel=3)
            continue
        kept.append(-1 if labels is None else int(labels[k]))
    return files, kept
