"""The virtual file as a file: its elements, its ranges, and the times of files that other programs have remuxed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ffmpeg_bridge import ebml
from ffmpeg_bridge.reader import open_ssv
from ffmpeg_bridge.serving.layout import VirtualFile, cluster_starts
from ffmpeg_bridge.serving.part import Part
from ffmpeg_bridge.serving.source import SsvSource
from ssvc_codec.container.lacing import lace_sizes
from ssvc_codec.errors import MediaError

from .conftest import N_FRAMES, Run

SEGMENT_PARTS = {0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1043A770, 0x1941A469, 0x1254C367, 0x1C53BB6B, ebml.CLUSTER}


class Virtual:
    """A virtual file whose frames are made up: the n-th holds n everywhere."""

    def __init__(self, path: Path, query: str = "") -> None:
        self.source = SsvSource(path)
        self.file = VirtualFile(self.source, Part.from_query(query))

    def read(self, start: int, stop: int) -> bytes:
        return b"".join(self.file.pieces(start, stop, lambda n: bytes([n]) * self.file.frame_bytes))

    def whole(self) -> bytes:
        return self.read(0, self.file.size)


@pytest.fixture
def virtual() -> Iterator[type[Virtual]]:
    opened: list[Virtual] = []

    class Opened(Virtual):
        def __init__(self, path: Path, query: str = "") -> None:
            super().__init__(path, query)
            opened.append(self)

    yield Opened
    for item in opened:
        item.source.close()


def segment_elements(data: bytes) -> list[tuple[int, int, int, int]]:
    """(id, start, payload start, payload end) within the Segment, which must fill the file."""
    (head, segment) = list(ebml.iter_elements(data))
    assert (head[0], segment[0], segment[3]) == (ebml.EBML, ebml.SEGMENT, len(data))
    elements = list(ebml.iter_elements(data, segment[2]))
    assert elements[-1][3] == len(data)
    return elements


def test_the_file_is_as_long_as_it_says(virtual: type[Virtual], rich: Path) -> None:
    file = virtual(rich)
    assert len(file.whole()) == file.file.size


def test_a_range_is_a_slice_of_the_whole(virtual: type[Virtual], rich: Path) -> None:
    file = virtual(rich)
    whole = file.whole()
    elements = segment_elements(whole)
    edges = {0, 1, len(whole) - 1, *(place for element in elements for place in element[1:])}
    near = sorted(p for edge in edges for p in range(edge - 2, edge + 40) if 0 <= p < len(whole))
    draw = random.Random(1)
    for start in near:
        stop = draw.choice([start + 1, start + 3, start + 40, start + draw.randrange(1, 60_000)])
        assert file.read(start, min(stop, len(whole))) == whole[start:stop]


def test_cues_and_seek_head_point_where_they_should(virtual: type[Virtual], rich: Path) -> None:
    whole = virtual(rich).whole()
    elements = segment_elements(whole)
    begin = elements[0][1]
    assert {element[0] for element in elements} == SEGMENT_PARTS
    places = {element[1] - begin: element for element in elements}
    seeks = [whole[a:b] for i, _, a, b in ebml.iter_elements(whole, *elements[0][2:]) if i == 0x4DBB]
    for seek in seeks:
        fields = {i: seek[a:b] for i, _, a, b in ebml.iter_elements(seek)}
        assert places[int.from_bytes(fields[0x53AC], "big")][0] == int.from_bytes(fields[0x53AB], "big")
    cues = next(element for element in elements if element[0] == 0x1C53BB6B)
    points = [whole[a:b] for _, _, a, b in ebml.iter_elements(whole, *cues[2:])]
    assert len(points) == N_FRAMES
    for point in points:
        fields = {i: point[a:b] for i, _, a, b in ebml.iter_elements(point)}
        where = {i: fields[0xB7][a:b] for i, _, a, b in ebml.iter_elements(fields[0xB7])}
        cluster = places[int.from_bytes(where[0xF1], "big")]
        inner = {i: whole[a:b] for i, _, a, b in reversed(list(ebml.iter_elements(whole, *cluster[2:])))}
        assert cluster[0] == ebml.CLUSTER
        assert inner[0xE7] == fields[0xB3]  # the frame's time is the cluster's
        assert inner[0xA3][:4] == b"\x81\0\0\x80"


@pytest.mark.parametrize("query", ["", "keyframes=1", "flow=1", "every=2"])
def test_mkvmerge_and_ffprobe_have_nothing_to_complain_of(
    virtual: type[Virtual], rich: Path, tmp_path: Path, run: Run, query: str
) -> None:
    path = tmp_path / "whole.mkv"
    path.write_bytes(virtual(rich, query).whole())
    said = run("mkvmerge", "--identify", path)
    for words in ("V_UNCOMPRESSED", "AAC", "SubRip/SRT", "Attachment ID 1", "Chapters: 2 entries"):
        assert words in said
    times = run("ffprobe", "-select_streams", "v", "-show_entries", "packet=pts,size,flags", "-of", "csv=p=0", path)
    n_frames = {"keyframes=1": 3, "every=2": 7}.get(query, N_FRAMES)
    assert len(times.split()) == n_frames
    assert all(line.endswith(",36864,K_") for line in times.split())
    run("mkvmerge", "-q", "-o", tmp_path / "again.mkv", path)  # warnings are exit code 1


def expected_times(path: Path) -> dict[int, list[int]]:
    """ms by stream as another reader of .ssv has them, put so that none is negative."""
    found: dict[int, list[int]] = {}
    with open_ssv(str(path)) as reader:
        found[0] = [round((packet.pts or 0) * packet.time_base * 1000) for packet in reader]
        for packet in reader.take_packets(None):
            time = (packet.pts or 0) * Fraction(packet.time_base or 0) * 1000
            found.setdefault(packet.stream_index, []).append(round(time))
    shift = -min(0, *(times[0] for times in found.values()))
    return {stream: [time + shift for time in times] for stream, times in found.items()}


REMUXED = {
    "mkvmerge": ("mkvmerge", "-q", "-o", "OUT", "IN"),
    "mkvmerge, compressed": ("mkvmerge", "-q", "-o", "OUT", "--compression", "0:zlib", "IN"),
    "mkvmerge, split": ("mkvmerge", "-q", "-o", "OUT", "--split", "parts:00:00:00.150-00:00:10", "IN"),
    "ffmpeg": ("ffmpeg", "-copy_unknown", "-i", "IN", "-map", "0", "-c", "copy", "OUT"),
    "ffmpeg, cut": ("ffmpeg", "-ss", "0.2", "-copy_unknown", "-i", "IN", "-map", "0", "-c", "copy", "OUT"),
    "ffmpeg, live": ("ffmpeg", "-copy_unknown", "-i", "IN", "-map", "0", "-c", "copy", "-live", "1", "OUT"),
    "ffmpeg, cues in front": (
        *("ffmpeg", "-copy_unknown", "-i", "IN", "-map", "0", "-c", "copy"),
        *("-reserve_index_space", "2000", "OUT"),
    ),
}


@pytest.mark.parametrize("how", REMUXED)
def test_times_and_packets_of_remuxed_files(
    virtual: type[Virtual], rich: Path, tmp_path: Path, run: Run, how: str
) -> None:
    path = tmp_path / "remuxed.mkv"
    names = {"IN": rich, "OUT": path}
    run(*(names.get(word, word) for word in REMUXED[how]))
    file = virtual(path)
    with open_ssv(str(path)) as reader:
        assert [file.source.packet(n).data for n in range(file.source.n_frames)] == [p.data for p in reader]
    served = tmp_path / "served.mkv"
    served.write_bytes(file.whole())
    lines = run("ffprobe", "-show_entries", "packet=stream_index,pts", "-of", "csv=p=0", served).split()
    times: dict[int, list[int]] = {}
    for line in lines:
        stream, pts = line.strip(",").split(",")[:2]
        times.setdefault(int(stream), []).append(int(pts))
    assert times == expected_times(path)


def test_a_file_that_is_cut_off_serves_what_is_whole(virtual: type[Virtual], rich: Path, tmp_path: Path) -> None:
    source = virtual(rich).source
    row = source.video_rows[8]
    path = tmp_path / "cut.ssv"
    path.write_bytes(rich.read_bytes()[: source.blocks.start[row] + 10])
    file = virtual(path)
    assert len(file.file.frames) == 8
    assert len(file.whole()) == file.file.size


def test_damaged_bytes_between_blocks_cost_no_more_than_their_cluster(
    virtual: type[Virtual], rich: Path, tmp_path: Path, run: Run
) -> None:
    path = tmp_path / "clusters.mkv"
    run("ffmpeg", "-copy_unknown", "-i", rich, "-map", "0:v", "-c", "copy", "-cluster_time_limit", "100", path)
    source = virtual(path).source
    data = bytearray(path.read_bytes())
    place = source.blocks.start[source.video_rows[1]] - 8  # the head of the second frame
    data[place : place + 8] = bytes(8)
    path.write_bytes(data)
    assert N_FRAMES - 4 <= len(virtual(path).file.frames) < N_FRAMES


def test_a_video_without_frames_is_refused(rich: Path, tmp_path: Path) -> None:
    data = rich.read_bytes()
    path = tmp_path / "head.ssv"
    path.write_bytes(data[: data.index(ebml.CLUSTER.to_bytes(4, "big"))])
    with pytest.raises(MediaError, match="holds no frames"):
        SsvSource(path)


def test_a_cluster_ends_where_16_bits_of_time_do() -> None:
    times = np.arange(0, 100_000, 1000)
    is_frame = np.zeros(100, np.bool_)
    is_frame[[0, 50]] = True
    assert list(cluster_starts(is_frame, times)) == [0, 33, 50, 83]


# RFC 9559, section 10.3: three frames of 800, 500 and 1000 bytes
@pytest.mark.parametrize(
    ("flags", "head"), [(0x02, "02 ff ff ff 23 ff f5"), (0x06, "02 43 20 5e d3")], ids=["Xiph", "EBML"]
)
def test_lacing_is_read_as_in_the_examples_of_rfc_9559(flags: int, head: str) -> None:
    data = bytes.fromhex(head)
    assert lace_sizes(data, flags, len(data) + 2300) == (len(data), [800, 500, 1000])


def test_lacing_of_fixed_size() -> None:
    assert lace_sizes(b"\x02", 0x04, 2401) == (1, [800, 800, 800])


@pytest.mark.parametrize("flags", [0x02, 0x06])
def test_a_lace_that_makes_no_sense_holds_nothing(flags: int) -> None:
    assert lace_sizes(b"\x05\xff", flags, 2) == (0, [])
