"""Which cells of RESIDUAL have symbols, and which of the others are mended. Only an encoder does this.

Errors count as training counts them: with `--tune ms-ssim` what a cell takes from MS-SSIM (docs/decisions/0013).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..nets.distortion import Tune, cell_errors
from ..nets.lagrangian import CELL_WORTH, lambda_of
from .latents import GroupSymbols, Past
from .mended import without_symbols
from .phases import Phases
from .reference import FrameMaps
from .residual import ResidualCoder
from .residual_search import Known
from .skip_search import CellCosts, mended_cells, skipped_cells

__all__ = ["CellSearch", "CellTarget"]

Synthesis = Callable[[GroupSymbols], Tensor]


class CellTarget(NamedTuple):
    """What is coded, and what is known of it. Pictures: (1, 6, H/2, W/2)."""

    original: Tensor
    shown: Tensor  # the warp, with offsets
    past: Past
    known: Known  # of past, see ResidualCoder.whole
    beside: NDArray[np.integer]  # see cell_neighbours
    maps: FrameMaps


class CellSearch:
    """Decisions by real prices."""

    def __init__(self, residual: ResidualCoder, tune: Tune, phase: Phases) -> None:
        self._residual, self._phase = residual, phase
        self._tune: Tune = tune

    def __call__(self, symbols: GroupSymbols, target: CellTarget, synthesis: Synthesis) -> tuple[GroupSymbols, Tensor]:
        """The symbols that are kept, with flags, and what the networks make of them.

        synthesis: (1, 6, H/2, W/2) of symbols.
        """
        coder, maps = self._residual, target.maps
        none = coder.without_blocks(symbols, np.ones(maps.q.size, np.bool_))
        made = synthesis(symbols)
        made_of_none = synthesis(none) if symbols.y.any() else made
        with self._phase("skip search"):
            bits, bits_of_none = (coder.cell_bits(s, target.known, target.past, target.beside) for s in (symbols, none))
            flags = coder.mended.bits(maps.q.reshape(-1), target.past)
            bits_of_mended = bits_of_none + flags[:, 1] - flags[:, 0]
            coded, mended, warp = (self._worth(p, target) for p in (made, made_of_none, target.shown))
            costs = CellCosts(bits + coded, bits_of_none + warp, bits_of_mended + mended, warp)
            skipped = skipped_cells(costs, maps.groups) & symbols.y.any(axis=1)
            kept = coder.without_blocks(symbols, skipped) if skipped.any() else symbols
        if kept is not symbols:
            made = synthesis(kept) if kept.y.any() else made_of_none
        with self._phase("skip search"):
            if made is not made_of_none:
                costs = costs._replace(mended=bits_of_mended + self._worth(made, target))
            without = without_symbols(kept.z)
            return coder.with_flags(kept, mended_cells(costs, without, ~kept.z.any(axis=1), maps.groups)), made

    def _worth(self, picture: Tensor, target: CellTarget) -> NDArray[np.float32]:
        """(n,) bits that the error of every cell is worth."""
        lmbda = CELL_WORTH * lambda_of(target.maps.maps.q_map)
        lmbda = lmbda[:, None, None] if lmbda.ndim == 1 else lmbda
        return (cell_errors(target.original, picture, self._tune) * lmbda).reshape(-1).cpu().numpy()
