"""Compare the entropy coders that could carry the latents: compressai.ans and constriction.

    python benchmarks/entropy_coders.py --out results/entropy_coders.tsv

One message of Gaussian symbols with one scale table out of 64 per symbol, as the scale head gives
them. Both coders start from the same arrays and end in bytes; what each needs around its own call
(lists for compressai, the sort by table for constriction) is inside the timing and also shown alone.
Repeats are interleaved, the best counts. The last section checks that constriction codes with
exactly the integer frequencies that are handed to it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray
from results import write_table
from scipy.special import ndtr

from ssvc_codec.training.compressai_import import ans  # pyright: ignore[reportAttributeAccessIssue] (a binary)

STREAM: Any = constriction.stream  # pyright: ignore[reportAttributeAccessIssue] (a binary)
N_TABLES = 64
CONSTRICTION_PRECISION = 24  # bits; fixed in constriction's Python interface
COMPRESSAI_PRECISION = 16  # bits; fixed in compressai's rANS
TAIL = 6.2  # table half-width in units of sigma: 6e-10 of the mass is outside

Integers = NDArray[np.int32]


@dataclass(frozen=True)
class Tables:
    """Integer frequencies of zero-mean Gaussians rounded to integers, symbols -half_width..half_width."""

    sigmas: NDArray[np.float64]
    half_widths: Integers
    pmfs: list[NDArray[np.float64]]

    @classmethod
    def log_spaced(cls, smallest: float = 0.11, largest: float = 64.0, n: int = N_TABLES) -> Tables:
        """n tables with sigma in geometric progression."""
        sigmas = np.geomspace(smallest, largest, n)
        half_widths = np.maximum(1, np.ceil(TAIL * sigmas)).astype(np.int32)
        pmfs = []
        for sigma, half_width in zip(sigmas, half_widths, strict=True):
            k = np.arange(-half_width, half_width + 1)
            pmf = ndtr((0.5 - np.abs(k)) / sigma) - ndtr((-0.5 - np.abs(k)) / sigma)
            pmfs.append(pmf / pmf.sum())
        return cls(sigmas, half_widths, pmfs)

    def frequencies(self, precision: int) -> list[NDArray[np.int64]]:
        """Per table: integers of 1 or more that sum to 2**precision."""
        out = []
        for pmf in self.pmfs:
            frequency = 1 + np.floor(pmf * ((1 << precision) - pmf.size)).astype(np.int64)
            frequency[int(np.argmax(pmf))] += (1 << precision) - int(frequency.sum())
            out.append(frequency)
        return out


@dataclass(frozen=True)
class Message:
    """symbols: int32, 0-centred; tables: uint8 table of each symbol."""

    symbols: Integers
    tables: NDArray[np.uint8]

    @classmethod
    def draw(cls, tables: Tables, n: int, *, seed: int) -> Message:
        """n symbols, each from a table chosen evenly."""
        rng = np.random.default_rng(seed)
        index = rng.integers(0, N_TABLES, n).astype(np.uint8)
        values = np.rint(rng.standard_normal(n) * tables.sigmas[index]).astype(np.int32)
        bound = tables.half_widths[index]
        return cls(np.clip(values, -bound, bound), index)

    def entropy_bytes(self, tables: Tables) -> float:
        """Size of the message under the exact (real-valued) distributions it was drawn from."""
        bits = 0.0
        for t, pmf in enumerate(tables.pmfs):
            bits -= float(np.log2(pmf[self.symbols[self.tables == t] + tables.half_widths[t]]).sum())
        return bits / 8


class Coder(Protocol):
    """What is compared: a message to bytes and, given the table of each symbol, back."""

    name: str

    def encode(self, message: Message) -> bytes:
        """The message as one string."""
        ...

    def decode(self, data: bytes, tables: NDArray[np.uint8]) -> Integers:
        """The symbols of that string."""
        ...


class CompressaiCoder:
    """Symbols in their own order; table lists are made once, message lists per call (the API takes lists)."""

    name = "compressai.ans"

    def __init__(self, tables: Tables) -> None:
        # compressai codes symbols outside a table through its last entry (escape): one frequency more.
        self.cdfs, self.sizes = [], []
        for frequency in tables.frequencies(COMPRESSAI_PRECISION):
            with_escape = np.append(frequency, 1)
            with_escape[int(np.argmax(frequency))] -= 1
            self.cdfs.append([0, *np.cumsum(with_escape).tolist()])
            self.sizes.append(len(self.cdfs[-1]))
        self.offsets = (-tables.half_widths).tolist()

    def encode(self, message: Message) -> bytes:
        """The message as one string; it must hold two symbols or more (fewer corrupt the heap in 1.2.8)."""
        encoder = ans.BufferedRansEncoder()
        encoder.encode_with_indexes(
            message.symbols.tolist(), message.tables.tolist(), self.cdfs, self.sizes, self.offsets
        )
        return encoder.flush()

    def decode(self, data: bytes, tables: NDArray[np.uint8]) -> Integers:
        """The symbols of that string."""
        decoder = ans.RansDecoder()
        decoder.set_stream(data)
        return np.array(decoder.decode_stream(tables.tolist(), self.cdfs, self.sizes, self.offsets), dtype=np.int32)


class ConstrictionCoder:
    """Symbols sorted by table (stable, so both sides agree), one call per table that occurs."""

    name = "constriction"

    def __init__(self, tables: Tables) -> None:
        self.half_widths = tables.half_widths
        self.models = [exact_model(frequency) for frequency in tables.frequencies(CONSTRICTION_PRECISION)]

    def encode(self, message: Message) -> bytes:
        """The words of the coder, little-endian, less the zero bytes at the end of the last one."""
        order, spans = sort_by_table(message.tables)
        indexes = (message.symbols + self.half_widths[message.tables])[order]
        coder = STREAM.stack.AnsCoder()
        for table, start, stop in reversed(spans):
            coder.encode_reverse(indexes[start:stop], self.models[table])
        return coder.get_compressed().astype("<u4").tobytes().rstrip(b"\0")

    def decode(self, data: bytes, tables: NDArray[np.uint8]) -> Integers:
        """The symbols of that string."""
        order, spans = sort_by_table(tables)
        words = np.frombuffer(data + bytes(-len(data) % 4), dtype="<u4").astype(np.uint32)
        coder = STREAM.stack.AnsCoder(words)
        symbols = np.empty(tables.size, dtype=np.int32)
        for table, start, stop in spans:
            symbols[order[start:stop]] = coder.decode(self.models[table], stop - start) - self.half_widths[table]
        return symbols


def exact_model(frequency: NDArray[np.int64]) -> Any:
    """A constriction model whose cumulative integers are exactly those of frequency.

    With perfect=False constriction gives every symbol 1 and shares 2**24 - n by scale = (2**24 - n) / sum(p).
    p = frequency - 1 makes scale exactly 1, and sums of integers below 2**53 are exact in float64.
    """
    return STREAM.model.Categorical((frequency - 1).astype(np.float64), lazy=False, perfect=False)


def sort_by_table(tables: NDArray[np.uint8]) -> tuple[NDArray[np.int64], list[tuple[int, int, int]]]:
    """Stable order of the symbols by table, and (table, start, stop) of each run in that order."""
    order = np.argsort(tables, kind="stable")
    counts = np.bincount(tables, minlength=N_TABLES)
    stops = np.cumsum(counts)
    return order, [(t, int(stops[t] - counts[t]), int(stops[t])) for t in np.flatnonzero(counts).tolist()]


class PureAns:
    """constriction's DefaultAnsCoder (64-bit state, 32-bit words, 24-bit frequencies) in plain integers."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.state = 0

    def push(self, left: int, frequency: int) -> None:
        """Code one symbol that has these cumulative and own frequencies."""
        if self.state >> (64 - CONSTRICTION_PRECISION) >= frequency:
            self.words.append(self.state & 0xFFFFFFFF)
            self.state >>= 32
        self.state = ((self.state // frequency) << CONSTRICTION_PRECISION) + left + self.state % frequency

    def compressed(self) -> list[int]:
        """All words: those emitted, then the state, low word first."""
        words, state = list(self.words), self.state
        while state:
            words.append(state & 0xFFFFFFFF)
            state >>= 32
        return words


def count_exact_tables(tables: Tables, *, seed: int) -> int:
    """How many tables give the same words as PureAns on a message with every symbol of the table.

    Each symbol occurs at least once, so a cumulative integer that is off by one changes the words.
    """
    rng = np.random.default_rng(seed)
    n_exact = 0
    for frequency in tables.frequencies(CONSTRICTION_PRECISION):
        left = np.concatenate([[0], np.cumsum(frequency)])
        symbols = np.concatenate([rng.permutation(frequency.size), rng.integers(0, frequency.size, 500)])
        coder = STREAM.stack.AnsCoder()
        coder.encode_reverse(symbols.astype(np.int32), exact_model(frequency))
        pure = PureAns()
        for symbol in reversed(symbols.tolist()):
            pure.push(int(left[symbol]), int(frequency[symbol]))
        n_exact += coder.get_compressed().tolist() == pure.compressed()
    return n_exact


def best_milliseconds(calls: list[Callable[[], object]], *, n_repeats: int) -> list[float]:
    """Best time of each call; the calls take turns, so that a busy moment hits all of them."""
    best = [float("inf")] * len(calls)
    for _ in range(n_repeats):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[i] = min(best[i], (time.perf_counter() - start) * 1e3)
    return best


def short_string_overheads(coder: Coder, tables: Tables, *, n_strings: int, seed: int) -> float:
    """Mean bytes over the entropy of strings of 10 symbols: the price of ending a string."""
    messages = [Message.draw(tables, 10, seed=seed + i) for i in range(n_strings)]
    return float(np.mean([len(coder.encode(m)) - m.entropy_bytes(tables) for m in messages]))


def rows(*, n_symbols: int, n_repeats: int, seed: int) -> Iterator[tuple[str, str, str]]:
    """(coder, quantity, value) lines of the report."""
    tables = Tables.log_spaced()
    message = Message.draw(tables, n_symbols, seed=seed)
    coders: list[Coder] = [CompressaiCoder(tables), ConstrictionCoder(tables)]
    entropy = message.entropy_bytes(tables)
    yield "-", "symbols", str(n_symbols)
    yield "-", "entropy_bytes", f"{entropy:.1f}"
    strings = [coder.encode(message) for coder in coders]
    calls: list[Callable[[], object]] = [lambda: sort_by_table(message.tables)]
    for coder, data in zip(coders, strings, strict=True):
        if not np.array_equal(coder.decode(data, message.tables), message.symbols):
            raise RuntimeError(f"{coder.name} did not give the symbols back")
        calls.append(lambda coder=coder: coder.encode(message))
        calls.append(lambda coder=coder, data=data: coder.decode(data, message.tables))
    times = best_milliseconds(calls, n_repeats=n_repeats)
    yield "constriction", "of_which_sort_ms", f"{times[0]:.1f}"
    for i, (coder, data) in enumerate(zip(coders, strings, strict=True)):
        yield coder.name, "encode_ms", f"{times[1 + 2 * i]:.1f}"
        yield coder.name, "decode_ms", f"{times[2 + 2 * i]:.1f}"
        yield coder.name, "bytes", str(len(data))
        yield coder.name, "bytes_over_entropy", f"{len(data) - entropy:.1f}"
        overhead = short_string_overheads(coder, tables, n_strings=200, seed=seed + 1)
        yield coder.name, "bytes_over_entropy_10_symbols", f"{overhead:.2f}"
    yield "constriction", "tables_with_exact_frequencies", f"{count_exact_tables(tables, seed=seed)}/{N_TABLES}"


def main() -> int:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--symbols", type=int, default=1_570_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="TSV file; stdout when left out")
    args = parser.parse_args()
    lines = ["coder\tquantity\tvalue"]
    lines += ["\t".join(row) for row in rows(n_symbols=args.symbols, n_repeats=args.repeats, seed=args.seed)]
    text = "\n".join(lines) + "\n"
    write_table(text, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
