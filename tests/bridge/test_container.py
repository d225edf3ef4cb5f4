"""The .ssv file as other programs see it, and as it comes back."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ffmpeg_bridge import SsvWriter, open_ssv
from ssvc_codec.errors import BitstreamError, MediaError
from ssvc_codec.frame import Color, VideoFormat
from ssvc_codec.packet import Packet

Call = Callable[..., Any]


def _data(path: Path) -> list[bytes]:
    with open_ssv(path) as reader:
        return [packet.data for packet in reader]


def test_ffprobe_lists_fourcc_size_rate_and_colour(probe: Call, write_ssv: Call, tmp_path: Path) -> None:
    color = Color(9, 16, 9, full_range=True, chroma_location=1)
    video = VideoFormat(639, 359, color=color, rotation=90, sample_aspect_ratio=Fraction(4, 3))
    write_ssv(tmp_path / "a.ssv", video=video, rate=Fraction(30000, 1001))
    stream = probe(tmp_path / "a.ssv")["streams"][0]
    assert stream["codec_tag_string"] == "SSV1"
    assert (stream["width"], stream["height"], stream["avg_frame_rate"]) == (639, 359, "30000/1001")
    assert (stream["color_space"], stream["color_transfer"], stream["color_range"]) == ("bt2020nc", "smpte2084", "pc")
    assert (stream["color_primaries"], stream["chroma_location"]) == ("bt2020", "left")
    assert stream["sample_aspect_ratio"] == "4:3"
    assert stream["side_data_list"][0]["rotation"] == 90


def test_packets_and_codec_private_come_back(write_ssv: Call, codec_private: Call, tmp_path: Path) -> None:
    packets = write_ssv(tmp_path / "a.ssv", keyint=3)
    with open_ssv(tmp_path / "a.ssv") as reader:
        assert reader.codec_private == codec_private(VideoFormat(64, 48))
        assert reader.sequence_header == b"made-up sequence header"
        assert list(reader) == packets
        assert not reader.truncated
        assert reader.n_frames_estimate == 10


def test_the_format_is_read_from_the_sequence_header(write_ssv: Call, tmp_path: Path) -> None:
    write_ssv(tmp_path / "a.ssv")
    with open_ssv(tmp_path / "a.ssv") as reader, pytest.raises(BitstreamError):
        _ = reader.format  # made up, so it is refused


def test_ffmpeg_copies_cuts_and_segments_without_touching_packets(
    run: Call, write_ssv: Call, packet_hashes: Call, tmp_path: Path
) -> None:
    packets = write_ssv(tmp_path / "a.ssv", n_frames=60, keyint=5)
    data = [packet.data for packet in packets]
    run("ffmpeg", "-i", tmp_path / "a.ssv", "-map", "0", "-c", "copy", tmp_path / "copy.mkv")
    assert _data(tmp_path / "copy.mkv") == data
    assert packet_hashes(tmp_path / "copy.mkv") == packet_hashes(tmp_path / "a.ssv")
    run("ffmpeg", "-ss", "1.2", "-i", tmp_path / "a.ssv", "-c", "copy", tmp_path / "cut.mkv")
    assert _data(tmp_path / "cut.mkv") == data[30:]
    run("ffmpeg", "-i", tmp_path / "a.ssv", "-c", "copy", "-f", "segment", "-segment_time", "1", tmp_path / "%d.mkv")
    assert _data(tmp_path / "0.mkv") + _data(tmp_path / "1.mkv") + _data(tmp_path / "2.mkv") == data


def test_mkvmerge_keeps_packets_and_finds_no_fault(run: Call, write_ssv: Call, tmp_path: Path) -> None:
    packets = write_ssv(tmp_path / "a.ssv", n_frames=30, keyint=5)
    report = run("mkvmerge", "-o", tmp_path / "b.mkv", tmp_path / "a.ssv")
    assert "Warning" not in report
    assert _data(tmp_path / "b.mkv") == [packet.data for packet in packets]


def test_a_finer_clock_of_another_muxer_changes_no_time(run: Call, write_ssv: Call, tmp_path: Path) -> None:
    packets = write_ssv(tmp_path / "a.ssv", n_frames=30, keyint=5)
    run("mkvmerge", "--timestamp-scale", "100000", "-o", tmp_path / "b.mkv", tmp_path / "a.ssv")
    with open_ssv(tmp_path / "b.mkv") as reader:
        times = [(packet.pts or 0) * packet.time_base for packet in reader]
    assert times == [packet.pts * packet.time_base for packet in packets]


def test_codec_private_survives_remuxing(run: Call, write_ssv: Call, tmp_path: Path) -> None:
    write_ssv(tmp_path / "a.ssv")
    run("ffmpeg", "-i", tmp_path / "a.ssv", "-c", "copy", tmp_path / "b.mkv")
    with open_ssv(tmp_path / "b.mkv") as reader:
        assert reader.sequence_header == b"made-up sequence header"


@pytest.mark.parametrize(("seconds", "lead"), [(0.0, 0), (1.0, 0), (1.16, 4), (2.36, 4)])
def test_a_start_goes_to_the_key_frame_before_it(write_ssv: Call, tmp_path: Path, seconds: float, lead: int) -> None:
    packets = write_ssv(tmp_path / "a.ssv", n_frames=60, keyint=5)
    first = round(seconds * 25)
    with open_ssv(tmp_path / "a.ssv", start_seconds=seconds, max_frames=6) as reader:
        got = list(reader)
    assert [packet.data for packet in got] == [packet.data for packet in packets[first - lead : first + 6]][: len(got)]
    assert [packet.pts for packet in got] == list(range(-lead, min(6, 60 - first)))
    assert got[0].is_keyframe


def test_seek_goes_back_and_forth(write_ssv: Call, tmp_path: Path) -> None:
    packets = write_ssv(tmp_path / "a.ssv", n_frames=60, keyint=10)
    with open_ssv(tmp_path / "a.ssv") as reader:
        assert len(list(reader)) == 60
        reader.seek(1.7)
        assert next(iter(reader)).data == packets[40].data
        reader.seek(0)
        assert [packet.data for packet in reader] == [packet.data for packet in packets]


def test_every_truncation_gives_whole_packets_and_is_flagged(write_ssv: Call, tmp_path: Path) -> None:
    packets = write_ssv(tmp_path / "a.ssv", n_frames=8)
    whole = (tmp_path / "a.ssv").read_bytes()
    for size in range(900, len(whole), 37):
        try:
            with open_ssv(io.BytesIO(whole[:size])) as reader:
                got = list(reader)
                assert got == packets[: len(got)]
                assert reader.truncated
        except MediaError as error:
            assert "cut off" in str(error)  # noqa: PT017


def test_a_truncated_pipe_is_flagged_too(write_ssv: Call, tmp_path: Path) -> None:
    write_ssv(tmp_path / "a.ssv", n_frames=8)
    whole = (tmp_path / "a.ssv").read_bytes()
    for content, truncated in ((whole, False), (whole[:-300], True)):
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
            assert cat.stdin is not None
            assert cat.stdout is not None
            cat.stdin.write(content)
            cat.stdin.close()
            with open_ssv(cat.stdout) as reader:
                n_packets = len(list(reader))
                assert reader.truncated == truncated
        assert n_packets == 8 or truncated


class _Pipe(io.RawIOBase):
    """A pipe's writing end that remembers how much has come out."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


def test_live_packets_leave_one_frame_later_and_survive_a_kill(codec_private: Call) -> None:
    video, pipe = VideoFormat(64, 48), _Pipe()
    private = codec_private(video)
    rate = Fraction(25)
    writer = SsvWriter(pipe, format=video, time_base=1 / rate, codec_private=private, average_rate=rate)  # pyright: ignore[reportArgumentType]
    marks = [b"packet %04d " % index * 9 for index in range(20)]
    for index, mark in enumerate(marks):
        writer.write(Packet(mark, index, True, 1, 1 / rate))
        assert index == 0 or marks[index - 1] in pipe.content
    with open_ssv(io.BytesIO(pipe.content)) as reader:  # nothing was closed: as after a kill
        assert [packet.data for packet in reader][:19] == marks[:19]
    writer.close()
    with open_ssv(io.BytesIO(pipe.content)) as reader:
        assert [packet.data for packet in reader] == marks
        assert not reader.truncated


def test_what_is_no_ssv_is_told_what_it_is(clip: Call, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"no SSVC video: it is mov,mp4.* with video \(h264\)"):
        open_ssv(clip("a.mp4", "-pix_fmt", "yuv420p"))
    (tmp_path / "empty.ssv").touch()
    with pytest.raises(MediaError, match="is empty"):
        open_ssv(tmp_path / "empty.ssv")
    (tmp_path / "noise.ssv").write_bytes(bytes(range(256)) * 9)
    with pytest.raises(MediaError, match=r"no \.ssv file"):
        open_ssv(tmp_path / "noise.ssv")
    with pytest.raises(MediaError, match="No such file"):
        open_ssv(tmp_path / "none.ssv")


def test_a_file_without_frames_says_so(write_ssv: Call, tmp_path: Path) -> None:
    write_ssv(tmp_path / "a.ssv", n_frames=0)
    with pytest.raises(MediaError, match="holds no frames"):
        open_ssv(tmp_path / "a.ssv")


@pytest.mark.parametrize("n_frames", [1, 7])
def test_flipped_bytes_never_crash(write_ssv: Call, tmp_path: Path, n_frames: int) -> None:
    write_ssv(tmp_path / "a.ssv", n_frames=n_frames)
    whole = (tmp_path / "a.ssv").read_bytes()
    for position in range(0, len(whole), 13):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        try:
            with open_ssv(io.BytesIO(bytes(damaged))) as reader:
                assert len(list(reader)) <= n_frames
        except MediaError:
            pass
