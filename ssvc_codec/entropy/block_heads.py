"""The integer heads of RESIDUAL: what is known of a cell or block to the tables of it (docs/bitstream.md, 5.8)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .blocks import N_CHANNELS, N_CLASS_INPUTS, N_FIRST, N_FLAGS, N_INPUTS
from .offsets import LEVELS, N_OFFSET_INPUTS, SLOPES
from .scale_head import IntegerLayers, known_answer

__all__ = ["BLOCK_HEADS", "IntegerBlockHeads"]

BLOCK_HEADS = ("level", "slope", "even", "odd", "first", "second")  # as tensors name them
Tensors = Mapping[str, NDArray[np.generic]]
SIZES = (
    (N_OFFSET_INPUTS[0], LEVELS.size),
    (sum(N_OFFSET_INPUTS), SLOPES.size),
    (N_CLASS_INPUTS[0], N_FLAGS),
    (sum(N_CLASS_INPUTS), N_FLAGS),
    (N_INPUTS[0], N_FIRST),
    (sum(N_INPUTS), N_CHANNELS - N_FIRST),
)  # inputs and outputs of the heads


class IntegerBlockHeads:
    """Table indexes: of flags of classes 0..63, of offsets and of the first 16 and other 80 symbols of blocks 1..63."""

    def __init__(
        self, level: Tensors, slope: Tensors, even: Tensors, odd: Tensors, first: Tensors, second: Tensors
    ) -> None:
        """weight1..3 and bias1..3 of each. Raises ModelError where they do not fit, or sums could be inexact."""
        self._level, self._slope = IntegerLayers(level), IntegerLayers(slope)
        self._even, self._odd = IntegerLayers(even), IntegerLayers(odd)
        self._first, self._second = IntegerLayers(first), IntegerLayers(second)
        heads = (self._level, self._slope, self._even, self._odd, self._first, self._second)
        sizes = tuple((layers.n_inputs, layers.n_columns) for layers in heads)
        if sizes != SIZES:
            raise ModelError(f"integer heads of RESIDUAL have sizes {sizes} (docs/bitstream.md, section 5.8)")

    def level(self, inputs: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 3) of the levels of cells from (n, 34) inputs; q: (n,). Every symbol is coded, so 0 is 1."""
        return np.maximum(self._level(inputs, q), 1)

    def slope(self, inputs: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 6) of the slopes of cells from (n, 40) inputs; q: (n,). The same."""
        return np.maximum(self._slope(inputs, q), 1)

    def even(self, inputs: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 7) of even blocks from (n, 28) inputs; q: (n,)."""
        return self._even(inputs, q)

    def odd(self, inputs: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 7) of odd blocks from (n, 36) inputs; q: (n,)."""
        return self._odd(inputs, q)

    def first(self, inputs: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 16) from (n, 26) inputs; q: (n,). The same."""
        return np.maximum(self._first(inputs, q), 1)

    def second(self, inputs: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 80) from (n, 43) inputs; q: (n,). The same."""
        return np.maximum(self._second(inputs, q), 1)

    def known_answer(self) -> str:
        """SHA-256 of the indexes for a fixed pattern; compared with the stored one when a model is loaded."""
        heads = (self.level, self.slope, self.even, self.odd, self.first, self.second)
        return known_answer([(head, n_inputs) for head, (n_inputs, _) in zip(heads, SIZES, strict=True)])
