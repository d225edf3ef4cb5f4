"""Offsets of cells: what they add, and when they are worth it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvc_codec.entropy.offsets import (
    LEVELS,
    N_OFFSET_INPUTS,
    N_OFFSETS,
    SLOPES,
    OffsetPast,
    cell_neighbours,
    level_inputs,
    slope_inputs,
)
from ssvc_codec.nets.block_entropy import BlockEntropy
from ssvc_codec.nets.intra import merge_planes, to_half
from ssvc_codec.nets.offset_entropy import OffsetEntropy, Offsets
from ssvc_codec.nets.offsets import offset_gain, offset_picture, offset_steps

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


def fresh() -> OffsetEntropy:
    torch.manual_seed(1)
    return OffsetEntropy()


def offsets_of(entropy: OffsetEntropy, difference: torch.Tensor) -> Offsets:
    past = BlockEntropy().nothing(1, 2, 2, difference.device)
    return entropy(difference, Q, past._replace(known=torch.ones(1, 1, 2, 2)), torch.zeros(1, 32, 4, 4), None, None)


def test_large_smooth_differences_are_worth_an_offset_and_noise_is_not() -> None:
    entropy, generator = fresh(), torch.Generator().manual_seed(0)
    darker = to_half(merge_planes(*(torch.full((1, 1, 64 // k, 64 // k), -0.04) for k in (1, 2, 2))))
    noise = 0.01 * torch.randn(1, 6, 32, 32, generator=generator)
    assert (offsets_of(entropy, darker).symbols[:, 0] < 0).all()
    assert not offsets_of(entropy, noise - noise.mean((2, 3), keepdim=True)).symbols[:, SLOPES].any()


def test_fresh_heads_take_most_offsets_to_be_0() -> None:
    found = offsets_of(fresh(), torch.zeros(1, 6, 32, 32))
    assert not found.symbols.any()
    assert 0.1 < float(found.bits.detach()) / (4 * N_OFFSETS) < 0.4


def test_offsets_teach_their_heads_and_nothing_else() -> None:
    entropy = fresh()
    difference = (0.05 * torch.randn(1, 6, 2, 2)).repeat_interleave(16, 2).repeat_interleave(16, 3).requires_grad_()
    optimiser = torch.optim.Adam(entropy.parameters(), 1e-2)
    found: list[float] = []
    for _ in range(40):
        bits = offsets_of(entropy, difference).bits
        optimiser.zero_grad()
        bits.sum().backward()
        optimiser.step()
        found.append(float(bits.detach()))
    assert found[-1] < 0.8 * found[0]
    assert difference.grad is None


def test_inputs_are_in_the_range_of_activations() -> None:
    largest, n = np.full((2, N_OFFSETS), -7), np.full(2, 10**6)
    past = OffsetPast(largest, n, np.ones(2, np.bool_), np.full((2, 4), 10**6), n)
    inputs = slope_inputs(level_inputs(past, cell_neighbours(np.arange(2), 2)), largest[:, LEVELS])
    assert inputs.shape == (2, sum(N_OFFSET_INPUTS))
    assert np.abs(inputs).max() <= 127
    unknown = level_inputs(past._replace(known=np.array([False, True])), cell_neighbours(np.arange(2), 2))
    assert not unknown[0, : 2 * N_OFFSETS].any()
    assert unknown[0, 2 * N_OFFSETS : 3 * N_OFFSETS].all()  # of the known cell beside
    assert not unknown[1, 2 * N_OFFSETS : 3 * N_OFFSETS].any()
    assert unknown[:, 3 * N_OFFSETS].tolist() == [0, 64]
