"""Sequences in DAVIS's layout with masks that a segmentation network made: to train the refiner without labels.

    python -m ffmpeg_bridge.tasks.pseudo_masks NETWORK.tflite OUT VIDEO... [--shot 9] [--per-video 3]

The network is DeepLab as TensorFlow Lite: 1xHxWx3 uint8 RGB to a map of the 21 classes of Pascal VOC. The most frequent
class of a shot that is not background is the object. Needs ai-edge-litert.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ffmpeg_bridge.tasks.pictures import load_video, rgb_of
from ssvc_codec.errors import ModelError, SsvcError

__all__ = ["write_pseudo_masks", "write_sequence"]

_LEAST_AREA, _MOST_AREA = 0.01, 0.6  # of the picture

Segment = Callable[[NDArray[np.uint8]], NDArray[np.integer]]


def write_pseudo_masks(
    segment: Segment, videos: Sequence[Path], out: Path, *, shot: int = 9, per_video: int = 3
) -> list[str]:
    """Writes shots whose object is neither tiny nor nearly all, and returns their names.

    segment: RGB (H, W, 3) to class numbers (H, W), 0 for background. shot: frames of a shot; videos are cut into shots
    from their start, the first per_video of each are looked at. Raises MediaError.
    """
    names = []
    for video in videos:
        frames = load_video(video.stem, video, n_frames=shot * per_video).frames
        for first in range(0, len(frames) - shot + 1, shot):
            pictures = [rgb_of(frame) for frame in frames[first : first + shot]]
            classes = np.stack([segment(rgb) for rgb in pictures])
            counts = np.bincount(classes.reshape(-1), minlength=2)[1:]
            masks = classes == 1 + int(counts.argmax())
            if not _LEAST_AREA < masks.mean((1, 2)).min() <= masks.mean((1, 2)).max() < _MOST_AREA:
                continue
            name = f"{video.stem[-40:]}_{first // shot}"
            write_sequence(out, name, pictures, masks)
            names.append(name)
    return names


def write_sequence(out: Path, name: str, pictures: Sequence[NDArray[np.uint8]], masks: NDArray[np.bool_]) -> None:
    """Writes one sequence: pictures (H, W, 3) RGB and masks (N, H, W)."""
    folders = [out / kind / "480p" / name for kind in ("JPEGImages", "Annotations")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number, (rgb, mask) in enumerate(zip(pictures, masks, strict=True)):
        Image.fromarray(rgb).save(folders[0] / f"{number:05d}.jpg", quality=95, subsampling=0)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folders[1] / f"{number:05d}.png")


def open_deeplab(path: Path, *, threads: int = 1) -> Segment:
    """DeepLab in a .tflite file. Raises ModelError."""
    try:
        module = import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise ModelError("ai-edge-litert is not installed: `pip install ssvc[eval-tflite]` brings it") from error
    interpreter: Any = module.Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    _, height, width, _ = source["shape"]

    def segment(rgb: NDArray[np.uint8]) -> NDArray[np.integer]:
        small = Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR)
        interpreter.set_tensor(source["index"], np.array(small)[None])
        interpreter.invoke()
        labels = Image.fromarray(interpreter.get_tensor(target["index"])[0].astype(np.uint8))
        return np.array(labels.resize((rgb.shape[1], rgb.shape[0]), Image.Resampling.NEAREST))

    return segment


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("network", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--shot", type=int, default=9)
    parser.add_argument("--per-video", type=int, default=3)
    args = parser.parse_args()
    try:
        names = write_pseudo_masks(
            open_deeplab(args.network), args.videos, args.out, shot=args.shot, per_video=args.per_video
        )
    except SsvcError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{len(names)} shots")
    return 0


if __name__ == "__main__":
    sys.exit(main())
