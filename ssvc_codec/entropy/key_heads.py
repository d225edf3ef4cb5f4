"""The integer heads of I frames in blocks: what was read to the tables of what follows (docs/bitstream.md, 5.9)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .blocks import N_FLAGS
from .key_blocks import BROAD_CHANNELS, FINE, FIRST, MEANS, N_KEY_INPUTS, SECOND
from .scale_head import IntegerLayers, known_answer

__all__ = ["KEY_HEADS", "IntegerKeyHeads"]

# Outputs of each head, by the name that its tensors have.
KEY_HEADS = {
    "broad": BROAD_CHANNELS,
    "fine": MEANS.size * FINE.size,
    "even": N_FLAGS,
    "odd": N_FLAGS,
    "first": FIRST.size,
    "second": SECOND.size,
}
FLAG_HEADS = ("even", "odd")  # whose tables are rows of `blocks.flags`


class IntegerKeyHeads:
    """Table indexes, of flags of classes 0..63, of symbols 1..63, as every symbol is coded."""

    def __init__(self, tensors: Mapping[str, Mapping[str, NDArray[np.generic]]]) -> None:
        """weight1..3 and bias1..3 of each head. Raises ModelError where they do not fit, or sums could be inexact."""
        self._layers = {part: IntegerLayers(tensors[part]) for part in KEY_HEADS}
        for part, layers in self._layers.items():
            if (layers.n_inputs, layers.n_columns) != (N_KEY_INPUTS[part], KEY_HEADS[part]):
                raise ModelError(f"integer head blocks.{part} has a wrong size (docs/bitstream.md, section 5.9)")

    def __call__(self, part: str, inputs: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(n, outputs) from (n, inputs) of a head; q: (n,)."""
        index = self._layers[part](inputs, q)
        return index if part in FLAG_HEADS else np.maximum(index, 1)

    def known_answer(self) -> str:
        """SHA-256 of the indexes for a fixed pattern; compared with the stored one when a model is loaded."""
        return known_answer([(partial(self, part), N_KEY_INPUTS[part]) for part in KEY_HEADS])
