"""DAVIS 2016's layout: JPEGImages/480p/SEQUENCE/00000.jpg and Annotations/480p/SEQUENCE/00000.png."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ffmpeg_bridge.tasks.pictures import load_pictures
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip

__all__ = ["DavisSequence", "read_davis"]


@dataclass(frozen=True)
class DavisSequence:
    """One sequence: pictures and masks of the same numbers."""

    name: str
    pictures: tuple[Path, ...]
    masks: tuple[Path, ...]

    def load(self) -> Clip:
        """The pictures as a clip. Raises MediaError."""
        return load_pictures(self.name, self.pictures)

    def truth(self, number: int, *, width: int, height: int) -> NDArray[np.bool_]:
        """Where the object is in a frame, (height, width); instances of DAVIS 2017 are taken together.

        Raises MediaError for a mask that is smaller than the picture.
        """
        try:
            with Image.open(self.masks[number]) as picture:
                values = np.array(picture.convert("L") if picture.mode not in ("L", "P", "1") else picture)
        except OSError as error:
            raise MediaError(f"{self.masks[number]}: no picture that can be read") from error
        if values.shape[0] < height or values.shape[1] < width:
            raise MediaError(f"{self.masks[number]}: smaller than its picture of {width}x{height}")
        return values[:height, :width] > 0


def read_davis(
    folder: Path, *, split: str = "", limit: int | None = None, n_frames: int | None = None, resolution: str = "480p"
) -> tuple[DavisSequence, ...]:
    """The first `limit` sequences, n_frames of each; those of ImageSets/480p/SPLIT.txt, or all without split.

    Raises MediaError for another layout, with what was looked for.
    """
    pictures, masks = folder / "JPEGImages" / resolution, folder / "Annotations" / resolution
    for path in (pictures, masks):
        if not path.is_dir():
            raise MediaError(f"{path}: no such folder; DAVIS has JPEGImages/{resolution} and Annotations/{resolution}")
    names = _listed(folder, split, resolution) if split else sorted(p.name for p in pictures.iterdir() if p.is_dir())
    if not names:
        raise MediaError(f"{pictures}: no sequences")
    return tuple(_sequence(name, pictures / name, masks / name, n_frames) for name in names[:limit])


def _listed(folder: Path, split: str, resolution: str) -> list[str]:
    """Sequences of a list, whose lines are a name, or /JPEGImages/480p/NAME/00000.jpg and the mask."""
    for path in (folder / "ImageSets" / resolution / f"{split}.txt", folder / "ImageSets" / "2016" / f"{split}.txt"):
        if path.is_file():
            words = [line.split()[0] for line in path.read_text().splitlines() if line.strip()]
            return list(dict.fromkeys(Path(word).parent.name if "/" in word else word for word in words))
    raise MediaError(f"{folder / 'ImageSets' / resolution}: no {split}.txt")


def _sequence(name: str, pictures: Path, masks: Path, n_frames: int | None) -> DavisSequence:
    found = sorted(path for path in pictures.glob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[:n_frames]
    if not found:
        raise MediaError(f"{pictures}: no pictures")
    annotated = tuple(masks / f"{path.stem}.png" for path in found)
    for path in annotated:
        if not path.is_file():
            raise MediaError(f"{path}: no such mask, but {name} has the picture")
    return DavisSequence(name, tuple(found), annotated)
