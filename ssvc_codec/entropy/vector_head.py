"""The integer head of MOTION: what is known of a position to the tables of its latents (docs/bitstream.md, 5.4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .scale_head import IntegerScaleHead
from .vectors import N_POSITIONS, VectorContext, n_vector_inputs, pass_numbers

__all__ = ["IntegerVectorHead"]


class IntegerVectorHead(IntegerScaleHead):
    """Table indexes of z, and those of y pass by pass."""

    def __init__(self, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        """As IntegerScaleHead. Raises ModelError where sizes do not fit, too."""
        super().__init__(tensors)
        n_y, n_inputs = self._layers.n_columns, self._layers.n_inputs
        if n_inputs != self.n_z + n_vector_inputs(n_y):
            raise ModelError(f"the integer head of MOTION has {n_inputs} inputs (docs/bitstream.md, section 5.4)")
        self.n_columns = N_POSITIONS * n_y
        self._passes = pass_numbers(n_y).reshape(-1)

    def pass_indexes(self, number: int, context: VectorContext, y: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 4 C_y) tables of the latents of one pass, 0 for all others. y: (n, 4 C_y), see VectorContext."""
        found = self._layers(context.inputs_of(number, y), context.q)
        return np.where(self._passes == number, found.reshape(y.shape), 0).astype(np.uint8)

    def _some_indexes(self, steps: NDArray[np.int64], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        pattern = np.arange(q.size * self._layers.n_inputs, dtype=np.int64).reshape(q.size, -1)
        return self._layers(((pattern * 2654435761 >> 9) % 128).astype(np.float32), q)
