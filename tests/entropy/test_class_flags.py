"""Classes of blocks as flags: docs/bitstream.md, section 5.8."""

import math
from importlib import import_module
from typing import Any

import numpy as np
import pytest

from ssvc_codec.entropy.class_flags import ClassFlags, flag_frequencies
from ssvc_codec.entropy.plain_tables import PlainTables

stream: Any = import_module("constriction").stream  # an extension module without type stubs
AnsCoder = stream.stack.AnsCoder


@pytest.fixture(scope="module")
def tables() -> PlainTables:
    return PlainTables(flag_frequencies(), name="residual.flags")


def some(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes (n,) and tables (n, 7)."""
    random = np.random.default_rng(seed)
    return random.integers(0, 8, n), random.integers(0, 64, (n, 7)).astype(np.uint8)


def test_likelihoods_are_those_of_the_document() -> None:
    shares = flag_frequencies()[:, 1] / 2**24
    expected = [1 / (1 + math.exp(-(t - 31.5) / 5)) for t in range(64)]
    np.testing.assert_allclose(shares, expected, atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 5, 700])
def test_classes_come_back(tables: PlainTables, n: int) -> None:
    flags, (classes, index) = ClassFlags(tables), some(n, n)
    ans = AnsCoder()
    for of, symbols, rows in reversed(flags.parts(classes, index)):
        of.push(ans, symbols, rows)
    assert ans.num_valid_bits() == pytest.approx(flags.bits(index)[np.arange(n), classes].sum(), abs=64)
    np.testing.assert_array_equal(flags.pop(ans, index), classes)
    assert ans.is_empty()


def test_flags_come_one_after_another_of_the_blocks_that_go_on(tables: PlainTables) -> None:
    index = np.arange(21, dtype=np.uint8).reshape(3, 7)
    found = [
        (symbols.tolist(), rows.tolist()) for _, symbols, rows in ClassFlags(tables).parts(np.array([2, 0, 7]), index)
    ]
    assert found == [
        ([1, 0, 1], [0, 7, 14]),
        ([1, 1], [1, 15]),
        ([0, 1], [2, 16]),
        ([1], [17]),
        ([1], [18]),
        ([1], [19]),
        ([1], [20]),
    ]


def test_bits_of_every_class_are_those_of_its_flags(tables: PlainTables) -> None:
    _, index = some(3, 50)
    bits = ClassFlags(tables).bits(index)
    for c in range(8):
        flags = [int(c > j) for j in range(min(c + 1, 7))]
        expected = sum(tables.bits[index[:, j], flag] for j, flag in enumerate(flags))
        np.testing.assert_allclose(bits[:, c], expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp2(-bits).sum(axis=1), 1, atol=1e-5)
