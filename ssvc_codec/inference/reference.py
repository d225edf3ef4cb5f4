"""What a P frame takes from the frame before (docs/bitstream.md, sections 5.6 and 6.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..nets.inter import GLOBAL_STEPS, InterMasks, Planes
from .latents import GroupSymbols, Maps, Past, Start
from .maps import CellMaps, cell_mask
from .rows import rows_by_group
from .windows import Window

__all__ = ["Chain", "FrameMaps", "InterReference", "Members", "find_starts", "flow_before"]

START_LIMIT = 2**15 - 1  # what an escape can carry
Members = Sequence[frozenset[int]]  # track ids of each group; the background has none


class Chain(NamedTuple):
    """Symbols of one kind in the frame before, by cell, and what became of them."""

    symbols: GroupSymbols
    known: NDArray[np.bool_]  # (n,) read, or coded
    lost: NDArray[np.bool_]  # (n,) the encoder had them, this decoder has not

    @classmethod
    def fresh(cls, past: Past) -> Chain:
        """As an I frame leaves it."""
        nowhere = np.zeros(past.known.size, np.bool_)
        return cls(past.symbols, nowhere, nowhere)

    @classmethod
    def complete(cls, symbols: GroupSymbols) -> Chain:
        """Of a frame of which nothing is missing."""
        n = symbols.z.shape[0]
        return cls(symbols, np.ones(n, np.bool_), np.zeros(n, np.bool_))

    def past(self, same: NDArray[np.bool_], motion: Chain | None = None) -> Past:
        """What tables follow from. same: (n,) cells of unchanged groups; motion: of the same frame, for residuals."""
        known = self.known & same
        return Past(self.symbols, known) if motion is None else Past(self.symbols, known, motion.symbols, motion.known)


class FrameMaps(NamedTuple):
    """q and group of every cell, as integers and as the networks want them."""

    cells: CellMaps
    members: Members

    @property
    def groups(self) -> NDArray[np.integer]:
        """(rows, columns)."""
        return self.cells.groups

    @property
    def q(self) -> NDArray[np.int64]:
        """(rows, columns)."""
        return self.cells.q

    @property
    def maps(self) -> Maps:
        """For latents."""
        return Maps(self.cells.q, self.cells.q_map, self.cells.at16)

    @property
    def masks(self) -> InterMasks:
        """At every resolution."""
        return InterMasks(self.cells.at2, self.cells.at4, self.cells.at8, self.cells.at16)

    @classmethod
    def stacked(cls, frames: Sequence[FrameMaps]) -> FrameMaps:
        """Of several frames of one size that are computed together."""
        first = frames[0].cells
        if len(frames) == 1:
            return frames[0]
        q, groups = (np.stack(parts) for parts in zip(*((f.q, f.groups) for f in frames), strict=True))
        return cls(CellMaps(q, groups, first.device), ())

    def within(self, window: Window) -> FrameMaps:
        """Those of a window; cells it is not computed for are one group."""
        return FrameMaps(window.maps(self.cells), self.members)


class InterReference(NamedTuple):
    """What a P frame needs of the frame before."""

    planes: Planes | None  # decoded, what is not filled being mid grey; None where only motion is read
    flow: Tensor  # (1, 2, H/4, W/4) float32
    motion: Chain
    residual: Chain
    groups: NDArray[np.integer]  # (rows, columns)
    members: Members
    # (rows, columns) cells of which planes hold what was decoded for the group they are in, be it long ago; None: all
    filled: NDArray[np.bool_] | None = None

    def same_members(self, maps: FrameMaps) -> NDArray[np.bool_]:
        """(n,) cells whose group has the same objects now."""
        if maps.groups is self.groups and maps.members is self.members:
            return np.ones(self.groups.size, np.bool_)
        numbers = {tracks: group for group, tracks in enumerate(self.members)}
        renumbered = np.array([numbers.get(tracks, -1) for tracks in maps.members])
        return (renumbered[maps.groups] == self.groups).reshape(-1)

    def source(self, tracks: frozenset[int]) -> NDArray[np.bool_]:
        """(rows, columns) cells that a group with these track ids is predicted from.

        Those of groups that share an object with it; where it has none, all. Of them, those that are filled.
        """
        filled = np.ones(self.groups.shape, np.bool_) if self.filled is None else self.filled
        own = np.isin(self.groups, [group for group, other in enumerate(self.members) if other & tracks]) & filled
        return own if own.any() else filled


def find_starts(flow: Tensor, maps: FrameMaps, past: Past) -> dict[int, Start]:
    """The median vector of every group of which nothing is known, in steps of GLOBAL_STEPS a sample."""
    rows, columns = maps.groups.shape
    cells = flow[0].view(2, rows, 8, columns, 8).permute(1, 3, 0, 2, 4).reshape(rows * columns, 2, 64)
    starts: dict[int, Start] = {}
    for group, members in rows_by_group(maps.groups):
        if not past.known[members].any():
            vectors = cells[torch.from_numpy(members).to(flow.device)].permute(1, 0, 2).flatten(1)
            steps = (vectors.median(dim=1).values * GLOBAL_STEPS).round().clamp(-START_LIMIT, START_LIMIT)
            starts[group] = steps.cpu().numpy().astype(np.int32)
    return starts


def flow_before(
    before: InterReference, known: NDArray[np.bool_], starts: Mapping[int, Start], maps: FrameMaps
) -> Tensor:
    """The flow of the frame before where it counts; where a chain starts, its vector; else 0. known: (n,)."""
    if known.all():
        return before.flow
    device = before.flow.device
    cells = np.zeros((2, known.size), np.float32)
    for group, rows in rows_by_group(maps.groups):
        if group in starts:
            cells[:, rows] = starts[group][:, None] / np.float32(GLOBAL_STEPS)
    vectors = torch.from_numpy(cells.reshape(1, 2, *maps.groups.shape)).to(device)
    flow = vectors.repeat_interleave(8, 2).repeat_interleave(8, 3)
    kept = cell_mask(known.reshape(maps.groups.shape), 8, str(device))
    return torch.where(kept > 0, before.flow, flow)
