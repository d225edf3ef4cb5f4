"""I frames in blocks: choosing, writing, reading, dequantising symbols (docs/bitstream.md, section 5.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..entropy import StringDecoder, SymbolCoder
from ..entropy.blocks import EVEN, IS_EVEN, N_BLOCKS, N_CHANNELS, ODD, block_neighbours, odd_inputs
from ..entropy.class_flags import ClassFlags
from ..entropy.coder import Other
from ..entropy.key_blocks import (
    BANDS,
    BROAD,
    FINE,
    FIRST,
    MEANS,
    N_LEVELS,
    SECOND,
    broad_inputs,
    even_key_inputs,
    fine_inputs,
    first_key_inputs,
    key_class,
    second_key_inputs,
    side_bands,
)
from ..entropy.key_heads import IntegerKeyHeads
from ..entropy.neighbours import SIDES
from ..entropy.plain_tables import KEY_TABLES, PlainTables
from ..errors import BitstreamError
from ..nets.key_blocks import KeyBlocks
from ..nets.pictures import Masks
from ..weights import Model
from .block_rows import blocks_to_rows, rows_of, rows_to_blocks
from .latents import GroupSymbols
from .loading import load_key_heads, load_plain_tables, load_tables
from .merge_coding import CellGrid
from .quantiser import SYMBOL_LIMIT
from .residual_search import ROUNDS, nearest_or_less, rounded, symbol_bits

__all__ = ["KeyBlockCoder", "KeySymbols", "load_key_blocks"]

Flags = tuple[PlainTables, NDArray[np.integer], NDArray[np.integer]]  # tables, symbols, rows


PRICE = 1.0  # of an error, against what lambda says


class KeySymbols(GroupSymbols):
    """Of cells in blocks. z: (n, 16) classes of their blocks; y: (n, 16 x 96)."""

    __slots__ = ()


class _Beginning(NamedTuple):
    """How a group is coded, and the classes of its blocks."""

    choice: Flags
    flags: Sequence[Flags] = ()

    def push(self, ans: Any) -> None:
        """See entropy.coder.Other."""
        for tables, symbols, rows in reversed((self.choice, *self.flags)):
            tables.push(ans, symbols, rows)


class KeyBlockCoder:
    """One KeyBlocks with its integer heads and tables."""

    def __init__(
        self,
        net: KeyBlocks,
        heads: IntegerKeyHeads,
        tables: Sequence[NDArray[np.uint32]],
        flags: PlainTables,
        coding: PlainTables,
        *,
        device: str,
    ) -> None:
        """tables: of symbols; flags: of classes of blocks; coding: whether a group is in blocks."""
        self.net, self.heads, self.device, self._coding = net, heads, device, coding
        self.flags, self.coder = ClassFlags(flags), SymbolCoder(tables)
        self._bits = symbol_bits(tables)

    # Encoding

    @torch.inference_mode()
    def choose(self, x: Tensor, q: NDArray[np.integer], groups: NDArray[np.integer], q_map: Tensor) -> KeySymbols:
        """Symbols of all cells, as far as they are worth their bits.

        x: (1, 96, H/8, W/8) merged planes; q, groups: (rows, columns).
        """
        y = self.net.analysis(x)
        size = (y.shape[2], y.shape[3])
        steps = blocks_to_rows(y * self.net.y_gain(q_map, size))
        symbols = rounded(steps)
        worth = PRICE * blocks_to_rows(self.net.worth(q_map, size).expand(1, -1, *size))
        beside = block_neighbours(np.arange(q.size), q.shape[1], groups.reshape(-1))
        at = np.repeat(q.reshape(-1), N_BLOCKS)
        for _ in range(ROUNDS):
            symbols = nearest_or_less(self._bits, steps, self._all_tables(symbols, at, beside), worth)
        symbols[:, MEANS] = np.clip(np.rint(steps[:, MEANS]), -SYMBOL_LIMIT, SYMBOL_LIMIT)
        classes = _classes(symbols).astype(np.int32)
        return KeySymbols(classes.reshape(-1, N_BLOCKS), symbols.reshape(-1, N_BLOCKS * N_CHANNELS))

    def _all_tables(
        self, symbols: NDArray[np.int32], q: NDArray[np.integer], beside: NDArray[np.integer]
    ) -> NDArray[np.uint8]:
        """(16 n, 96), those of means being 1."""
        index = np.ones(symbols.shape, np.uint8)
        classes = _classes(symbols)
        for rows in _passes(np.ones(classes.size, np.bool_)):
            inputs = self._first_inputs(symbols, classes, beside, rows)
            index[np.ix_(rows, FIRST)] = self.heads("first", inputs, q[rows])
            more = second_key_inputs(inputs, classes[rows], symbols[np.ix_(rows, FIRST)])
            index[np.ix_(rows, SECOND)] = self.heads("second", more, q[rows])
        return index

    @staticmethod
    def _first_inputs(
        symbols: NDArray[np.int32], classes: NDArray[np.int64], beside: NDArray[np.integer], rows: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """Inputs of the first head of blocks, all even or all odd. symbols: (16 n, 96), of which even ones count."""
        odd = rows.size > 0 and not IS_EVEN[rows[0] % N_BLOCKS]
        bands = side_bands(symbols, beside[rows][:, SIDES]) if odd else np.zeros((rows.size, len(BANDS)), np.int64)
        return first_key_inputs(classes[rows], np.append(classes, 0)[beside[rows]], bands, odd=odd)

    def no_blocks(self, q: NDArray[np.integer]) -> Other:
        """With what the string of a group begins that has latents. q: (n,) of its cells."""
        return _Beginning(self._choice(q, 0))

    def _choice(self, q: NDArray[np.integer], value: int) -> Flags:
        return self._coding, np.array([value], np.int32)[: q.size], _row(q)

    def write(self, symbols: KeySymbols, q: NDArray[np.integer], grid: CellGrid) -> bytes:
        """The string of one group. q: (n,) of its cells."""
        y = symbols.y.reshape(-1, N_CHANNELS)
        classes, beside = symbols.z.reshape(-1).astype(np.int64), block_neighbours(grid.rows, grid.n_columns)
        at = np.repeat(q, N_BLOCKS)
        even, odd = self._even(at), self._odd(classes, at, beside)
        flags = [*self.flags.parts(rows_of(classes, EVEN), even), *self.flags.parts(rows_of(classes, ODD), odd)]
        means = y[:, MEANS].reshape(q.size, N_BLOCKS, N_LEVELS)  # a copy
        means[:, 0] = np.diff(means[:, 0], axis=0, prepend=0)
        broad, fine = (means[:, part].reshape(q.size, -1) for part in (BROAD, FINE))
        parts = [
            (broad, self.heads("broad", broad_inputs(symbols.z), q)),
            (fine, self.heads("fine", fine_inputs(symbols.z, broad), q)),
        ]
        for rows in _passes(classes > 0):
            first, second = (y[np.ix_(rows, part)] for part in (FIRST, SECOND))
            inputs = self._first_inputs(y, classes, beside, rows)
            parts.append((first, self.heads("first", inputs, at[rows])))
            more = second_key_inputs(inputs, classes[rows], first)
            parts.append((second, self.heads("second", more, at[rows])))
        return self.coder.encode(parts, head=_Beginning(self._choice(q, 1), flags))

    def _even(self, q: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(8 n, 7) tables of flags of the even blocks. q: (16 n,)."""
        return self.heads("even", rows_of(even_key_inputs(q.size // N_BLOCKS), EVEN), rows_of(q, EVEN))

    def _odd(
        self, classes: NDArray[np.int64], q: NDArray[np.integer], beside: NDArray[np.integer]
    ) -> NDArray[np.uint8]:
        """(8 n, 7) of the odd blocks. classes: (16 n,), of which those of even blocks count."""
        inputs = rows_of(even_key_inputs(q.size // N_BLOCKS), ODD)
        return self.heads("odd", odd_inputs(inputs, classes, rows_of(beside, ODD)), rows_of(q, ODD))

    # Decoding

    def is_in_blocks(self, decoder: StringDecoder, q: NDArray[np.integer]) -> bool:
        """Reads how a group is coded. q: (n,) of its cells."""
        return decoder.ans is not None and bool(self._coding.pop(decoder.ans, _row(q)).any())

    def read(self, decoder: StringDecoder, q: NDArray[np.integer], grid: CellGrid) -> KeySymbols:
        """The rest of the string of a group in blocks. q: (n,) of its cells. Raises BitstreamError."""
        decoder = decoder.with_tables(self.coder)
        at, beside = np.repeat(q, N_BLOCKS), block_neighbours(grid.rows, grid.n_columns)
        classes = np.zeros((q.size, N_BLOCKS), np.int64)
        classes[:, EVEN] = self.flags.pop(decoder.ans, self._even(at)).reshape(q.size, -1)
        classes[:, ODD] = self.flags.pop(decoder.ans, self._odd(classes.reshape(-1), at, beside)).reshape(q.size, -1)
        means = np.empty((q.size, N_BLOCKS, N_LEVELS), np.int32)
        broad = decoder.read(self.heads("broad", broad_inputs(classes), q))
        fine = decoder.read(self.heads("fine", fine_inputs(classes, broad), q))
        means[:, BROAD], means[:, FINE] = (part.reshape(q.size, -1, N_LEVELS) for part in (broad, fine))
        means[:, 0] = _levels(means[:, 0])
        y, flat = np.zeros((q.size * N_BLOCKS, N_CHANNELS), np.int32), classes.reshape(-1)
        for rows in _passes(flat > 0):
            inputs = self._first_inputs(y, flat, beside, rows)
            first = decoder.read(self.heads("first", inputs, at[rows]))
            y[np.ix_(rows, FIRST)] = first
            more = second_key_inputs(inputs, flat[rows], first)
            y[np.ix_(rows, SECOND)] = decoder.read(self.heads("second", more, at[rows]))
        decoder.finish()
        y[:, MEANS] = means.reshape(-1, N_LEVELS)
        return KeySymbols(classes.astype(np.int32), y.reshape(q.size, -1))

    @property
    def n_columns(self) -> int:
        """Symbols of a cell."""
        return N_BLOCKS * N_CHANNELS

    @torch.inference_mode()
    def synthesis(self, y: NDArray[np.int32], q_map: Tensor, masks: Masks, cells: tuple[int, ...]) -> Tensor:
        """The picture (1, 6, H/2, W/2) float32 of a rectangle of cells, (rows, columns). y: (n, 16 x 96)."""
        steps = rows_to_blocks(torch.from_numpy(y).to(self.device).float(), cells)
        y_hat = steps / self.net.y_gain(q_map, (steps.shape[2], steps.shape[3]))
        return self.net.synthesis(y_hat, q_map, masks)


def _classes(symbols: NDArray[np.int32]) -> NDArray[np.int64]:
    """(16 n,) of symbols (16 n, 96)."""
    size = np.abs(symbols.astype(np.int64))
    return key_class(size.sum(axis=1) - size[:, MEANS].sum(axis=1))


def _passes(coded: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Even, then odd blocks of those that have symbols. coded: (16 n,)."""
    even = np.resize(IS_EVEN, coded.size)
    return np.flatnonzero(coded & even), np.flatnonzero(coded & ~even)


def _levels(differences: NDArray[np.int32]) -> NDArray[np.int64]:
    """Levels of cells, (n, 3), from differences. Raises BitstreamError."""
    levels = np.cumsum(differences.astype(np.int64), axis=0)
    if levels.size and int(np.abs(levels).max()) > SYMBOL_LIMIT:
        raise BitstreamError(f"a level is beyond {SYMBOL_LIMIT} (docs/bitstream.md, section 5.9)")
    return levels


def _row(q: NDArray[np.integer]) -> NDArray[np.int64]:
    """(1,) of `blocks.coding`, (0,) for a group without cells."""
    return q[:1].astype(np.int64) >> 3


def load_key_blocks(net: KeyBlocks, model: Model, device: str) -> KeyBlockCoder:
    """That of a model. Raises ModelError."""
    heads = load_key_heads(model)
    flags, coding = (load_plain_tables(model, f"blocks.{name}", shape) for name, shape in KEY_TABLES.items())
    return KeyBlockCoder(net, heads, load_tables(model, "laplace"), flags, coding, device=device)
