from __future__ import annotations

import io
from importlib import import_module
from typing import Any

progress_module = import_module("ssvc_codec.cli.progress")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def make_progress(stream: io.StringIO, clock: Clock, **options: Any) -> Any:
    return progress_module.Progress(stream=stream, clock=clock, **options)


def test_the_line_has_ffmpegs_fields() -> None:
    clock = Clock()
    progress = make_progress(io.StringIO(), clock, q=28)
    for number in range(1, 51):
        progress.add_frame(end_seconds=number / 25, n_bytes=1024)
    clock.seconds = 4.0
    assert progress.line() == (
        "frame=   50 fps= 12 q=28.0 size=      50KiB time=00:00:02.00 bitrate= 204.8kbits/s speed=  0.5x"
    )


def test_a_terminal_gets_one_line_that_is_refreshed() -> None:
    clock, stream = Clock(), Terminal()
    progress = make_progress(stream, clock)
    for number in range(10):
        clock.seconds += 0.15
        progress.add_frame(end_seconds=number / 25)
    progress.finish()
    assert stream.getvalue().count("\r") == 6
    assert stream.getvalue().count("\n") == 1


def test_a_log_gets_a_line_every_five_seconds_and_one_at_the_end() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = make_progress(stream, clock)
    for number in range(110):
        clock.seconds += 0.125  # exact in binary
        progress.add_frame(end_seconds=number / 25)
    progress.finish()
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["40", "80", "110"]
    assert "\r" not in stream.getvalue()


def test_quiet_prints_nothing() -> None:
    clock, stream = Clock(), Terminal()
    progress = make_progress(stream, clock, quiet=True)
    clock.seconds = 60
    progress.add_frame(end_seconds=1.0, n_bytes=1)
    progress.add_notes(["a note"])
    progress.finish()
    assert stream.getvalue() == ""


def test_a_note_stands_on_its_own_line() -> None:
    clock, stream = Clock(), Terminal()
    progress = make_progress(stream, clock)
    clock.seconds = 1
    progress.add_frame(end_seconds=1.0)
    progress.add_notes(["converting"])
    assert stream.getvalue().split("\r")[-1] == "ssvc: note: converting\n"


def test_a_note_is_printed_once() -> None:
    stream = io.StringIO()
    progress = make_progress(stream, Clock())
    progress.add_notes(["one"])
    progress.add_notes(["one", "two"])
    assert stream.getvalue() == "ssvc: note: one\nssvc: note: two\n"
