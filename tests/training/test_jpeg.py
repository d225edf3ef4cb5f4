"""Pictures as if they had been JPEG, compared with a JPEG coder."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from ssvc_codec.nets.pictures import merge_planes, split_planes, to_half
from ssvc_codec.training.jpeg import FULL, LUMA, through_jpeg


def test_luma_is_that_of_a_jpeg_coder() -> None:
    random = np.random.default_rng(1)
    smooth = cv2.GaussianBlur(random.normal(0, 60, (64, 96)).astype(np.float32), (0, 0), 2) * 4
    full = np.clip(np.rint(smooth + 128), 0, 255).astype(np.uint8)
    stored = cv2.imdecode(cv2.imencode(".jpg", full, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_GRAYSCALE)
    limited = ((full.astype(np.float32) - 128) * FULL[0] + 0.0) / 255  # as a plane around 0
    y = torch.from_numpy(limited)[None, None]
    zero = torch.zeros(1, 1, 32, 48)
    found = split_planes(to_half(through_jpeg(merge_planes(y, zero, zero), torch.tensor([80.0]))))[0]
    expected = (stored.astype(np.float32) - 128) * FULL[0]
    difference = found[0, 0].numpy() * 255 - expected
    assert np.abs(difference).mean() < 0.6  # rounding of samples, twice, and of the coder's integer cosines
    assert np.abs(difference - difference.mean()).max() < 3
    assert np.abs(limited * 255 - expected).mean() > 1.0  # and JPEG did something


def test_a_second_pass_changes_nothing_but_rounding() -> None:
    x = torch.rand(2, 96, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
    quality = torch.tensor([75.0, 95.0])
    once = through_jpeg(x, quality)
    again = through_jpeg(once, quality)
    assert float((again - once).abs().mean()) < 0.2 * float((once - x).abs().mean())


def test_tables_are_those_of_annex_k() -> None:
    assert np.array(LUMA).shape == (8, 8)
    assert LUMA[0][0], LUMA[7][7] == (16, 99)
