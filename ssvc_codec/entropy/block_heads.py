"""The two integer heads of RESIDUAL: what is known of a block to the tables of its symbols (docs/bitstream.md, 5.8)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .blocks import N_CHANNELS, N_FIRST, N_INPUTS
from .scale_head import IntegerLayers

__all__ = ["IntegerBlockHeads"]


class IntegerBlockHeads:
    """Table indexes of the first 16 and the other 80 symbols of a block, 1..63: every symbol is coded."""

    def __init__(self, first: Mapping[str, NDArray[np.generic]], second: Mapping[str, NDArray[np.generic]]) -> None:
        """weight1..3 and bias1..3 of each. Raises ModelError where they do not fit, or sums could be inexact."""
        self._first, self._second = IntegerLayers(first), IntegerLayers(second)
        sizes = [(layers.n_inputs, layers.n_columns) for layers in (self._first, self._second)]
        if sizes != [(N_INPUTS[0], N_FIRST), (sum(N_INPUTS), N_CHANNELS - N_FIRST)]:
            raise ModelError(f"integer heads of RESIDUAL have sizes {sizes} (docs/bitstream.md, section 5.8)")

    def first(self, inputs: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 16) from (n, 26) inputs; q: (n,)."""
        return np.maximum(self._first(inputs, q), 1)

    def second(self, inputs: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, 80) from (n, 43) inputs; q: (n,)."""
        return np.maximum(self._second(inputs, q), 1)

    def known_answer(self) -> str:
        """SHA-256 of the indexes for a fixed pattern; compared with the stored one when a model is loaded."""
        n = 128
        pattern = np.arange(n * sum(N_INPUTS), dtype=np.int64).reshape(n, -1)
        inputs = ((pattern * 2654435761 >> 9) % 128).astype(np.float32)
        q = (np.arange(n) % 64).astype(np.int64)
        digest = hashlib.sha256(self.first(inputs[:, : N_INPUTS[0]], q).tobytes())
        digest.update(self.second(inputs, q).tobytes())
        return digest.hexdigest()
