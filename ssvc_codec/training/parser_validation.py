"""How well the object parser agrees with its teacher on held-out pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..nets.parser import ExportedParser, ParserNet, find_peaks
from .parser_data import LabelledPicture
from .parser_labels import box_iou
from .parser_loss import draw_targets, parser_loss
from .parser_sampling import whole_pictures

__all__ = ["Found", "average_precision", "validate_parser"]

SURE = 0.4  # score of the teacher from which a box counts as being there
FEWEST_BOXES = 10  # of a class, or its average precision says nothing
BATCH = 8

Rows = NDArray[np.float32]  # (n, 6): class, score, x, y, width, height


class Found(NamedTuple):
    """One picture: what is there and what was found."""

    truth: Rows
    found: Rows


def _hits(truth: Rows, found: Rows, threshold: float) -> NDArray[np.bool_]:
    """Which boxes, best first, meet a box of the truth that none before them took."""
    order = np.argsort(-found[:, 1], kind="stable")
    hits = np.zeros(len(found), bool)
    if not len(truth):
        return hits
    iou = box_iou(found[:, 2:], truth[:, 2:])
    for row in order:
        best = int(iou[row].argmax())
        if iou[row, best] >= threshold:
            hits[row] = True
            iou[:, best] = -1
    return hits


def average_precision(pictures: Sequence[Found], class_id: int, *, threshold: float = 0.5) -> float:
    """Area under precision over recall of one class, precision made monotonous. NaN without truth."""
    scores, hits, n_truth = [], [], 0
    for picture in pictures:
        truth, found = (rows[rows[:, 0] == class_id] for rows in picture)
        scores.append(found[:, 1])
        hits.append(_hits(truth, found, threshold))
        n_truth += len(truth)
    if not n_truth:
        return float("nan")
    hit = np.concatenate(hits)[np.argsort(-np.concatenate(scores), kind="stable")]
    n_hits = np.cumsum(hit)
    precision = n_hits / np.arange(1, len(hit) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((precision * hit).sum() / n_truth)


@torch.no_grad()
def validate_parser(
    net: ParserNet, pictures: Sequence[LabelledPicture], *, device: str, size: int = 384
) -> dict[str, float]:
    """Loss, and AP50 against the teacher's sure boxes: mean of the classes there are enough of, and of persons."""
    net = net.eval()
    exported = ExportedParser(net).to(device).eval()
    losses: list[float] = []
    results: list[Found] = []
    for first in range(0, len(pictures), BATCH):
        samples = whole_pictures(pictures[first : first + BATCH], size, device)
        with torch.autocast(device, dtype=torch.bfloat16):
            raw = exported.net(samples.picture)
        n, classes, rows, columns = raw.heatmap.shape
        targets = draw_targets(samples.objects, n_samples=n, n_classes=classes, rows=rows, columns=columns)
        losses.append(float(parser_loss(raw, targets).total) * n)
        peaks = find_peaks(*exported.shipped(raw))
        found = torch.cat([peaks.classes[..., None].float(), peaks.scores[..., None], peaks.boxes], 2).cpu().numpy()
        objects = samples.objects
        table = torch.cat([objects.class_id[:, None].float(), objects.score[:, None], objects.box], 1).cpu().numpy()
        for number in range(n):
            truth = table[(objects.sample == number).cpu().numpy()]
            results.append(Found(truth[truth[:, 1] >= SURE], found[number]))
    return {"loss": sum(losses) / max(1, len(pictures))} | _precisions(results)


def _precisions(results: Sequence[Found]) -> dict[str, float]:
    ids, counts = np.unique(np.concatenate([r.truth[:, 0] for r in results]), return_counts=True)
    known = {int(c): average_precision(results, int(c)) for c, n in zip(ids, counts, strict=True) if n >= FEWEST_BOXES}
    mean = sum(known.values()) / len(known) if known else 0.0
    return {"ap50": mean, "classes": float(len(known)), "ap50_person": known.get(0, 0.0)}
