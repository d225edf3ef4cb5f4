from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ssvc_codec.bitstream import NO_CLASSES, ClassTable, ClassTableId
from ssvc_codec.frame import VideoFormat

if TYPE_CHECKING:
    from .conftest import MakeSsv, Result, SsvContents

    Ssvc = Callable[..., Result]
    ReadSsv = Callable[[Path], SsvContents]


def test_files_follow_one_another(ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path) -> None:
    a, b = make_ssv("a.ssv", ["p"] * 3), make_ssv("b.ssv", ["c"] * 6, first=50)
    assert ssvc("concat", a, b, a, tmp_path / "out.ssv").code == 0
    out = read_ssv(tmp_path / "out.ssv")
    assert out.times == list(range(12))
    assert out.keys == [number in (0, 3, 7, 9) for number in range(12)]
    assert out.payloads == [*read_ssv(a).payloads, *read_ssv(b).payloads, *read_ssv(a).payloads]


def test_sound_follows_too(ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path, sound_file: Path) -> None:
    a = make_ssv("a.ssv", ["p"] * 10, sound=sound_file)
    assert ssvc("concat", a, a, tmp_path / "out.ssv").code == 0
    one, two = read_ssv(a).sound, read_ssv(tmp_path / "out.ssv").sound
    first = [at for at in two if at < 0.4 - 0.022]
    assert first == [at for at in one if at < 0.4 - 0.022]
    assert len(two) >= 2 * len(one) - 2
    assert max(two) == pytest.approx(float(max(one)) + 0.4, abs=0.001)
    steps = [float(b - a) for a, b in pairwise(two)]
    assert max(steps) < 0.05
    assert min(steps) >= 0


def test_sound_that_does_not_match_is_left_out_with_a_word(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path, sound_file: Path
) -> None:
    a, b = make_ssv("a.ssv", ["p"] * 5, sound=sound_file), make_ssv("b.ssv", ["p"] * 5)
    result = ssvc("concat", a, b, tmp_path / "out.ssv")
    assert (result.code, "sound and subtitles are left out" in result.stderr) == (0, True)
    out = read_ssv(tmp_path / "out.ssv")
    assert (out.times, out.sound) == (list(range(10)), [])


def test_a_file_of_another_format_or_model_is_refused(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path) -> None:
    table = ClassTable(ClassTableId.INLINE, ((0, "cat"), (2, "dog")))
    a = make_ssv("a.ssv", ["p"])
    others = {
        "width 64 and 96": make_ssv("wide.ssv", ["p"], format=VideoFormat(width=96, height=64)),
        "model base": make_ssv("model.ssv", ["p"], weights=b"12345678"),
        "class tables": make_ssv("classes.ssv", ["p"], classes=table),
    }
    for message, other in others.items():
        result = ssvc("concat", a, other, tmp_path / "out.ssv")
        assert result.code == 1
        assert message in result.stderr
        assert str(other) in result.stderr
    assert not (tmp_path / "out.ssv").exists()


def test_a_file_without_classes_goes_with_any(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path) -> None:
    a, b = make_ssv("a.ssv", ["", ""], classes=NO_CLASSES), make_ssv("b.ssv", ["p"])
    assert ssvc("concat", a, b, tmp_path / "out.ssv").code == 0


def test_an_input_is_never_the_output(ssvc: Ssvc, make_ssv: MakeSsv, tmp_path: Path) -> None:
    a, b = make_ssv("a.ssv", ["p"]), make_ssv("b.ssv", ["p"])
    before = b.read_bytes()
    assert ssvc("concat", a, b, b, "-y").code == 1
    assert ssvc("concat", a, b).code == 2
    assert ssvc("concat", a, "-", tmp_path / "out.ssv").code == 1
    assert b.read_bytes() == before


def test_a_file_that_was_cut_off_is_joined_as_far_as_it_goes(
    ssvc: Ssvc, make_ssv: MakeSsv, read_ssv: ReadSsv, tmp_path: Path
) -> None:
    a, b = make_ssv("a.ssv", ["p"] * 8), make_ssv("b.ssv", ["c"] * 2)
    data = a.read_bytes()
    a.write_bytes(data[: data.rindex(b"R1")])
    result = ssvc("concat", a, b, tmp_path / "out.ssv")
    assert result.code == 3
    assert str(a) in result.stderr
    assert read_ssv(tmp_path / "out.ssv").payloads[-2:] == read_ssv(b).payloads
