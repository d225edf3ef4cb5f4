from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvc_codec.bitstream import SceneObject
from ssvc_codec.errors import LimitError
from ssvc_codec.gop.groups import cells_of, group_map

ids = count()


def box(x: int, y: int, width: int, height: int) -> SceneObject:
    return SceneObject(next(ids), 0, 0, x, y, width, height)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[SceneObject], int, int]:
    width, height = draw(st.integers(1, 500)), draw(st.integers(1, 400))
    objects = []
    for _ in range(draw(st.integers(0, 12))):
        x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        objects.append(box(x, y, draw(st.integers(1, min(width - x, 90))), draw(st.integers(1, min(height - y, 90)))))
    return objects, width, height


def flood(objects: list[SceneObject], width: int, height: int) -> list[list[int]]:
    """The rule of section 4 pixel by pixel: sets of cells, merged while any two share one."""
    groups = [
        {(y // 32, x // 32) for y in range(o.y, o.y + o.height) for x in range(o.x, o.x + o.width)} for o in objects
    ]
    merged: list[set[tuple[int, int]]] = []
    for cells in groups:
        touching = [other for other in merged if other & cells]
        merged = [other for other in merged if not other & cells] + [cells.union(*touching)]
    rows = [[0] * -(-width // 32) for _ in range(-(-height // 32))]
    for number, cells in enumerate(sorted(merged, key=min), start=1):
        for row, column in cells:
            rows[row][column] = number
    return rows


@given(scenes())
def test_groups_agree_with_a_flood_over_shared_cells(scene: tuple[list[SceneObject], int, int]) -> None:
    objects, width, height = scene
    groups = group_map(objects, width=width, height=height)
    assert groups.tolist() == flood(objects, width, height)
    cells = np.concatenate([cells_of(groups, group) for group in range(int(groups.max()) + 1)])
    assert sorted(cells) == list(range(groups.size))


@given(scenes(), st.randoms(use_true_random=False))
def test_groups_do_not_depend_on_the_order_of_objects(
    scene: tuple[list[SceneObject], int, int], random: object
) -> None:
    objects, width, height = scene
    shuffled = list(objects)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = group_map(objects, width=width, height=height)
    np.testing.assert_array_equal(group_map(shuffled, width=width, height=height), expected)


def test_boxes_that_share_a_cell_are_one_group() -> None:
    apart = [box(0, 0, 32, 32), box(32, 0, 32, 32)]
    assert group_map(apart, width=96, height=32).tolist() == [[1, 2, 0]]
    assert group_map([*apart, box(31, 0, 2, 1)], width=96, height=32).tolist() == [[1, 1, 0]]
    same_cell_without_overlap = [box(0, 0, 4, 4), box(20, 20, 4, 4)]
    assert group_map(same_cell_without_overlap, width=96, height=32).tolist() == [[1, 0, 0]]


def test_groups_are_numbered_by_their_first_cell_in_raster_order() -> None:
    objects = [box(0, 64, 10, 10), box(64, 32, 10, 10), box(96, 0, 10, 10)]
    assert group_map(objects, width=128, height=96).tolist() == [[0, 0, 0, 1], [0, 0, 2, 0], [3, 0, 0, 0]]


def test_without_objects_the_background_has_all_cells() -> None:
    groups = group_map([], width=8192, height=4320)
    assert (groups.shape, groups.dtype, int(groups.max())) == ((135, 256), np.dtype(np.uint16), 0)
    assert group_map([], width=1, height=1).tolist() == [[0]]


def test_a_background_without_cells_is_possible() -> None:
    assert cells_of(group_map([box(0, 0, 33, 1)], width=33, height=1), 0).size == 0


def test_cells_come_in_raster_order() -> None:
    groups = group_map([box(32, 0, 33, 40)], width=96, height=64)
    assert cells_of(groups, 1).tolist() == [1, 2, 4, 5]
    assert cells_of(groups, 0).tolist() == [0, 3]


def test_more_than_255_groups_are_refused() -> None:
    objects = [box(32 * (i % 128), 32 * (i // 128), 1, 1) for i in range(256)]
    assert int(group_map(objects[:255], width=4096, height=64).max()) == 255
    with pytest.raises(LimitError, match="256 groups"):
        group_map(objects, width=4096, height=64)


def test_a_box_outside_the_picture_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="leaves the 96x64 picture"):
        group_map([box(90, 0, 7, 1)], width=96, height=64)
