"""Synthetic scenes: soft texture of several sizes, as pictures have it, so that motion at any speed is visible."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop import SceneCutDetector
from ssvc_codec.gop.scene_cut import BLOCK, MAX_COLUMNS, MAX_ROWS, thumbnail

HEIGHT, WIDTH = 180, 320


def scene(seed: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.float64]:
    """Luma 40..210 whose amplitude falls with frequency."""
    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(rng.normal(size=(height, width))) / (np.hypot(fy, fx) + 1 / width)
    texture = np.fft.irfft2(spectrum, s=(height, width))
    return 40 + 170 * (texture - texture.min()) / np.ptp(texture)


def to_frame(luma: NDArray[np.float64], bit_depth: int = 8) -> Frame:
    height, width = luma.shape
    format = VideoFormat(width=width, height=height, bit_depth=bit_depth)
    y = np.clip(np.rint(luma * (1 << (bit_depth - 8))), 0, (1 << bit_depth) - 1)
    chroma = np.zeros((format.chroma_height, format.chroma_width))
    if bit_depth == 8:
        return Frame(y.astype(np.uint8), chroma.astype(np.uint8), chroma.astype(np.uint8), format)
    return Frame(y.astype(np.uint16), chroma.astype(np.uint16), chroma.astype(np.uint16), format)


def cuts(pictures: list[NDArray[np.float64]], bit_depth: int = 8) -> list[int]:
    detector = SceneCutDetector()
    return [place for place, luma in enumerate(pictures) if detector.send(to_frame(luma, bit_depth))]


def pan(seed: int, step: int, n_frames: int = 6) -> list[NDArray[np.float64]]:
    wide = scene(seed, HEIGHT, WIDTH + step * n_frames)
    return [wide[:, step * number : step * number + WIDTH] for number in range(n_frames)]


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("seed", range(5))
def test_a_cut_is_found_and_only_where_it_is(seed: int, bit_depth: int) -> None:
    rng = np.random.default_rng(seed)
    shots = [scene(seed)] * 3 + [scene(seed + 100)] * 3
    noisy = [shot + rng.normal(0, 2, shot.shape) for shot in shots]
    assert cuts(noisy, bit_depth) == [3]


@pytest.mark.parametrize("step", [1, 7, 16, 32])  # samples a frame, of 320
def test_a_pan_is_no_cut(step: int) -> None:
    assert cuts(pan(1, step)) == []


def test_a_shaking_camera_is_no_cut() -> None:
    big, rng = scene(2, HEIGHT + 40, WIDTH + 40), np.random.default_rng(2)
    places = rng.integers(0, 40, (10, 2))
    assert cuts([big[y : y + HEIGHT, x : x + WIDTH] for y, x in places]) == []


def test_a_fade_is_no_cut() -> None:
    weights = np.linspace(0.1, 1, 12)
    assert cuts([16 + (scene(3) - 16) * weight for weight in weights]) == []


def test_a_cross_fade_is_no_cut() -> None:
    assert cuts([scene(3) * (1 - weight) + scene(4) * weight for weight in np.linspace(0, 1, 12)]) == []


def test_a_flash_that_does_not_clip_is_no_cut() -> None:
    assert cuts([scene(5), scene(5) * 1.2 + 3, scene(5)]) == []


def test_a_cut_in_the_middle_of_a_pan_is_found() -> None:
    assert cuts(pan(6, 8, 4) + pan(7, 8, 4)) == [4]


def test_noise_on_a_flat_picture_is_no_cut() -> None:
    rng = np.random.default_rng(8)
    assert cuts([rng.normal(100, 8, (HEIGHT, WIDTH)) for _ in range(5)]) == []


def test_what_hardly_changes_is_no_cut() -> None:
    assert cuts([np.full((HEIGHT, WIDTH), 16.0), 16 + scene(9) * 0.01]) == []


@pytest.mark.parametrize(("width", "height"), [(1, 1), (4, 2), (65, 33), (1, 500), (500, 1), (1000, 50), (50, 1000)])
def test_every_size_of_picture_works(width: int, height: int) -> None:
    rng = np.random.default_rng(width)
    small = thumbnail(to_frame(rng.uniform(0, 255, (height, width))))
    assert small.shape[0] % BLOCK == small.shape[1] % BLOCK == 0
    assert BLOCK <= small.shape[0] <= MAX_ROWS
    assert BLOCK <= small.shape[1] <= MAX_COLUMNS
    cuts([rng.uniform(0, 255, (height, width)) for _ in range(2)])


def test_a_thumbnail_is_the_mean_of_areas_in_8_bit_levels() -> None:
    luma = np.arange(32 * 64, dtype=np.float64).reshape(32, 64) % 200
    big = luma.repeat(6, 0).repeat(5, 1)
    for bit_depth in (8, 10):
        assert np.allclose(thumbnail(to_frame(big, bit_depth)), luma)
