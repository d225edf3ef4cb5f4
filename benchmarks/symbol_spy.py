"""Digests of everything that entropy decoding gives, whatever the frame type."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.entropy import IntegerScaleHead
from ssvc_codec.entropy.coder import StringDecoder

__all__ = ["Digests", "Spy"]


class Digests(NamedTuple):
    """What a decoder read."""

    symbols: str  # SHA-256 of all symbols of all substreams
    indexes: str  # SHA-256 of the table index of every y symbol
    n_symbols: int


class Spy:
    """Digests every symbol and table index on its way, and changes how many cells the scale head gets at once."""

    def __init__(self, *, batch: str) -> None:
        """batch: row (one cell), picture (as the decoder asks), file (computed once more at the end, all at once)."""
        self._symbols, self._indexes = hashlib.sha256(), hashlib.sha256()
        self._n_symbols = 0
        self._batch = batch
        self._calls: list[tuple[IntegerScaleHead, list[Any]]] = []
        self._read, self.y_indexes = StringDecoder.read, IntegerScaleHead.y_indexes

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Stand in front of what reads symbols and computes indexes."""

        def read(decoder: StringDecoder, indexes: NDArray[np.uint8]) -> NDArray[np.int32]:
            symbols = self._read(decoder, indexes)
            self._symbols.update(symbols.astype("<i4").tobytes())
            self._n_symbols += symbols.size
            return symbols

        def y_indexes(head: IntegerScaleHead, *rows: Any) -> NDArray[np.uint8]:
            if self._batch == "row":
                index = np.concatenate([self.y_indexes(head, *cut(rows, i)) for i in range(len(rows[0]))])
            else:
                index = self.y_indexes(head, *rows)
            if self._batch == "file":
                self._calls.append((head, list(rows)))
            else:
                self._indexes.update(index.tobytes())
            return index

        with patch.object(StringDecoder, "read", read), patch.object(IntegerScaleHead, "y_indexes", y_indexes):
            yield

    def digests(self) -> Digests:
        """The digests. Of a whole file at once, each head computes its indexes only here."""
        if self._batch == "file":
            computed = {id(head): iter(self._all_at_once(head)) for head, _ in self._calls}
            for head, _ in self._calls:
                self._indexes.update(next(computed[id(head)]).tobytes())
        return Digests(self._symbols.hexdigest(), self._indexes.hexdigest(), self._n_symbols)

    def _all_at_once(self, head: IntegerScaleHead) -> list[NDArray[np.uint8]]:
        calls = [rows for other, rows in self._calls if other is head]
        joined = [None if column[0] is None else np.concatenate(column) for column in zip(*calls, strict=True)]
        ends = np.cumsum([len(rows[0]) for rows in calls])
        return np.split(self.y_indexes(head, *joined), ends[:-1])  # type: ignore[arg-type]


def cut(rows: Sequence[Any], i: int) -> list[Any]:
    """One cell of every argument that is there."""
    return [None if row is None else row[i : i + 1] for row in rows]
