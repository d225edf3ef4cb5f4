"""From a conventional file through .ssv and back: times, sound, subtitles, chapters, tags."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ffmpeg_bridge import VideoWriter, open_ssv, open_video

Call = Callable[..., Any]


FAST = {"preset": "ultrafast"}


def _decode_made_up(ssv: Path, original: Path, target: Path, **options: float) -> list[str]:
    """Writes the original's frames at the times of the .ssv's packets. Returns the notes."""
    with open_video(original) as video, open_ssv(ssv, **options) as reader:  # pyright: ignore[reportArgumentType]
        frames = list(video)
        writer_options = FAST if target.suffix in (".mp4", ".mov") else {}
        with VideoWriter(
            target,
            format=video.format,
            time_base=reader.time_base,
            average_rate=reader.average_rate,
            source=reader,
            vcodec_options=writer_options,
            threads=1,
        ) as writer:
            for index, packet in enumerate(reader):
                frame = frames[index % len(frames)]
                writer.write(replace(frame, pts=packet.pts, duration=packet.duration, time_base=packet.time_base))
        return [*reader.notes, *writer.notes]


@pytest.fixture(scope="module")
def frame_times(run: Call) -> Call:
    def call(path: Path) -> list[str]:
        show = ("-select_streams", "v:0", "-show_entries", "frame=pts_time", "-of", "csv=p=0")
        return [line.strip(",") for line in run("ffprobe", *show, path).split()]

    return call


@pytest.mark.parametrize("rate", ["25", "30000/1001", "24000/1001", "12", "60000/1001"])
@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_constant_rate_comes_back_exactly(
    run: Call, clip: Call, encode_made_up: Call, tmp_path: Path, rate: str, name: str
) -> None:
    source = clip(name, "-pix_fmt", "yuv420p", rate=rate, seconds=2)
    packets = encode_made_up(source, tmp_path / "a.ssv")
    with open_ssv(tmp_path / "a.ssv") as reader:
        assert reader.average_rate == Fraction(rate)
        got = [(packet.pts, packet.time_base) for packet in reader]
    assert got == [(packet.pts, packet.time_base) for packet in packets]


@pytest.mark.parametrize("rate", ["25", "30000/1001", "24000/1001", "12"])
def test_an_mp4_has_its_frame_times_back(
    clip: Call, encode_made_up: Call, frame_times: Call, tmp_path: Path, rate: str
) -> None:
    source = clip("a.mp4", "-pix_fmt", "yuv420p", rate=rate)
    encode_made_up(source, tmp_path / "a.ssv")
    _decode_made_up(tmp_path / "a.ssv", source, tmp_path / "b.mp4")
    assert frame_times(tmp_path / "b.mp4") == frame_times(source)


def test_constant_rate_survives_a_remux_and_a_cut(run: Call, clip: Call, encode_made_up: Call, tmp_path: Path) -> None:
    packets = encode_made_up(clip("a.mp4", "-pix_fmt", "yuv420p", rate="30000/1001", seconds=2), tmp_path / "a.ssv")
    run("ffmpeg", "-i", tmp_path / "a.ssv", "-map", "0", "-c", "copy", tmp_path / "b.mkv")
    with open_ssv(tmp_path / "b.mkv") as reader:
        assert [packet.pts for packet in reader] == [packet.pts for packet in packets]
    run("ffmpeg", "-ss", "1", "-i", tmp_path / "a.ssv", "-map", "0", "-c", "copy", tmp_path / "c.mkv")
    with open_ssv(tmp_path / "c.mkv") as reader:
        steps = {(b.pts or 0) - (a.pts or 0) for a, b in pairwise(reader)}
        assert steps == {Fraction(1001, 30000) / reader.time_base}


def test_variable_rate_comes_back_within_a_millisecond(clip: Call, encode_made_up: Call, tmp_path: Path) -> None:
    # Matroska as libavformat writes it counts milliseconds: half of one is lost where no rate helps.
    source = clip("a.mp4", "-vf", "setpts='(N*0.0413+mod(N*N,7)*0.0031)/TB'", "-fps_mode", "vfr",
                  "-video_track_timescale", "90000", "-pix_fmt", "yuv420p", seconds=1)  # fmt: skip
    packets = encode_made_up(source, tmp_path / "a.ssv")
    with open_ssv(tmp_path / "a.ssv") as reader:
        assert reader.time_base == packets[0].time_base == Fraction(1, 90000)
        errors = [abs(a.pts - b.pts) * reader.time_base for a, b in zip(reader, packets, strict=True)]
    assert max(errors) <= Fraction(1, 1000)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "aac"), ("a.mov", "pcm_s16le"), ("a.mkv", "flac"), ("a.ts", "mp2")]
)
def test_sound_is_bit_identical_there_and_back(
    run: Call, clip: Call, encode_made_up: Call, tmp_path: Path, name: str, codec: str
) -> None:
    source = clip(name, "-pix_fmt", "yuv420p", "-c:a", codec, sound=True, seconds=1)
    encode_made_up(source, tmp_path / "a.ssv")
    target = tmp_path / ("b" + Path(name).suffix)
    _decode_made_up(tmp_path / "a.ssv", source, target)
    sums = {
        run("ffmpeg", "-i", p, "-map", "0:a", "-c", "copy", "-f", "md5", "-")
        for p in (source, tmp_path / "a.ssv", target)
    }
    assert len(sums) == 1


def test_the_sound_of_an_mp4_keeps_its_times_and_priming(
    run: Call, clip: Call, encode_made_up: Call, tmp_path: Path
) -> None:
    source = clip("a.mp4", "-pix_fmt", "yuv420p", "-c:a", "aac", sound=True, seconds=1)
    encode_made_up(source, tmp_path / "a.ssv")
    _decode_made_up(tmp_path / "a.ssv", source, tmp_path / "b.mp4")
    show = ("-select_streams", "a", "-show_entries", "packet=pts", "-of", "csv=p=0")
    times = run("ffprobe", *show, source)
    assert times.startswith("-1024")
    assert run("ffprobe", *show, tmp_path / "b.mp4") == times


@pytest.fixture(scope="module")
def rich_clip(run: Call, clip: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .mp4 with subtitles, chapters, tags, a language and two sounds."""
    folder = tmp_path_factory.mktemp("rich")
    (folder / "s.srt").write_text(
        "1\n00:00:00,100 --> 00:00:00,500\nHello <i>there</i>\n\n2\n00:00:00,700 --> 00:00:01,200\nSecond\n"
    )
    (folder / "m.txt").write_text(
        ";FFMETADATA1\ntitle=A title\nartist=Somebody\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=800\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=800\nEND=2000\ntitle=Two\n"
    )
    base = clip("a.mp4", "-pix_fmt", "yuv420p", "-c:a", "aac", sound=True, seconds=2)
    path = folder / "rich.mp4"
    run("ffmpeg", "-i", base, "-i", folder / "s.srt", "-i", folder / "m.txt", "-map", "0", "-map", "0:a", "-map", "1",
        "-map_metadata", "2", "-map_chapters", "2", "-c", "copy", "-c:s", "mov_text", "-metadata:s:a:0", "language=deu",
        "-metadata:s:s:0", "language=fra", "-disposition:a:1", "comment", path)  # fmt: skip
    return path


def test_subtitles_chapters_tags_and_languages_are_carried(
    run: Call, rich_clip: Path, encode_made_up: Call, probe: Call, tmp_path: Path
) -> None:
    encode_made_up(rich_clip, tmp_path / "a.ssv")
    assert _decode_made_up(tmp_path / "a.ssv", rich_clip, tmp_path / "b.mp4") == []
    for path, subtitle in ((tmp_path / "a.ssv", "subrip"), (tmp_path / "b.mp4", "mov_text")):
        report = probe(path, "-show_chapters")
        streams = [stream for stream in report["streams"] if stream["codec_type"] != "data"]  # .mp4's chapters
        assert [stream["codec_type"] for stream in streams] == ["video", "audio", "audio", "subtitle"]
        assert streams[3]["codec_name"] == subtitle
        assert (streams[1]["tags"]["language"], streams[3]["tags"]["language"]) == ("deu", "fra")
        assert report["format"]["tags"]["title"] == "A title"
        chapters = [(chapter["start_time"], chapter["tags"]["title"]) for chapter in report["chapters"]]
        assert chapters == [("0.000000", "One"), ("0.800000", "Two")]
        assert streams[2]["disposition"]["comment"] == 1
        text = run("ffmpeg", "-i", path, "-map", "0:s", "-f", "srt", "-")
        assert re.search(r"00:00:00,1[02]\d --> 00:00:00,5[02]\d\nHello there", text)  # Matroska has no times below
        assert re.search(r"00:00:00,7[02]\d --> 00:00:01,2[02]\d\nSecond", text)  # 0: all wait for AAC's priming


def test_a_part_takes_its_part_of_sound_chapters_and_subtitles(
    run: Call, rich_clip: Path, encode_made_up: Call, probe: Call, tmp_path: Path
) -> None:
    encode_made_up(rich_clip, tmp_path / "a.ssv", start_seconds=0.4, max_frames=20)
    report = probe(tmp_path / "a.ssv", "-show_chapters", "-count_packets")
    assert float(report["format"]["duration"]) == pytest.approx(0.8, abs=0.03)  # one frame of AAC is 21 ms
    assert [c["end_time"] for c in report["chapters"]] == ["0.400000", "0.800000"]
    assert float(report["streams"][1]["start_time"]) < 0.022
    text = run("ffmpeg", "-i", tmp_path / "a.ssv", "-map", "0:s", "-f", "srt", "-")
    assert "00:00:00,000 --> 00:00:00,100\nHello" in text


def test_a_part_of_an_ssv_starts_at_zero_with_its_sound(
    rich_clip: Path, encode_made_up: Call, probe: Call, tmp_path: Path
) -> None:
    encode_made_up(rich_clip, tmp_path / "a.ssv")
    _decode_made_up(tmp_path / "a.ssv", rich_clip, tmp_path / "b.mp4", start_seconds=1.0, max_frames=10)
    report = probe(tmp_path / "b.mp4", "-count_packets")
    assert report["streams"][0]["nb_read_packets"] == "10"
    assert float(report["format"]["duration"]) == pytest.approx(0.4, abs=0.03)
    assert float(report["streams"][1]["start_time"]) < 0.022


def test_attachments_are_carried_and_data_streams_are_named(
    run: Call, clip: Call, encode_made_up: Call, probe: Call, tmp_path: Path
) -> None:
    (tmp_path / "font.ttf").write_bytes(b"\0\1\0\0 no real font")
    base = clip("a.mkv", "-pix_fmt", "yuv420p")
    run("ffmpeg", "-i", base, "-attach", tmp_path / "font.ttf", "-metadata:s:t", "mimetype=font/ttf", "-c", "copy",
        tmp_path / "b.mkv")  # fmt: skip
    encode_made_up(tmp_path / "b.mkv", tmp_path / "a.ssv")
    attached = probe(tmp_path / "a.ssv")["streams"][1]
    assert (attached["codec_type"], attached["tags"]["filename"]) == ("attachment", "font.ttf")
    timecode = clip("a.mov", "-pix_fmt", "yuv420p", "-timecode", "01:00:00:00")
    with open_video(timecode) as reader:
        assert any("(data," in note and "left out" in note for note in reader.notes)


def test_rotation_comes_back_in_mp4(run: Call, clip: Call, encode_made_up: Call, probe: Call, tmp_path: Path) -> None:
    flat, turned = clip("a.mp4", "-pix_fmt", "yuv420p"), tmp_path / "t.mp4"
    run("ffmpeg", "-i", flat, "-metadata:s:v", "rotate=270", "-c", "copy", turned)
    encode_made_up(turned, tmp_path / "a.ssv")
    _decode_made_up(tmp_path / "a.ssv", turned, tmp_path / "b.mp4")
    shown = [
        probe(p)["streams"][0]["side_data_list"][0]["rotation"]
        for p in (turned, tmp_path / "a.ssv", tmp_path / "b.mp4")
    ]
    assert shown[0] == shown[1] == shown[2] != 0
