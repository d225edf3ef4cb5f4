"""Tables of few symbols without escapes."""

import math
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from ssvc_codec.entropy.plain_tables import MERGE_SHAPES, PlainTables, plain_frequencies
from ssvc_codec.errors import ModelError

stream: Any = import_module("constriction").stream  # an extension module without type stubs
AnsCoder = stream.stack.AnsCoder


def tables(seed: int, rows: int = 5, symbols: int = 4) -> PlainTables:
    weights = np.random.default_rng(seed).exponential(size=(rows, symbols))
    return PlainTables(plain_frequencies(weights), name="merge.test")


def test_symbols_come_back_row_by_row() -> None:
    random = np.random.default_rng(3)
    for n in (0, 1, 7, 400):
        plain, rows, symbols = tables(n), random.integers(0, 5, n), random.integers(0, 4, n)
        ans = AnsCoder()
        plain.push(ans, symbols, rows)
        assert np.array_equal(plain.pop(ans, rows), symbols)
        assert ans.is_empty()


def test_rows_are_read_in_ascending_order_and_within_one_in_that_of_the_array() -> None:
    plain, rows = tables(1), np.array([3, 0, 3, 1, 0])
    ans = AnsCoder()
    plain.push(ans, np.array([0, 1, 2, 3, 2]), rows)
    assert [int(plain.pop(ans, np.array([row]))[0]) for row in sorted(rows)] == [1, 2, 3, 0, 2]


def test_first_symbols_alone_leave_the_coder_empty() -> None:
    ans = AnsCoder()
    tables(2).push(ans, np.zeros(300, np.int64), np.arange(300) % 5)
    assert ans.is_empty()
    assert ans.get_compressed().size == 0


def test_bits_are_those_of_the_string() -> None:
    random = np.random.default_rng(4)
    plain, rows, symbols = tables(4), random.integers(0, 5, 3000), random.integers(0, 4, 3000)
    ans = AnsCoder()
    plain.push(ans, symbols, rows)
    assert math.isclose(ans.num_valid_bits(), plain.bits[rows, symbols].sum(), rel_tol=0.01)


@pytest.mark.parametrize("change", [1, -1])
def test_rows_that_do_not_add_up_are_refused(change: int) -> None:
    rows = plain_frequencies(np.ones((3, 4))).astype(np.int64)
    rows[1, 2] += change
    with pytest.raises(ModelError, match="no valid tables"):
        PlainTables(rows, name="merge.test")
    rows[1] = [2**24, 0, 0, 0]
    with pytest.raises(ModelError, match="no valid tables"):
        PlainTables(rows, name="merge.test")


def test_frequencies_follow_weights_and_none_is_0() -> None:
    rows = plain_frequencies(np.array([[3.0, 1.0], [1.0, 0.0], [5, 5]]))
    assert (rows.sum(axis=1) == 2**24).all()
    assert (rows[0] / 2**24).tolist() == pytest.approx([0.75, 0.25], abs=1e-6)
    assert rows[1, 1] > 0
    assert all(plain_frequencies(np.ones(shape)).min() > 0 for shape in MERGE_SHAPES.values())
