"""Section 5.2 and 5.3 in plain Python, against constriction and the example of the document."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ssvc_codec.errors import BitstreamError

STREAM: Any = import_module("constriction").stream  # an extension module without types
AnsCoder = STREAM.stack.AnsCoder
Categorical = STREAM.model.Categorical
UNIFORM_16 = STREAM.model.Uniform(1 << 16)
TOTAL = 1 << 24
Interval = tuple[int, int]  # cum, freq


class ReferenceCoder:
    """The stack of section 5.2, word by word."""

    def __init__(self, words: list[int]) -> None:
        self.words = list(words)
        self.state = 0
        if self.words:
            self.state = self.words.pop()
        if self.words:
            self.state = self.state << 32 | self.words.pop()

    def decode(self, frequencies: list[int]) -> int:
        quantile = self.state & (TOTAL - 1)
        cum, symbol = 0, 0
        while cum + frequencies[symbol] <= quantile:
            cum, symbol = cum + frequencies[symbol], symbol + 1
        self._consume(cum, frequencies[symbol])
        return symbol

    def decode_escaped(self) -> int:
        """A 16-bit two's complement value."""
        value = (self.state & (TOTAL - 1)) // 256
        self._consume(value * 256, 256)
        return value - (value >> 15 << 16)

    def _consume(self, cum: int, freq: int) -> None:
        self.state = (self.state >> 24) * freq + (self.state & (TOTAL - 1)) - cum
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def encode(self, cum: int, freq: int) -> None:
        if self.state >> 40 >= freq:
            self.words.append(self.state & (1 << 32) - 1)
            self.state >>= 32
        self.state = (self.state // freq << 24 | self.state % freq) + cum

    def finish(self) -> list[int]:
        """The words, with those of the state."""
        low, high = self.state & (1 << 32) - 1, self.state >> 32
        return self.words + ([low] if self.state else []) + ([high] if high else [])


def to_string(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")


def from_string(string: bytes) -> list[int]:
    if string.endswith(b"\0"):
        raise BitstreamError("string: the last byte is 0 (bitstream.md 5.2)")
    padded = string + bytes(-len(string) % 4)
    return [int.from_bytes(padded[i : i + 4], "little") for i in range(0, len(padded), 4)]


def symbol_of(value: int, n_symbols: int) -> int:
    zigzag = 2 * value if value >= 0 else -2 * value - 1
    return min(zigzag, n_symbols - 1)


def encode_values(values: list[int], frequencies: list[int]) -> bytes:
    """One table for all values; escapes after them."""
    cums = [sum(frequencies[:i]) for i in range(len(frequencies))]
    symbols = [symbol_of(value, len(frequencies)) for value in values]
    escaped = [value % 65536 for value, s in zip(values, symbols, strict=True) if s == len(frequencies) - 1]
    intervals: list[Interval] = [(cums[s], frequencies[s]) for s in symbols] + [(v * 256, 256) for v in escaped]
    coder = ReferenceCoder([])
    for cum, freq in reversed(intervals):
        coder.encode(cum, freq)
    return to_string(coder.finish())


def decode_values(string: bytes, frequencies: list[int], n_values: int) -> list[int]:
    coder = ReferenceCoder(from_string(string))
    symbols = [coder.decode(frequencies) for _ in range(n_values)]
    values = [s // 2 if s % 2 == 0 else -(s + 1) // 2 for s in symbols]
    for i, symbol in enumerate(symbols):
        if symbol == len(frequencies) - 1:
            values[i] = coder.decode_escaped()
    if coder.state or coder.words:
        raise BitstreamError("string: the coder is not empty at its end (bitstream.md 5.2)")
    return values


def constriction_model(frequencies: list[int]) -> Any:
    """Exactly these frequencies: constriction gives each symbol 1 and shares out the rest."""
    return Categorical(np.array(frequencies, dtype=np.float64) - 1, perfect=False)


@st.composite
def tables(draw: st.DrawFn) -> list[int]:
    largest = draw(st.integers(0, 30))
    weights = draw(st.lists(st.integers(1, 10**6), min_size=2 * largest + 2, max_size=2 * largest + 2))
    if draw(st.booleans()):
        weights[0] = 10**9  # a peak: most symbols cost almost nothing
    frequencies = [max(1, weight * (TOTAL - len(weights)) // sum(weights)) for weight in weights]
    frequencies[0] += TOTAL - sum(frequencies)
    return frequencies


messages = st.lists(st.one_of(st.integers(-3, 3), st.integers(-40, 40), st.integers(-32768, 32767)), max_size=60)


@given(messages, tables())
def test_the_reference_coder_agrees_with_constriction_word_by_word(values: list[int], table: list[int]) -> None:
    string = encode_values(values, table)
    symbols = [symbol_of(value, len(table)) for value in values]
    escaped = [value % 65536 for value, s in zip(values, symbols, strict=True) if s == len(table) - 1]
    coder = AnsCoder()
    coder.encode_reverse(np.array(escaped, dtype=np.int32), UNIFORM_16)
    coder.encode_reverse(np.array(symbols, dtype=np.int32), constriction_model(table))
    words: NDArray[np.uint32] = coder.get_compressed()
    assert string == words.astype("<u4").tobytes().rstrip(b"\0")
    assert from_string(string) == words.tolist()

    decoder = AnsCoder(words)
    assert decoder.decode(constriction_model(table), len(symbols)).tolist() == symbols
    assert decoder.decode(UNIFORM_16, len(escaped)).tolist() == escaped
    assert decoder.is_empty()
    assert decode_values(string, table, len(values)) == values


@given(st.lists(st.integers(0, 2**32 - 1), max_size=8), tables())
def test_the_reference_decoder_agrees_with_constriction_on_any_words(words: list[int], table: list[int]) -> None:
    if words and words[-1] == 0:
        words[-1] = 1
    reference, decoder = ReferenceCoder(words), AnsCoder(np.array(words, dtype=np.uint32))
    for _ in range(20):
        assert decoder.decode(constriction_model(table)) == reference.decode(table)
        assert decoder.pos() == (len(reference.words), reference.state)
        assert decoder.is_empty() == (not reference.state and not reference.words)


def test_the_example_string_holds_its_values(vectors: dict[str, Any]) -> None:
    vector = vectors["string_with_escape"]
    string = bytes.fromhex(vector["hex"])
    assert decode_values(string, vector["frequencies"], len(vector["values"])) == vector["values"]
    assert encode_values(vector["values"], vector["frequencies"]) == string


@given(messages, tables())
def test_only_all_zero_symbols_give_the_empty_string(values: list[int], table: list[int]) -> None:
    assert (encode_values(values, table) == b"") == (not any(values))
    assert decode_values(b"", table, len(values)) == [0] * len(values)


def test_a_string_that_ends_in_a_zero_byte_is_refused(vectors: dict[str, Any]) -> None:
    string = bytes.fromhex(vectors["string_with_escape"]["hex"])
    for bad in (string + b"\0", b"\0", bytes(8)):
        with pytest.raises(BitstreamError, match="last byte is 0"):
            decode_values(bad, vectors["string_with_escape"]["frequencies"], 5)


def test_a_string_with_words_left_over_is_refused(vectors: dict[str, Any]) -> None:
    string = bytes.fromhex(vectors["string_with_escape"]["hex"])
    table = vectors["string_with_escape"]["frequencies"]
    for n_values in range(5):
        with pytest.raises(BitstreamError, match="not empty"):
            decode_values(string, table, n_values)
    with pytest.raises(BitstreamError, match="not empty"):
        decode_values(b"\1\2\3\4" + string, table, 5)
