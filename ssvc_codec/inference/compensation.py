"""The warp, group by group: what objects are predicted from does not depend on what is beside them.

So a decoder that reads some objects alone gets what a decoder of everything gets (docs/bitstream.md, section 6.3).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..nets.inter import Planes, planes_to_half
from ..nets.merge import Field, merge_finer
from ..nets.motion import upsample_flow, warp
from .extension import Area, extend
from .latents import GroupSymbols
from .merging import FAR, NEAR, GroupMerges, group_field
from .reference import FrameMaps, InterReference
from .rows import rows_by_group
from .windows import Window, group_window

__all__ = ["Compensated", "compensate"]

TAPS = 5  # luma samples beyond the position that it points to: cubic convolution of chroma reads 4, and rounding


class Compensated(NamedTuple):
    """What the networks mend. 0 in cells without a flow."""

    warped: Tensor  # (1, 6, H/2, W/2)
    flow: Tensor  # (1, 2, H/2, W/2), in luma samples


def compensate(
    before: InterReference,
    flow: Tensor,
    maps: FrameMaps,
    decoded: NDArray[np.bool_] | None = None,
    motion: GroupSymbols | None = None,
) -> Compensated:
    """The reference at the positions that the flow points to.

    flow: (1, 2, H/4, W/4); decoded: (rows, columns) groups that have one, None for all; motion: of all cells,
    of which merge indexes and own vectors count.
    """
    assert before.planes is not None
    n_rows, n_columns = maps.groups.shape
    warped = flow.new_zeros(1, 6, 16 * n_rows, 16 * n_columns)
    flow_half = flow.new_zeros(1, 2, 16 * n_rows, 16 * n_columns)
    for group, rows in rows_by_group(maps.groups):
        if decoded is not None and not decoded.flat[rows[0]]:
            continue
        cells = maps.groups == group
        window = group_window(cells)
        merges = GroupMerges.of(motion, rows, maps.groups.shape[1], str(flow.device))
        field = group_field(flow, cells, window, margin=NEAR if merges is None else FAR)
        at1, at2 = (upsampled(field, window, factor) for factor in (4, 2))
        if merges is not None:
            (blocks, patches), place = merges.patches(field, flow), {"top": 4 * window.top, "left": 4 * window.left}
            at1, at2 = (merge_finer(x, patches, blocks, k, **place) for x, k in ((at1, 4), (at2, 2)))
        part = _warp(before.planes, before.source(maps.members[group]), at1, at2 / 2, window)
        warped = window.paste(warped, part, 16)
        flow_half = window.paste(flow_half, at2, 16)
    return Compensated(warped, flow_half)


def upsampled(field: Field, window: Window, factor: int) -> Tensor:
    """The flow of a group's window, (1, 2, factor x 8 rows, factor x 8 columns), from the group's field."""
    top, left = (int(first > 0) for first in (window.top, window.left))
    bottom, right = int(8 * window.bottom < field.height), int(8 * window.right < field.width)
    rows = slice(8 * window.top - top - field.top, 8 * window.bottom + bottom - field.top)
    columns = slice(8 * window.left - left - field.left, 8 * window.right + right - field.left)
    finer = upsample_flow(field.vectors[:, :, rows, columns], factor)  # of what is beyond, one vector
    height, width = (8 * factor * n for n in window.cells.shape)
    return finer[:, :, factor * top : factor * top + height, factor * left : factor * left + width]


def _warp(planes: Planes, source: NDArray[np.bool_], luma_flow: Tensor, chroma_flow: Tensor, window: Window) -> Tensor:
    """(1, 6, h/2, w/2) of a window, from the source cells alone."""
    (y, uv), area = reached_planes(planes, source, luma_flow, window)
    top, left = window.top - area.top, window.left - area.left
    luma = warp(y, luma_flow, mode="bicubic", offset=(32 * top, 32 * left))
    chroma = warp(uv, chroma_flow, mode="bicubic", offset=(16 * top, 16 * left))
    return planes_to_half(Planes(luma, chroma))


def reached_planes(planes: Planes, source: NDArray[np.bool_], flow: Tensor, window: Window) -> tuple[Planes, Area]:
    """What a window is read from where no vector leads farther than those of a flow, and where that is."""
    area = _reached(flow, window, source.shape)
    y = extend(planes.y, source, per_cell=32, area=area)
    return Planes(y, extend(planes.uv, source, per_cell=16, area=area)), area


def _reached(flow: Tensor, window: Window, shape: tuple[int, ...]) -> Area:
    """The window and every cell that its warp reads. flow: (1, 2, h, w) in luma samples; shape: rows, columns."""
    most = 32.0 * sum(shape)
    low, high = flow.amin(dim=(0, 2, 3)), flow.amax(dim=(0, 2, 3))
    x0, y0 = low.nan_to_num(nan=-most).clamp(-most, most).tolist()
    x1, y1 = high.nan_to_num(nan=most).clamp(-most, most).tolist()
    return Area(
        max(window.top + min(math.floor((y0 - TAPS) / 32), 0), 0),
        max(window.left + min(math.floor((x0 - TAPS) / 32), 0), 0),
        min(window.bottom + max(math.ceil((y1 + TAPS) / 32), 0), shape[0]),
        min(window.right + max(math.ceil((x1 + TAPS) / 32), 0), shape[1]),
    )
