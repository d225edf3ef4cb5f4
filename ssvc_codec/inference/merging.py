"""Merged blocks of groups: where the cells of a group take their vectors from (docs/bitstream.md, section 6.3)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..nets.merge import Blocks, Field, merge_flow
from .extension import Area, extend
from .reference import InterReference
from .rows import rows_by_group
from .windows import Window, group_window

__all__ = ["group_blocks", "group_field", "shown_flow"]

NEAR, FAR = 1, 2  # cells beyond a window whose vectors interpolation reads, and merging: 1 and 9 vectors


def group_blocks(merge: NDArray[np.int32] | None, rows: NDArray[np.intp], n_columns: int, device: str) -> Blocks | None:
    """The blocks of a group that merge, None for none. merge: (all cells, 16); rows: the group's cells."""
    if merge is None or not merge[rows].any():
        return None
    cells, block = merge[rows].nonzero()
    y, x = np.divmod(rows[cells], n_columns)
    parts = (np.zeros_like(cells), 4 * y + block // 4, 4 * x + block % 4, merge[rows[cells], block])
    return Blocks(*(torch.from_numpy(part.astype(np.int64)).to(device) for part in parts))


def group_field(flow: Tensor, group: NDArray[np.bool_], window: Window, *, margin: int) -> Field:
    """The vectors of a group around its window, from the group's own. flow: (1, 2, H/4, W/4); margin: in cells."""
    n_rows, n_columns = group.shape
    area = Area(
        max(window.top - margin, 0),
        max(window.left - margin, 0),
        min(window.bottom + margin, n_rows),
        min(window.right + margin, n_columns),
    )
    vectors = extend(flow, group, per_cell=8, area=area)
    return Field(vectors, 8 * area.top, 8 * area.left, 8 * n_rows, 8 * n_columns)


@torch.inference_mode()
def shown_flow(reference: InterReference) -> Tensor:
    """The flow that users see, (1, 2, H/4, W/4): of blocks that merge, the vectors that they look up."""
    merge, flow = reference.motion.symbols.merge, reference.flow
    if merge is None or not merge.any():
        return flow
    shown = flow
    for group, rows in rows_by_group(reference.groups):
        blocks = group_blocks(merge, rows, reference.groups.shape[1], str(flow.device))
        if blocks is not None:
            cells = reference.groups == group
            shown = merge_flow(shown, group_field(flow, cells, group_window(cells), margin=FAR), blocks)
    return shown
