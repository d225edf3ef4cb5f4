"""Targets and loss of the object parser.

CenterNet's penalty-reduced focal loss (Zhou 2019, Eq. 1) with the peak of an object as
high as the teacher was sure of it (the quality focal loss of Li 2020 at the centres).
Size counts around each centre, not on it alone (TTFNet, Liu 2020): that learns faster.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..nets.parser import SIZE_UNIT, STRIDE, ParserOutput
from .parser_sampling import Objects

__all__ = ["ParserLoss", "Targets", "confidence", "draw_targets", "parser_loss"]

LEAST_SCORE, SURE_SCORE = 0.1, 0.6  # scores of the teacher that mean nothing and certainty
REACH = 0.54  # of half a box: the radius of its peak
NEAR = 0.3  # a peak this high or higher teaches the size
SIZE_WEIGHT, OFFSET_WEIGHT = 1.0, 0.5


def confidence(score: Tensor) -> Tensor:
    """How sure the parser should be where the teacher gave this score: 0..1."""
    return ((score - LEAST_SCORE) / (SURE_SCORE - LEAST_SCORE)).clamp(0, 1)


class Targets(NamedTuple):
    """What the heads should say. M objects, K cells near a centre."""

    negative: Tensor  # (N * classes, cells) weight of a cell as background: 1 far away, 0 at centres
    centre_row: Tensor  # (M,) into N * classes
    centre_cell: Tensor  # (M,) into cells
    confidence: Tensor  # (M,)
    sample: Tensor  # (M,)
    offset: Tensor  # (M, 2)
    near_object: Tensor  # (K,) into M
    near_cell: Tensor  # (K,) into cells
    near_weight: Tensor  # (K,)
    log_size: Tensor  # (M, 2)


class ParserLoss(NamedTuple):
    """Each a scalar."""

    total: Tensor
    heatmap: Tensor
    size: Tensor
    offset: Tensor


def _highest(values: Tensor, row: Tensor, n_rows: int) -> Tensor:
    """(n_rows, cells) largest of the values (M, cells) that go to each row, or 0."""
    start = torch.zeros(n_rows, values.shape[1], device=values.device)
    return start.scatter_reduce_(0, row[:, None].expand_as(values), values, "amax")


def draw_targets(objects: Objects, *, n_samples: int, n_classes: int, rows: int, columns: int) -> Targets:
    """Targets on a grid of rows x columns cells."""
    device = objects.box.device
    sides = objects.box[:, 2:] / STRIDE
    centre = objects.box[:, :2] / STRIDE + sides / 2
    limit = torch.tensor((columns - 1, rows - 1), device=device)
    cell = centre.floor().clamp(min=0).minimum(limit)
    sigma = ((REACH * sides).floor().clamp(min=0) + 1) / 6
    across = torch.arange(columns, device=device) - cell[:, :1]
    down = torch.arange(rows, device=device) - cell[:, 1:]
    gx = torch.exp(-0.5 * (across / sigma[:, :1]).square())
    gy = torch.exp(-0.5 * (down / sigma[:, 1:]).square())
    peak = (gy[:, :, None] * gx[:, None, :]).flatten(1)  # (M, cells)
    row = objects.sample * n_classes + objects.class_id
    index = (cell[:, 1] * columns + cell[:, 0]).long()
    sure = confidence(objects.score)

    touched, inverse = row.unique(return_inverse=True)
    highest = _highest(peak, inverse, len(touched))
    negative = torch.ones(n_samples * n_classes, rows * columns, device=device)
    negative[touched] = (1 - highest).pow(4)
    negative[row, index] = 0

    strength = peak * sure[:, None]
    best = _highest(strength, objects.sample, n_samples)
    near = (peak >= NEAR) & (strength >= best[objects.sample]) & (sure > 0)[:, None]
    near_object, near_cell = near.nonzero(as_tuple=True)
    return Targets(
        negative=negative,
        centre_row=row,
        centre_cell=index,
        confidence=sure,
        sample=objects.sample,
        offset=(centre - cell).clamp(0, 1),
        near_object=near_object,
        near_cell=near_cell,
        near_weight=strength[near_object, near_cell],
        log_size=torch.log(objects.box[:, 2:].clamp(min=1) / SIZE_UNIT),
    )


class _Background(torch.autograd.Function):
    """Sum of weight * p^2 * -log(1 - p), its gradient in closed form: a third of the passes over memory."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, weight: Tensor) -> Tensor:
        z = logits.float()
        p = z.sigmoid()
        cost = F.softplus(z)
        weighted = p.square().mul_(weight)
        gradient = (2 - 2 * p).mul_(cost).add_(p).mul_(weighted)
        ctx.save_for_backward(gradient.to(logits.dtype))
        return weighted.mul_(cost).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0], None


def parser_loss(output: ParserOutput, targets: Targets) -> ParserLoss:
    """Loss of a batch, per unit of the teacher's confidence."""
    n, classes = output.heatmap.shape[:2]
    logits = output.heatmap.reshape(n * classes, -1)
    background = _Background.apply(logits, targets.negative)
    assert isinstance(background, Tensor)
    z = logits[targets.centre_row, targets.centre_cell].float()
    t = targets.confidence
    centres = (z.sigmoid() - t).square() * F.binary_cross_entropy_with_logits(z, t, reduction="none")
    n_sure = t.sum().clamp(min=1)
    heatmap = (background + centres.sum()) / n_sure

    near, at = targets.near_object, targets.near_cell
    size = output.size.flatten(2)[targets.sample[near], :, at].float()
    wrong = (size - targets.log_size[near]).abs().sum(1)
    size_loss = (wrong * targets.near_weight).sum() / targets.near_weight.sum().clamp(min=1)
    offset = output.offset.flatten(2)[targets.sample, :, targets.centre_cell].float().sigmoid()
    offset_loss = ((offset - targets.offset).abs().sum(1) * t).sum() / n_sure
    total = heatmap + SIZE_WEIGHT * size_loss + OFFSET_WEIGHT * offset_loss
    return ParserLoss(total, heatmap, size_loss, offset_loss)
