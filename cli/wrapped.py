"""`ssvc ffmpeg`, `ffprobe`, `ffplay` and `mpv`: the stock programs, for which .ssv files are like any other."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Annotated

import typer

from ssvc_codec.errors import MediaError

from .exit_codes import ExitCode, print_error, with_exit_code
from .ffmpeg_arguments import Output, parse_ffmpeg, replace_files, split_source
from .output import check_output

if TYPE_CHECKING:
    from ffmpeg_bridge.serving import VideoServer

__all__ = ["WRAPPED_SETTINGS", "ffmpeg", "ffplay", "ffprobe", "mpv"]

WRAPPED_SETTINGS = {
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
    "help_option_names": ["--help"],  # -h is the program's own
}
_ABSENT = 127  # as shells report it
_SELF = [sys.executable, "-c", "import ssvc_codec.cli as c; c.main()"]
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

Arguments = Annotated[
    list[str] | None, typer.Argument(metavar="ARGS...", help="The program's own arguments.", show_default=False)
]


@with_exit_code
def ffmpeg(arguments: Arguments = None) -> int:
    """Run the installed ffmpeg; `-i X.ssv` and an output X.ssv work.

    An input may choose parts: -i "X.ssv?objects=person&background=0", "X.ssv?flow=1".

    Before an output X.ssv the options -crf, -g, -keyint_min, -preset, -b:v, -maxrate, -bufsize, -classes, -detector,
    -detect_every, -min_score, -object_quality and -device are the encoder's. Sound and subtitles are copied unless
    you choose a codec or a filter of sound.
    """
    words = arguments or []
    program = _find("ffmpeg")
    if program is None:
        return _ABSENT
    with _serving() as url_of:
        parsed = parse_ffmpeg(words, url_of)
        if not parsed.outputs:
            return _run([program, *parsed.arguments])
        refused = "-n" in words
        for output in parsed.outputs:
            if refused and Path(output.path).exists():
                raise MediaError(f"{output.path}: the file exists, and -n keeps it")
            check_output(output.path, source=None, overwrite=parsed.overwrite)
            _refuse_inputs(output.path, parsed.inputs)
        subtitles = "srt" if any(map(_has_mov_text, parsed.inputs)) else "copy"
        command = _with_subtitles(parsed.arguments, subtitles)
        return _run_into_encoders([program, *command], parsed.outputs)


@with_exit_code
def ffprobe(arguments: Arguments = None) -> int:
    """Run the installed ffprobe; X.ssv and X.ssv?objects=person work as files."""
    return _play("ffprobe", arguments or [])


@with_exit_code
def ffplay(arguments: Arguments = None) -> int:
    """Run the installed ffplay; X.ssv and X.ssv?objects=person work as files."""
    return _play("ffplay", arguments or [])


@with_exit_code
def mpv(arguments: Arguments = None) -> int:
    """Run the installed mpv; X.ssv and X.ssv?objects=person work as files."""
    return _play("mpv", arguments or [])


def _play(name: str, arguments: Sequence[str]) -> int:
    program = _find(name)
    if program is None:
        return _ABSENT
    with _serving() as url_of:
        return _run([program, *replace_files(arguments, url_of)])


def _find(name: str) -> str | None:
    program = shutil.which(name)
    if program is None:
        print_error(f"{name} is not installed: no program of this name is on the PATH")
    return program


@contextlib.contextmanager
def _serving() -> Iterator[Callable[[str, str], str]]:
    """Gives the URL of a path and a query. The server starts with the first."""
    with contextlib.ExitStack() as stack:
        servers: list[VideoServer] = []

        def url_of(path: str, query: str) -> str:
            if not servers:
                from ffmpeg_bridge.serving import VideoServer

                servers.append(stack.enter_context(VideoServer()))
            return servers[0].url(path, query) if query else servers[0].add(path)

        yield url_of


def _refuse_inputs(target: str, inputs: Sequence[str]) -> None:
    for text in inputs:
        path = (split_source(text) or (text, ""))[0]
        if Path(target).exists() and Path(path).exists() and Path(target).samefile(path):
            raise MediaError(f"{target}: output and input are the same file")


def _has_mov_text(source: str) -> bool:
    """Whether subtitles must be converted, as Matroska cannot hold those of .mp4."""
    prober = shutil.which("ffprobe")
    if prober is None or not Path(source).is_file():
        return False
    command = [prober, "-v", "quiet", "-select_streams", "s", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]
    told = subprocess.run([*command, source], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return "mov_text" in told.stdout


def _with_subtitles(arguments: list[str], codec: str) -> list[str]:
    """Converts them where parse_ffmpeg copies."""
    words = list(arguments)
    for place, word in enumerate(words[:-3]):
        if [word, *words[place + 1 : place + 4]] == ["-c:s", "copy", "-f", "matroska"]:
            words[place + 1] = codec
    return words


def _run_into_encoders(command: list[str], outputs: Sequence[Output]) -> int:
    """Runs ffmpeg with a pipe into `ssvc encode` for every output."""
    with contextlib.ExitStack() as stack:
        encoders: list[tuple[Output, subprocess.Popen[bytes], IO[bytes]]] = []
        write_ends: list[int] = []
        for output in outputs:
            read_end, write_end = os.pipe()
            stack.callback(_close, write_end)
            errors = stack.enter_context(tempfile.TemporaryFile())
            encode = [*_SELF, "encode", "-", output.path, "-y", "-q", "-f", "matroska", *output.encode]
            # A group of its own: Ctrl-C ends ffmpeg, and the encoder with the end of the pipe.
            encoder = subprocess.Popen(
                encode, stdin=read_end, stdout=subprocess.DEVNULL, stderr=errors, process_group=0
            )
            os.close(read_end)
            stack.callback(_end, encoder)
            encoders.append((output, encoder, errors))
            write_ends.append(write_end)
            command[command.index(output.path, output.place + 1)] = f"pipe:{write_end}"
        code = _run(command, keep=write_ends)
        codes = [encoder.wait() for _, encoder, _ in encoders]
        for (_, _, errors), encoder_code in zip(encoders, codes, strict=True):
            errors.seek(0)
            text = errors.read().decode(errors="replace")
            is_own_fault = encoder_code not in (ExitCode.OK, ExitCode.DAMAGED) and "standard input" not in text
            if not code or is_own_fault:  # else ffmpeg has told already why its stream broke off
                sys.stderr.write(text)
        return code or max(map(abs, codes))


def _close(number: int) -> None:
    with contextlib.suppress(OSError):
        os.close(number)


def _end(encoder: subprocess.Popen[bytes]) -> None:
    if encoder.poll() is None:
        encoder.terminate()
        encoder.wait()


def _run(command: Sequence[str], *, keep: Sequence[int] = ()) -> int:
    """Runs a program with our standard streams, closes the descriptors kept for it, and gives its exit code.

    Signals are passed on, but for those that the terminal sends to the whole group anyway.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif not (number in (signal.SIGINT, signal.SIGQUIT) and _is_in_foreground()):
            child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        child = subprocess.Popen(command, pass_fds=keep)
        for number in keep:
            os.close(number)
        for number in early:
            child.send_signal(number)
        code = child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _is_in_foreground() -> bool:
    """Whether Ctrl-C at the terminal reaches our process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
