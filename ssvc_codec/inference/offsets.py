"""Offsets of cells: choosing, writing, reading (docs/bitstream.md, section 5.8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..entropy import IntegerBlockHeads, StringDecoder
from ..entropy.blocks import N_BLOCKS
from ..entropy.offsets import LEVELS, N_OFFSETS, OFFSET_LIMIT, SLOPES, OffsetPast, level_inputs, slope_inputs
from ..errors import BitstreamError
from .latents import Past
from .mended import OFFSETS

__all__ = ["OffsetCoder"]

OFFSET_WORTH = 13.0  # bits of one squared step, the worth that it keeps in the pictures after this one included


class OffsetCoder:
    """Offsets (n, 9) of n cells with the integer heads that give their tables.

    q: always (n,) of the cells; beside: those that share a side with each, see cell_neighbours.
    """

    def __init__(self, heads: IntegerBlockHeads, bits: NDArray[np.float32]) -> None:
        """bits: (64, k) of symbols in each table by their magnitude."""
        self._heads, self._bits = heads, bits

    @staticmethod
    def _inputs(past: Past, beside: NDArray[np.integer]) -> NDArray[np.float32]:
        """Of the head of levels, (n, 34)."""
        if past.other is None or past.other_known is None:
            raise ValueError("tables of RESIDUAL need the MOTION of the frame")
        moved = np.abs(past.other.y.reshape(past.known.size, 4, -1)).sum(axis=2) * past.other_known[:, None]
        merged = (past.other.merges() != 0).sum(axis=1) * past.other_known
        z = past.symbols.z
        before = OffsetPast(z[:, OFFSETS], z[:, :N_BLOCKS].sum(axis=1), past.known, moved, merged)
        return level_inputs(before, beside)

    def tables(
        self, offsets: NDArray[np.integer], q: NDArray[np.integer], past: Past, beside: NDArray[np.integer]
    ) -> NDArray[np.uint8]:
        """(n, 9) of every offset."""
        inputs, index = self._inputs(past, beside), np.empty((q.size, N_OFFSETS), np.uint8)
        index[:, LEVELS] = self._heads.level(inputs, q)
        index[:, SLOPES] = self._heads.slope(slope_inputs(inputs, offsets[:, LEVELS]), q)
        return index

    def bits(
        self, offsets: NDArray[np.integer], q: NDArray[np.integer], past: Past, beside: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """(n,) of the offsets of every cell."""
        return self._bits[self.tables(offsets, q, past, beside), np.abs(offsets)].sum(axis=1)

    def choose(
        self, steps: NDArray[np.float32], q: NDArray[np.integer], past: Past, beside: NDArray[np.integer]
    ) -> NDArray[np.int32]:
        """Offsets that save more than they cost: levels, then slopes. steps: (n, 9) in quantiser steps."""
        inputs, chosen = self._inputs(past, beside), np.zeros(steps.shape, np.int32)
        chosen[:, LEVELS] = self._worthwhile(steps[:, LEVELS], self._heads.level(inputs, q))
        index = self._heads.slope(slope_inputs(inputs, chosen[:, LEVELS]), q)
        chosen[:, SLOPES] = self._worthwhile(steps[:, SLOPES], index)
        return chosen

    def _worthwhile(self, steps: NDArray[np.float32], index: NDArray[np.uint8]) -> NDArray[np.int32]:
        near = np.clip(np.rint(steps), -OFFSET_LIMIT, OFFSET_LIMIT)
        price = self._bits[index, np.abs(near).astype(np.int64)] - self._bits[index, 0]
        return np.where(OFFSET_WORTH * (steps**2 - (steps - near) ** 2) > price, near, 0).astype(np.int32)

    def parts(
        self, offsets: NDArray[np.int32], q: NDArray[np.integer], past: Past, beside: NDArray[np.integer]
    ) -> list[tuple[NDArray[np.int32], NDArray[np.uint8]]]:
        """Arrays to code one after another, with their tables."""
        index = self.tables(offsets, q, past, beside)
        return [(offsets[:, part], index[:, part]) for part in (LEVELS, SLOPES)]

    def read(
        self, decoder: StringDecoder, q: NDArray[np.integer], past: Past, beside: NDArray[np.integer]
    ) -> NDArray[np.int32]:
        """The inverse of parts. Raises BitstreamError."""
        inputs, offsets = self._inputs(past, beside), np.zeros((q.size, N_OFFSETS), np.int32)
        offsets[:, LEVELS] = _checked(decoder.read(self._heads.level(inputs, q)))
        offsets[:, SLOPES] = _checked(decoder.read(self._heads.slope(slope_inputs(inputs, offsets[:, LEVELS]), q)))
        return offsets


def _checked(offsets: NDArray[Any]) -> NDArray[Any]:
    if offsets.size and int(np.abs(offsets).max()) > OFFSET_LIMIT:
        raise BitstreamError(f"an offset is beyond {OFFSET_LIMIT} (docs/bitstream.md, section 5.8)")
    return offsets
