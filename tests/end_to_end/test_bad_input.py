"""Inputs that are damaged or no video: one clear line, the right exit code, and nothing lost that was good."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from safetensors.numpy import load_file, save_file

from ffmpeg_bridge.reader import open_ssv
from ffmpeg_bridge.writer import SsvWriter
from ssvc_codec.bitstream import SubstreamKind, build_packet
from ssvc_codec.packet import Packet
from ssvc_codec.weights import find_model, load_model

if TYPE_CHECKING:
    from .conftest import Command

    ReadPictures = Callable[[Path], list[bytes]]

Y4M_WITHOUT_FRAMES = b"YUV4MPEG2 W64 H48 F25:1 C420jpeg\n"


def packets_of(path: Path) -> list[Packet]:
    with open_ssv(str(path)) as reader:
        return list(reader)


def write_like(path: Path, model: Path, packets: list[Packet]) -> None:
    """An .ssv with the headers of another one, and packets one frame apart."""
    with open_ssv(str(model)) as reader:
        facts: dict[str, Any] = {"format": reader.format, "time_base": reader.time_base}
        facts |= {"codec_private": reader.codec_private, "average_rate": reader.average_rate}
    with SsvWriter(str(path), **facts) as writer:
        step = 1 / (facts["average_rate"] * facts["time_base"])
        for number, packet in enumerate(packets):
            writer.write(replace(packet, pts=round(number * step)))


@pytest.mark.parametrize("command", ["encode", "decode"])
@pytest.mark.parametrize("content", [b"this is no video\n" * 100, b"", Y4M_WITHOUT_FRAMES, None, "folder", "sound"])
def test_what_holds_no_video_is_one_error_and_leaves_nothing(
    ssvc: Command, clip: Path, tmp_path: Path, command: str, content: bytes | str | None
) -> None:
    source = tmp_path / "input.bin"
    if isinstance(content, bytes):
        source.write_bytes(content)
    elif content == "folder":
        source.mkdir()
    elif content == "sound":
        source = source.with_suffix(".m4a")
        if shutil.which("ffmpeg") is None:
            pytest.skip("ffmpeg is not installed")
        extract = ["ffmpeg", "-v", "error", "-i", str(clip), "-vn", "-c", "copy", str(source)]
        subprocess.run(extract, check=True)
    before = sorted(tmp_path.iterdir())
    result = ssvc(command, source, tmp_path / "out.mkv")
    assert (result.code, source.name in result.error) == (1, True)
    assert sorted(tmp_path.iterdir()) == before


def test_each_command_says_so_when_it_gets_what_the_other_one_reads(
    ssvc: Command, clip: Path, coded: Path, tmp_path: Path
) -> None:
    encoding = ssvc("encode", coded, tmp_path / "a.ssv")
    assert (encoding.code, "ssvc decode" in encoding.error) == (1, True)
    decoding = ssvc("decode", clip, tmp_path / "a.mkv")
    assert (decoding.code, "no SSVC video" in decoding.error) == (1, True)


def test_the_program_itself_prints_one_line(program: Command, tmp_path: Path) -> None:
    (tmp_path / "input.mp4").write_text("this is no video\n" * 100)
    result = program("encode", tmp_path / "input.mp4", tmp_path / "out.ssv")
    assert (result.code, result.error.startswith("ssvc: error: ")) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["input.mp4"]


@pytest.mark.parametrize(
    ("packet", "offset", "n_whole"),
    [(0, -1000, None), (0, 20, None), (1, -3, 1), (1, 0, 1), (4, 0.5, 4), (5, 300, 5), (9, 0.9, 9), (10, 0, 10)],
)
def test_a_truncated_file_keeps_the_frames_before_the_cut(
    ssvc: Command,
    coded: Path,
    pictures: list[bytes],
    read_pictures: ReadPictures,
    tmp_path: Path,
    packet: int,
    offset: int | float,  # from the start of the packet: bytes, or a share of it
    n_whole: int | None,
) -> None:
    data = coded.read_bytes()
    packets = [p.data for p in packets_of(coded)]
    starts = [data.index(p) for p in packets]
    starts.append(starts[-1] + len(packets[-1]))
    n_bytes = offset if isinstance(offset, int) else int(offset * len(packets[packet]))
    (tmp_path / "short.ssv").write_bytes(data[: starts[packet] + n_bytes])
    result = ssvc("decode", tmp_path / "short.ssv", tmp_path / "out.mkv")
    assert "cut off" in result.error or "truncated" in result.error
    if n_whole is None:
        assert result.code == 1
        assert [path.name for path in tmp_path.iterdir()] == ["short.ssv"]
    else:
        assert result.code == 3
        assert read_pictures(tmp_path / "out.mkv") == pictures[:n_whole]


def test_a_flipped_byte_never_gives_a_wrong_picture_without_a_word(
    ssvc: Command, coded: Path, pictures: list[bytes], read_pictures: ReadPictures, tmp_path: Path
) -> None:
    rng = random.Random(7)
    data = coded.read_bytes()
    places = [*rng.sample(range(1300), 10), *rng.sample(range(1300, len(data)), 8)]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        (tmp_path / "damaged.ssv").write_bytes(damaged)
        result = ssvc("decode", tmp_path / "damaged.ssv", tmp_path / "out.mkv", "-y")
        assert result.code in (0, 1, 3), place
        lines = result.stderr.splitlines()  # one of frames that were concealed, one of where the file was lost
        assert len(lines) in ((0,) if result.code == 0 else (1, 2)), place
        assert all(line.startswith("ssvc: error: ") and "internal error" not in line for line in lines), place
        if result.code == 0:
            assert read_pictures(tmp_path / "out.mkv") == pictures, place
        assert (tmp_path / "out.mkv").exists() == (result.code != 1), place
        (tmp_path / "out.mkv").unlink(missing_ok=True)
        assert [path.name for path in tmp_path.iterdir()] == ["damaged.ssv"], place


def test_a_packet_that_was_lost_is_found_and_the_picture_stands_still_to_the_next_key_frame(
    ssvc: Command, coded: Path, pictures: list[bytes], read_pictures: ReadPictures, tmp_path: Path
) -> None:
    packets = packets_of(coded)
    write_like(tmp_path / "p.ssv", coded, packets[:2] + packets[3:])
    result = ssvc("decode", tmp_path / "p.ssv", tmp_path / "out.mkv")
    assert (result.code, "2 of 9 frames" in result.error) == (3, True)
    assert "P frame 3 needs frame 2, frame 1 came before" in result.error
    assert read_pictures(tmp_path / "out.mkv") == [pictures[0], *[pictures[1]] * 3, *pictures[5:]]


def test_a_p_frame_without_motion_repeats_the_picture_and_is_no_damage(
    ssvc: Command, coded: Path, pictures: list[bytes], read_pictures: ReadPictures, tmp_path: Path
) -> None:
    inter = build_packet({(SubstreamKind.RESIDUAL, 0): b"rest"}, q_index=20, frame_number=1)
    packets = packets_of(coded)[:3]
    write_like(tmp_path / "p.ssv", coded, [packets[0], replace(packets[1], data=inter)])
    assert ssvc("decode", tmp_path / "p.ssv", tmp_path / "out.mkv").code == 0
    assert read_pictures(tmp_path / "out.mkv") == [pictures[0], pictures[0]]


def test_a_stream_of_p_frames_alone_is_an_error(ssvc: Command, coded: Path, tmp_path: Path) -> None:
    inter = build_packet({(SubstreamKind.RESIDUAL, 0): b"rest"}, q_index=20, frame_number=1)
    write_like(tmp_path / "p.ssv", coded, [replace(packets_of(coded)[0], data=inter)])
    result = ssvc("decode", tmp_path / "p.ssv", tmp_path / "out.mkv")
    assert (result.code, "P frame" in result.error) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["p.ssv"]


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_frames_of_another_size_end_the_output_and_are_told(
    ssvc: Command, make_clip: Callable[..., Path], coded: Path, read_pictures: ReadPictures, tmp_path: Path, name: str
) -> None:
    small = make_clip(tmp_path / "small.mp4", width=64, height=48, seconds=0.08)
    assert ssvc("encode", small, tmp_path / "small.ssv").code == 0
    write_like(tmp_path / "mixed.ssv", coded, [*packets_of(coded)[:3], *packets_of(tmp_path / "small.ssv")])
    result = ssvc("decode", tmp_path / "mixed.ssv", tmp_path / name)
    assert (result.code, "format changes at 0.120 s" in result.error) == (3, True)
    assert len(read_pictures(tmp_path / name)) == 3


def test_a_damaged_video_is_encoded_as_far_as_it_decodes(
    ssvc: Command, clip: Path, read_pictures: ReadPictures, tmp_path: Path
) -> None:
    data = bytearray(clip.read_bytes())
    begin = data.index(b"mdat") + 4
    rng = random.Random(3)
    for _ in range(20):  # of 15,000 bytes of picture and sound data
        data[rng.randrange(begin + 2000, begin + 12000)] ^= 0xFF
    (tmp_path / "damaged.mp4").write_bytes(data)
    result = ssvc("encode", tmp_path / "damaged.mp4", tmp_path / "out.ssv")
    assert (result.code, "is damaged" in result.error) == (3, True)
    assert 1 <= len(packets_of(tmp_path / "out.ssv")) <= 10


def test_a_truncated_video_is_encoded_up_to_the_cut(
    ssvc: Command, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    whole = make_clip(tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "short.mkv").write_bytes(whole[: len(whole) // 2])
    result = ssvc("encode", tmp_path / "short.mkv", tmp_path / "out.ssv")
    assert (result.code, "cut off" in result.error) == (3, True)
    assert 1 <= len(packets_of(tmp_path / "out.ssv")) < 10


def test_weights_that_are_not_those_of_the_stream_are_refused(ssvc: Command, clip: Path, tmp_path: Path) -> None:
    other = tmp_path / "base"  # the name that the stream will carry
    shutil.copytree(find_model("base"), other)
    weights = other / "weights.safetensors"
    tensors = load_file(weights)
    name = next(name for name in tensors if name.startswith("intra.synthesis."))
    tensors[name] = -tensors[name]
    weights.unlink()
    save_file(tensors, weights)
    assert ssvc("encode", clip, tmp_path / "other.ssv", "--model", f"{other}/", "--frames", "1").code == 0
    result = ssvc("decode", tmp_path / "other.ssv", tmp_path / "out.mkv")
    assert result.code == 1
    assert load_model("base").fingerprint.hex() in result.error
    assert not (tmp_path / "out.mkv").exists()
    assert ssvc("decode", tmp_path / "other.ssv", tmp_path / "out.mkv", "--model", f"{other}/").code == 0
