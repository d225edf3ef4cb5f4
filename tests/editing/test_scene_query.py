"""The language of `ssvc query`."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssvc_codec.bitstream import COCO_80, NO_CLASSES, ClassTable, ClassTableId, SceneObject
from ssvc_codec.scene_query import parse_query

PERSON, BICYCLE, CAR, TRAFFIC_LIGHT = 0, 1, 2, 9


def objects(*class_ids: int) -> list[SceneObject]:
    return [SceneObject(10 + i, class_id, 255, 0, 0, 1, 1) for i, class_id in enumerate(class_ids)]


def holds(text: str, *class_ids: int) -> bool:
    return parse_query(text).bind(COCO_80)(objects(*class_ids))


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("person", [(0,), (2, 0)], [(), (2,)]),
        ("PERSON", [(0,)], [(2,)]),
        ("0", [(0,)], [(2,)]),
        ("person & car", [(0, 2)], [(0,), (2,), ()]),
        ("person and car", [(0, 2)], [(0,)]),
        ("person && car", [(0, 2)], [(0,)]),
        ("person | car", [(0,), (2,)], [(), (1,)]),
        ("person OR car", [(0,), (2,)], [()]),
        ("!person", [(), (2,)], [(0,)]),
        ("not person", [(), (2,)], [(0,)]),
        ("!!person", [(0,)], [()]),
        ("traffic light", [(9,)], [(0,)]),
        ("traffic  light & person", [(9, 0)], [(9,)]),
        ("'traffic light'", [(9,)], [(0,)]),
        ('"traffic light"|person', [(9,), (0,)], [()]),
        ("#11", [(0, 0)], [(0,)]),
        ("*", [(0,)], [()]),
        ("count(person) >= 2", [(0, 0), (0, 0, 0)], [(0,), (0, 2)]),
        ("count(traffic light)=1", [(9,)], [(), (9, 9)]),
        ("Count ( * ) < 2", [(), (5,)], [(5, 6)]),
        ("count(#10) != 0", [(1,)], [()]),
        ("count(car)<=0", [()], [(2,)]),
        ("count(car)>1", [(2, 2)], [(2,)]),
        ("count(car)==1", [(2,)], [(2, 2)]),
        ("person & !(car | bicycle)", [(0,)], [(0, 2), (0, 1), ()]),
    ],
)
def test_an_expression_means_what_it_says(text: str, yes: list[tuple[int, ...]], no: list[tuple[int, ...]]) -> None:
    assert all(holds(text, *scene) for scene in yes)
    assert not any(holds(text, *scene) for scene in no)


def test_and_binds_closer_than_or() -> None:
    assert holds("person | car & bicycle", PERSON)
    assert not holds("(person | car) & bicycle", PERSON)


@given(st.booleans(), st.booleans(), st.booleans())
def test_de_morgan(person: bool, car: bool, bicycle: bool) -> None:
    scene = [c for c, is_there in ((PERSON, person), (CAR, car), (BICYCLE, bicycle)) if is_there]
    assert holds("!(person & car) | bicycle", *scene) == holds("!person | !car | bicycle", *scene)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column 1: a class, #TRACK"),
        ("   ", "column 1"),
        ("person &", "column 9: a class"),
        ("& person", "column 1: a class"),
        ("(person", r"column 8: \) is expected, found the end"),
        ("person)", "column 7: & or | or the end is expected"),
        ("person 'car'", "column 8"),
        ("count(person)", "column 14: a comparison"),
        ("count(person) >= many", "column 18: a number"),
        ("count() > 1", "column 7"),
        ("person # car", "column 8: '#' has no meaning here"),
        ("'person", "column 1"),
        ("(" * 60 + "person" + ")" * 60, "more than 50 deep"),
    ],
)
def test_a_mistake_is_shown_where_it_is(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_query(text)


def test_an_unknown_class_brings_near_ones_to_mind() -> None:
    with pytest.raises(ValueError, match="bicycle"):
        parse_query("person & bycicle").bind(COCO_80)


def test_names_of_an_inline_table_may_have_signs_in_quotes() -> None:
    table = ClassTable(ClassTableId.INLINE, ((4, "R&D (lab)"), (6, "Straße")))
    assert parse_query("'r&d (lab)' | STRASSE").bind(table)(objects(6))


def test_without_class_names_numbers_still_work() -> None:
    assert parse_query("17").bind(NO_CLASSES)(objects(17))
    with pytest.raises(ValueError, match="does not name its classes"):
        parse_query("dog").bind(NO_CLASSES)


def test_a_frame_without_objects_needs_no_class_names() -> None:
    assert parse_query("!dog & count(cat) = 0").bind(None)(())
    assert not parse_query("dog").bind(None)(())


@given(st.text(alphabet="person car&|!()#*'\"<>=count 01", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_query(text).bind(None)(())
