from __future__ import annotations

import math

import numpy as np
import pytest

from ssvc_codec.evaluation.clip import as_plane
from ssvc_codec.evaluation.psnr import PSNR_CAP_DB, Psnr, frame_psnr, mean_psnr
from ssvc_codec.frame import Frame, VideoFormat


def flat_frame(y: int, u: int, v: int, *, bit_depth: int = 8) -> Frame:
    format = VideoFormat(width=16, height=8, bit_depth=bit_depth)
    luma, chroma = np.ones((8, 16), np.int64), np.ones((4, 8), np.int64)
    return Frame(as_plane(y * luma, format), as_plane(u * chroma, format), as_plane(v * chroma, format), format)


def test_an_error_of_one_is_48_13_db_at_8_bits() -> None:
    psnr = frame_psnr(flat_frame(100, 100, 100), flat_frame(101, 99, 102))
    assert psnr.y == pytest.approx(48.1308, abs=1e-4)  # 20 log10 255
    assert psnr.u == pytest.approx(48.1308, abs=1e-4)
    assert psnr.v == pytest.approx(48.1308 - 20 * math.log10(2), abs=1e-4)


def test_the_peak_at_10_bits_is_1023() -> None:
    psnr = frame_psnr(flat_frame(500, 500, 500, bit_depth=10), flat_frame(501, 501, 501, bit_depth=10))
    assert psnr.y == pytest.approx(20 * math.log10(1023))


def test_a_lossless_plane_counts_as_the_cap() -> None:
    psnr = frame_psnr(flat_frame(0, 1, 2), flat_frame(0, 1, 3))
    assert psnr.y == psnr.u == PSNR_CAP_DB
    assert psnr.v < PSNR_CAP_DB


def test_luma_weighs_six_of_eight() -> None:
    assert Psnr(40.0, 44.0, 48.0).yuv611 == pytest.approx(41.5)


def test_an_error_of_the_full_range_does_not_wrap_around() -> None:
    assert frame_psnr(flat_frame(0, 0, 0), flat_frame(255, 255, 255)).y == pytest.approx(0)


def test_frames_are_averaged_in_db() -> None:
    assert mean_psnr([Psnr(30, 40, 50), Psnr(40, 50, 60)]) == Psnr(35, 45, 55)


def test_no_frame_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no frame"):
        mean_psnr([])


def test_bit_depths_cannot_be_mixed() -> None:
    with pytest.raises(ValueError, match="bit depths"):
        frame_psnr(flat_frame(1, 1, 1), flat_frame(1, 1, 1, bit_depth=10))
