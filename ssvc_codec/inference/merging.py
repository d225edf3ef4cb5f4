"""Merged blocks of groups: where their vectors come from, if not their own place (docs/bitstream.md, section 6.3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..entropy.blocks import POSITION
from ..entropy.plain_tables import OWN_VECTOR
from ..nets.merge import Blocks, Field, looked_up, merge_flow
from .extension import Area, extend
from .latents import GroupSymbols
from .reference import InterReference
from .rows import rows_by_group
from .windows import Window, group_window

__all__ = ["GroupMerges", "group_field", "mean_vectors", "shown_flow"]

NEAR, FAR = 1, 2  # cells beyond a window whose vectors interpolation reads, and merging: 1 and 9 vectors
QUARTER = 0.25  # luma samples, the unit of own vectors


class GroupMerges(NamedTuple):
    """The blocks of a group that merge."""

    elsewhere: Blocks  # those that look their vectors up at another place
    owners: Blocks  # those that have a vector of their own
    own: Tensor  # (n, 2) float32 of the owners, what is coded: relative to the mean of their position, in samples

    @classmethod
    def of(cls, motion: GroupSymbols | None, rows: NDArray[np.intp], n_columns: int, device: str) -> GroupMerges | None:
        """Those of the cells `rows`, None for none. motion: symbols of all cells."""
        if motion is None or motion.merge is None or not motion.merge[rows].any():
            return None
        merge = motion.merge[rows]
        cells, block = (merge == OWN_VECTOR).nonzero()
        own = motion.owns()[rows].reshape(-1, 4, 2)[cells, POSITION[block]].astype(np.float32) * QUARTER
        elsewhere = _blocks(np.where(merge == OWN_VECTOR, 0, merge), rows, n_columns, device)
        owners = _blocks(np.where(merge == OWN_VECTOR, merge, 0), rows, n_columns, device)
        return cls(elsewhere, owners, torch.from_numpy(own).to(device))

    def patches(self, field: Field, flow: Tensor) -> tuple[Blocks, Tensor]:
        """All these blocks and, as looked_up gives them, their vectors: (n, 2, 4, 4). flow: (1, 2, H/4, W/4)."""
        patches = looked_up(field, self.elsewhere)
        if not self.owners.item.numel():
            return self.elsewhere, patches
        vectors = mean_vectors(flow, self.owners.row, self.owners.column) + self.own
        same = vectors[:, :, None, None].expand(-1, -1, *patches.shape[2:])
        return self.elsewhere.join(self.owners), torch.cat([patches, same])


def _blocks(merge: NDArray[np.int32], rows: NDArray[np.intp], n_columns: int, device: str) -> Blocks:
    """Those of which the index is not 0. merge: (n, 16) of the cells `rows`."""
    cells, block = merge.nonzero()
    y, x = np.divmod(rows[cells], n_columns)
    parts = (np.zeros_like(cells), 4 * y + block // 4, 4 * x + block % 4, merge[cells, block])
    return Blocks(*(torch.from_numpy(part.astype(np.int64)).to(device) for part in parts))


def mean_vectors(flow: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """(n, 2) what own vectors of blocks are relative to: the mean of their 16x16 samples.

    flow: (1, 2, h, w); row, column: (n,) of the blocks in it.
    """
    return F.avg_pool2d(flow, 4)[0][:, row // 2, column // 2].t()


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
    """The flow that users see, (1, 2, H/4, W/4): of blocks that merge, the vectors that they look up.

    Own vectors are not shown: they say what a block looks like, and need not be motion.
    """
    motion, flow = reference.motion.symbols, reference.flow
    if motion.merge is None or not motion.merge.any():
        return flow
    shown = flow
    for group, rows in rows_by_group(reference.groups):
        merges = GroupMerges.of(motion, rows, reference.groups.shape[1], str(flow.device))
        if merges is not None:
            cells = reference.groups == group
            shown = merge_flow(shown, group_field(flow, cells, group_window(cells), margin=FAR), merges.elsewhere)
    return shown
