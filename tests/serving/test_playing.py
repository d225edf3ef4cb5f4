"""Stock programs read what is served, and see what `ssvc decode` gives."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ffmpeg_bridge.serving import VideoServer
from ffmpeg_bridge.serving.source import SsvSource

from .conftest import HEIGHT, KEYINT, N_FRAMES, WIDTH, Run, connection_of

FrameHashes = Callable[..., list[str]]
Decoded = Callable[..., Path]


@pytest.fixture
def packets(run: Run) -> Callable[[object], list[dict[str, Any]]]:
    def call(url: object) -> list[dict[str, Any]]:
        fields = "packet=stream_index,codec_type,pts,size,data_hash"
        shown = run("ffprobe", "-show_packets", "-show_data_hash", "md5", "-show_entries", fields, "-of", "json", url)
        return json.loads(shown)["packets"]

    return call


def test_frames_are_those_of_decode(
    server: VideoServer, rich: Path, decoded: Decoded, frame_hashes: FrameHashes
) -> None:
    served = frame_hashes(server.add(rich))
    assert len(served) == N_FRAMES
    assert served == frame_hashes(decoded(rich))


def test_sound_and_subtitles_are_those_of_decode(
    server: VideoServer, rich: Path, decoded: Decoded, packets: Callable[[object], list[dict[str, Any]]]
) -> None:
    served, expected = (
        sorted((p["stream_index"], int(p["pts"]), p["size"], p["data_hash"]) for p in packets(url) if _is_copied(p))
        for url in (server.add(rich), decoded(rich))
    )
    assert {stream for stream, *_ in served} == {1, 2}
    assert served == expected


def _is_copied(packet: dict[str, Any]) -> bool:
    return packet["codec_type"] in ("audio", "subtitle")


def test_ffprobe_says_the_same_of_both(server: VideoServer, rich: Path, decoded: Decoded, run: Run) -> None:
    fields = (
        "stream=codec_type,width,height,pix_fmt,color_range,color_space,color_transfer,color_primaries,chroma_location,"
        "r_frame_rate,start_pts:stream_side_data=rotation:chapter=start_time,end_time:chapter_tags=title:"
        "format_tags=title:stream_tags=filename,mimetype"
    )
    served, expected = (
        json.loads(run("ffprobe", "-show_entries", fields, "-show_chapters", "-of", "json", url))
        for url in (server.add(rich), decoded(rich))
    )
    for streams in (served["streams"], expected["streams"]):
        for stream in streams:
            if not stream.get("tags"):
                stream.pop("tags", None)
            if stream["codec_type"] in ("subtitle", "attachment"):
                stream.pop("start_pts", None)  # guessed from the length of the file
    assert served == expected
    assert [stream["codec_type"] for stream in served["streams"]] == ["video", "audio", "subtitle", "attachment"]
    assert len(served["chapters"]) == 2


def test_10_bit_with_odd_sides_and_varying_times(
    server: VideoServer, deep: Path, decoded: Decoded, frame_hashes: FrameHashes
) -> None:
    served = frame_hashes(server.add(deep))
    assert [line.split()[0] for line in served] == ["0", "40", "160", "240", "440"]
    assert served == frame_hashes(decoded(deep))


@pytest.mark.parametrize("number", [0, 3, 4, 5, 9, 11])
def test_a_seek_finds_the_frame_itself(
    server: VideoServer, rich: Path, decoded: Decoded, frame_hashes: FrameHashes, number: int
) -> None:
    frames = frame_hashes(decoded(rich))
    url = server.add(rich)
    seconds = int(frames[number].split()[0]) / 1000
    found = frame_hashes(url, "-ss", f"{seconds - 0.001:.3f}", after=("-frames:v", "1"))
    assert [line.split()[1:] for line in found] == [frames[number].split()[1:]]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("objects=person", ["--objects", "person"]),
        ("objects=#9&background=1&fill=black", ["--objects", "#9", "--background", "--fill", "black"]),
        ("exclude=dog", ["--exclude", "dog"]),
        ("background=only&fill=blur", ["--background-only", "--fill", "blur"]),
        ("flow=1", ["--flow-only"]),
        ("keyframes=1", ["--keyframes-only"]),
        ("every=2", ["--every", "2"]),
    ],
)
def test_a_part_is_that_of_decode(
    server: VideoServer,
    rich: Path,
    decoded: Decoded,
    frame_hashes: FrameHashes,
    query: str,
    options: list[str],
) -> None:
    served = frame_hashes(server.url(rich, query))
    assert served == frame_hashes(decoded(rich, *options))
    assert served != frame_hashes(decoded(rich))


def read_range(url: str, start: int, stop: int) -> bytes:
    host, target = connection_of(url)
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request("GET", target, headers={"Range": f"bytes={start}-{stop - 1}"})
        answer = connection.getresponse()
        assert answer.status == 206
        return answer.read()
    finally:
        connection.close()


def test_four_readers_at_once_get_the_right_bytes(server: VideoServer, rich: Path) -> None:
    url = server.add(rich)
    size = int(_head(url)["Content-Length"])
    whole = read_range(url, 0, size)
    with VideoServer(threads=1) as fresh:
        wrong: list[tuple[int, int]] = []

        def read(seed: int) -> None:
            draw = random.Random(seed)
            for _ in range(4):
                start = draw.randrange(size - 1)
                stop = draw.randrange(start + 1, min(size, start + 90_000) + 1)
                if read_range(fresh_url, start, stop) != whole[start:stop]:
                    wrong.append((start, stop))

        fresh_url = fresh.add(rich)
        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    assert not wrong


def _head(url: str) -> dict[str, str]:
    host, target = connection_of(url)
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        connection.request("HEAD", target)
        return dict(connection.getresponse().headers)
    finally:
        connection.close()


def test_no_more_is_decoded_than_a_group_of_pictures(server: VideoServer, rich: Path) -> None:
    url = server.add(rich)
    size = int(_head(url)["Content-Length"])
    assert server.statistics.n_frames_decoded == 0
    last_bytes = read_range(url, size - 100, size)  # of sound, or of frame 11: the second of its GoP
    assert len(last_bytes) == 100
    assert server.statistics.n_frames_decoded <= N_FRAMES - 2 * KEYINT
    frame_bytes = WIDTH * HEIGHT * 3 // 2
    before = server.statistics.n_frames_decoded
    read_range(url, size // 2, size // 2 + frame_bytes)  # two frames, in one GoP or at the border of two
    assert server.statistics.n_frames_decoded - before <= 2 * KEYINT


def test_reading_on_decodes_each_frame_once(server: VideoServer, rich: Path) -> None:
    url = server.add(rich)
    size = int(_head(url)["Content-Length"])
    for start in range(0, size, 50_000):
        read_range(url, start, min(size, start + 50_000))
    assert server.statistics.n_frames_decoded == N_FRAMES


def test_a_damaged_packet_is_concealed_as_decode_does(
    server: VideoServer, rich: Path, folder: Path, frame_hashes: FrameHashes
) -> None:
    source = SsvSource(rich)
    data = bytearray(rich.read_bytes())
    for number in (KEYINT, KEYINT + 3):  # a key frame
        row = source.video_rows[number]
        data[source.blocks.start[row] + source.blocks.size[row] // 2] ^= 0x55
    source.close()
    damaged = folder / "damaged.ssv"
    damaged.write_bytes(data)
    run_command = import_module("ssvc_codec.cli.main").run
    assert run_command(["decode", str(damaged), str(folder / "damaged.mkv"), "-y", "-q"]) == 3
    expected = frame_hashes(folder / "damaged.mkv")
    url = server.add(damaged)
    seconds = int(expected[KEYINT + 1].split()[0]) / 1000 - 0.001
    found = frame_hashes(url, "-ss", f"{seconds:.3f}", after=("-frames:v", "1"))
    assert found[0].split()[2] == expected[KEYINT + 1].split()[2] == expected[KEYINT - 1].split()[2]
    assert frame_hashes(url) == expected


@pytest.mark.parametrize("name", ["rich", "deep"])
def test_mpv_opens_seeks_and_plays(
    server: VideoServer, request: pytest.FixtureRequest, name: str, folder: Path, run: Run, frame_hashes: FrameHashes
) -> None:
    url = server.add(request.getfixturevalue(name))
    frames = frame_hashes(url)
    target = folder / f"{name}.mpv.nut"
    start = int(frames[3].split()[0]) / 1000 + 0.001
    output = (f"--o={target}", "--of=nut", "--ovc=rawvideo", "--no-audio", "--no-sub", "--video-rotate=no")
    run("mpv", "--no-config", "--really-quiet", f"--start={start:.3f}", "--frames=1", *output, url)
    played = frame_hashes(target)
    assert played[0].split()[1:] in [line.split()[1:] for line in frames[3:5]]
    run("mpv", "--no-config", "--really-quiet", "--vo=null", "--ao=null", "--frames=4", "--untimed", url)
