"""I frames in blocks as they are trained: docs/bitstream.md, sections 5.9 and 6.2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from ssvc_codec.nets.key_blocks import KeyBlocks
from ssvc_codec.nets.mending import MendSizes
from ssvc_codec.nets.pictures import merge_planes, to_half

SMALL = MendSizes(width=8, layers=1, width8=16, width16=16)


@pytest.fixture
def net() -> KeyBlocks:
    torch.manual_seed(3)
    return KeyBlocks(SMALL)


def planes(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.rand(1, 1, height, width, generator=generator) - 0.5
    u, v = (torch.rand(1, 1, height // 2, width // 2, generator=generator) - 0.5 for _ in range(2))
    return y, u, v


def test_blocks_are_cosines_and_their_means_cosines_of_a_cell(net: KeyBlocks) -> None:
    y, u, v = planes(64, 96)
    found = net.analysis(merge_planes(y, u, v))[0].numpy()
    luma = y[0, 0].numpy().reshape(8, 8, 12, 8).transpose(0, 2, 1, 3)
    cosines = np.asarray(dctn(luma, axes=(2, 3), norm="ortho"))
    order = sorted(range(64), key=lambda k: (k // 8 + k % 8, k // 8))
    channels = [*range(10), *range(16, 70)]  # of luma
    for channel, k in zip(channels[1:], order[1:], strict=True):
        np.testing.assert_allclose(found[channel], cosines[:, :, k // 8, k % 8], atol=1e-5)
    means = cosines[:, :, 0, 0].reshape(2, 4, 3, 4).transpose(0, 2, 1, 3)
    components = np.asarray(dctn(means, axes=(2, 3), norm="ortho"))
    np.testing.assert_allclose(found[0], components.transpose(0, 2, 1, 3).reshape(8, 12), atol=1e-5)


def test_the_transform_loses_nothing(net: KeyBlocks) -> None:
    x = merge_planes(*planes(64, 64))
    y = net.analysis(x)
    assert float(y.square().sum()) == pytest.approx(float(x.square().sum()), rel=1e-5)
    torch.testing.assert_close(net.picture(y), to_half(x), atol=1e-5, rtol=0)


def test_finer_q_costs_more_bits_and_less_error(net: KeyBlocks) -> None:
    x = merge_planes(*planes(64, 64)).repeat(2, 1, 1, 1)
    out = net(x, torch.tensor([20.0, 60.0]))
    error = (out.x_hat - to_half(x)).square().mean((1, 2, 3))
    assert out.bits[1] > 1.5 * out.bits[0]
    assert error[1] < 0.5 * error[0]


def test_gains_and_heads_learn_from_rate_and_distortion(net: KeyBlocks) -> None:
    x = merge_planes(*planes(64, 64))
    out = net(x, torch.tensor([50.0]))
    (out.bits.sum() + out.class_bits.sum() + (out.x_hat - to_half(x)).square().sum()).backward()
    for name, parameter in net.named_parameters():
        if "q_latents" in name or "biases.1" in name:  # behind a matrix that starts at 0, or clipped by chance
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert float(net.y_gain.log_gain.grad.abs().sum()) > 0  # type: ignore[union-attr]
