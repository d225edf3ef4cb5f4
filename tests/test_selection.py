"""Selections: names, ids and tracks to groups."""

import numpy as np
import pytest

from ssvc_codec.bitstream import COCO_80, NO_CLASSES, ClassTable, ClassTableId, SceneObject
from ssvc_codec.gop.groups import group_map
from ssvc_codec.selection import Selection

PERSON, DOG = SceneObject(1, 0, 200, 0, 0, 20, 20), SceneObject(7, 16, 150, 100, 0, 20, 20)
NEAR_DOG = SceneObject(9, 2, 150, 110, 20, 20, 20)  # a car in a cell of the dog
OBJECTS = (PERSON, DOG, NEAR_DOG)


def chosen(selection: Selection, objects: tuple[SceneObject, ...] = OBJECTS) -> set[int]:
    return set(selection.resolve(COCO_80).groups(objects, group_map(objects, width=160, height=64)))


@pytest.mark.parametrize(
    ("selection", "groups"),
    [
        (Selection(), {0, 1, 2}),
        (Selection(background=False), {1, 2}),
        (Selection(objects=(), background=False), set()),
        (Selection(objects=()), {0}),
        (Selection(objects=("person",)), {0, 1}),
        (Selection(objects=("Person",), background=False), {1}),
        (Selection(objects=("16",), background=False), {2}),
        (Selection(objects=("#9",), background=False), {2}),
        (Selection(objects=("#3",), background=False), set()),
        (Selection(exclude=("person",)), {0, 2}),
        (Selection(exclude=("car",)), {0, 1}),  # the dog shares the car's cells
        (Selection(objects=("dog",), exclude=("#9",), background=False), set()),
        (Selection(objects=("dog", "person"), exclude=("dog",), background=False), {1}),
    ],
)
def test_a_selection_names_groups(selection: Selection, groups: set[int]) -> None:
    assert chosen(selection) == groups


def test_an_object_that_is_excluded_is_not_wanted() -> None:
    resolved = Selection(objects=("person", "dog"), exclude=("#7",)).resolve(COCO_80)
    assert [resolved.wants(item) for item in OBJECTS] == [True, False, False]


def test_there_is_no_background_group_where_objects_cover_everything() -> None:
    everything = SceneObject(1, 0, 255, 0, 0, 160, 64)
    assert chosen(Selection(), (everything,)) == {1}


def test_names_that_a_stream_lacks_are_refused_with_near_ones() -> None:
    with pytest.raises(ValueError, match="'persn' is not in the class table of this stream; did you mean person"):
        Selection(objects=("persn",)).resolve(COCO_80)
    with pytest.raises(ValueError, match="class 80 is not in the class table"):
        Selection(exclude=("80",)).resolve(COCO_80)
    with pytest.raises(ValueError, match="does not name its classes"):
        Selection(objects=("person",)).resolve(NO_CLASSES)


@pytest.mark.parametrize("word", ["#", "#x", "#-1", "#4294967296", "#²"])
def test_bad_track_ids_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match="goes before a track id, 0 to 4294967295"):
        Selection(objects=(word,)).resolve(COCO_80)


def test_a_stream_without_class_names_has_all_ids() -> None:
    resolved = Selection(objects=("65535",)).resolve(NO_CLASSES)
    assert resolved.wants(SceneObject(1, 65535, 0, 0, 0, 1, 1))
    with pytest.raises(ValueError, match="class 65536, 0 to 65535"):
        Selection(objects=("65536",)).resolve(NO_CLASSES)


def test_a_name_that_is_a_number_is_a_name_first() -> None:
    table = ClassTable(ClassTableId.INLINE, ((3, "17"), (17, "b"), (18, "b")))
    assert Selection(objects=("17",)).resolve(table).wants(SceneObject(1, 3, 0, 0, 0, 1, 1))
    both = Selection(objects=("b",)).resolve(table)
    assert [both.wants(SceneObject(1, k, 0, 0, 0, 1, 1)) for k in (3, 17, 18)] == [False, True, True]


def test_groups_are_plain_integers() -> None:
    groups = Selection().resolve(COCO_80).groups(OBJECTS, group_map(OBJECTS, width=160, height=64))
    assert all(type(group) is int for group in groups)
    assert np.max(list(groups)) == 2
