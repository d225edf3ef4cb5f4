"""Writes every object as pictures or clips of its own, in a folder of its track: person_7/000123.png.

index.csv has a line for each object of each frame: see INDEX_COLUMNS. Numbers of frames count from 0.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ffmpeg_bridge.clip_writer import ClipWriter
from ffmpeg_bridge.files import media_errors
from ffmpeg_bridge.object_writer import class_label
from ffmpeg_bridge.rgb import RgbConverter, png_bytes, upright
from ssvc_codec.bitstream import ClassTable, SceneObject
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Frame

__all__ = ["INDEX_COLUMNS", "CropArea", "CropKind", "CropWriter", "track_folder"]

CropKind = Literal["png", "mp4"]

INDEX_COLUMNS: Final = (
    "file",  # below the folder
    "file_frame",  # place in the clip, from 0; 0 in a picture
    "frame",
    "pts",
    "time_seconds",
    "track_id",
    "class_id",
    "class",
    "score",  # 0..1
    "x",  # of the box, in luma samples of the coded picture; padding is not counted
    "y",
    "width",
    "height",
)

_INDEX = "index.csv"
_UNSAFE = re.compile(r"[^\w-]+")
_CROP_NAME = re.compile(r"[\w-]+_\d+/\d{6,}\.(png|mp4)")


@dataclass(frozen=True, slots=True)
class CropArea:
    """Part of a picture, in luma samples."""

    x: int
    y: int
    width: int
    height: int

    @classmethod
    def around(cls, item: SceneObject, *, padding: float, width: int, height: int) -> CropArea:
        """The box and padding times its sides on each side, as far as the picture of width x height reaches."""
        dx, dy = round(item.width * padding), round(item.height * padding)
        left, top = max(item.x - dx, 0), max(item.y - dy, 0)
        right, bottom = min(item.x + item.width + dx, width), min(item.y + item.height + dy, height)
        return cls(left, top, right - left, bottom - top)


def track_folder(label: str, track_id: int) -> str:
    """The name of a track's folder: what could harm in a name becomes "_"."""
    return f"{_UNSAFE.sub('_', label)}_{track_id}"


class CropWriter:
    """A folder of crops in the making. It has its name only after close(); abort() leaves nothing.

    png: one picture for each object and frame, turned upright where the video is rotated. mp4: one clip for each
    uninterrupted appearance of a track, named by its first frame and of the size of its first box; later boxes are
    scaled to fit.
    """

    def __init__(
        self, folder: str | Path, *, kind: CropKind = "png", padding: float = 0.0, overwrite: bool = False
    ) -> None:
        """padding: of the box's sides, added on each side. overwrite: crops in the folder, which index.csv lists, give
        way; other files stay. Raises MediaError, ValueError.
        """
        if not 0 <= padding <= 10:
            raise ValueError(f"padding {padding}: 0 to 10 times the box is possible")
        self.n_crops = 0
        self._kind: CropKind = kind
        self._padding = padding
        self._target = _CropFolder(folder, overwrite=overwrite)
        self._to_rgb = RgbConverter()
        self._clips: dict[tuple[int, int], ClipWriter] = {}  # of the frame before, by class and track
        self._index = self._target.path_of(_INDEX).open("w", encoding="utf-8", newline="")
        self._rows = csv.writer(self._index, lineterminator="\n")
        self._rows.writerow(INDEX_COLUMNS)

    @property
    def notes(self) -> list[str]:
        """What was changed or left out, for the user."""
        return []

    def write(self, frame: Frame, objects: Iterable[SceneObject], classes: ClassTable, *, number: int) -> None:
        """Adds the objects of one frame. Raises MediaError, ValueError for boxes outside. Nothing is left then."""
        video = frame.format
        try:
            with media_errors(f"cannot write {self._target.name}"):
                listed = list(objects)
                for item in listed:
                    if item.x + item.width > video.width or item.y + item.height > video.height:
                        raise ValueError(f"the box of object {item.track_id} leaves the picture")
                write = self._write_pictures if self._kind == "png" else self._write_clips
                write(frame, listed, classes, number)
        except BaseException:
            self.abort()
            raise

    def _area(self, frame: Frame, item: SceneObject) -> CropArea:
        return CropArea.around(item, padding=self._padding, width=frame.format.width, height=frame.format.height)

    def _write_pictures(self, frame: Frame, objects: list[SceneObject], classes: ClassTable, number: int) -> None:
        if not objects:
            return
        rgb = self._to_rgb.convert(frame)
        for item in objects:
            name = f"{track_folder(class_label(classes, item.class_id), item.track_id)}/{number:06d}.png"
            area = self._area(frame, item)
            crop = rgb[area.y : area.y + area.height, area.x : area.x + area.width]
            self._target.path_of(name).write_bytes(png_bytes(upright(crop, frame.format.rotation)))
            self._add_to_index(frame, item, classes, number, name, 0)

    def _write_clips(self, frame: Frame, objects: list[SceneObject], classes: ClassTable, number: int) -> None:
        keys = {(item.class_id, item.track_id) for item in objects}
        for key in [key for key in self._clips if key not in keys]:
            self._clips.pop(key).close()
        for item in objects:
            key, area = (item.class_id, item.track_id), self._area(frame, item)
            clip = self._clips.get(key)
            if clip is None:
                name = f"{track_folder(class_label(classes, item.class_id), item.track_id)}/{number:06d}.mp4"
                sides = {"width": area.width, "height": area.height}
                clip = self._clips[key] = ClipWriter(self._target.path_of(name), name=name, like=frame, **sides)
            index = clip.write(frame, x=area.x, y=area.y, width=area.width, height=area.height)
            self._add_to_index(frame, item, classes, number, clip.name, index)

    def _add_to_index(
        self, frame: Frame, item: SceneObject, classes: ClassTable, number: int, name: str, index: int
    ) -> None:
        label = class_label(classes, item.class_id)
        box = (item.x, item.y, item.width, item.height)
        times = (number, frame.pts, frame.pts_seconds)
        score = round(item.score / 255, 4)
        self._rows.writerow((name, index, *times, item.track_id, item.class_id, label, score, *box))
        self.n_crops += 1

    def close(self) -> None:
        """Ends the clips and makes the files appear. Raises MediaError, after which nothing is left."""
        try:
            with media_errors(f"cannot write {self._target.name}"):
                while self._clips:
                    self._clips.popitem()[1].close()
                self._index.close()
                self._target.commit()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Throws everything away."""
        while self._clips:
            self._clips.popitem()[1].abort()
        with contextlib.suppress(OSError):
            self._index.close()
        self._target.discard()


class _CropFolder:
    """Files that wait beside the folder (or inside, where it is there already) until all are written."""

    def __init__(self, path: str | Path, *, overwrite: bool) -> None:
        self.name = str(path)
        self._final = Path(path)
        with media_errors(f"cannot write {self.name}"):
            self._is_new = not self._final.is_dir()
            if self._is_new and os.path.lexists(self._final):
                raise MediaError(f"cannot write {self.name}: it is a file, and a folder is needed")
            if not self._is_new and not overwrite and any(self._final.iterdir()):
                raise MediaError(f"cannot write {self.name}: the folder is not empty; -y replaces the crops in it")
            part = f".{self._final.name[:80]}.{os.getpid()}.{id(self):x}.part"
            self._temporary = self._final.parent / part if self._is_new else self._final / part
            self._temporary.mkdir()

    def path_of(self, name: str) -> Path:
        """Where a file waits; its folder is there."""
        path = self._temporary / name
        path.parent.mkdir(exist_ok=True)
        return path

    def commit(self) -> None:
        if self._is_new:
            self._temporary.rename(self._final)
            return
        self._remove_earlier()
        for file in [path for path in self._temporary.rglob("*") if path.is_file()]:
            target = self._final / file.relative_to(self._temporary)
            target.parent.mkdir(exist_ok=True)
            file.replace(target)
        shutil.rmtree(self._temporary)

    def _remove_earlier(self) -> None:
        """What an index that is there lists, and folders that this leaves empty."""
        index = self._final / _INDEX
        if not index.is_file():
            return
        with index.open(encoding="utf-8", newline="") as file:
            names = [row[0] for row in csv.reader(file) if row and _CROP_NAME.fullmatch(row[0])]
        for name in names:
            (self._final / name).unlink(missing_ok=True)
        for folder in {(self._final / name).parent for name in names}:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def discard(self) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)
