from __future__ import annotations

import os
import signal
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
    options = "--crf 17.5 --model tiny --preset slow -g 12 --threads 3 --device cpu --frames 7 --ss 01:02.5"
    assert ssvc("encode", "in.mp4", tmp_path / "out.ssv", *options.split()).code == 0
    expected = {"crf": 17.5, "model": "tiny", "preset": "slow", "keyint": 12, "threads": 3, "device": "cpu"}
    assert expected.items() <= fakes.encoder_arguments.items()
    assert fakes.reader_arguments == {"path": "in.mp4", "max_frames": 7, "start_seconds": 62.5}


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
