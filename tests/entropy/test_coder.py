"""Strings of symbols: docs/bitstream.md, sections 5.1 to 5.3."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssvc_codec.entropy import SymbolCoder, gaussian_tables, scale_of_index
from ssvc_codec.errors import BitstreamError, ModelError

TABLES = gaussian_tables()
CODER = SymbolCoder(TABLES)


def draw(n: int, seed: int, low: int = 0, high: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """n Gaussian symbols and their tables."""
    random = np.random.default_rng(seed)
    indexes = random.integers(low, high, n).astype(np.uint8)
    scales = np.array([scale_of_index(index) for index in range(64)])
    symbols = np.round(random.normal(size=n) * scales[indexes]).astype(np.int32)
    symbols[indexes == 0] = 0
    return symbols, indexes


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 500), st.integers(0, 2**32))
def test_a_string_gives_back_both_of_its_parts(n_z: int, n_y: int, seed: int) -> None:
    z, y = draw(n_z, seed), draw(n_y, seed + 1)
    decoder = CODER.decoder(CODER.encode([z, y]))
    np.testing.assert_array_equal(decoder.read(z[1]), z[0])
    np.testing.assert_array_equal(decoder.read(y[1]), y[0])
    decoder.finish()


def test_symbols_keep_the_shape_of_their_indexes() -> None:
    symbols, indexes = draw(600, 3)
    data = CODER.encode([(symbols.reshape(20, 30), indexes.reshape(20, 30))])
    np.testing.assert_array_equal(CODER.decoder(data).read(indexes.reshape(20, 30)), symbols.reshape(20, 30))


@pytest.mark.parametrize("value", [297, -297, 1000, -1000, 32767, -32767])
def test_values_beyond_their_table_are_escaped(value: int) -> None:
    symbols, indexes = draw(100, 4, low=1)
    symbols[[0, 50, 99]] = value
    decoder = CODER.decoder(CODER.encode([(symbols, indexes)]))
    np.testing.assert_array_equal(decoder.read(indexes), symbols)
    decoder.finish()


def test_a_symbol_beyond_16_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bits"):
        CODER.encode([(np.array([32768], np.int32), np.array([63], np.uint8))])


def test_zeros_cost_no_bytes() -> None:
    zeros, indexes = np.zeros(5000, np.int32), draw(5000, 5)[1]
    assert CODER.encode([(zeros, indexes), (zeros, indexes)]) == b""
    assert not CODER.decoder(b"").read(indexes).any()


def test_a_string_is_within_one_percent_and_eight_bytes_of_the_entropy() -> None:
    symbols, indexes = draw(100_000, 6, low=1)
    frequencies = np.array(
        [
            table[min(2 * abs(s) - (s < 0), table.size - 1)]
            for s, table in zip(symbols, map(TABLES.__getitem__, indexes), strict=True)
        ]
    )
    n_bits = float((24 - np.log2(frequencies)).sum())
    assert len(CODER.encode([(symbols, indexes)])) <= n_bits / 8 * 1.01 + 8


def test_a_string_that_is_too_long_is_an_error() -> None:
    symbols, indexes = draw(1000, 7, low=20)
    decoder = CODER.decoder(CODER.encode([(symbols, indexes)]))
    decoder.read(indexes[:900])
    with pytest.raises(BitstreamError, match="does not end"):
        decoder.finish()


def test_a_string_that_ends_in_a_zero_byte_is_an_error() -> None:
    with pytest.raises(BitstreamError, match="zero byte"):
        CODER.decoder(b"\x01\x00\x00\x00\x00")


def test_every_truncated_string_is_an_error_or_other_symbols_but_no_crash() -> None:
    symbols, indexes = draw(300, 8, low=10)
    data = CODER.encode([(symbols, indexes)])
    for length in range(len(data)):
        decoder_data = data[:length].rstrip(b"\0")
        decoder = CODER.decoder(decoder_data)
        assert decoder.read(indexes).shape == indexes.shape


def test_tables_are_positive_and_add_up() -> None:
    assert len(TABLES) == 64
    for table in TABLES:
        assert table.min() >= 1
        assert int(table.sum()) == 2**24


def test_tables_agree_with_the_gaussian_conditional_of_compressai() -> None:
    from ssvc_codec.training.compressai_import import GaussianConditional

    scales = [scale_of_index(index) for index in range(64)]
    reference = GaussianConditional(scales, scale_bound=0.11, tail_mass=2**-18)
    reference.update_scale_table(scales, force=True)
    offsets, cdfs, lengths = (buffer.numpy() for buffer in list(reference.buffers())[:3])
    for index in range(64):
        size = int(lengths[index])
        cdf = cdfs[index, :size]
        theirs = np.diff(cdf)[:-1] / 2**16
        centre = -int(offsets[index])
        reach = min(centre, TABLES[index].size // 2 - 1)
        ours = np.array([TABLES[index][2 * abs(v) - (v < 0)] for v in range(-reach, reach + 1)]) / 2**24
        # theirs has 16 bits, so each entry is within a few units of 2**-16
        np.testing.assert_allclose(ours, theirs[centre - reach : centre + reach + 1], atol=8 * 2**-16)


def test_a_table_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(ModelError, match="table 1"):
        SymbolCoder([TABLES[0], TABLES[1][:-2]])
