from __future__ import annotations

import os
import signal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ssvc_codec.errors import MediaError, ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ssvc_codec.frame import Frame

    from .conftest import Fakes, Result

    Ssvc = Callable[..., Result]


def test_every_frame_becomes_a_packet(ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path) -> None:
    fakes.inputs = list(frames)
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv")
    assert (result.code, result.stdout, fakes.endings) == (0, "", ["closed"])
    assert [(packet.data, packet.pts) for packet in fakes.written] == [(b"I%d" % (50 + n), n) for n in range(5)]
    assert result.stderr.startswith("frame=    5 fps=")


def test_the_options_reach_the_encoder_and_the_reader(
    ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path
) -> None:
    fakes.inputs = list(frames)
    options = (
        "--crf 17.5 --model tiny --preset slow -g 12 --min-keyint 3 --no-scenecut"
        " --threads 3 --device cpu --frames 7 --ss 01:02.5"
    )
    assert ssvc("encode", "in.mp4", tmp_path / "out.ssv", *options.split()).code == 0
    expected = {"crf": 17.5, "model": "tiny", "preset": "slow", "keyint": 12, "threads": 3, "device": "cpu"}
    assert expected.items() <= fakes.encoder_arguments.items()
    assert {"min_keyint": 3, "scenecut": False}.items() <= fakes.encoder_arguments.items()
    assert fakes.reader_arguments == {"path": "in.mp4", "max_frames": 7, "start_seconds": 62.5}


@pytest.mark.parametrize(
    ("options", "rate", "keyint"),
    [
        ([], Fraction(25), 50),
        ([], Fraction(30000, 1001), 60),
        ([], None, 50),
        (["--keyint", "0.5s"], Fraction(50), 25),
        (["--keyint", "1"], Fraction(50), 1),
    ],
)
def test_key_frames_are_2_seconds_apart_or_as_told(
    ssvc: Ssvc,
    fakes: Fakes,
    frames: list[Frame],
    tmp_path: Path,
    options: list[str],
    rate: Fraction | None,
    keyint: int,
) -> None:
    fakes.inputs, fakes.average_rate = list(frames), rate
    assert ssvc("encode", "in.mp4", tmp_path / "out.ssv", *options).code == 0
    expected = {"keyint": keyint, "min_keyint": None, "scenecut": True}
    assert expected.items() <= fakes.encoder_arguments.items()
    assert fakes.forced == []


def test_key_frames_stand_at_the_times_given(ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path) -> None:
    fakes.inputs = list(frames)
    options = ["--force-key-frames", "0.11,00:00:00.04,99"]
    assert ssvc("encode", "in.mp4", tmp_path / "out.ssv", *options).code == 0
    assert fakes.forced == [1, 3]  # at 25 frames per second; 0.11 s lies between frames 2 and 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--keyint", "soon"], "'soon' is neither a number of frames (48) nor seconds (2s)"),
        (["-g", "0"], "0: 1 frame is the least"),
        (["-g", "10", "--min-keyint", "11"], "11 frames are more than --keyint, 10"),
        (["-g", "0.2s", "--min-keyint", "6"], "6 frames are more than --keyint, 5"),
        (["--min-keyint", "0"], "--min-keyint"),
        (["--force-key-frames", "1,later"], "'later' is no time"),
    ],
)
def test_key_frames_that_cannot_be_are_wrong_usage(
    ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path, options: list[str], words: str
) -> None:
    fakes.inputs = list(frames)
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv", *options)
    assert (result.code, fakes.written, result.stderr.count("\n")) == (2, [], 1)
    assert words in result.stderr


def test_samples_change_depth_on_request(ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path) -> None:
    fakes.inputs = list(frames)
    assert ssvc("encode", "in.mp4", tmp_path / "out.ssv", "--bit-depth", "10").code == 0
    assert fakes.encoder_arguments["format"].bit_depth == fakes.writer_arguments["format"].bit_depth == 10
    assert [packet.data for packet in fakes.written] == [b"I%d" % (4 * (50 + number)) for number in range(5)]


def test_a_dash_is_a_live_stream_on_stdout(ssvc: Ssvc, fakes: Fakes, frames: list[Frame]) -> None:
    fakes.inputs = list(frames)
    assert ssvc("encode", "-", "-").code == 0
    assert fakes.reader_arguments["path"] == "-"
    assert (fakes.writer_arguments["path"], fakes.writer_arguments["live"]) == ("-", True)


def test_notes_are_printed_unless_quiet(ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path) -> None:
    fakes.inputs, fakes.notes = list(frames), ["yuv444p is converted to yuv420p"]
    assert "ssvc: note: yuv444p is converted" in ssvc("encode", "in.mp4", tmp_path / "out.ssv").stderr
    assert ssvc("encode", "in.mp4", tmp_path / "out.ssv", "-q").stderr == ""


def test_an_existing_file_is_overwritten_only_with_y(
    ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path
) -> None:
    fakes.inputs = list(frames)
    target = tmp_path / "out.ssv"
    target.write_bytes(b"precious")
    result = ssvc("encode", "in.mp4", target)
    assert (result.code, fakes.endings) == (1, [])
    assert result.stderr == f"ssvc: error: {target}: the file exists; -y overwrites it\n"
    assert ssvc("encode", "in.mp4", target, "-y").code == 0


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("Yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_on_a_terminal_the_user_is_asked(
    ssvc: Ssvc,
    fakes: Fakes,
    frames: list[Frame],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
) -> None:
    fakes.inputs = list(frames)
    (tmp_path / "out.ssv").touch()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("sys.stdin.readline", lambda: answer)
    monkeypatch.setenv("NO_COLOR", "1")
    assert ssvc("encode", "in.mp4", tmp_path / "out.ssv").code == code


def test_output_and_input_may_not_be_the_same_file(ssvc: Ssvc, fakes: Fakes, tmp_path: Path) -> None:
    same = tmp_path / "same.mkv"
    same.write_bytes(b"precious")
    result = ssvc("encode", same, tmp_path / "." / "same.mkv", "-y")
    assert (result.code, same.read_bytes(), fakes.endings) == (1, b"precious", [])


def test_an_input_without_frames_is_an_error_and_leaves_nothing(ssvc: Ssvc, fakes: Fakes, tmp_path: Path) -> None:
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv")
    assert (result.code, result.stderr) == (1, "ssvc: error: in.mp4: no video frame to encode\n")
    assert fakes.endings == ["aborted"]


def test_an_input_that_breaks_off_keeps_what_was_read(
    ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path
) -> None:
    fakes.inputs = [*frames, MediaError("invalid data found")]
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv", "-q")
    assert (result.code, len(fakes.written), fakes.endings) == (3, 5, ["closed"])
    assert result.stderr == (
        "ssvc: error: in.mp4: reading stopped after 5 frames, which were kept: invalid data found\n"
    )


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (MediaError("out.ssv: disk full"), 1, "out.ssv: disk full"),
        (ModelError("no model named huge"), 1, "no model named huge"),
        (ValueError("crf must be 0..63"), 1, "crf must be 0..63"),
        (MemoryError(), 1, "out of memory"),
        (KeyError("x"), 1, "internal error, please report it (KeyError: 'x'); -v shows where"),
        (KeyboardInterrupt(), 130, None),
    ],
)
def test_an_error_while_writing_is_one_line_and_leaves_nothing(
    ssvc: Ssvc,
    fakes: Fakes,
    frames: list[Frame],
    tmp_path: Path,
    error: BaseException,
    code: int,
    words: str | None,
) -> None:
    def fail() -> None:
        raise error

    fakes.inputs, fakes.on_write = list(frames), fail
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv")
    assert (result.code, fakes.endings) == (code, ["aborted"])
    assert result.stderr == ("" if words is None else f"ssvc: error: {words}\n")


def test_verbose_shows_where_an_error_came_from(ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path) -> None:
    def fail() -> None:
        raise MediaError("disk full")

    fakes.inputs, fakes.on_write = list(frames), fail
    assert "Traceback" in ssvc("encode", "in.mp4", tmp_path / "out.ssv", "-v").stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_interrupt_finishes_the_frame_and_the_file(
    ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path, number: int, code: int
) -> None:
    def interrupt_once() -> None:
        if len(fakes.written) == 1:
            os.kill(os.getpid(), number)

    fakes.inputs, fakes.on_write = list(frames), interrupt_once
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv", "-q")
    assert (result.code, len(fakes.written), fakes.endings, result.stderr) == (code, 2, ["closed"], "")


def test_the_second_interrupt_stops_at_once(ssvc: Ssvc, fakes: Fakes, frames: list[Frame], tmp_path: Path) -> None:
    def interrupt_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    fakes.inputs, fakes.on_write = list(frames), interrupt_twice
    result = ssvc("encode", "in.mp4", tmp_path / "out.ssv", "-q")
    assert (result.code, fakes.written, fakes.endings, result.stderr) == (130, [], ["aborted"], "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
