from __future__ import annotations

import numpy as np
import pytest

from ssvc_codec.semantics.box_motion import Box, clip_box, move_box, overlaps, touches_border

WIDTH, HEIGHT = 320, 240
ROWS, COLUMNS = HEIGHT // 4, WIDTH // 4
BOX = Box(100.0, 60.0, 160.0, 140.0)


def flow_of(dx: float, dy: float) -> np.ndarray:
    """The same backward vector everywhere."""
    return np.broadcast_to(np.array([dx, dy], np.float32)[:, None, None], (2, ROWS, COLUMNS)).copy()


def positions() -> tuple[np.ndarray, np.ndarray]:
    """x and y of the centres of all vectors, in luma samples."""
    x, y = np.meshgrid(np.arange(COLUMNS) * 4 + 2, np.arange(ROWS) * 4 + 2)
    return x.astype(np.float32), y.astype(np.float32)


def moved(box: Box, flow: np.ndarray) -> Box:
    result = move_box(box, flow, width=WIDTH, height=HEIGHT)
    assert result is not None
    return result


def test_a_box_moves_against_the_backward_flow() -> None:
    assert moved(BOX, flow_of(-5, 3)) == pytest.approx((105, 57, 165, 137))


def test_a_box_rests_where_nothing_moves() -> None:
    assert moved(BOX, flow_of(0, 0)) == pytest.approx(BOX)


def test_a_box_follows_its_object_over_a_background_that_moves_otherwise() -> None:
    flow = flow_of(6, 0)
    flow[:, 60 // 4 : 140 // 4, 110 // 4 : 170 // 4] = np.array([-10, 0], np.float32)[:, None, None]
    assert moved(BOX, flow) == pytest.approx((110, 60, 170, 140))


def test_a_third_of_the_vectors_may_be_wrong() -> None:
    flow = flow_of(-5, 3)
    wrong = np.random.default_rng(1).random((ROWS, COLUMNS)) < 0.3
    flow[:, wrong] = 40
    assert moved(BOX, flow) == pytest.approx((105, 57, 165, 137))


def test_a_large_box_grows_as_a_small_one_does() -> None:
    x, y = positions()
    flow = np.stack([(x - 160) * (1 / 1.02 - 1), (y - 120) * (1 / 1.02 - 1)]).astype(np.float32)
    result = moved(Box(30, 20, 290, 220), flow)
    assert (result.width, result.height) == pytest.approx((260 * 1.02, 200 * 1.02), abs=0.1)


@pytest.mark.parametrize("zoom", [0.98, 1.0, 1.02])
def test_a_box_grows_and_shrinks_with_its_object(zoom: float) -> None:
    """Zoom about (130, 100), the centre of the box: x_before = centre + (x - centre) / zoom."""
    x, y = positions()
    flow = np.stack([(x - 130) * (1 / zoom - 1), (y - 100) * (1 / zoom - 1)]).astype(np.float32)
    result = moved(BOX, flow)
    assert (result.width, result.height) == pytest.approx((60 * zoom, 80 * zoom), abs=0.1)
    assert (result.left + result.right, result.top + result.bottom) == pytest.approx((260, 200), abs=0.1)


def test_growth_in_one_frame_is_limited() -> None:
    x, y = positions()
    result = moved(BOX, np.stack([(x - 130) * -0.4, (y - 100) * -0.4]).astype(np.float32))
    assert result.width <= 60 * 1.05
    assert result.height <= 80 * 1.05


def test_a_box_smaller_than_one_vector_moves() -> None:
    assert moved(Box(101, 61, 106, 66), flow_of(-5, 3)) == pytest.approx((106, 58, 111, 63))


def test_a_box_that_leaves_is_cut_at_the_border() -> None:
    assert moved(Box(250, 60, 310, 140), flow_of(-20, 0)) == pytest.approx((270, 60, 320, 140))


def test_a_box_ends_when_less_than_four_samples_of_it_are_left() -> None:
    assert move_box(Box(290, 60, 310, 140), flow_of(-26, 0), width=WIDTH, height=HEIGHT) is not None
    assert move_box(Box(290, 60, 310, 140), flow_of(-27, 0), width=WIDTH, height=HEIGHT) is None


def test_a_box_that_jumps_out_of_the_picture_ends() -> None:
    assert move_box(BOX, flow_of(-1000, 0), width=WIDTH, height=HEIGHT) is None


def test_an_object_that_comes_in_from_the_border_reaches_to_the_border() -> None:
    assert moved(Box(0, 60, 50, 140), flow_of(-10, 0)) == pytest.approx((0, 60, 60, 140))
    assert moved(Box(100, 180, 160, 240), flow_of(0, 10)) == pytest.approx((100, 170, 160, 240))


def test_overlaps_are_intersection_over_union() -> None:
    """Two 10 x 10 boxes shifted by 5 share 50 of 150 samples."""
    result = overlaps([Box(0, 0, 10, 10)], [Box(0, 0, 10, 10), Box(5, 0, 15, 10), Box(10, 0, 20, 10), Box(0, 0, 5, 10)])
    assert result == pytest.approx(np.array([[1, 1 / 3, 0, 0.5]]))


def test_overlaps_of_no_boxes_are_an_empty_table() -> None:
    assert overlaps([], [BOX]).shape == (0, 1)
    assert overlaps([BOX], []).shape == (1, 0)


def test_boxes_are_clipped_to_the_picture() -> None:
    assert clip_box(Box(-5, -5, 400, 20), width=WIDTH, height=HEIGHT) == (0, 0, 320, 20)
    assert clip_box(Box(330, 0, 400, 20), width=WIDTH, height=HEIGHT) is None
    assert clip_box(Box(10, 10, 10, 20), width=WIDTH, height=HEIGHT) is None


def test_a_box_touches_the_border_within_one_sample() -> None:
    assert not touches_border(BOX, width=WIDTH, height=HEIGHT)
    assert touches_border(Box(1, 60, 50, 140), width=WIDTH, height=HEIGHT)
    assert touches_border(Box(100, 60, 160, 239.5), width=WIDTH, height=HEIGHT)
