"""Clips as all codecs get them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ffmpeg_bridge.bench.clips import clip_digest, load_clip, probe_clips
from ssvc_codec.evaluation.clip import Clip, as_plane
from ssvc_codec.frame import Color, Frame, VideoFormat

from .conftest import make_clip, save_clip


def grey_clip(luma: list[int], chroma: list[int], *, bit_depth: int, full_range: bool) -> Clip:
    """One frame whose columns of 2x2 samples hold these values."""
    color = Color(full_range=full_range)
    format = VideoFormat(2 * len(luma), 2, bit_depth=bit_depth, color=color)
    y = as_plane(np.repeat(np.array([luma, luma]), 2, axis=1), format)
    c = as_plane(np.array([chroma]), format)
    return Clip("grey", format, Fraction(25), (Frame(y, c, c.copy(), format, pts=0),))


@pytest.mark.parametrize(
    ("bit_depth", "full_range", "luma", "chroma", "expected_luma", "expected_chroma"),
    [
        (8, False, [16, 235, 255], [16, 128, 240], [16, 235, 255], [16, 128, 240]),
        (8, True, [0, 128, 255], [0, 128, 255], [16, 126, 235], [16, 128, 240]),  # H.273, equations 32 to 37
        (10, False, [64, 502, 940], [64, 512, 1023], [16, 126, 235], [16, 128, 255]),
    ],
)
def test_samples_become_8_bits_of_limited_range(
    tmp_path: Path,
    bit_depth: int,
    full_range: bool,
    luma: list[int],
    chroma: list[int],
    expected_luma: list[int],
    expected_chroma: list[int],
) -> None:
    path = save_clip(grey_clip(luma, chroma, bit_depth=bit_depth, full_range=full_range), tmp_path / "grey.y4m")
    (source,) = probe_clips([str(path)], n_frames=1)
    clip, notes = load_clip(source, n_frames=1)
    assert (clip.format.bit_depth, clip.format.color.full_range) == (8, False)
    assert clip.frames[0].y[0, ::2].tolist() == expected_luma
    assert clip.frames[0].u[0].tolist() == expected_chroma
    assert any("rounded to 8" in note for note in notes) == (bit_depth == 10)
    assert any("full range" in note for note in notes) == full_range


def test_odd_sides_are_cut_and_it_is_said(tmp_path: Path) -> None:
    whole = make_clip(37, 23, 2)
    (source,) = probe_clips([str(save_clip(whole, tmp_path / "odd.y4m"))], n_frames=2)
    clip, notes = load_clip(source, n_frames=2)
    assert (clip.format.width, clip.format.height) == (36, 22)
    np.testing.assert_array_equal(clip.frames[1].y, whole.frames[1].y[:22, :36])
    np.testing.assert_array_equal(clip.frames[1].v, whole.frames[1].v[:11, :18])
    assert any(note.startswith("cut from 37x23") for note in notes)


def test_clips_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    paths = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        paths.append(str(save_clip(make_clip(32, 32, 3), tmp_path / folder / "clip.y4m")))
    sources = probe_clips(paths, n_frames=2)
    assert [source.name for source in sources] == ["clip", "clip-2"]
    assert [source.n_pixels for source in sources] == [2 * 32 * 32] * 2


def test_a_digest_follows_the_samples_and_not_the_name() -> None:
    clip = make_clip(32, 32, 2)
    other = replace(clip, frames=clip.frames[::-1])
    assert clip_digest(clip) == clip_digest(replace(clip, name="another"))
    assert clip_digest(clip) != clip_digest(other)
