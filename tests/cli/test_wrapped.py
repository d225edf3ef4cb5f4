"""`ssvc ffmpeg`, `ffprobe` and the like, with stand-ins for the programs and with the real ones."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

_arguments = import_module("ssvc_codec.cli.ffmpeg_arguments")
parse_ffmpeg, replace_files, split_source = (
    _arguments.parse_ffmpeg,
    _arguments.replace_files,
    _arguments.split_source,
)
Run = Callable[..., Any]
PROGRAM = [sys.executable, "-c", "import ssvc_codec.cli as c; c.main()"]
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="ffmpeg or ffprobe is not installed"
)


def url_of(path: str, query: str) -> str:
    return f"URL({path},{query})"


def words(line: str) -> list[str]:
    return line.split()


def parse(line: str) -> Any:
    return parse_ffmpeg(line.split(), url_of)


def test_a_query_belongs_to_the_input() -> None:
    assert split_source("a b/c.ssv?objects=person&background=0") == ("a b/c.ssv", "objects=person&background=0")
    assert split_source("file:c.ssv") == ("c.ssv", "")


@pytest.mark.parametrize("text", ["c.mkv", "http://host/c.ssv", "c.ssv.mkv", ".mkv?c.ssvx", "-"])
def test_other_inputs_stay_as_they_are(text: str) -> None:
    assert split_source(text) is None


def test_only_what_follows_i_is_an_input_of_ffmpeg() -> None:
    parsed = parse("-ss 3 -i a.ssv -i b.mp4 -i a.ssv?flow=1 -metadata title=x.ssv -map 0 out.mp4")
    assert parsed.arguments == (
        words("-ss 3 -i URL(a.ssv,) -i b.mp4 -i URL(a.ssv,flow=1) -metadata title=x.ssv -map 0 out.mp4")
    )
    assert not parsed.outputs


def test_the_encoders_options_are_those_of_its_output() -> None:
    parsed = parse("-y -i a.mp4 -crf 18 -preset slow first.mp4 -an -crf 30 -g 50 -classes person,car -r 10 out.ssv")
    (output,) = parsed.outputs
    assert output.encode == words("--crf 30 --keyint 50 --classes person,car")
    assert parsed.arguments == (
        words("-y -i a.mp4 -crf 18 -preset slow first.mp4 -an -r 10 -c:v ffvhuff -c:s copy -f matroska out.ssv")
    )
    assert parsed.overwrite


def test_flags_without_argument_do_not_swallow_the_output() -> None:
    parsed = parse("-i a.mp4 -shortest out.ssv")
    assert [output.path for output in parsed.outputs] == ["out.ssv"]
    parsed = parse("-i a.mp4 -noautorotate -map 0 -c copy two.ssv")
    assert parsed.arguments == words("-i a.mp4 -noautorotate -map 0 -c copy -f matroska two.ssv")


def test_a_codec_or_filter_of_the_user_is_kept() -> None:
    parsed = parse("-i a.mp4 -c:v libx264 -af volume=2 -c:s ass -f nut out.ssv")
    assert parsed.arguments == words("-i a.mp4 -c:v libx264 -af volume=2 -c:s ass -f matroska out.ssv")
    assert parse("-i a.mp4 -c:v ssvc -an -sn out.ssv").arguments == (
        words("-i a.mp4 -an -sn -c:v ffvhuff -f matroska out.ssv")
    )


def test_players_take_bare_names() -> None:
    arguments = words("-v error a.ssv?objects=#3 -o b.ssv --start=3 c.ssv")
    assert replace_files(arguments, url_of) == words("-v error URL(a.ssv,objects=#3) -o b.ssv --start=3 URL(c.ssv,)")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a shell script first on the PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return make


def test_a_program_that_is_absent_is_named(ssvc: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = ssvc("mpv", "x.ssv")
    assert done.code == 127
    assert done.stderr.startswith("ssvc: error: mpv is not installed")


def test_arguments_and_exit_code_pass_untouched(ssvc: Run, stand_in: Callable[..., None], tmp_path: Path) -> None:
    stand_in("ffmpeg", f'printf "%s\\n" "$@" > {tmp_path}/seen; exit 69')
    arguments = ["-h", "full", "-vn", "--", "-i", "a b.mp4", "-q:v", "--help", ""]
    assert ssvc("ffmpeg", *arguments).code == 69
    seen = (tmp_path / "seen").read_text().split("\n")[:-1]
    assert [word for word in seen if word != "--"] == [word for word in arguments if word != "--"]


def test_help_is_ours_and_h_is_the_programs(ssvc: Run, stand_in: Callable[..., None]) -> None:
    stand_in("ffprobe", "exit 7")
    assert "installed ffprobe" in ssvc("ffprobe", "--help").stdout
    assert ssvc("ffprobe", "-h").code == 7


def test_a_missing_file_is_one_line(ssvc: Run, stand_in: Callable[..., None], tmp_path: Path) -> None:
    stand_in("ffmpeg", "exit 0")
    done = ssvc("ffmpeg", "-i", tmp_path / "none.ssv", "out.mp4")
    assert (done.code, done.stderr.count("\n")) == (1, 1)
    assert "none.ssv" in done.stderr


def test_an_output_that_exists_is_kept(ssvc: Run, stand_in: Callable[..., None], tmp_path: Path) -> None:
    stand_in("ffmpeg", "exit 0")
    (tmp_path / "out.ssv").write_text("mine")
    assert "-y overwrites it" in ssvc("ffmpeg", "-i", "a.mp4", tmp_path / "out.ssv").stderr
    assert "-n keeps it" in ssvc("ffmpeg", "-n", "-i", "a.mp4", tmp_path / "out.ssv").stderr
    assert (tmp_path / "out.ssv").read_text() == "mine"


def test_a_failing_encoder_fails_the_command(ssvc: Run, stand_in: Callable[..., None], tmp_path: Path) -> None:
    stand_in("ffmpeg", "exit 0")  # without a frame
    assert ssvc("ffmpeg", "-i", "a.mp4", tmp_path / "out.ssv").code != 0
    assert not (tmp_path / "out.ssv").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 33), (signal.SIGINT, 44)])
def test_a_signal_reaches_the_program_once(
    stand_in: Callable[..., None], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    script = """
import signal, sys, time
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append(33))
signal.signal(signal.SIGINT, lambda *_: seen.append(44))
print("ready", flush=True)
while not seen:
    time.sleep(0.01)
time.sleep(0.2)
sys.exit(seen[0] if len(seen) == 1 else 1)
"""
    (tmp_path / "wait.py").write_text(script)
    stand_in("mpv", f"exec {sys.executable} {tmp_path}/wait.py")
    with subprocess.Popen([*PROGRAM, "mpv", "x"], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(60) == code


@pytest.fixture(scope="module")
def coded(sound_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wrapped") / "clip.ssv"
    run = import_module("ssvc_codec.cli.main").run
    assert run(["encode", str(sound_file), str(path), "--frames", "4", "--detector", "none", "-q"]) == 0
    return path


@needs_ffmpeg
def test_ffprobe_sees_pictures_and_sound(coded: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["ffprobe", "-v", "error", "-count_packets", "-show_streams", "-of", "json", coded]
    assert import_module("ssvc_codec.cli.main").run([str(word) for word in command]) == 0
    streams = json.loads(capfd.readouterr().out)["streams"]
    assert [stream["codec_type"] for stream in streams] == ["video", "audio"]
    assert (streams[0]["codec_name"], streams[0]["nb_read_packets"]) == ("rawvideo", "4")


@needs_ffmpeg
def test_ffmpeg_reads_and_writes_ssv(ssvc: Run, coded: Path, sound_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.ssv"
    line = ["-v", "error", "-nostdin", "-y", "-i", coded, "-frames:v", "3", "-crf", "20", "-detector", "none", target]
    assert ssvc("ffmpeg", *line).code == 0
    command = ["ffprobe", "-v", "quiet", "-count_packets", "-show_streams", "-of", "json", str(target)]
    video, sound = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]
    assert (video["codec_tag_string"], video["nb_read_packets"]) == ("SSV1", "3")
    assert sound["codec_name"] == "aac"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.ssv"]
