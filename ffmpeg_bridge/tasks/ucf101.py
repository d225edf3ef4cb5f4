"""UCF-101's layout: CLASS/VIDEO.avi, and lists of a split: classInd.txt, trainlist01.txt, testlist01.txt."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal

from ffmpeg_bridge.tasks.pictures import load_video
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip

__all__ = ["ActionClip", "ActionSet", "read_ucf101"]


@dataclass(frozen=True)
class ActionClip:
    """One video and its class."""

    name: str  # CLASS/VIDEO.avi
    path: Path
    label: int  # from 0
    n_frames: int

    def load(self) -> Clip:
        """The first n_frames frames. Raises MediaError."""
        return load_video(self.name, self.path, n_frames=self.n_frames)


@dataclass(frozen=True)
class ActionSet:
    """One part of a split."""

    classes: tuple[str, ...]
    clips: tuple[ActionClip, ...]


def read_ucf101(
    folder: Path,
    *,
    part: Literal["train", "test"],
    split: int = 1,
    lists: Path | None = None,
    limit: int | None = None,
    n_frames: int = 10**6,
) -> ActionSet:
    """The clips of a list; with limit, the first of every class in turn.

    folder: has the classes' folders, itself or in UCF-101/. lists: folder of the lists; else the data set's own
    ucfTrainTestlist/, or folder. Raises MediaError for another layout, with what was looked for.
    """
    places = [lists] if lists else [folder / "ucfTrainTestlist", folder, folder.parent / "ucfTrainTestlist"]
    place = next((p for p in places if (p / "classInd.txt").is_file()), None)
    if place is None:
        looked = " or ".join(str(p) for p in places)
        raise MediaError(f"{looked}: no classInd.txt; UCF-101's lists are in ucfTrainTestlist/ (see --lists)")
    classes = tuple(line.split()[1] for line in _lines(place / "classInd.txt"))
    root = folder / "UCF-101" if (folder / "UCF-101").is_dir() else folder
    by_class: dict[str, list[ActionClip]] = {name: [] for name in classes}
    for line in _lines(place / f"{part}list{split:02d}.txt"):
        name = line.split()[0]
        label = name.split("/")[0]
        if label not in by_class:
            raise MediaError(f"{place / f'{part}list{split:02d}.txt'}: {label} is not in classInd.txt")
        path = root / name
        if not path.is_file():
            raise MediaError(f"{path}: no such video, but the list of the split has it")
        by_class[label].append(ActionClip(name, path, classes.index(label), n_frames))
    clips = [clip for turn in zip_longest(*by_class.values()) for clip in turn if clip is not None]
    if not clips:
        raise MediaError(f"{place}: the {part} list of split {split} names no video")
    return ActionSet(classes, tuple(clips[:limit]))


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise MediaError(f"{path}: no such list")
    return [line for line in path.read_text().splitlines() if line.strip()]
