"""Offsets of cells: what they add, and when they are worth it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvc_codec.entropy.offsets import N_OFFSET_CONTEXTS, N_OFFSETS, offset_contexts, unzigzag, zigzag
from ssvc_codec.nets.intra import merge_planes, to_half
from ssvc_codec.nets.offsets import OffsetTables, offset_gain, offset_picture, offset_steps

Q = torch.tensor([30.0])


def test_offsets_bring_back_levels_and_slopes() -> None:
    steps = torch.zeros(1, N_OFFSETS, 2, 3)
    steps[0, :, 1, 2] = torch.tensor([3.0, -2, 1, 4, 0, -3, -1, 2, 5])
    torch.testing.assert_close(offset_steps(offset_picture(steps, Q), Q), steps, atol=1e-4, rtol=0)


def test_a_level_is_the_same_everywhere_in_its_cell_and_nowhere_else() -> None:
    steps = torch.zeros(1, N_OFFSETS, 2, 2)
    steps[0, 3, 0, 1] = 2  # level of U
    added = offset_picture(steps, Q)
    expected = 2 / float(offset_gain(Q)[0, 3]) / 16  # an orthonormal component over the 16 x 16 samples of U
    torch.testing.assert_close(added[0, 4, :16, 16:], torch.full((16, 16), expected))
    added[0, 4, :16, 16:] = 0
    assert not added.any()


def test_a_squared_step_is_worth_nine_bits_in_every_plane() -> None:
    for k, (weight, n_samples) in enumerate(((0.75, 1024), (0.5 * 4, 256), (0.5 * 4, 256))):
        steps = torch.zeros(1, N_OFFSETS, 1, 1)
        steps[0, 3 * k] = 1
        planes = offset_picture(steps, Q)[0]
        error = (255 * planes[[0, 4, 5][k]][0, 0]) ** 2 * n_samples * weight  # of the cell, weighted
        lmbda = 0.0009 * (0.4 / 0.0009) ** (30 / 63)
        assert float(error) * lmbda == pytest.approx(9, rel=1e-4)


def test_large_smooth_differences_are_worth_an_offset_and_noise_is_not() -> None:
    tables, generator = OffsetTables().eval(), torch.Generator().manual_seed(0)
    before, known = torch.zeros(1, N_OFFSETS, 2, 2), torch.ones(1, 1, 2, 2)
    darker = to_half(merge_planes(*(torch.full((1, 1, 64 // k, 64 // k), -0.04) for k in (1, 2, 2))))
    noise = 0.01 * torch.randn(1, 6, 32, 32, generator=generator)
    assert (tables(darker, Q, before, known)[:, 0] < 0).all()
    assert not tables(noise - noise.mean((2, 3), keepdim=True), Q, before, known)[:, 1:3].any()


def test_what_is_seen_is_counted_in_training_alone() -> None:
    tables = OffsetTables()
    before, known = torch.zeros(1, N_OFFSETS, 2, 2), torch.ones(1, 1, 2, 2)
    start = float(tables.counts.sum())
    tables.eval()(torch.zeros(1, 6, 32, 32), Q, before, known)
    assert float(tables.counts.sum()) == start
    tables.train()(torch.zeros(1, 6, 32, 32), Q, before, known)
    assert float(tables.counts.sum()) == pytest.approx(start * 0.9995 + 36, rel=1e-4)


def test_contexts_are_numbered_without_gaps() -> None:
    q = np.repeat(np.arange(0, 64, 16), 3)
    before = np.tile(np.array([[0], [0], [2]]), (4, N_OFFSETS))
    found = offset_contexts(q, before, np.tile([False, True, True], 4))
    assert set(found.reshape(-1).tolist()) == set(range(N_OFFSET_CONTEXTS))
    values = np.arange(-7, 8)
    np.testing.assert_array_equal(unzigzag(zigzag(values)), values)
    assert zigzag(values).max() == 14
