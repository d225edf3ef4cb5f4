"""Flow fields, their scales, .flo and the colour wheel, against the publications and other programs."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import ssvc_codec
from ssvc_codec.errors import MediaError
from ssvc_codec.flow import (
    FlowField,
    color_wheel,
    default_flow_max,
    flow_to_rgb,
    from_flo,
    resample_flow,
    rotate_vectors,
    to_flo,
)


def _random_flow(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 4, (2, *shape)).astype(np.float32)


def _color_of(dx: float, dy: float, *, max_pixels: float = 1) -> list[int]:
    return flow_to_rgb(np.array([[[dx]], [[dy]]], np.float32), max_pixels=max_pixels)[0, 0].tolist()


def test_the_package_exports_flow_field() -> None:
    assert ssvc_codec.FlowField is FlowField


@pytest.mark.parametrize(("scale", "size"), [(1, (50, 66)), (2, (25, 33)), (4, (13, 17)), (8, (7, 9))])
def test_a_field_has_a_vector_for_each_block_also_for_those_cut_by_the_border(
    scale: int, size: tuple[int, int]
) -> None:
    field = FlowField(_random_flow(13, 17), width=66, height=50, scale=4, pts=7, frame_number=2)
    other = field.resampled(scale)
    assert (other.values.shape, other.scale, other.pts, other.frame_number) == ((2, *size), scale, 7, 2)
    assert other.values.dtype == np.float32


def test_a_field_of_another_size_type_or_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 13, 17\)"):
        FlowField(_random_flow(12, 17), width=66, height=50, scale=4)
    with pytest.raises(ValueError, match="float64"):
        FlowField(np.zeros((2, 50, 66)), width=66, height=50)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="scale 3"):
        FlowField(_random_flow(13, 17), width=66, height=50, scale=3)
    with pytest.raises(ValueError, match="16"):
        FlowField(_random_flow(13, 17), width=66, height=50, scale=4).resampled(16)


@pytest.mark.parametrize("new_scale", [1, 2])
def test_finer_fields_are_torchs_bilinear_interpolation(new_scale: int) -> None:
    torch = pytest.importorskip("torch")
    values = _random_flow(9, 11)
    factor = 4 // new_scale
    options = {"scale_factor": factor, "mode": "bilinear", "align_corners": False}
    expected = torch.nn.functional.interpolate(torch.from_numpy(values)[None], **options)[0].numpy()
    width, height = 11 * 4 - 3, 9 * 4 - 1
    result = resample_flow(values, width=width, height=height, scale=4, new_scale=new_scale)
    cropped = expected[:, : -(-height // new_scale), : -(-width // new_scale)]
    # The order of the sums differs: a few units in the last place of values near 10.
    np.testing.assert_allclose(result, cropped, atol=5e-6)


def test_coarser_fields_are_means_also_where_a_block_is_cut() -> None:
    values = np.zeros((2, 3, 3), np.float32)
    values[0] = [[1, 3, 10], [5, 7, 20], [2, 4, 8]]
    coarse = resample_flow(values, width=12, height=12, scale=4, new_scale=8)
    assert coarse[0].tolist() == [[4, 15], [3, 8]]
    assert not coarse[1].any()


def test_constant_motion_is_the_same_at_every_scale() -> None:
    field = FlowField(np.full((2, 5, 7), -3.25, np.float32), width=27, height=19, scale=4)
    for scale in (1, 2, 4, 8):
        assert np.all(field.resampled(scale).values == -3.25)


def test_vectors_turn_with_the_picture() -> None:
    right = np.array([[[1]], [[0]]], np.float32)
    turned = {degrees: rotate_vectors(right, degrees).ravel().tolist() for degrees in (0, 90, 180, 270)}
    assert turned == {0: [1, 0], 90: [0, -1], 180: [-1, 0], 270: [0, 1]}  # up after a quarter counter-clockwise
    with pytest.raises(ValueError, match="45"):
        rotate_vectors(right, 45)


def test_flo_has_the_published_layout() -> None:
    values = np.array([[[1, 2]], [[-3, 4]]], np.float32)
    expected = struct.pack("<fii", 202021.25, 2, 1) + struct.pack("<4f", 1, -3, 2, 4)
    assert to_flo(values) == expected
    assert expected.startswith(b"PIEH")
    assert np.array_equal(from_flo(expected), values)


def test_opencv_reads_and_writes_the_same_flo(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    values = _random_flow(5, 9)
    ours, theirs = tmp_path / "ours.flo", tmp_path / "theirs.flo"
    ours.write_bytes(to_flo(values))
    assert np.array_equal(cv2.readOpticalFlow(str(ours)), values.transpose(1, 2, 0))
    assert cv2.writeOpticalFlow(str(theirs), np.ascontiguousarray(values.transpose(1, 2, 0)))
    assert theirs.read_bytes() == ours.read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PIEH",
        b"RIFF" + bytes(20),
        struct.pack("<4sii", b"PIEH", 2, 1) + bytes(15),
        struct.pack("<4sii", b"PIEH", 0, 1),
        struct.pack("<4sii", b"PIEH", -1, -1) + bytes(8),
    ],
)
def test_what_is_no_flo_is_an_error(data: bytes) -> None:
    with pytest.raises(MediaError, match=r"\.flo data"):
        from_flo(data)


def test_the_wheel_is_that_of_the_reference() -> None:
    wheel = color_wheel()
    assert wheel.shape == (55, 3)
    # The first colour of each of the six arcs of 15, 6, 4, 11, 13 and 6 colours.
    assert wheel[[0, 15, 21, 25, 36, 49]].tolist() == [
        [255, 0, 0],
        [255, 255, 0],
        [0, 255, 0],
        [0, 255, 255],
        [0, 0, 255],
        [255, 0, 255],
    ]
    # One more of each arc: floor(255 i / n), or 255 less it.
    assert wheel[[1, 16, 22, 26, 37, 50]].tolist() == [
        [255, 17, 0],
        [213, 255, 0],
        [0, 255, 63],
        [0, 232, 255],
        [19, 0, 255],
        [255, 0, 213],
    ]


@pytest.mark.parametrize(
    ("vector", "color"),
    [
        # computeColor: place = (atan2(-dy, -dx) / pi + 1) / 2 x 54, between two colours of the wheel.
        ((1, 0), [255, 0, 0]),  # right: place 0
        ((0, 1), [255, 229, 0]),  # down: 13.5, between (255, 221, 0) and (255, 238, 0)
        ((-1, 0), [0, 209, 255]),  # left: 27, the third of cyan to blue
        ((0, -1), [88, 0, 255]),  # up: 40.5, between (78, 0, 255) and (98, 0, 255)
        ((0, 0), [255, 255, 255]),
        ((0.5, 0), [255, 127, 127]),
        ((2, 0), [191, 0, 0]),  # out of range: three quarters of the brightness
        ((1, -0.0), [255, 0, 0]),
        ((np.nan, 0), [0, 0, 0]),
        ((0, 2e9), [0, 0, 0]),
    ],
)
def test_directions_have_the_colours_of_the_reference(vector: tuple[float, float], color: list[int]) -> None:
    assert _color_of(*vector) == color


def test_saturation_is_relative_to_the_largest_motion_shown() -> None:
    assert _color_of(3, 0, max_pixels=12) == _color_of(0.25, 0)
    assert default_flow_max(width=1920, height=1080) == default_flow_max(width=1080, height=1920) == 30
    with pytest.raises(ValueError, match="above 0"):
        _color_of(1, 0, max_pixels=0)


def test_all_directions_agree_with_a_plain_reading_of_the_reference() -> None:
    """The loop of colorcode.cpp, in double precision."""
    wheel = color_wheel().astype(float)
    values = _random_flow(12, 12, seed=5) / 6
    result = flow_to_rgb(values, max_pixels=1).astype(int)
    for row, column in np.ndindex(12, 12):
        dx, dy = values[:, row, column].astype(float)
        length = np.hypot(dx, dy)
        place = (np.arctan2(-dy, -dx) / np.pi + 1) / 2 * 54
        k0 = int(place)
        color = (1 - place + k0) * wheel[k0] / 255 + (place - k0) * wheel[(k0 + 1) % 55] / 255
        color = 1 - length * (1 - color) if length <= 1 else color * 0.75
        # Both truncate, so float32 may fall on the other side of an integer.
        assert np.abs(result[row, column] - (255 * color).astype(int)).max() <= 1
