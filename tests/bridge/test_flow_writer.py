"""Writing flow: folders, archives, arrays and videos."""

from __future__ import annotations

import io
import tarfile
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ffmpeg_bridge import open_video
from ffmpeg_bridge.flow_video import FlowVideoWriter, rgb_to_yuv420
from ffmpeg_bridge.flow_writer import (
    FlowFrame,
    FloWriter,
    FlowWriter,
    NpzWriter,
    flow_output_kind,
    flow_store,
    read_flo,
)
from ssvc_codec.errors import MediaError
from ssvc_codec.flow import FlowField, from_flo
from ssvc_codec.frame import VideoFormat

FORMAT = VideoFormat(66, 50)
TIME_BASE = Fraction(1, 25)


def _frames(n_frames: int = 6, *, keyint: int = 4, scale: int = 4, video: VideoFormat = FORMAT) -> list[FlowFrame]:
    """Key frames at 0, 4, ..; flow of random vectors between them."""
    rng = np.random.default_rng(11)
    shape = (2, -(-video.height // scale), -(-video.width // scale))
    frames: list[FlowFrame] = []
    for index in range(n_frames):
        field = None
        if index % keyint:
            values = rng.normal(0, 3, shape).astype(np.float32)
            field = FlowField(values, video.width, video.height, scale, pts=index, duration=1, time_base=TIME_BASE)
        frames.append(FlowFrame(field, video, index, 1, TIME_BASE))
    return frames


def _write(writer: FlowWriter, frames: list[FlowFrame]) -> None:
    for frame in frames:
        writer.write(frame)
    writer.close()


def _values(frame: FlowFrame) -> np.ndarray:
    assert frame.field is not None
    return frame.field.values


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FLO_NAMES = [f"flow_{index:06d}.flo" for index in (1, 2, 3, 5)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("flow", "folder"),
        ("flow.d/", "folder"),
        ("a.zip", "zip"),
        ("a.TAR", "tar"),
        ("a.npz", "npz"),
        ("a.mp4", "video"),
        ("a_%03d.png", "video"),
        ("-", "video"),
        ("/dev/null", "video"),
    ],
)
def test_the_extension_chooses_the_output(name: str, kind: str) -> None:
    assert flow_output_kind(name) == kind


def test_a_folder_that_is_there_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "v1.2").mkdir()
    assert flow_output_kind(tmp_path / "v1.2") == "folder"


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_holds_the_flow_of_each_frame_that_has_some(tmp_path: Path, is_there: bool) -> None:
    target = tmp_path / "flow"
    if is_there:
        target.mkdir()
    frames = _frames()
    writer = FloWriter(flow_store(target))
    for frame in frames:
        writer.write(frame)
        assert not list(tmp_path.glob("flow/*.flo"))
    writer.close()
    assert (_names(tmp_path), _names(target)) == (["flow"], FLO_NAMES)
    assert np.array_equal(read_flo(target / FLO_NAMES[3]), _values(frames[5]))


def test_a_folder_with_other_files_is_refused_or_keeps_them(tmp_path: Path) -> None:
    for name in ("notes.txt", "flow_000777.flo"):
        (tmp_path / name).write_text("here before")
    with pytest.raises(MediaError, match="not empty"):
        flow_store(tmp_path)
    writer = FloWriter(flow_store(tmp_path, overwrite=True))
    assert "flow_000777.flo" in _names(tmp_path)
    _write(writer, _frames())
    assert _names(tmp_path) == [*FLO_NAMES, "notes.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "flow").write_text("a file")
    with pytest.raises(MediaError, match="it is a file"):
        flow_store(tmp_path / "flow", overwrite=True)
    with pytest.raises(MediaError, match=r"cannot write .*absent/flow"):
        flow_store(tmp_path / "absent" / "flow")


def test_archives_hold_the_same_files_as_a_folder(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tar", "folder"):
        _write(FloWriter(flow_store(tmp_path / name)), _frames())
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        zipped = {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(tmp_path / "a.tar") as archive:
        tarred = {member.name: (archive.extractfile(member) or io.BytesIO()).read() for member in archive}
    assert zipped == tarred == {path.name: path.read_bytes() for path in (tmp_path / "folder").iterdir()}
    assert sorted(zipped) == FLO_NAMES
    assert from_flo(zipped[FLO_NAMES[0]]).shape == (2, 13, 17)


def test_equal_flow_makes_equal_archives(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        _write(FloWriter(flow_store(tmp_path / name)), _frames())
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_npz_holds_flow_as_float16_with_times_and_numbers(tmp_path: Path) -> None:
    frames = [replace(frame, pts=10 + 3 * index) for index, frame in enumerate(_frames())]
    _write(NpzWriter(tmp_path / "a.npz"), frames)
    with np.load(tmp_path / "a.npz") as arrays:
        found = dict(arrays)
    assert set(found) == {"flow", "pts", "time_base", "frame_index", "width", "height", "scale"}
    assert (found["flow"].dtype, found["flow"].shape) == (np.dtype("<f2"), (4, 2, 13, 17))
    assert np.array_equal(found["flow"][3], _values(frames[5]).astype(np.float16))
    assert found["frame_index"].tolist() == [1, 2, 3, 5]
    assert found["pts"].tolist() == [13, 16, 19, 25]
    assert found["pts"].dtype == found["frame_index"].dtype == np.int64
    assert found["time_base"].tolist() == [1, 25]
    assert (int(found["width"]), int(found["height"]), int(found["scale"])) == (66, 50, 4)
    assert _names(tmp_path) == ["a.npz"]


def test_npz_of_another_size_is_refused(tmp_path: Path) -> None:
    writer = NpzWriter(tmp_path / "a.npz")
    writer.write(_frames()[1])
    with pytest.raises(ValueError, match="64x48"):
        writer.write(_frames(video=VideoFormat(64, 48))[1])
    writer.abort()
    assert _names(tmp_path) == []


def test_npz_without_any_flow_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    writer = NpzWriter(tmp_path / "a.npz")
    writer.write(_frames()[0])
    with pytest.raises(MediaError, match="no frame has flow"):
        writer.close()
    assert _names(tmp_path) == []


@pytest.mark.parametrize("name", ["folder", "a.zip", "a.tar", "a.npz", "a.mkv"])
def test_abort_leaves_nothing(tmp_path: Path, name: str) -> None:
    writer: FlowWriter
    if name == "a.npz":
        writer = NpzWriter(tmp_path / name)
    elif name == "a.mkv":
        writer = FlowVideoWriter(tmp_path / name, format=FORMAT, time_base=TIME_BASE, scale=4)
    else:
        writer = FloWriter(flow_store(tmp_path / name))
    for frame in _frames():
        writer.write(frame)
    writer.abort()
    writer.abort()
    assert _names(tmp_path) == []


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.npz"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    writer = NpzWriter(tmp_path / name) if name == "a.npz" else FloWriter(flow_store(tmp_path / name))
    with pytest.raises(MediaError, match="No space left"):
        _write(writer, _frames(400))  # more than any of them collects before it writes


def _constant(dx: float, dy: float, video: VideoFormat, scale: int, pts: int) -> FlowFrame:
    values = np.zeros((2, -(-video.height // scale), -(-video.width // scale)), np.float32)
    values[0], values[1] = dx, dy
    return FlowFrame(FlowField(values, video.width, video.height, scale), video, pts, 1, TIME_BASE)


@pytest.mark.parametrize(
    ("rgb", "yuv"),
    [  # BT.709, limited range
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        ((0, 0, 255), (32, 240, 118)),
    ],
)
def test_colours_become_bt709(rgb: tuple[int, int, int], yuv: tuple[int, int, int]) -> None:
    planes = rgb_to_yuv420(np.full((3, 5, 3), rgb, np.uint8))
    assert [plane.shape for plane in planes] == [(3, 5), (2, 3), (2, 3)]
    assert tuple(int(plane[0, 0]) for plane in planes) == yuv
    assert all(np.all(plane == plane[0, 0]) for plane in planes)


def test_a_video_has_every_frame_and_white_where_there_is_no_flow(tmp_path: Path) -> None:
    frames = [replace(frame, pts=2 * index + (index > 3)) for index, frame in enumerate(_frames())]
    frames[1] = _constant(1.2, 0, FORMAT, 4, 2)
    writer = FlowVideoWriter(
        tmp_path / "a.mkv", format=FORMAT, time_base=TIME_BASE, scale=4, max_pixels=1.2, average_rate=Fraction(25)
    )
    _write(writer, frames)
    with open_video(tmp_path / "a.mkv") as reader:
        back = list(reader)
        color = reader.format.color
    assert [frame.pts_seconds for frame in back] == [frame.pts_seconds for frame in frames]
    assert (color.primaries, color.transfer, color.matrix, color.full_range) == (1, 1, 1, False)
    assert (back[0].format.width, back[0].format.height, back[0].format.bit_depth) == (17, 13, 8)
    for index, expected in ((0, (235, 128, 128)), (4, (235, 128, 128)), (1, (63, 102, 240))):
        planes = (back[index].y, back[index].u, back[index].v)
        assert all(np.all(plane == value) for plane, value in zip(planes, expected, strict=True))


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mkv", "a.y4m"])
def test_odd_sides_stay_odd_in_every_container(tmp_path: Path, name: str) -> None:
    writer = FlowVideoWriter(tmp_path / name, format=FORMAT, time_base=TIME_BASE, scale=4, average_rate=Fraction(25))
    _write(writer, _frames())
    with open_video(tmp_path / name) as reader:
        assert (reader.format.width, reader.format.height) == (17, 13)
        assert len(list(reader)) == 6


def test_colours_show_the_direction_as_the_rotated_picture_is_seen(tmp_path: Path) -> None:
    video = replace(FORMAT, rotation=90)
    writer = FlowVideoWriter(tmp_path / "a.mkv", format=video, time_base=TIME_BASE, scale=4, max_pixels=5)
    _write(writer, [_constant(0, 5, video, 4, 0)])  # down in the coded picture, right when it is turned
    with open_video(tmp_path / "a.mkv") as reader:
        frame = next(iter(reader))
        assert reader.format.rotation == 90
    assert (int(frame.y[0, 0]), int(frame.u[0, 0]), int(frame.v[0, 0])) == (63, 102, 240)


def test_one_scale_of_colours_holds_for_the_whole_clip(tmp_path: Path) -> None:
    frames = [_constant(dx, 0, FORMAT, 4, index) for index, dx in enumerate((1.0, 1.0, 9.0, 1.0))]
    writer = FlowVideoWriter(tmp_path / "a.mkv", format=FORMAT, time_base=TIME_BASE, scale=4)
    _write(writer, frames)
    with open_video(tmp_path / "a.mkv") as reader:
        lumas = [int(frame.y[0, 0]) for frame in reader]
    assert lumas[0] == lumas[1] == lumas[3] != lumas[2]
