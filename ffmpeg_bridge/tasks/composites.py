"""Sequences in DAVIS's layout with exact masks: objects cut out of one sequence move over a picture of another.

    python -m ffmpeg_bridge.tasks.composites MASKED OUT [--count 80] [--frames 9] [--seed 1]

MASKED has masks that may be rough, such as those of pseudo_masks: what is cut out with them moves as one thing, so in
OUT they are right to the pixel. Object and background each move, turn and grow steadily; the object bends as well.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ffmpeg_bridge.tasks.davis import DavisSequence, read_davis
from ffmpeg_bridge.tasks.motion import opencv
from ffmpeg_bridge.tasks.pseudo_masks import write_sequence
from ssvc_codec.errors import MediaError, SsvcError

__all__ = ["write_composites"]

_AREAS = (0.015, 0.4)  # of the picture
_ENLARGED = 1.3  # the background, so that it may move


@dataclass(frozen=True)
class _Motion:
    """Steady motion about a centre; places of a frame in the picture that moves."""

    center: tuple[float, float]  # x, y
    velocity: NDArray[np.float64]  # x, y; pixels a frame
    acceleration: NDArray[np.float64]
    turn: float  # radians a frame
    growth: float  # log scale a frame
    bend: NDArray[np.float32]  # (2, H, W) pixels
    bends_every: float  # frames

    def places(self, time: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Columns and rows of the source, (H, W) each."""
        rows, columns = np.indices(self.bend.shape[1:], dtype=np.float32)
        moved = self.velocity * time + self.acceleration * time**2 / 2
        x, y = columns - self.center[0] - moved[0], rows - self.center[1] - moved[1]
        c, s = np.cos(self.turn * time), np.sin(self.turn * time)
        scale = np.exp(-self.growth * time)
        bent = np.sin(2 * np.pi * time / self.bends_every) * self.bend
        at_x = scale * (c * x + s * y) + self.center[0] + bent[0]
        at_y = scale * (c * y - s * x) + self.center[1] + bent[1]
        return at_x.astype(np.float32), at_y.astype(np.float32)


def write_composites(
    sequences: tuple[DavisSequence, ...], out: Path, *, count: int = 80, n_frames: int = 9, seed: int = 1
) -> int:
    """Writes so many sequences and returns how many. Raises MediaError where fewer than two can be used."""
    random = np.random.default_rng(seed)
    usable = [sequence for sequence in sequences if _is_usable(sequence)]
    if len(usable) < 2:
        raise MediaError("composites need two sequences with an object of some size")
    for number in range(count):
        first, second = random.choice(len(usable), 2, replace=False)
        rgb, mask = _first_frame(usable[first])
        background, _ = _first_frame(usable[second])
        pictures, masks = _compose(rgb, mask, background, n_frames, random)
        write_sequence(out, f"composite_{number:04d}", pictures, masks)
    return count


def _first_frame(sequence: DavisSequence) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    with Image.open(sequence.pictures[0]) as picture:
        rgb = np.array(picture.convert("RGB"))
    return rgb, sequence.truth(0, width=rgb.shape[1], height=rgb.shape[0])


def _is_usable(sequence: DavisSequence) -> bool:
    return _AREAS[0] < float(_first_frame(sequence)[1].mean()) < _AREAS[1]


def _compose(
    rgb: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    background: NDArray[np.uint8],
    n_frames: int,
    random: np.random.Generator,
) -> tuple[list[NDArray[np.uint8]], NDArray[np.bool_]]:
    cv2 = opencv()
    height, width = mask.shape
    rows, columns = np.nonzero(mask)
    size = float(np.sqrt(len(rows)))
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)
    wide = (round(_ENLARGED * width), round(_ENLARGED * height))
    behind = cv2.resize(background, wide, interpolation=cv2.INTER_AREA)
    left, top = (wide[0] - width) / 2, (wide[1] - height) / 2
    of_object = _motion((columns.mean(), rows.mean()), (height, width), random, speed=5, bend=0.03 * size)
    of_background = _motion((width / 2, height / 2), (height, width), random, speed=2, bend=0.5)
    pictures, masks = [], []
    for time in range(n_frames):
        at_x, at_y = of_object.places(time)
        front = cv2.remap(rgb, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        share = cv2.remap(alpha, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        at_x, at_y = of_background.places(time)
        back = cv2.remap(behind, at_x + left, at_y + top, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        mixed = share[..., None] * front + (1 - share[..., None]) * back
        pictures.append(np.rint(mixed).astype(np.uint8))
        masks.append(share >= 0.5)
    return pictures, np.stack(masks)


def _motion(
    center: tuple[float, float], shape: tuple[int, int], random: np.random.Generator, *, speed: float, bend: float
) -> _Motion:
    noise = random.standard_normal((2, *shape)).astype(np.float32)
    smooth = np.stack([opencv().GaussianBlur(component, (0, 0), max(shape) / 16) for component in noise])
    return _Motion(
        center,
        random.normal(0, speed / 2, 2),
        random.normal(0, speed / 20, 2),
        float(random.normal(0, 0.008)),
        float(random.normal(0, 0.006)),
        smooth / smooth.std() * bend * random.uniform(),
        float(random.uniform(8, 24)),
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("masked", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    try:
        n = write_composites(read_davis(args.masked), args.out, count=args.count, n_frames=args.frames, seed=args.seed)
    except SsvcError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{n} sequences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
