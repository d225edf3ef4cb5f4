"""Reading conventional video: the same samples, times and descriptions that ffmpeg sees."""

from __future__ import annotations

import hashlib
import io
import subprocess
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ffmpeg_bridge import open_video
from ssvc_codec.errors import MediaError
from ssvc_codec.frame import Frame

Call = Callable[..., Any]


def _digest(frames: list[Frame]) -> str:
    planes = (plane for frame in frames for plane in (frame.y, frame.u, frame.v))
    return hashlib.md5(b"".join(plane.tobytes() for plane in planes)).hexdigest()


def _oracle(run: Call, path: Path, pixel_format: str, *options: object) -> str:
    output = run("ffmpeg", *options, "-i", path, "-map", "0:v:0", "-pix_fmt", pixel_format, "-f", "rawvideo", "-c:v",
                 "rawvideo", "-fps_mode", "passthrough", "-f", "md5", "-")  # fmt: skip
    return output.strip().removeprefix("MD5=")


@pytest.mark.parametrize(
    ("pixel_format", "size"),
    [
        ("yuv420p", "64x48"),
        ("yuv420p", "61x47"),
        ("yuv420p10le", "66x50"),
        ("yuv420p10le", "61x47"),
        ("yuv420p", "1x1"),
    ],
)
def test_420_passes_untouched_also_at_odd_sizes(run: Call, clip: Call, pixel_format: str, size: str) -> None:
    path = clip("a.mkv", "-vf", f"crop={size.replace('x', ':')}:exact=1", "-pix_fmt", pixel_format, "-c:v", "ffv1",
                size="96x80", seconds=0.2)  # fmt: skip
    with open_video(path) as reader:
        frames = list(reader)
        assert reader.notes == []
        assert (reader.format.width, reader.format.height) == tuple(map(int, size.split("x")))
        assert reader.format.bit_depth == (10 if "10" in pixel_format else 8)
    assert _digest(frames) == _oracle(run, path, pixel_format)


@pytest.mark.parametrize(
    ("pixel_format", "wanted"),
    [("rgb24", "yuv420p"), ("yuv444p", "yuv420p"), ("gray", "yuv420p"), ("yuv422p10le", "yuv420p10le")],
)
def test_other_pixel_formats_are_converted_with_a_note(clip: Call, pixel_format: str, wanted: str) -> None:
    path = clip("a.nut", "-pix_fmt", pixel_format, "-c:v", "rawvideo", seconds=0.12)
    with open_video(path) as reader:
        frames = list(reader)
        assert reader.notes == [f"converting {pixel_format} to {wanted}"]
        assert len(frames) == 3
        assert frames[0].y.dtype == (np.uint16 if "10" in wanted else np.uint8)


def test_the_luma_of_422_is_kept_when_chroma_is_converted(clip: Call) -> None:
    full = clip("a.nut", "-pix_fmt", "yuvj422p", "-c:v", "rawvideo", seconds=0.04)
    with open_video(full) as reader:
        frame = next(iter(reader))
    raw = np.frombuffer(
        subprocess.run(
            ["ffmpeg", "-v", "error", "-i", full, "-f", "rawvideo", "-"], capture_output=True, check=True
        ).stdout,
        np.uint8,
    )
    assert np.abs(frame.y.astype(int) - raw[: 64 * 48].reshape(48, 64)).max() <= 1  # swscale's rounding


def test_colour_shape_and_rotation_are_read(run: Call, probe: Call, clip: Call, tmp_path: Path) -> None:
    flat = clip("a.mp4", "-vf", "setsar=4/3", "-pix_fmt", "yuv420p", "-color_primaries", "bt2020", "-color_trc",
                "smpte2084", "-colorspace", "bt2020nc", "-color_range", "pc", "-chroma_sample_location",
                "topleft")  # fmt: skip
    turned = tmp_path / "turned.mp4"
    run("ffmpeg", "-i", flat, "-metadata:s:v", "rotate=90", "-c", "copy", turned)
    with open_video(turned) as reader:
        color = reader.format.color
        assert (color.primaries, color.transfer, color.matrix, color.full_range) == (9, 16, 9, True)
        assert color.chroma_location == 3
        assert reader.format.sample_aspect_ratio == Fraction(4, 3)
        shown = probe(turned)["streams"][0]["side_data_list"][0]["rotation"]
        assert reader.format.rotation == shown % 360 != 0


def test_times_are_those_of_the_file(run: Call, clip: Call) -> None:
    path = clip(
        "a.mp4", "-vf", "setpts='(N+N*N/7)/25/TB'", "-fps_mode", "vfr", "-video_track_timescale", "90000", rate="25"
    )
    with open_video(path) as reader:
        ours = [frame.pts for frame in reader]
        assert reader.time_base == Fraction(1, 90000)
    theirs = run("ffprobe", "-select_streams", "v", "-show_entries", "frame=pts", "-of", "csv=p=0", path).split()
    assert ours == [int(line.strip(",")) for line in theirs]


def test_a_raw_stream_without_times_counts_frames(clip: Call) -> None:
    with open_video(clip("a.264", "-pix_fmt", "yuv420p")) as reader:
        frames = list(reader)
        steps = {(b.pts or 0) - (a.pts or 0) for a, b in pairwise(frames)}
        assert len(frames) == 15
        assert {step * reader.time_base for step in steps} == {Fraction(1, 25)}


def test_start_and_number_of_frames(clip: Call) -> None:
    path = clip("a.mp4", "-pix_fmt", "yuv420p", "-g", "250", seconds=1.2)
    with open_video(path) as reader:
        everything = list(reader)
    with open_video(path, start_seconds=0.5, max_frames=4) as reader:
        part = list(reader)
        assert reader.n_frames_estimate == 4
    assert _digest(part) == _digest(everything[13:17])
    assert [frame.pts_seconds for frame in part] == pytest.approx([0, 0.04, 0.08, 0.12])
    with pytest.raises(MediaError, match="ends before"):
        open_video(path, start_seconds=9)


@pytest.mark.parametrize("name", ["a.mkv", "a.nut", "a.y4m", "a.ts"])
def test_pipes_give_the_same_frames_as_files(clip: Call, name: str) -> None:
    path = clip(name, "-pix_fmt", "yuv420p")
    with open_video(path) as reader:
        expected = _digest(list(reader))
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        with open_video(cat.stdout) as reader:
            assert _digest(list(reader)) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mp4", b"", "is empty"),
        ("a.mkv", bytes(range(7, 250)) * 50, "cannot read"),
        ("a.bin", bytes(range(256)) * 50, "not a video"),
        ("a.txt", b"hello\n" * 99, "a.txt"),
    ],
)
def test_what_is_no_video_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=message):
        open_video(path)


def test_missing_files_folders_and_sound_alone_are_no_video(run: Call, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="No such file"):
        open_video(tmp_path / "none.mp4")
    with pytest.raises(MediaError, match="cannot read"):
        open_video(tmp_path)
    sound = tmp_path / "a.wav"
    run("ffmpeg", "-f", "lavfi", "-i", "sine=duration=0.1", sound)
    with pytest.raises(MediaError, match="holds no video, only audio"):
        open_video(sound)
    with pytest.raises(MediaError, match=r"empty|cannot read"):
        open_video(io.BytesIO(b""))


def test_a_truncated_file_gives_what_is_whole(clip: Call, tmp_path: Path) -> None:
    path = tmp_path / "cut.mkv"
    whole = clip("a.mkv", "-pix_fmt", "yuv420p", "-g", "1").read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with open_video(path) as reader:
        assert 5 <= len(list(reader)) < 15


def test_a_change_of_size_is_an_error(run: Call, clip: Call, tmp_path: Path) -> None:
    parts = [clip("a.ts", "-pix_fmt", "yuv420p", size=size, seconds=0.2) for size in ("64x48", "80x64")]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_video(path) as reader, pytest.raises(MediaError, match="size changes from 64x48 to 80x64"):
        list(reader)


def test_a_cover_picture_is_an_attachment_not_the_video(run: Call, clip: Call, tmp_path: Path) -> None:
    cover, path = tmp_path / "cover.png", tmp_path / "b.mp4"
    run("ffmpeg", "-f", "lavfi", "-i", "color=red:size=32x32", "-frames:v", "1", cover)
    run("ffmpeg", "-i", cover, "-i", clip("a.mp4", "-pix_fmt", "yuv420p"), "-map", "0", "-map", "1", "-c", "copy",
        "-disposition:v:0", "attached_pic", path)  # fmt: skip
    with open_video(path) as reader:
        assert (reader.format.width, len(list(reader))) == (64, 15)
        assert [item.mimetype for item in reader.attachments] == ["image/png"]
        assert reader.attachments[0].data[:4] == b"\x89PNG"
