"""Symbols of RESIDUAL: choosing, writing, reading, dequantising (docs/bitstream.md, section 5.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..entropy import IntegerBlockHeads, StringDecoder, SymbolCoder
from ..entropy.blocks import (
    BAND_EDGES,
    EVEN,
    N_BLOCKS,
    N_CHANNELS,
    N_FIRST,
    N_FLAGS,
    ODD,
    POSITION,
    BlockPast,
    block_neighbours,
    busy_class,
    class_inputs,
    first_inputs,
    odd_inputs,
    second_inputs,
)
from ..entropy.class_flags import ClassFlags
from ..entropy.offsets import N_OFFSETS, cell_neighbours
from ..entropy.plain_tables import PlainTables
from ..errors import BitstreamError
from ..nets.offsets import offset_picture, offset_steps
from ..nets.residual import ResidualCodec
from .block_rows import blocks_to_rows, rows_of, rows_to_blocks
from .latents import GroupSymbols, Maps, Past, Start, Substream
from .mended import MENDED, OFFSETS, MendedFlags, without_symbols
from .merge_coding import CellGrid
from .offsets import OffsetCoder
from .residual_search import Busy, Known, ResidualSearch, rounded

__all__ = ["ResidualCoder"]

NO_START = np.zeros(2, np.int32)


class _Beginning(NamedTuple):
    """Offsets, classes and flags, with which a string begins."""

    coder: SymbolCoder
    offsets: Sequence[tuple[NDArray[np.int32], NDArray[np.uint8]]]  # symbols and tables
    flags: Sequence[tuple[PlainTables, NDArray[np.integer], NDArray[np.integer]]]  # symbols and rows

    def push(self, ans: Any) -> None:
        """See entropy.coder.Other."""
        for tables, symbols, rows in reversed(self.flags):
            tables.push(ans, symbols, rows)
        for symbols, index in reversed(self.offsets):
            self.coder.push(ans, symbols.reshape(-1), index.reshape(-1))


class ResidualCoder:
    """One ResidualCodec with its integer heads and tables.

    Symbols of cells are GroupSymbols: z (n, 26) classes of the 16 blocks, 9 offsets, whether the cell is mended; y
    (n, 16 x 96) of blocks.
    """

    def __init__(
        self,
        net: ResidualCodec,
        heads: IntegerBlockHeads,
        tables: Sequence[NDArray[np.uint32]],
        flags: PlainTables,
        mended: MendedFlags,
        *,
        device: str,
    ) -> None:
        """tables: of symbols and offsets; flags: of classes of blocks; mended: of cells without symbols."""
        self.net, self.heads, self.device = net, heads, device
        self.flags, self.coder, self.mended = ClassFlags(flags), SymbolCoder(tables), mended
        self._search = ResidualSearch(self, tables)
        self._offsets = OffsetCoder(heads, self._search.bits)

    def nothing(self, n_cells: int) -> Past:
        """What a frame knows after an I frame."""
        z = np.zeros((n_cells, MENDED + 1), np.int32)
        y = np.zeros((n_cells, N_BLOCKS * N_CHANNELS), np.int32)
        return Past(GroupSymbols(z, y), np.zeros(n_cells, np.bool_))

    # What tables follow from

    def known(
        self, q: NDArray[np.integer], past: Past, offsets: NDArray[np.integer], beside: NDArray[np.integer]
    ) -> Known:
        """q: (n,) of cells; offsets: (n, 9) of this frame; beside: see block_neighbours."""
        q, blocks = np.repeat(q, N_BLOCKS), self.past_of_blocks(past)
        inputs = class_inputs(blocks, np.repeat(np.abs(offsets).sum(axis=1), N_BLOCKS), beside)
        return Known(q, blocks, beside, self.heads.even(rows_of(inputs, EVEN), rows_of(q, EVEN)), rows_of(inputs, ODD))

    @staticmethod
    def past_of_blocks(past: Past) -> BlockPast:
        """One row a block, in the order of cells."""
        busy = _classes(past.symbols)
        bands = np.zeros((busy.size, len(BAND_EDGES) - 1), np.int64)
        rows = np.flatnonzero(busy)
        size = np.abs(past.symbols.y.reshape(-1, N_CHANNELS)[rows].astype(np.int64))
        bands[rows] = np.add.reduceat(size, BAND_EDGES[:-1], axis=1)
        if past.other is None or past.other_known is None:
            raise ValueError("tables of RESIDUAL need the MOTION of the frame")
        moved = np.abs(past.other.y.reshape(past.known.size, 4, -1)).sum(axis=2) * past.other_known[:, None]
        merged = (past.other.merges() != 0) & past.other_known[:, None]
        known = np.repeat(past.known, N_BLOCKS)
        return BlockPast(busy, bands, known, moved[:, POSITION].reshape(-1), merged.reshape(-1))

    def busy(self, classes: NDArray[np.int64], known: Known) -> Busy:
        """See residual_search.Tables. classes: (16 n,)."""
        around = np.append(classes, 0)[known.beside]
        return Busy(classes, around)

    def odd_flags(self, classes: NDArray[np.int64], known: Known) -> NDArray[np.uint8]:
        """(8 n, 7) tables of flags of the odd blocks. classes: (16 n,), of which those of even blocks count."""
        return self.heads.odd(odd_inputs(known.odd_inputs, classes, rows_of(known.beside, ODD)), rows_of(known.q, ODD))

    def class_bits(self, classes: NDArray[np.int64], known: Known) -> NDArray[np.float32]:
        """See residual_search.Tables."""
        index = np.empty((classes.size // N_BLOCKS, N_BLOCKS, N_FLAGS), np.uint8)
        for part, found in ((EVEN, known.even), (ODD, self.odd_flags(classes, known))):
            index[:, part] = found.reshape(-1, part.size, N_FLAGS)
        return self.flags.bits(index.reshape(-1, N_FLAGS))

    def symbol_tables(
        self, busy: Busy, known: Known, y: NDArray[np.integer], rows: NDArray[np.integer]
    ) -> NDArray[np.uint8]:
        """See residual_search.Tables. Of y (m, 96) the first 16 symbols are looked at."""
        classes, q = busy.classes[rows], known.q[rows]
        inputs = first_inputs(classes, busy.around[rows], known.past.take(rows))
        second = self.heads.second(second_inputs(inputs, classes, y[:, :N_FIRST]), q)
        return np.concatenate([self.heads.first(inputs, q), second], axis=1)

    # Encoding

    @torch.inference_mode()
    def quantise(self, y: Tensor, maps: Maps, known: Known, *, optimise: bool) -> GroupSymbols:
        """Symbols of all cells. y: (1, 96, H/8, W/8); optimise: weighs each, and each block, against its bits."""
        size = (y.shape[2], y.shape[3])
        steps = blocks_to_rows(y * self.net.y_gain(maps.q_map, size))
        if optimise:
            worth = blocks_to_rows(self.net.worth(maps.q_map, size).expand(1, -1, *size))
            symbols = self._search.worthwhile(steps, worth, known)
        else:
            symbols = rounded(steps)
        classes = busy_class(np.abs(symbols.astype(np.int64)).sum(axis=1)).astype(np.int32).reshape(-1, N_BLOCKS)
        z = np.pad(classes, ((0, 0), (0, MENDED + 1 - N_BLOCKS)))
        return GroupSymbols(z, symbols.reshape(-1, N_BLOCKS * N_CHANNELS))

    @torch.inference_mode()
    def choose_offsets(self, missing: Tensor, maps: Maps, past: Past, beside: NDArray[np.integer]) -> GroupSymbols:
        """Offsets of all cells, and nothing else. missing: (1, 6, H/2, W/2); beside: see cell_neighbours."""
        steps = offset_steps(missing, maps.q_map)[0].permute(1, 2, 0).reshape(-1, N_OFFSETS).cpu().numpy()
        symbols = self.nothing(maps.q.size).symbols
        symbols.z[:, OFFSETS] = self._offsets.choose(steps, maps.q.reshape(-1), past, beside)
        return symbols

    @staticmethod
    def with_offsets(symbols: GroupSymbols, offsets: GroupSymbols) -> GroupSymbols:
        """Blocks of the first, offsets of the second."""
        return symbols._replace(z=np.concatenate([symbols.z[:, :N_BLOCKS], offsets.z[:, N_BLOCKS:]], axis=1))

    @staticmethod
    def with_flags(symbols: GroupSymbols, mended: NDArray[np.bool_]) -> GroupSymbols:
        """With these flags of cells, (n,)."""
        return symbols._replace(z=np.concatenate([symbols.z[:, :MENDED], mended[:, None].astype(np.int32)], axis=1))

    @staticmethod
    def without_blocks(symbols: GroupSymbols, cells: NDArray[np.bool_]) -> GroupSymbols:
        """With offsets alone in some cells, (n,)."""
        kept = np.where(cells[:, None] & (np.arange(symbols.z.shape[1]) < N_BLOCKS), 0, symbols.z)
        return GroupSymbols(kept, np.where(cells[:, None], 0, symbols.y))

    def cell_bits(
        self, symbols: GroupSymbols, known: Known, past: Past, beside: NDArray[np.integer]
    ) -> NDArray[np.float32]:
        """(n,) bits of every cell. known: of past, see whole; beside: see cell_neighbours."""
        bits = self._search.block_bits(symbols.y.reshape(-1, N_CHANNELS), known)
        offsets = self._offsets.bits(symbols.z[:, OFFSETS], known.q[::N_BLOCKS], past, beside)
        flags = self.mended.bits(known.q[::N_BLOCKS], past)[np.arange(offsets.size), symbols.z[:, MENDED]]
        return bits.reshape(-1, N_BLOCKS).sum(axis=1) + offsets + flags * without_symbols(symbols.z)

    def whole(self, maps: Maps, groups: NDArray[np.integer], past: Past, offsets: GroupSymbols) -> Known:
        """What tables follow from, of all cells of a picture. offsets: see choose_offsets."""
        beside = block_neighbours(np.arange(maps.q.size), maps.q.shape[1], groups.reshape(-1))
        return self.known(maps.q.reshape(-1), past, offsets.z[:, OFFSETS], beside)

    def write(
        self,
        symbols: GroupSymbols,
        q: NDArray[np.integer],
        past: Past,
        grid: CellGrid,
    ) -> bytes:
        """The string of the cells of one group; every argument has one row for each of them."""
        if not symbols.z.any():
            return b""
        known = self._known(symbols, q, past, grid)
        busy = self.busy(_classes(symbols), known)
        rows = np.flatnonzero(busy.classes)
        y = symbols.y.reshape(-1, N_CHANNELS)[rows]
        tables = self.symbol_tables(busy, known, y, rows)
        parts = [(y[:, part], tables[:, part]) for part in (slice(N_FIRST), slice(N_FIRST, None))]
        return self.coder.encode(parts, head=self._beginning(symbols, q, past, grid, known))

    def beginning_bytes(self, symbols: GroupSymbols, q: NDArray[np.integer], past: Past, grid: CellGrid) -> int:
        """Length of a string that holds offsets and classes alone."""
        known = self._known(symbols, q, past, grid)
        return len(self.coder.encode([], head=self._beginning(symbols, q, past, grid, known)))

    def _known(self, symbols: GroupSymbols, q: NDArray[np.integer], past: Past, grid: CellGrid) -> Known:
        return self.known(q, past, symbols.z[:, OFFSETS], block_neighbours(grid.rows, grid.n_columns))

    def _beginning(
        self, symbols: GroupSymbols, q: NDArray[np.integer], past: Past, grid: CellGrid, known: Known
    ) -> _Beginning:
        offsets = self._offsets.parts(symbols.z[:, OFFSETS], q, past, cell_neighbours(grid.rows, grid.n_columns))
        classes = _classes(symbols)
        even = self.flags.parts(rows_of(classes, EVEN), known.even)
        odd = self.flags.parts(rows_of(classes, ODD), self.odd_flags(classes, known))
        return _Beginning(self.coder, offsets, [*even, *odd, self.mended.part(symbols, q, past)])

    # Decoding

    def read(self, substreams: Sequence[Substream]) -> list[tuple[GroupSymbols, Start] | BitstreamError]:
        """The inverse of write for each of them, or what is wrong with it."""
        found: list[tuple[GroupSymbols, Start] | BitstreamError] = []
        for substream in substreams:
            try:
                decoder = self.coder.decoder(substream.data)
                symbols = self._read(decoder, substream) if substream.data else None
                decoder.finish()
            except BitstreamError as error:
                found.append(error)
                continue
            found.append((symbols or self.nothing(substream.q.size).symbols, NO_START))
        return found

    def _read(self, decoder: StringDecoder, substream: Substream) -> GroupSymbols:
        n = substream.q.size
        where = substream.grid.rows, substream.grid.n_columns
        offsets = self._offsets.read(decoder, substream.q, substream.past, cell_neighbours(*where))
        beside = block_neighbours(*where)
        known = self.known(substream.q, substream.past, offsets, beside)
        classes = np.zeros((n, N_BLOCKS), np.int64)
        classes[:, EVEN] = self.flags.pop(decoder.ans, known.even).reshape(n, -1)
        classes[:, ODD] = self.flags.pop(decoder.ans, self.odd_flags(classes.reshape(-1), known)).reshape(n, -1)
        flags = self.mended.pop(decoder.ans, classes.astype(np.int32), substream.q, substream.past)
        busy = self.busy(classes.reshape(-1), known)
        rows = np.flatnonzero(busy.classes)
        inputs = first_inputs(busy.classes[rows], busy.around[rows], known.past.take(rows))
        first = decoder.read(self.heads.first(inputs, known.q[rows]))
        more = second_inputs(inputs, busy.classes[rows], first)
        y = np.zeros((n * N_BLOCKS, N_CHANNELS), np.int32)
        y[rows] = np.concatenate([first, decoder.read(self.heads.second(more, known.q[rows]))], axis=1)
        z = np.concatenate([classes.astype(np.int32), offsets, flags[:, None]], axis=1)
        return GroupSymbols(z, y.reshape(n, -1))

    def dequantise(self, symbols: GroupSymbols, maps: Maps) -> Tensor:
        """y_hat (1, 96, H/8, W/8) float32."""
        y = rows_to_blocks(torch.from_numpy(symbols.y.astype(np.int16)).to(self.device).float(), maps.q.shape[-2:])
        return y / self.net.y_gain(maps.q_map, (y.shape[2], y.shape[3]))

    def offset_picture(self, symbols: GroupSymbols, maps: Maps) -> Tensor:
        """What offsets add, (1, 6, H/2, W/2) float32."""
        rows, columns = maps.q.shape[-2:]
        offsets = torch.from_numpy(symbols.z[:, OFFSETS].astype(np.float32)).to(self.device)
        return offset_picture(offsets.view(1, rows, columns, -1).permute(0, 3, 1, 2), maps.q_map)


def _classes(symbols: GroupSymbols) -> NDArray[np.int64]:
    """(16 n,) of all blocks."""
    return symbols.z[:, :N_BLOCKS].reshape(-1).astype(np.int64)
