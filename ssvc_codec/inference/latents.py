"""Symbols of one kind of P-frame substream: choosing, writing, reading, dequantising."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..entropy import StringDecoder, SymbolCoder
from ..entropy.activity import N_Z_STATES
from ..entropy.vector_head import IntegerVectorHead
from ..entropy.vectors import N_PASSES, VectorContext, position_neighbours
from ..errors import BitstreamError
from ..nets.blocks import GroupMask
from ..nets.latents import LatentModel
from .merge_coding import CellGrid, MergeCoder, MergeContext, MergeTail
from .quantiser import SYMBOL_LIMIT
from .rows import from_rows, y_rows, z_rows

__all__ = ["GroupSymbols", "LatentCoder", "Maps", "Past", "Quantised", "Start", "Substream"]

Rounding = Callable[[Tensor, Tensor], Tensor]
Start = NDArray[np.int32]  # (2,) dx and dy in quarter samples, from which a chain of motion starts
START_INDEX = np.full(2, 63, np.uint8)  # the widest table


class GroupSymbols(NamedTuple):
    """Symbols of some cells. z: (n, C_z) int32; y: (n, 4 C_y) int32; one row a cell."""

    z: NDArray[np.int32]
    y: NDArray[np.int32]
    merge: NDArray[np.int32] | None = None  # (n, 16) indexes of the blocks of MOTION, 0..25; None where all are 0
    # (n, 8) own vectors, dx and dy in quarter samples of each position of the 2 x 2; None where all are 0
    own: NDArray[np.int32] | None = None

    def take(self, rows: NDArray[np.integer]) -> GroupSymbols:
        """Those of some of the cells."""
        merge, own = (None if part is None else part[rows] for part in (self.merge, self.own))
        return GroupSymbols(self.z[rows], self.y[rows], merge, own)

    def merges(self) -> NDArray[np.int32]:
        """(n, 16) merge indexes."""
        return np.zeros((self.z.shape[0], 16), np.int32) if self.merge is None else self.merge

    def owns(self) -> NDArray[np.int32]:
        """(n, 8) own vectors."""
        return np.zeros((self.z.shape[0], 8), np.int32) if self.own is None else self.own

    @classmethod
    def joined(cls, parts: Sequence[GroupSymbols]) -> GroupSymbols:
        """Of the cells of all parts."""
        z, y = np.concatenate([part.z for part in parts]), np.concatenate([part.y for part in parts])
        merged, own = any(part.merge is not None for part in parts), any(part.own is not None for part in parts)
        return cls(
            z,
            y,
            np.concatenate([part.merges() for part in parts]) if merged else None,
            np.concatenate([part.owns() for part in parts]) if own else None,
        )


class Past(NamedTuple):
    """Symbols read before, and the cells where they count (docs/bitstream.md, section 5.6)."""

    symbols: GroupSymbols  # of this kind in the frame before
    known: NDArray[np.bool_]  # (n,)
    other: GroupSymbols | None = None  # of the other kind in this frame
    other_known: NDArray[np.bool_] | None = None  # (n,)

    def take(self, rows: NDArray[np.integer]) -> Past:
        """That of some of the cells."""
        own = (self.symbols.take(rows), self.known[rows])
        if self.other is None or self.other_known is None:
            return Past(*own)
        return Past(*own, self.other.take(rows), self.other_known[rows])

    @classmethod
    def joined(cls, parts: Sequence[Past]) -> Past:
        """Of the cells of all parts. Either all know another kind, or none does."""
        if len(parts) == 1:
            return parts[0]
        own = (GroupSymbols.joined([p.symbols for p in parts]), np.concatenate([p.known for p in parts]))
        others = [(p.other, p.other_known) for p in parts if p.other is not None and p.other_known is not None]
        if not others:
            return cls(*own)
        return cls(*own, GroupSymbols.joined([o for o, _ in others]), np.concatenate([known for _, known in others]))


class Substream(NamedTuple):
    """What is read: the string of one group of one picture, and one row for each of its cells."""

    data: bytes
    q: NDArray[np.integer]  # (n,)
    past: Past
    has_start: bool
    grid: CellGrid


class Maps(NamedTuple):
    """What the networks and the parser must know of every cell."""

    q: NDArray[np.int64]  # (rows, columns), or (N, rows, columns) for N pictures
    q_map: Tensor  # (N,), or (N, rows, columns) where q differs
    mask16: GroupMask | None


class Quantised(NamedTuple):
    """What LatentCoder.quantise gives."""

    symbols: GroupSymbols
    features: Tensor  # of means, see LatentModel
    tables: Tensor  # (1, C_y, H/16, W/16) of every latent
    steps: Tensor  # (1, C_y, H/16, W/16) the symbols as floats
    y_hat: Tensor  # (1, C_y, H/16, W/16) less its base


class LatentCoder:
    """One LatentModel with its integer head, tables and quantiser."""

    def __init__(
        self,
        net: LatentModel,
        head: IntegerVectorHead,
        tables: Sequence[NDArray[np.uint32]],
        *,
        device: str,
        merge: MergeCoder | None = None,
    ) -> None:
        self.net, self.head, self.merge = net, head, merge
        self.coder = SymbolCoder(tables)
        self.device = device
        self._passes = lru_cache(maxsize=4)(lambda rows, columns: net.pass_numbers(rows, columns, torch.device(device)))

    def nothing(self, n_cells: int) -> Past:
        """What a frame knows after an I frame."""
        z = np.zeros((n_cells, self.head.n_z), np.int32)
        y = np.zeros((n_cells, self.head.n_columns), np.int32)
        symbols = GroupSymbols(z, y)
        if self.merge is not None:
            symbols = symbols._replace(merge=symbols.merges(), own=symbols.owns())
        return Past(symbols, np.zeros(n_cells, np.bool_))

    def z_indexes(self, q: NDArray[np.integer], past: Past) -> NDArray[np.uint8]:
        """Tables of the hyper-latents of every cell, (n, C_z)."""
        states = 1 + np.minimum(np.abs(past.symbols.z), N_Z_STATES - 2)
        return self.head.z_indexes(q, np.where(past.known[:, None], states, 0))

    def context(
        self, z: NDArray[np.int32], q: NDArray[np.integer], past: Past, beside: NDArray[np.int64]
    ) -> VectorContext:
        """What tables of latents follow from. z: (n, C_z) hyper-latents; beside: see position_neighbours."""
        return VectorContext.of(self.head.z_inputs(z, q), q, past.symbols.y, past.known, beside)

    def y_indexes(self, context: VectorContext, y: NDArray[np.int32]) -> list[NDArray[np.uint8]]:
        """Tables of the latents y (n, 4 C_y) in each pass, 0 for those of other passes."""
        return [self.head.pass_indexes(number, context, y) for number in range(N_PASSES)]

    def quantise(
        self,
        y: Tensor,
        condition: Tensor,
        maps: Maps,
        groups: NDArray[np.integer],
        past: Past,
        quantiser: Rounding,
    ) -> Quantised:
        """Symbols of all cells. y: (1, C_y, H/16, W/16) less its base; condition: see LatentModel.

        groups: (rows, columns); quantiser: symbols from latents less their means, in steps, and their tables.
        """
        net, grid = self.net, maps.q.shape
        flat = maps.q.reshape(-1)
        gain = net.y_gain(maps.q_map, (y.shape[2], y.shape[3]))
        steps = y * gain
        z_gain = net.z_gain(maps.q_map, grid)
        z = torch.round(net.hyper_analysis(steps, maps.mask16) * z_gain).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)
        z_symbols = z_rows(z)
        z_symbols[self.z_indexes(flat, past) == 0] = 0
        z = torch.from_numpy(z_symbols).to(self.device).float().view(1, *grid, -1).permute(0, 3, 1, 2)
        context = self.context(
            z_symbols, flat, past, position_neighbours(np.arange(flat.size), grid[1], groups.reshape(-1))
        )
        indexes: list[Tensor] = []

        def symbols_of(mean: Tensor, symbols: Tensor) -> Tensor:
            index = self.head.pass_indexes(len(indexes), context, y_rows(symbols))
            indexes.append(from_rows(torch.from_numpy(index), grid, self.device))
            return quantiser(steps - mean * gain, indexes[-1])

        features = net.means.features(z / z_gain, condition, maps.q_map, maps.mask16)
        passes = self._passes(y.shape[2], y.shape[3])
        symbols, mean = net.in_passes(features, gain, passes, maps.mask16, symbols_of)
        tables = torch.stack(indexes).sum(0)
        found = GroupSymbols(z_symbols, y_rows(symbols))
        return Quantised(found, features, tables, symbols, symbols / gain + mean)

    def dequantise(self, symbols: GroupSymbols, condition: Tensor, maps: Maps) -> Tensor:
        """y_hat less its base (N, C_y, H/16, W/16) float32 from the symbols of all cells of N pictures."""
        net, grid = self.net, maps.q.shape[-2:]
        z = torch.from_numpy(symbols.z).to(self.device).float().view(-1, *grid, self.head.n_z).permute(0, 3, 1, 2)
        y = from_rows(torch.from_numpy(symbols.y.astype(np.int16)), grid, self.device).float()
        gain = net.y_gain(maps.q_map, (y.shape[2], y.shape[3]))
        features = net.means.features(z / net.z_gain(maps.q_map, grid), condition, maps.q_map, maps.mask16)
        passes = self._passes(y.shape[2], y.shape[3])
        _, mean = net.in_passes(features, gain, passes, maps.mask16, lambda *_: y)
        return y / gain + mean

    def write(
        self,
        symbols: GroupSymbols,
        q: NDArray[np.integer],
        past: Past,
        start: Start | None,
        grid: CellGrid,
    ) -> bytes:
        """The string of the cells of one group; every argument has one row for each of them."""
        context = self.context(symbols.z, q, past, position_neighbours(grid.rows, grid.n_columns))
        parts = [(symbols.z, self.z_indexes(q, past))]
        parts += [(symbols.y, index) for index in self.y_indexes(context, symbols.y)]
        if start is not None:
            parts.insert(0, (start, START_INDEX))
        if self.merge is None:
            return self.coder.encode(parts)
        context = self.merge_context(q, symbols.y, past.symbols, past.known, grid)
        return self.coder.encode(parts, tail=MergeTail(self.merge, symbols.merges(), symbols.owns(), context))

    @staticmethod
    def merge_context(
        q: NDArray[np.integer],
        y: NDArray[np.int32],
        before: GroupSymbols,
        known: NDArray[np.bool_],
        grid: CellGrid,
    ) -> MergeContext:
        """What tables of merge indexes follow from."""
        return MergeContext(q, y, before.merges(), known, grid)

    def read(self, substreams: Sequence[Substream]) -> list[tuple[GroupSymbols, Start] | BitstreamError]:
        """The inverse of write for each of them, or what is wrong with it. Tables of all cells are found at once."""
        found: list[tuple[GroupSymbols, Start] | BitstreamError] = []
        opened: list[tuple[int, StringDecoder, slice]] = []
        n_rows = 0
        for k, substream in enumerate(substreams):
            data, q, has_start = substream.data, substream.q, substream.has_start
            try:
                decoder = self.coder.decoder(data)
                start = decoder.read(START_INDEX) if data and has_start else np.zeros(2, np.int32)
            except BitstreamError as error:
                found.append(error)
                continue
            z, y = (np.zeros((q.size, n), np.int32) for n in (self.head.n_z, self.head.n_columns))
            found.append((GroupSymbols(z, y), start))
            if data:  # an empty string holds zeros
                opened.append((k, decoder, slice(n_rows, n_rows + q.size)))
                n_rows += q.size
        if not opened:
            return found
        parts = [substreams[k] for k, _, _ in opened]
        q, past = np.concatenate([part.q for part in parts]), Past.joined([part.past for part in parts])
        z_index = self.z_indexes(q, past)
        z = np.concatenate([decoder.read(z_index[rows]) for _, decoder, rows in opened])
        context = VectorContext.joined(
            [
                self.context(z[rows], part.q, part.past, position_neighbours(part.grid.rows, part.grid.n_columns))
                for part, (_, _, rows) in zip(parts, opened, strict=True)
            ]
        )
        y = np.zeros((q.size, self.head.n_columns), np.int32)
        for number in range(N_PASSES):
            index = self.head.pass_indexes(number, context, y)
            for _, decoder, rows in opened:
                y[rows] += decoder.read(index[rows])
        for k, decoder, rows in opened:
            own = found[k]
            assert not isinstance(own, BitstreamError)
            try:
                symbols = GroupSymbols(z[rows], y[rows])
                if self.merge is not None:
                    part = substreams[k]
                    context = self.merge_context(part.q, symbols.y, part.past.symbols, part.past.known, part.grid)
                    merge, vectors = self.merge.pop(decoder.ans, context)
                    symbols = symbols._replace(merge=merge, own=vectors)
                found[k] = symbols, own[1]
                decoder.finish()
            except BitstreamError as error:
                found[k] = error
        return found

    def z_bytes(self, symbols: GroupSymbols, q: NDArray[np.integer], past: Past) -> int:
        """Length of a string that holds the hyper-latents alone."""
        return len(self.coder.encode([(symbols.z, self.z_indexes(q, past))]))
