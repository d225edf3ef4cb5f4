"""The patched ffmpeg encodes to what `ssvc encode` writes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import FILTERS, Clip, Line, Run, parse_framemd5

Clips = Callable[[str], Clip]
Lines = Callable[..., list[Line]]


@pytest.mark.parametrize("kind", FILTERS)
def test_packets_and_times_are_those_of_ssvc_encode(
    kind: str, clip: Clips, ffmpeg: Run, packets_of: Lines, tmp_path: Path
) -> None:
    coded = tmp_path / "native.mkv"
    how = ("-fps_mode", "passthrough", "-enc_time_base", "1/1000", "-c:v", "ssvc", "-g", "6", "-c:a", "copy")
    ffmpeg("-i", clip(kind).source, *how, coded)
    assert packets_of(coded) == packets_of(clip(kind).coded)


def test_ssvc_decodes_what_ffmpeg_encodes(
    clip: Clips, ffmpeg: Run, ssvc: Run, frames_of: Lines, tmp_path: Path
) -> None:
    ffmpeg("-i", clip("plain").source, "-c:v", "ssvc", "-g", "6", "-c:a", "copy", "-f", "matroska", tmp_path / "a.ssv")
    ssvc("decode", tmp_path / "a.ssv", tmp_path / "a.mkv")
    assert frames_of(tmp_path / "a.mkv") == frames_of(clip("plain").decoded)


@pytest.mark.parametrize(
    ("native", "ours"),
    [
        (("-crf", "40", "-preset", "fast"), ("--crf", "40", "--preset", "fast")),
        (("-detector", "none", "-g", "1"), ("--detector", "none", "-g", "1")),
        (("-object_quality", "background=-6"), ("--object-quality", "background=-6")),
        (("-classes", "orange,person"), ("--classes", "orange,person")),
    ],
)
def test_options_mean_what_those_of_ssvc_encode_mean(
    native: tuple[str, ...],
    ours: tuple[str, ...],
    clip: Clips,
    ffmpeg: Run,
    ssvc: Run,
    packets_of: Lines,
    tmp_path: Path,
) -> None:
    source = clip("plain").source
    ffmpeg("-i", source, "-an", "-frames:v", "4", "-c:v", "ssvc", *native, tmp_path / "native.mkv")
    ssvc("encode", source, tmp_path / "ours.ssv", "--frames", "4", *ours)
    assert packets_of(tmp_path / "native.mkv") == packets_of(tmp_path / "ours.ssv")


def test_key_frames_are_where_they_are_asked_for(clip: Clips, ffmpeg: Run, tmp_path: Path) -> None:
    times = ("-force_key_frames", "0.1,0.3")
    ffmpeg("-i", clip("plain").source, "-an", "-c:v", "ssvc", "-scenecut", "0", *times, tmp_path / "keys.mkv")
    done = ffmpeg("-i", tmp_path / "keys.mkv", "-c", "copy", "-bsf:v", "noise=drop=not(key)", "-f", "framemd5", "-")
    assert [line.pts for line in parse_framemd5(done.stdout)] == [0, 100, 300]


@pytest.mark.parametrize("container", ["avi", "nut", "mkv"])
def test_other_containers_keep_what_decoding_needs(
    container: str, clip: Clips, ffmpeg: Run, frames_of: Lines, tmp_path: Path
) -> None:
    copy = tmp_path / f"copy.{container}"
    ffmpeg("-i", clip("odd").coded, "-map", "0:v", "-c", "copy", copy)
    assert [line.md5 for line in frames_of(copy)] == [line.md5 for line in frames_of(clip("odd").decoded)]


def test_y4m_from_a_pipe_is_encoded(clip: Clips, ffmpeg: Run, packets_of: Lines, tmp_path: Path) -> None:
    plain = tmp_path / "plain.y4m"
    ffmpeg("-i", clip("plain").source, "-map", "0:v", "-f", "yuv4mpegpipe", plain)
    ffmpeg("-f", "yuv4mpegpipe", "-i", plain, "-c:v", "ssvc", "-g", "6", tmp_path / "a.mkv")
    assert len(packets_of(tmp_path / "a.mkv")) == 15


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("-preset", "placebo", "slow"),
        ("-detector", "/nonexistent.onnx", "/nonexistent.onnx"),
        ("-classes", "persom", "person"),
        ("-object_quality", "person", "class=+N"),
        ("-device", "abacus", "cuda"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_encoded(
    option: str, value: str, said: str, clip: Clips, ffmpeg: Run, tmp_path: Path
) -> None:
    done: subprocess.CompletedProcess[str] = ffmpeg(
        "-i", clip("plain").source, "-an", "-c:v", "ssvc", option, value, tmp_path / "a.mkv", code=1
    )
    assert said in done.stderr
    assert "Traceback" not in done.stderr
