"""Section 5.6 of docs/bitstream.md: what can still be read once something is left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..bitstream import DirectoryEntry, SubstreamKind
from .scene import Scene

__all__ = ["ReadableChains"]

Cells = NDArray[np.bool_]  # one for each cell of the picture, in raster order


class ReadableChains:
    """Follows which substreams of P frames a decoder can read. One instance for one stream."""

    def __init__(self) -> None:
        self._before: Scene | None = None
        self._lost: dict[SubstreamKind, Cells] = {}

    def keep(self, scene: Scene, wants: Callable[[DirectoryEntry], bool]) -> tuple[DirectoryEntry, ...]:
        """The entries that are wanted and can be read, given those that earlier calls kept.

        A substream without its chain, and RESIDUAL without the MOTION of its group, would be dead weight.
        """
        wanted = tuple(entry for entry in scene.packet.entries if wants(entry))
        if scene.is_key:
            self._before, self._lost = scene, {}
            return wanted
        chosen = {(entry.kind, entry.group) for entry in wanted}
        same = self._same_members(scene)
        lost: dict[SubstreamKind, Cells] = {}
        for kind in (SubstreamKind.MOTION, SubstreamKind.RESIDUAL):
            broken = self._lost[kind] & same if kind in self._lost else np.zeros(same.size, np.bool_)
            if kind is SubstreamKind.RESIDUAL:
                broken |= lost[SubstreamKind.MOTION]
            is_read = [
                (kind, group) in chosen and not broken[scene.groups.reshape(-1) == group].any()
                for group in range(len(scene.members))
            ]
            lost[kind] = ~np.array(is_read)[scene.groups.reshape(-1)]
            chosen -= {(kind, group) for group, is_one in enumerate(is_read) if not is_one}
        self._before, self._lost = scene, lost
        return tuple(entry for entry in wanted if (entry.kind, entry.group) in chosen)

    def _same_members(self, scene: Scene) -> Cells:
        """Cells whose group has the same set of track ids as in the frame before."""
        before = self._before
        if before is None:
            return np.zeros(scene.groups.size, np.bool_)
        numbers = {tracks: group for group, tracks in enumerate(before.members)}
        renumbered = np.array([numbers.get(tracks, -1) for tracks in scene.members])
        return renumbered[scene.groups.reshape(-1)] == before.groups.reshape(-1)
