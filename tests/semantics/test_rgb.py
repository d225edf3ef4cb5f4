from __future__ import annotations

import numpy as np
import pytest

from ssvc_codec.frame import Color, Frame, VideoFormat
from ssvc_codec.semantics.rgb import frame_to_rgb


def flat(values: tuple[int, int, int], color: Color, *, bit_depth: int = 8, width: int = 8, height: int = 6) -> Frame:
    video = VideoFormat(width, height, bit_depth=bit_depth, color=color)
    dtype = np.uint8 if bit_depth == 8 else np.uint16
    y = np.full((height, width), values[0]).astype(dtype)
    u, v = (np.full((video.chroma_height, video.chroma_width), value).astype(dtype) for value in values[1:])
    return Frame(y, u, v, video)  # pyright: ignore[reportArgumentType]


# The red, green and blue of colour bars, as the BT.601 and BT.709 tables of SMPTE EG 1 and RP 219 print them.
@pytest.mark.parametrize(
    ("matrix", "yuv", "rgb"),
    [
        (1, (63, 102, 240), (255, 0, 0)),
        (1, (173, 42, 26), (0, 255, 0)),
        (1, (32, 240, 118), (0, 0, 255)),
        (6, (81, 90, 240), (255, 0, 0)),
        (6, (145, 54, 34), (0, 255, 0)),
        (6, (41, 240, 110), (0, 0, 255)),
        (1, (235, 128, 128), (255, 255, 255)),
        (1, (16, 128, 128), (0, 0, 0)),
        (0, (235, 16, 126), (128, 255, 0)),  # identity: planes are G, B, R
    ],
)
def test_primary_colors_of_limited_range_come_out_as_such(
    matrix: int, yuv: tuple[int, int, int], rgb: tuple[int, int, int]
) -> None:
    picture = frame_to_rgb(flat(yuv, Color(matrix=matrix)), width=8, height=6)
    assert picture.shape == (6, 8, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture.astype(int) - rgb).max() <= 2  # 8-bit YUV rounds each primary by up to half a step


def test_full_range_red_is_that_of_jfif() -> None:
    picture = frame_to_rgb(flat((76, 85, 255), Color(matrix=5, full_range=True)), width=4, height=4)
    assert np.abs(picture.astype(int) - (254, 0, 0)).max() <= 1


def test_ten_bit_bt2020_red_is_red() -> None:
    # BT.2020 table 4: Y' = 0.2627, C'B = -0.2627 / 1.8814, C'R = 0.5, as 64 + 876 Y' and 512 + 896 C'.
    picture = frame_to_rgb(flat((294, 387, 960), Color(matrix=9), bit_depth=10), width=4, height=4)
    assert np.abs(picture.astype(int) - (255, 0, 0)).max() <= 1


def test_an_unspecified_matrix_is_bt601_in_small_pictures_and_bt709_in_large_ones() -> None:
    small = frame_to_rgb(flat((81, 90, 240), Color()), width=4, height=4)
    large = frame_to_rgb(flat((63, 102, 240), Color(), width=1280, height=720), width=4, height=4)
    assert np.abs(small.astype(int) - (255, 0, 0)).max() <= 2
    assert np.abs(large.astype(int) - (255, 0, 0)).max() <= 2


def test_shrinking_averages_all_pixels() -> None:
    frame = flat((0, 128, 128), Color(matrix=6, full_range=True), width=64, height=64)
    frame.y[:, ::2] = 200
    picture = frame_to_rgb(frame, width=8, height=8)
    assert np.abs(picture[:, 1:-1].astype(int) - 100).max() <= 1  # at the sides the filter is cut off


@pytest.mark.parametrize("size", [(32, 16), (64, 32), (160, 80)])
def test_things_stay_where_they_are_at_any_size(size: tuple[int, int]) -> None:
    width, height = size
    frame = flat((0, 128, 128), Color(matrix=6, full_range=True), width=64, height=32)
    frame.y[:] = np.arange(64) * 4 + 2  # the centre of column x has the value 4 (x + 0.5)
    picture = frame_to_rgb(frame, width=width, height=height)
    expected = (np.arange(width) + 0.5) * 256 / width
    inner = slice(width // 8, -width // 8)
    assert np.abs(picture[:, inner, 0] - expected[inner]).max() <= 1


def test_pictures_of_odd_sizes_convert() -> None:
    assert frame_to_rgb(flat((235, 128, 128), Color(), width=13, height=7), width=5, height=3).min() == 255


def test_an_empty_size_is_refused() -> None:
    with pytest.raises(ValueError, match="0x4"):
        frame_to_rgb(flat((16, 128, 128), Color()), width=0, height=4)
