"""The integer scale head: hyper-latents to table indexes, the same on every machine.

Docs/bitstream.md, section 5.4. Every product and sum is an integer below 2**24, so
float32 matrix products are exact in whatever order they are summed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

__all__ = ["IntegerLayers", "IntegerScaleHead", "known_answer"]

Head = Callable[[NDArray[np.float32], NDArray[np.integer]], NDArray[np.uint8]]  # inputs and q to table indexes

SHIFTS = (8, 8, 10)
ACTIVATION_LIMIT = 127
EXACT_LIMIT = 2**23.5


class IntegerLayers:
    """Three matrix products of integers, to table indexes."""

    def __init__(self, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        """tensors: weight1..3 and bias1..3 of docs/bitstream.md, section 5.4.

        Raises ModelError where sums could be inexact.
        """
        try:
            self._weights: list[NDArray[np.floating]] = [
                tensors[f"weight{k}"].astype(np.float32).T.copy() for k in (1, 2, 3)
            ]
            self._biases = [tensors[f"bias{k}"].astype(np.float32) for k in (1, 2, 3)]
        except KeyError as error:
            raise ModelError(f"the model has no integer tensor {error}") from error
        for number, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            bound = np.abs(weight).sum(0) * ACTIVATION_LIMIT + np.abs(bias).max(0, initial=0)
            if float(bound.max()) >= EXACT_LIMIT:
                raise ModelError(f"scale head layer {number + 1} can exceed 2**23.5 (docs/bitstream.md, section 5.4)")
        self.n_inputs, self.n_columns = self._weights[0].shape[0], self._weights[2].shape[1]

    def __call__(self, a: NDArray[np.float32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """a: (n, n_inputs) integers of -127..127; q: (n,). Returns (n, n_columns)."""
        if q.size and (q == q[0]).all():
            q = q[:1]  # one row of biases serves all
        for layer in (0, 1, 2):
            bias = self._biases[layer]
            a = a @ self._weights[layer]
            a += bias if bias.ndim == 1 else bias[q]
            a *= np.float32(2.0 ** -SHIFTS[layer])
            if layer < 2:
                np.floor(a, out=a)
                np.maximum(a, np.floor(a * np.float32(0.125)), out=a)  # a leaky slope: of integers below 0, the second
                _limited(a)
        np.maximum(a, 0, out=a)
        return np.minimum(a, 63, out=a).astype(np.uint8)  # below 0 and above 63 clipped, the rest floored


class IntegerScaleHead:
    """Table indexes of z and of y, from integers only."""

    def __init__(self, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        """tensors: the names of docs/bitstream.md, section 5.4. Raises ModelError where sums could be inexact."""
        try:
            self.z_index = tensors["z_index"].astype(np.uint8)  # (64, C_z), or (64, states x C_z)
            self._dequant = tensors["dequant"].astype(np.int64)  # (64, C_z)
        except KeyError as error:
            raise ModelError(f"the model has no integer tensor {error}") from error
        self._layers = IntegerLayers(tensors)
        self.n_z = self._dequant.shape[1]
        self.n_columns = self._layers.n_columns

    def z_indexes(self, q: NDArray[np.integer], states: NDArray[np.integer] | None = None) -> NDArray[np.uint8]:
        """q: (n,) q_index of each cell; states: (n, C_z), where there are several. Returns (n, C_z)."""
        rows = self.z_index[q]
        if states is None:
            return rows
        spread = rows.reshape(q.size, -1, self.n_z)
        return np.take_along_axis(spread, states[:, None].astype(np.int64), axis=1)[:, 0]

    def z_inputs(self, z: NDArray[np.int32], q: NDArray[np.integer]) -> NDArray[np.float32]:
        """What the first layer takes of z, (n, C_z). z: (n, C_z) symbols; q: (n,) q_index of each cell."""
        return _limited(((z.astype(np.int64) * self._dequant[q] + 128) >> 8).astype(np.float32))

    def y_indexes(self, z: NDArray[np.int32], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """z: (n, C_z) symbols; q: (n,) q_index of each cell. Returns (n, 4 C_y)."""
        return self._layers(self.z_inputs(z, q), q)

    def known_answer(self) -> str:
        """SHA-256 of the indexes for a fixed pattern; compared with the stored one when a model is loaded."""
        n = 128
        steps = np.arange(n * self.n_z, dtype=np.int64).reshape(n, self.n_z)
        q = (np.arange(n) % 64).astype(np.int64)
        n_states = self.z_index.shape[1] // self.n_z
        states = (steps * 40503 >> 3) % n_states if n_states > 1 else None
        digest = hashlib.sha256(self.z_indexes(q, states).tobytes())
        digest.update(self._some_indexes(steps, q).tobytes())
        return digest.hexdigest()

    def _some_indexes(self, steps: NDArray[np.int64], q: NDArray[np.integer]) -> NDArray[np.uint8]:
        return self.y_indexes(((steps * 2654435761 >> 7) % 41 - 20).astype(np.int32), q)


def known_answer(heads: Sequence[tuple[Head, int]]) -> str:
    """SHA-256 of what heads give for a fixed pattern. heads: each with the number of its inputs."""
    n, most = 128, max(n_inputs for _, n_inputs in heads)
    pattern = np.arange(n * most, dtype=np.int64).reshape(n, -1)
    inputs = ((pattern * 2654435761 >> 9) % 128).astype(np.float32)
    q = (np.arange(n) % 64).astype(np.int64)
    digest = hashlib.sha256()
    for head, n_inputs in heads:
        digest.update(head(inputs[:, :n_inputs], q).tobytes())
    return digest.hexdigest()


def _limited(a: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clipped to what an activation can be, in place."""
    np.maximum(a, -ACTIVATION_LIMIT, out=a)
    return np.minimum(a, ACTIVATION_LIMIT, out=a)
