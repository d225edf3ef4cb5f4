"""Strings: all symbols of one substream under one asymmetric numeral system coder.

The order of symbols and the byte layout are docs/bitstream.md, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BitstreamError, ModelError
from .tables import N_TABLES, PRECISION

__all__ = ["Other", "StringDecoder", "SymbolCoder"]

stream: Any = import_module("constriction").stream  # an extension module without type stubs
AnsCoder = stream.stack.AnsCoder
ESCAPE_MODEL = stream.model.Uniform(2**16)
TABLE_BOUNDS = np.arange(N_TABLES + 1)
SYMBOL_LIMIT = 2**15 - 1  # largest magnitude that an escape can carry


class Other(Protocol):
    """Something that a string holds before or after its symbols."""

    def push(self, ans: Any) -> None:
        """Codes it, the last of it first, as the coder is a stack."""
        ...


class SymbolCoder:
    """Codes integer arrays of which each symbol names its probability table."""

    def __init__(self, tables: Sequence[NDArray[np.uint32]]) -> None:
        """tables: frequencies of 0, -1, 1, .. K and the escape, as `gaussian_tables` gives them.

        Raises ModelError for a table that is not positive or does not add up to 2**24.
        """
        for number, table in enumerate(tables):
            if table.size < 2 or table.size % 2 or int(table.sum()) != 2**PRECISION or int(table.min()) < 1:
                raise ModelError(f"probability table {number} is no valid table (docs/bitstream.md, section 5.3)")
        self.reach = np.array([table.size // 2 - 1 for table in tables], dtype=np.int32)
        # With perfect=False a Categorical gives every symbol 1 and shares out the rest in
        # proportion; frequencies less one are that rest, so the integers come out exactly.
        self._models = [stream.model.Categorical((t - 1).astype(np.float64), perfect=False) for t in tables]

    def encode(
        self,
        parts: Sequence[tuple[NDArray[np.int32], NDArray[np.uint8]]],
        *,
        head: Other | None = None,
        tail: Other | None = None,
    ) -> bytes:
        """One string from (symbols, table indexes) arrays in decoding order, what comes before and after them.

        Symbols whose index is 0 are not coded and MUST be 0. Where every symbol is 0 the
        string comes out empty. Raises ValueError for a symbol beyond 16 bits.
        """
        coder = AnsCoder()
        if tail is not None:
            tail.push(coder)
        for symbols, indexes in reversed(parts):
            self.push(coder, symbols.reshape(-1), indexes.reshape(-1))
        if head is not None:
            head.push(coder)
        data = coder.get_compressed().astype("<u4").tobytes()
        return data.rstrip(b"\0")

    def push(self, coder: Any, symbols: NDArray[np.int32], indexes: NDArray[np.uint8]) -> None:
        """Codes one array, (n,) each. Raises ValueError for a symbol beyond 16 bits."""
        order, counts = _by_table(indexes)
        ordered = symbols[order].astype(np.int32)
        reach = np.repeat(self.reach, counts)
        if ordered.size and int(np.abs(ordered).max()) > SYMBOL_LIMIT:
            raise ValueError(f"symbol {int(np.abs(ordered).max())} is beyond 16 bits")
        escaped = np.abs(ordered) > reach
        zigzag = np.where(ordered < 0, -2 * ordered - 1, 2 * ordered)
        coded = np.where(escaped, 2 * reach + 1, zigzag).astype(np.int32)
        values = ordered[escaped]
        if values.size:
            coder.encode_reverse((values & 0xFFFF).astype(np.int32), ESCAPE_MODEL)
        ends = np.cumsum(counts)
        for table in range(len(self._models) - 1, 0, -1):
            n = counts[table]
            if n:
                end = ends[table]
                coder.encode_reverse(np.ascontiguousarray(coded[end - n : end]), self._models[table])

    def decoder(self, data: bytes) -> StringDecoder:
        """Opens a string for reading."""
        return StringDecoder(self, data)


class StringDecoder:
    """Reads a string part by part, in the order in which it was coded."""

    def __init__(self, coder: SymbolCoder, data: bytes) -> None:
        self._coder = coder
        self._ans: Any = None
        if data:
            words = np.frombuffer(data + b"\0" * (-len(data) % 4), dtype="<u4").astype(np.uint32)
            if words[-1] == 0:
                raise BitstreamError("entropy-coded string ends in a zero byte (docs/bitstream.md, section 5.2)")
            self._ans = AnsCoder(words)

    def read(self, indexes: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Symbols for an array of table indexes, in its shape."""
        out = np.zeros(indexes.size, dtype=np.int32)
        if self._ans is None:
            return out.reshape(indexes.shape)
        coder, ans = self._coder, self._ans
        order, counts = _by_table(indexes.reshape(-1))
        pieces: list[NDArray[np.int32]] = []
        for table, count in enumerate(counts.tolist()):
            if count:
                pieces.append(ans.decode(coder._models[table], count))
        if pieces:
            coded = np.concatenate(pieces)
            symbols = (coded >> 1) ^ -(coded & 1)
            escaped = np.flatnonzero(coded == np.repeat(2 * coder.reach + 1, counts))
            if escaped.size:
                values = ans.decode(ESCAPE_MODEL, int(escaped.size))
                symbols[escaped] = values.astype(np.uint16).view(np.int16)
            out[order] = symbols
        return out.reshape(indexes.shape)

    def with_tables(self, coder: SymbolCoder) -> StringDecoder:
        """Goes on in the same string with other tables."""
        other = StringDecoder(coder, b"")
        other._ans = self._ans
        return other

    @property
    def ans(self) -> Any:
        """The coder, to read what is no array of symbols; None for the empty string."""
        return self._ans

    def finish(self) -> None:
        """Raises BitstreamError unless every bit of the string was used."""
        if self._ans is not None and not self._ans.is_empty():
            raise BitstreamError(
                "entropy-coded string does not end where its symbols do (docs/bitstream.md, section 5.2)"
            )


def _by_table(indexes: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of the coded symbols (index above 0) sorted by table, stably; and counts per table."""
    coded = np.flatnonzero(indexes != 0)
    tables = indexes[coded]
    order = np.argsort(tables, kind="stable")  # a radix sort for 8 bits
    return coded[order], np.diff(np.searchsorted(tables[order], TABLE_BOUNDS))
