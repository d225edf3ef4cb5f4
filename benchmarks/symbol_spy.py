"""Digests of everything that entropy decoding gives, whatever the frame type."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from ssvc_codec.entropy.coder import StringDecoder
from ssvc_codec.entropy.plain_tables import PlainTables
from ssvc_codec.entropy.scale_head import IntegerLayers

__all__ = ["Digests", "Spy"]


class Digests(NamedTuple):
    """What a decoder read."""

    symbols: str  # SHA-256 of all symbols of all substreams
    indexes: str  # SHA-256 of the table index of every y symbol, and of every flag and symbol of a block
    n_symbols: int


# What computes table indexes, from one row for each cell, position or block in every argument.
HEADS: tuple[tuple[type, str], ...] = ((IntegerLayers, "__call__"),)
Head = tuple[Any, Callable[..., NDArray[np.uint8]]]


class Spy:
    """Digests every symbol and table index on its way, and changes how many rows the heads get at once."""

    def __init__(self, *, batch: str) -> None:
        """batch: row (one cell or block), picture (as the decoder asks), file (computed once more at the end)."""
        self._symbols, self._indexes = hashlib.sha256(), hashlib.sha256()
        self._n_symbols = 0
        self._batch = batch
        self._calls: list[tuple[Head, list[Any]]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Stand in front of what reads symbols and computes indexes."""
        with ExitStack() as stack:
            for of, name in ((StringDecoder, "read"), (PlainTables, "pop")):
                stack.enter_context(patch.object(of, name, self._reading(getattr(of, name))))
            for of, name in HEADS:
                stack.enter_context(patch.object(of, name, self._computing(getattr(of, name))))
            yield

    def _reading(self, read: Callable[..., NDArray[np.int32]]) -> Callable[..., NDArray[np.int32]]:
        def watched(*arguments: Any) -> NDArray[np.int32]:
            symbols = read(*arguments)
            self._symbols.update(symbols.astype("<i4").tobytes())
            self._n_symbols += symbols.size
            return symbols

        return watched

    def _computing(self, compute: Callable[..., NDArray[np.uint8]]) -> Callable[..., NDArray[np.uint8]]:
        def watched(head: object, *rows: Any) -> NDArray[np.uint8]:
            if self._batch == "row" and len(rows[0]):
                index = np.concatenate([compute(head, *cut(rows, i)) for i in range(len(rows[0]))])
            else:
                index = compute(head, *rows)
            if self._batch == "file":
                self._calls.append(((head, compute), list(rows)))
            else:
                self._indexes.update(index.tobytes())
            return index

        return watched

    def digests(self) -> Digests:
        """The digests. Of a whole file at once, each head computes its indexes only here."""
        if self._batch == "file":
            computed = {head: iter(self._all_at_once(head)) for head, _ in self._calls}
            for head, _ in self._calls:
                self._indexes.update(next(computed[head]).tobytes())
        return Digests(self._symbols.hexdigest(), self._indexes.hexdigest(), self._n_symbols)

    def _all_at_once(self, head: Head) -> list[NDArray[np.uint8]]:
        calls = [rows for other, rows in self._calls if other == head]
        joined = [np.concatenate(column) for column in zip(*calls, strict=True)]
        ends = np.cumsum([len(rows[0]) for rows in calls])
        of, compute = head
        return np.split(compute(of, *joined), ends[:-1])


def cut(rows: Sequence[Any], i: int) -> list[Any]:
    """One row of every argument."""
    return [row[i : i + 1] for row in rows]
