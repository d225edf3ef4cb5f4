"""Distortion in training against the measures of evaluation and against another implementation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pytorch_msssim import ms_ssim as reference_ms_ssim

from ssvc_codec.evaluation.ms_ssim import ms_ssim
from ssvc_codec.nets.distortion import dissimilarity, distortion, picture_error


def pictures(side=(192, 176), noise=0.05):
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, 1, side[0] // 16, side[1] // 16, generator=generator)
    x = F.interpolate(coarse, side, mode="bicubic").clamp(0, 1)
    return x, (x + noise * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def test_dissimilarity_is_one_less_ms_ssim_as_another_implementation_has_it():
    x, y = pictures()
    expected = 1 - reference_ms_ssim(x, y, data_range=1.0, size_average=False)
    torch.testing.assert_close(dissimilarity(x, y), expected, atol=2e-5, rtol=1e-4)


def test_dissimilarity_is_what_evaluation_measures_on_eight_bit_planes():
    x, y = ((p * 255).round() for p in pictures())
    expected = [1 - ms_ssim(a[0].numpy(), b[0].numpy()) for a, b in zip(x, y, strict=True)]
    assert dissimilarity(x / 255, y / 255).tolist() == pytest.approx(expected, abs=2e-5)


def test_small_crops_are_refused_for_ms_ssim():
    x, y = pictures((128, 256))
    with pytest.raises(ValueError, match="176"):
        dissimilarity(x, y)


def test_tuned_for_psnr_distortion_is_the_weighted_squared_error():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.rand(2, 2, 6, 96, 96, generator=generator) - 0.5
    error = ((x - y) * 255) ** 2
    expected = 0.75 * error[:, :4].mean((1, 2, 3)) + 0.5 * error[:, 4].mean((1, 2)) + 0.5 * error[:, 5].mean((1, 2))
    torch.testing.assert_close(picture_error(x, y), expected)
    torch.testing.assert_close(distortion(x, y, "psnr"), expected)


def test_gradients_of_ms_ssim_make_a_noisy_picture_more_alike():
    x, y = pictures()
    half = torch.cat([F.pixel_unshuffle(x - 0.5, 2), torch.zeros(2, 2, 96, 88)], 1)
    noisy = torch.cat([F.pixel_unshuffle(y - 0.5, 2), torch.zeros(2, 2, 96, 88)], 1).requires_grad_()
    before = distortion(half, noisy, "ms-ssim")
    before.sum().backward()
    assert noisy.grad is not None
    step = noisy.detach() - 0.002 * noisy.grad.sign()
    assert (distortion(half, step, "ms-ssim") < before).all()
