"""The filter along borders of groups (docs/bitstream.md, section 6.4): what is shown, never what is predicted from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..nets.inter import Planes, half_to_planes, planes_to_half

__all__ = ["filter_picture", "filter_seams"]

LUMA_TAPS = (0.4, 0.1)  # of the step, from the border outward
CHROMA_TAPS = (0.375, 0.125)
ACTIVITY = 4.0  # in limits: where the sides are busier than this the border is left alone


def step_limit(q: Tensor) -> Tensor:
    """The largest step taken for a seam, in units of full scale: about twice the coding error at q."""
    return 2.0 * 10 ** (-(30.0 + 0.29 * q) / 20)


@torch.inference_mode()
def filter_picture(
    picture: Tensor, q: NDArray[np.integer], groups: NDArray[np.integer], shown: NDArray[np.bool_] | None = None
) -> Tensor:
    """As filter_seams, of a picture (1, 6, H/2, W/2); the same tensor where there is no seam."""
    if (groups == groups.flat[0]).all():
        return picture
    return planes_to_half(filter_seams(half_to_planes(picture), q, groups, shown))


def filter_seams(
    planes: Planes, q: NDArray[np.integer], groups: NDArray[np.integer], shown: NDArray[np.bool_] | None = None
) -> Planes:
    """Smooths the step between neighbouring cells of different groups.

    planes: of coded size; q, groups: (rows, columns) of cells; shown: cells whose border may be touched, all if
    None. Both cells of a border must be shown.
    """
    shown = np.ones(groups.shape, np.bool_) if shown is None else shown
    borders = [_borders(groups, shown, axis) for axis in (0, 1)]
    if not any(border.any() for border in borders):
        return planes
    y, uv = planes.y.clone(), planes.uv.clone()
    cells = torch.from_numpy(q.astype(np.float32)).to(y.device)
    for axis in (1, 0):  # columns, then rows
        border = torch.from_numpy(borders[axis]).to(y.device)
        if not border.any():
            continue
        low, high = (cells[:, :-1], cells[:, 1:]) if axis else (cells[:-1], cells[1:])
        limit = step_limit(torch.minimum(low, high)) * border
        for plane, size, taps in ((y, 32, LUMA_TAPS), (uv, 16, CHROMA_TAPS)):
            if axis:
                _filter_columns(plane, limit, size, taps)
            else:
                _filter_columns(plane.transpose(2, 3), limit.t(), size, taps)
    return Planes(y, uv)


def _borders(groups: NDArray[np.integer], shown: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Between each cell and the next along an axis: True where the groups differ and both are shown."""
    here, there = (np.s_[:, :-1], np.s_[:, 1:]) if axis else (np.s_[:-1], np.s_[1:])
    return (groups[here] != groups[there]) & shown[here] & shown[there]


def _filter_columns(plane: Tensor, limit: Tensor, size: int, taps: tuple[float, ...]) -> None:
    """In place, the vertical borders between cells. plane: (1, C, H, W); limit: (rows, columns - 1), 0 for none."""
    width = plane.shape[3]
    cells = plane.unflatten(3, (width // size, size))  # a view
    n = len(taps)
    before, after = cells[..., :-1, size - n :].flip(-1), cells[..., 1:, :n]  # from the border outward
    limits = limit.repeat_interleave(size, 0)[None, None]  # (1, 1, H, columns - 1)
    slope = 0.5 * ((before[..., 0] - before[..., -1]) + (after[..., -1] - after[..., 0])) / (n - 1)
    step = after[..., 0] - before[..., 0] - slope
    busy = (before[..., 0] - before[..., -1]).abs() + (after[..., 0] - after[..., -1]).abs()
    step = torch.where(busy < ACTIVITY * limits, step, 0.0)
    step = torch.minimum(torch.maximum(step, -limits), limits)
    change = step[..., None] * torch.tensor(taps, device=plane.device)
    cells[..., 1:, :n] -= change
    cells[..., :-1, size - n :] += change.flip(-1)
