"""Labels for the object parser from a teacher (`ssvc train label`).

The teacher is a detector of the DEIM kind as ONNX: `images` (N, 3, S, S) RGB in 0..1
and `orig_target_sizes` (N, 2) width, height; it gives `labels`, `boxes` (x0, y0, x1,
y1) and `scores`. Each picture is shown to it twice, as it is and mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import MediaError, ModelError
from .parser_data import LabelledShardWriter, yuv_to_rgb
from .shards import Clip, read_shards

__all__ = ["LabelOptions", "Teacher", "box_iou", "label_pictures", "merge_views"]

SAME_BOX_IOU = 0.6
LONE_SHARE = 0.6  # of the score, for a box that only one of the two views shows
MAX_BOXES = 100  # of a picture, best first

Boxes = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """What to label and how."""

    data: Sequence[Path]  # folders of shards made by `ssvc train pack`
    out: Path
    teacher: Path
    long_side: int = 512  # pictures are stored no larger
    frames_per_clip: int = 2  # first and last, or evenly between
    min_score: float = 0.1
    threads: int = 0


class Teacher:
    """A DEIM-like detector in ONNX Runtime. Raises ModelError for another signature."""

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        import onnxruntime  # the rest of training does without

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"{path}: not a model that ONNX Runtime opens ({error})") from error
        shapes = {value.name: value.shape for value in self._session.get_inputs()}
        if set(shapes) != {"images", "orig_target_sizes"}:
            raise ModelError(f"{path}: inputs {sorted(shapes)}; a teacher has images and orig_target_sizes")
        self.size = int(shapes["images"][2])

    def __call__(self, picture: Tensor, *, width: int, height: int, min_score: float) -> Boxes:
        """Boxes (n, 6) of a picture (3, S, S) RGB in 0..1, in samples of a width x height picture."""
        feeds = {"images": picture[None].numpy(), "orig_target_sizes": np.array([[width, height]], np.int64)}
        labels, corners, scores = self._session.run(["labels", "boxes", "scores"], feeds)
        kept = np.asarray(scores)[0] >= min_score
        corners = np.asarray(corners, np.float32)[0][kept]
        corners = np.clip(corners, 0, np.array([width, height, width, height], np.float32))
        columns = (np.asarray(labels)[0][kept], np.asarray(scores)[0][kept], *corners[:, :2].T)
        sides = corners[:, 2:] - corners[:, :2]
        boxes = np.column_stack([*columns, *sides.T]).astype(np.float32)
        return boxes[(sides > 1).all(axis=1)]


def box_iou(a: Boxes, b: Boxes) -> NDArray[np.float32]:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4): x, y, width, height."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    union = a[:, 2:].prod(axis=1)[:, None] + b[:, 2:].prod(axis=1)[None] - common
    return (common / np.maximum(union, 1e-6)).astype(np.float32)


def merge_views(plain: Boxes, mirrored: Boxes, *, width: int, min_score: float) -> Boxes:
    """One list of boxes from a picture's own and from its mirror image's; pairs are averaged.

    A box that one view alone shows keeps LONE_SHARE of its score.
    """
    back = mirrored.copy()
    back[:, 2] = width - mirrored[:, 2] - mirrored[:, 4]
    if len(plain) and len(back):
        iou = box_iou(plain[:, 2:], back[:, 2:]) * (plain[:, None, 0] == back[None, :, 0])
        partner = iou.argmax(axis=1)
        mutual = (iou.argmax(axis=0)[partner] == np.arange(len(plain))) & (iou.max(axis=1) > SAME_BOX_IOU)
    else:
        partner, mutual = np.zeros(len(plain), int), np.zeros(len(plain), bool)
    paired = (plain[mutual] + back[partner[mutual]]) / 2
    alone = np.concatenate([plain[~mutual], np.delete(back, partner[mutual], axis=0)])
    alone[:, 1] *= LONE_SHARE
    boxes = np.concatenate([paired, alone])
    boxes = boxes[np.argsort(-boxes[:, 1], kind="stable")]
    return boxes[boxes[:, 1] >= min_score][:MAX_BOXES]


def _resized(plane: Tensor, height: int, width: int) -> Tensor:
    if plane.shape == (height, width):
        return plane.float()
    return F.interpolate(plane[None, None].float(), (height, width), mode="bilinear", antialias=True)[0, 0]


def _frames(clip: Clip, n: int) -> list[int]:
    last = clip.y.shape[0] - 1
    return sorted({round(last * k / max(1, n - 1)) for k in range(n)})


def _pictures(options: LabelOptions) -> Iterator[tuple[tuple[Tensor, Tensor, Tensor], str]]:
    for folder in options.data:
        for clip in read_shards(folder):
            for frame in _frames(clip, options.frames_per_clip):
                name = clip.source if clip.y.shape[0] == 1 else f"{clip.source}+{frame}"
                yield (clip.y[frame], clip.u[frame], clip.v[frame]), name


def _label(teacher: Teacher, planes: Sequence[Tensor], *, width: int, height: int, min_score: float) -> Boxes:
    picture = torch.stack([_resized(plane, teacher.size, teacher.size) for plane in planes])
    rgb = yuv_to_rgb(picture[None])[0]
    views = [
        teacher(view.contiguous(), width=width, height=height, min_score=min_score) for view in (rgb, rgb.flip(-1))
    ]
    return merge_views(*views, width=width, min_score=min_score)


def label_pictures(options: LabelOptions, progress: Callable[[int, int], None] | None = None) -> dict[str, int]:
    """Labels packed pictures and writes them, no larger than asked for, to labelled shards.

    Returns counts. Raises MediaError where there is nothing packed, ModelError for another kind of teacher.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
    teacher = Teacher(options.teacher, threads=options.threads)
    writer = LabelledShardWriter(options.out)
    for planes, source in _pictures(options):
        height, width = planes[0].shape
        factor = min(1.0, options.long_side / max(height, width))
        half_height, half_width = round(height * factor / 2), round(width * factor / 2)
        height, width = 2 * half_height, 2 * half_width
        boxes = _label(teacher, planes, width=width, height=height, min_score=options.min_score)
        sizes = ((height, width), (half_height, half_width), (half_height, half_width))
        y, u, v = (_resized(p, *size).round().byte().numpy() for p, size in zip(planes, sizes, strict=True))
        writer.add((y, u, v), boxes, source)
        if progress:
            progress(writer.n_pictures, writer.n_boxes)
    writer.flush()
    if not writer.n_pictures:
        raise MediaError("no packed pictures in these folders; see `ssvc train pack`")
    return {"pictures": writer.n_pictures, "boxes": writer.n_boxes, "shards": writer.n_shards}
