from __future__ import annotations

import numpy as np
import pytest
import pytorch_msssim
import torch
from numpy.typing import NDArray

from ssvc_codec.evaluation.ms_ssim import MIN_SIDE, ms_ssim, ms_ssim_db


def picture(height: int, width: int, *, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    rows = np.cumsum(rng.standard_normal((height, width)), axis=0)
    values = np.cumsum(rows, axis=1)
    values = 255 * (values - values.min()) / (values.max() - values.min())
    return np.clip(values + 8 * rng.standard_normal((height, width)), 0, 255).astype(np.uint8)


def noisy(plane: NDArray[np.uint8], sigma: float, *, seed: int) -> NDArray[np.uint8]:
    noise = sigma * np.random.default_rng(seed).standard_normal(plane.shape)
    return np.clip(plane + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(240, 416), (270, 480), (480, 854), (177, 179)])
@pytest.mark.parametrize("sigma", [1.0, 12.0, 60.0])
def test_agrees_with_pytorch_msssim(height: int, width: int, sigma: float) -> None:
    x = picture(height, width, seed=1)
    y = noisy(x, sigma, seed=2)
    expected = pytorch_msssim.ms_ssim(
        torch.from_numpy(x)[None, None].double(), torch.from_numpy(y)[None, None].double(), data_range=255
    )
    # The window of pytorch-msssim is float32, so the last digits differ.
    assert ms_ssim(x, y) == pytest.approx(float(expected), abs=1e-5)


def test_ten_bits_agree_with_the_peak_given() -> None:
    x = picture(240, 416, seed=3).astype(np.uint16) * np.uint16(4)
    y = noisy(picture(240, 416, seed=3), 10, seed=4).astype(np.uint16) * np.uint16(4)
    expected = ms_ssim(picture(240, 416, seed=3), noisy(picture(240, 416, seed=3), 10, seed=4))
    assert ms_ssim(x, y, peak=1020) == pytest.approx(expected, abs=1e-12)


def test_equal_planes_are_one_and_100_db() -> None:
    x = picture(240, 416, seed=5)
    assert ms_ssim(x, x) == pytest.approx(1.0, abs=1e-12)
    assert ms_ssim_db(ms_ssim(x, x)) == 100.0


def test_decibels_of_0_99_are_20() -> None:
    assert ms_ssim_db(0.99) == pytest.approx(20.0)


def test_an_inverted_picture_is_not_below_zero() -> None:
    x = picture(240, 416, seed=6)
    assert ms_ssim(x, np.subtract(255, x, dtype=np.uint8)) >= 0


def test_a_side_too_small_for_five_scales_is_refused() -> None:
    x = np.zeros((MIN_SIDE - 1, 400), np.uint8)
    with pytest.raises(ValueError, match="five scales"):
        ms_ssim(x, x)


def test_the_smallest_side_works() -> None:
    x = picture(MIN_SIDE, MIN_SIDE, seed=7)
    assert ms_ssim(x, noisy(x, 5, seed=8)) < 1


def test_planes_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        ms_ssim(np.zeros((200, 200), np.uint8), np.zeros((200, 202), np.uint8))
