from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ssvc_codec.bitstream import NO_CLASSES

if TYPE_CHECKING:
    from .conftest import MakeSsv, Result

    Ssvc = Callable[..., Result]

SCENES = ["", "p", "pc", "pc", "c", "", "", "pc", "p", "p"]  # 25 frames a second


def runs(ssvc: Ssvc, source: Path, expression: str, *options: str) -> list[tuple[float, float, int, int]]:
    result = ssvc("query", source, expression, "--json", *options)
    assert result.code == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    return [(row["start_seconds"], row["end_seconds"], row["first_frame"], row["n_frames"]) for row in rows]


def test_runs_of_frames_are_found(ssvc: Ssvc, make_ssv: MakeSsv) -> None:
    source = make_ssv("in.ssv", SCENES, first=30)
    assert runs(ssvc, source, "person & car") == [(0.08, 0.16, 2, 2), (0.28, 0.32, 7, 1)]
    assert runs(ssvc, source, "person") == [(0.04, 0.16, 1, 3), (0.28, 0.4, 7, 3)]
    assert runs(ssvc, source, "not *") == [(0.0, 0.04, 0, 1), (0.2, 0.28, 5, 2)]
    assert runs(ssvc, source, "#1 & !car") == [(0.04, 0.08, 1, 1), (0.32, 0.4, 8, 2)]
    assert runs(ssvc, source, "dog") == []


def test_a_range_narrows_the_search(ssvc: Ssvc, make_ssv: MakeSsv) -> None:
    source = make_ssv("in.ssv", SCENES)
    assert runs(ssvc, source, "person", "--ss", "0.12", "--to", "0.32") == [(0.12, 0.16, 3, 1), (0.28, 0.32, 7, 1)]
    assert ssvc("query", source, "person", "--ss", "9").code == 1


def test_the_largest_number_at_once_is_told(ssvc: Ssvc, make_ssv: MakeSsv) -> None:
    lines = ssvc("query", make_ssv("in.ssv", SCENES), "person", "--json").stdout.splitlines()
    assert [json.loads(line)["most"] for line in lines] == [{"person": 1, "car": 1}] * 2


def test_the_text_is_a_table(ssvc: Ssvc, make_ssv: MakeSsv) -> None:
    result = ssvc("query", make_ssv("in.ssv", SCENES), "person & car")
    assert result.stdout.splitlines() == [
        "      start          end   frames  most at once",
        "00:00:00.08  00:00:00.16        2  car 1, person 1",
        "00:00:00.28  00:00:00.32        1  car 1, person 1",
        "3 of 10 frames match (30.0 %), in 2 runs",
    ]


def test_without_an_expression_classes_are_listed(ssvc: Ssvc, make_ssv: MakeSsv) -> None:
    source = make_ssv("in.ssv", SCENES)
    rows = [json.loads(line) for line in ssvc("query", source, "--json").stdout.splitlines()]
    assert rows[0] == {
        "class_id": 0,
        "class": "person",
        "n_tracks": 1,
        "n_frames": 6,
        "first_seconds": 0.04,
        "last_seconds": 0.36,
        "mean_area": 320.0,
        "mean_share": 0.078125,
    }
    assert [row["class"] for row in rows] == ["person", "car"]
    assert "person" in ssvc("query", source).stdout


def test_the_exit_code_tells_of_matches_only_when_asked(ssvc: Ssvc, make_ssv: MakeSsv) -> None:
    source = make_ssv("in.ssv", SCENES)
    assert ssvc("query", source, "dog").code == 0
    assert ssvc("query", source, "dog", "--exit-code").code == 1
    assert ssvc("query", source, "car", "--exit-code").code == 0


@pytest.mark.parametrize(("expression", "message"), [("bycicle", "bicycle"), ("person &", "column 9")])
def test_a_mistake_is_explained(ssvc: Ssvc, make_ssv: MakeSsv, expression: str, message: str) -> None:
    result = ssvc("query", make_ssv("in.ssv", SCENES), expression)
    assert result.code == 1
    assert message in result.stderr
    assert result.stdout == ""


def test_a_file_without_objects_says_so(ssvc: Ssvc, make_ssv: MakeSsv) -> None:
    source = make_ssv("in.ssv", [""] * 3, classes=NO_CLASSES)
    assert ssvc("query", source, "person").stdout == "0 of 3 frames match (0.0 %), in 0 runs; there are no objects\n"
    assert ssvc("query", source).stdout == "no objects in 3 frames\n"


def test_damaged_frames_match_nothing_and_are_counted(ssvc: Ssvc, make_ssv: MakeSsv) -> None:
    source = make_ssv("in.ssv", ["p"] * 8)
    data = bytearray(source.read_bytes())
    data[data.index(b"\x01\x1e\x02") + 1] ^= 1
    source.write_bytes(data)
    result = ssvc("query", source, "person", "--json")
    assert result.code == 3
    assert [json.loads(line)["n_frames"] for line in result.stdout.splitlines()] == [2, 4]
    assert "2 of 8 frames" in result.stderr


def test_query_loads_no_torch(make_ssv: MakeSsv) -> None:
    program = (
        "import sys\nfrom ssvc_codec.cli.main import run\n"
        f"code = run(['query', {str(make_ssv('in.ssv', SCENES))!r}, 'person'])\n"
        "sys.exit(code or ('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, stdout=subprocess.DEVNULL).returncode == 0
