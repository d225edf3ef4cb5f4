"""`ssvc decode --flow-only` on real containers, with a decoder whose flow is known."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from ffmpeg_bridge import SsvWriter, open_video
from ffmpeg_bridge.demo import make_demo_clip
from ffmpeg_bridge.flow_writer import read_flo
from ssvc_codec.bitstream import SequenceHeader, build_codec_private
from ssvc_codec.errors import BitstreamError, ChecksumError
from ssvc_codec.flow import FlowField
from ssvc_codec.frame import VideoFormat
from ssvc_codec.packet import Packet

if TYPE_CHECKING:
    from .conftest import Result

    Ssvc = Callable[..., Result]

TIME_BASE = Fraction(1, 25)
HEADER = SequenceHeader(VideoFormat(66, 50), "base", bytes(8))


class FakeMotionDecoder:
    """Packets are I, P or damaged; the flow of `P<n>` is n pixels to the right everywhere."""

    arguments: ClassVar[dict[str, Any]] = {}

    def __init__(self, sequence_header: bytes | None = None, **arguments: Any) -> None:
        FakeMotionDecoder.arguments = arguments
        self.format = SequenceHeader.from_bytes(sequence_header).format if sequence_header else None
        self._has_reference = False

    def send(self, packet: Packet) -> list[FlowField]:
        if packet.data[:1] == b"I":
            self._has_reference, self.format = True, HEADER.format
            return []
        if packet.data[:1] != b"P":
            self._has_reference = False
            raise ChecksumError("packet: CRC-32 does not match (bitstream.md 3)")
        if not self._has_reference:
            raise BitstreamError("frame_number 2 does not follow (bitstream.md 3.1)")
        values = np.zeros((2, 13, 17), np.float32)
        values[0] = int(packet.data[1:])
        return [FlowField(values, 66, 50, 4, packet.pts, packet.duration, packet.time_base)]


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> type[FakeMotionDecoder]:
    module = ModuleType("ssvc_codec.decoder")
    module.__dict__["Decoder"] = FakeMotionDecoder
    monkeypatch.setitem(sys.modules, "ssvc_codec.decoder", module)
    return FakeMotionDecoder


def _write_ssv(path: Path, letters: str, *, sound_of: Path | None = None) -> Path:
    """One packet for each letter: I, P, or ? for a damaged one."""
    options: dict[str, Any] = {"format": HEADER.format, "time_base": TIME_BASE, "average_rate": Fraction(25)}
    options["codec_private"] = build_codec_private(HEADER)
    packets = [
        Packet(f"{letter}{index}".encode(), index, letter == "I", 1, TIME_BASE) for index, letter in enumerate(letters)
    ]
    if sound_of is None:
        with SsvWriter(path, **options) as writer:
            for packet in packets:
                writer.write(packet)
        return path
    with open_video(sound_of) as source, SsvWriter(path, source=source, **options) as writer:
        for packet, _ in zip(packets, source, strict=True):
            writer.write(packet)
    return path


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    return _write_ssv(tmp_path / "in.ssv", "IPPPIPP")


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _flo(*indexes: int) -> list[str]:
    return [f"flow_{index:06d}.flo" for index in indexes]


def test_only_motion_is_asked_for(ssvc: Ssvc, decoder: type[FakeMotionDecoder], stream: Path, tmp_path: Path) -> None:
    options = ["--flow-only", "--threads", "1", "--device", "cpu", "--model", "weights/mine"]
    assert ssvc("decode", stream, tmp_path / "flow", *options).code == 0
    expected = {"model": "weights/mine", "device": "cpu", "threads": 1, "parts": {"motion"}, "select": None}
    assert decoder.arguments == expected


@pytest.mark.parametrize(
    ("scale", "size"), [(None, (50, 66)), ("1", (50, 66)), ("2", (25, 33)), ("4", (13, 17)), ("8", (7, 9))]
)
@pytest.mark.usefixtures("decoder")
def test_a_folder_gets_the_flow_of_each_p_frame(
    ssvc: Ssvc, stream: Path, tmp_path: Path, scale: str | None, size: tuple[int, int]
) -> None:
    options = [] if scale is None else ["--flow-scale", scale]
    result = ssvc("decode", stream, f"{tmp_path / 'flow'}/", "--flow-only", *options)
    assert (result.code, result.stdout) == (0, "")
    assert _names(tmp_path / "flow") == _flo(1, 2, 3, 5, 6)
    values = read_flo(tmp_path / "flow" / "flow_000005.flo")
    assert values.shape == (2, *size)
    assert np.all(values[0] == 5)
    assert not values[1].any()


@pytest.mark.usefixtures("decoder")
def test_npz_tells_which_frames_it_holds(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    assert ssvc("decode", stream, tmp_path / "out.npz", "--flow-only", "--flow-scale", "8").code == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["flow"][:, 0, 0, 0].tolist() == [1, 2, 3, 5, 6]
        assert arrays["frame_index"].tolist() == arrays["pts"].tolist() == [1, 2, 3, 5, 6]
        assert (Fraction(*arrays["time_base"].tolist()), int(arrays["scale"])) == (TIME_BASE, 8)


@pytest.mark.usefixtures("decoder")
def test_a_video_has_all_frames_and_white_key_frames(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    result = ssvc("decode", stream, tmp_path / "out.mkv", "--flow-only", "--flow-max", "6", "--vcodec", "ffv1")
    assert result.code == 0
    with open_video(tmp_path / "out.mkv") as reader:
        frames = list(reader)
    assert [frame.pts_seconds for frame in frames] == [index / 25 for index in range(7)]
    assert [int(frame.y[0, 0]) == 235 for frame in frames] == [True, False, False, False, True, False, False]
    assert (frames[6].y[0, 0], frames[6].u[0, 0], frames[6].v[0, 0]) == (63, 102, 240)  # BT.709 red: 6 to the right


@pytest.mark.usefixtures("decoder")
def test_sound_is_copied_into_a_video_and_read_past_elsewhere(
    ssvc: Ssvc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_demo_clip(tmp_path / "clip.mkv", seconds=2, width=66, height=50)
    stream = _write_ssv(tmp_path / "in.ssv", "I" + "P" * 49, sound_of=tmp_path / "clip.mkv")
    assert ssvc("decode", stream, tmp_path / "out.mkv", "--flow-only", "--flow-scale", "8").code == 0
    with open_video(tmp_path / "out.mkv") as reader:
        assert [copy.type for copy in reader.copies] == ["audio"]
    all_sound = sum(packet.size for packet in _sound(stream))
    monkeypatch.setattr("ffmpeg_bridge.demux._MAX_QUEUED_BYTES", all_sound // 2)
    assert ssvc("decode", stream, tmp_path / "out.zip", "--flow-only", "--flow-scale", "8").code == 0
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == _flo(*range(1, 50))


def _sound(path: Path) -> list[Any]:
    from ffmpeg_bridge import open_ssv

    with open_ssv(path) as reader:
        for _ in reader:
            pass
        return reader.take_packets(before=None)


@pytest.mark.usefixtures("decoder")
def test_a_start_inside_a_gop_counts_from_the_first_frame_wanted(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    arguments = ("--flow-only", "--ss", "0.08", "--frames", "4")  # frames 2 to 5 of IPPPIPP
    assert ssvc("decode", stream, tmp_path / "flow", *arguments).code == 0
    assert _names(tmp_path / "flow") == _flo(0, 1, 3)
    assert read_flo(tmp_path / "flow" / "flow_000000.flo")[0, 0, 0] == 2


@pytest.mark.usefixtures("decoder")
def test_damaged_frames_have_no_flow_and_are_counted(ssvc: Ssvc, tmp_path: Path) -> None:
    stream = _write_ssv(tmp_path / "in.ssv", "IP?PIP")
    result = ssvc("decode", stream, tmp_path / "flow", "--flow-only", "-q")
    assert (result.code, _names(tmp_path / "flow")) == (3, _flo(1, 5))
    assert "2 of 6 frames were damaged or refer to one that was, and have no flow; the first: packet" in result.stderr
    assert ssvc("decode", stream, tmp_path / "out.mkv", "--flow-only", "-q").code == 3
    with open_video(tmp_path / "out.mkv") as reader:
        assert [int(frame.y[0, 0]) == 235 for frame in reader] == [True, False, True, True, True, False]


@pytest.mark.usefixtures("decoder")
def test_strict_keeps_the_flow_before_the_damage(ssvc: Ssvc, tmp_path: Path) -> None:
    stream = _write_ssv(tmp_path / "in.ssv", "IPP?IP")
    result = ssvc("decode", stream, tmp_path / "flow", "--flow-only", "--strict", "-q")
    assert (result.code, _names(tmp_path / "flow")) == (3, _flo(1, 2))
    assert "the rest is lost after 3 frames, which were kept: packet: CRC-32" in result.stderr


@pytest.mark.parametrize("name", ["flow", "out.npz", "out.mkv"])
@pytest.mark.parametrize(
    ("letters", "message"), [("III", "in.ssv holds no flow: every frame read is a key frame"), ("I?I", "CRC-32")]
)
@pytest.mark.usefixtures("decoder")
def test_a_stream_without_flow_is_an_error_and_leaves_nothing(
    ssvc: Ssvc, tmp_path: Path, name: str, letters: str, message: str
) -> None:
    stream = _write_ssv(tmp_path / "in.ssv", letters)
    result = ssvc("decode", stream, tmp_path / name, "--flow-only", "-q")
    assert (result.code, _names(tmp_path)) == (1, ["in.ssv"])
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("decoder")
def test_a_folder_that_is_not_empty_needs_y(ssvc: Ssvc, stream: Path, tmp_path: Path) -> None:
    folder = tmp_path / "flow"
    folder.mkdir()
    for name in ("flow_000099.flo", "notes.txt"):
        (folder / name).write_text("here before")
    result = ssvc("decode", stream, folder, "--flow-only")
    assert result.code == 1
    assert "the folder is not empty; -y replaces the flow in it" in result.stderr
    assert ssvc("decode", stream, folder, "--flow-only", "-y").code == 0
    assert _names(folder) == [*_flo(1, 2, 3, 5, 6), "notes.txt"]
    assert ssvc("decode", stream, folder / "notes", "--flow-only").code == 0
    (tmp_path / "file").write_text("no folder")
    result = ssvc("decode", stream, tmp_path / "file", "--flow-only", "-y")
    assert (result.code, "it is a file" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["out.mp4", "--flow-scale", "4"],
        ["out.mp4", "--flow-max", "4"],
        ["out.mp4", "--flow-only", "--flow-scale", "3"],
        ["out.mp4", "--flow-only", "--flow-max", "0"],
        ["out.npz", "--flow-only", "--flow-max", "4"],
        ["flow", "--flow-only", "--vcodec", "ffv1"],
        ["flow", "--flow-only", "--vcodec-opts", "crf=3"],
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(ssvc: Ssvc, arguments: list[str]) -> None:
    result = ssvc("decode", "in.ssv", *arguments)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("ssvc: error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["flow", "out.zip", "out.npz", "out.mkv"])
@pytest.mark.usefixtures("decoder")
def test_an_error_half_way_leaves_nothing(
    ssvc: Ssvc, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class Failing(FakeMotionDecoder):
        def send(self, packet: Packet) -> list[FlowField]:
            if packet.pts == 3:
                raise MemoryError
            return super().send(packet)

    monkeypatch.setattr(sys.modules["ssvc_codec.decoder"], "Decoder", Failing)
    result = ssvc("decode", stream, tmp_path / name, "--flow-only", "-q")
    assert (result.code, result.stderr) == (1, "ssvc: error: out of memory\n")
    assert _names(tmp_path) == ["in.ssv"]
