from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip, as_plane, read_y4m, write_y4m
from ssvc_codec.frame import Color, Frame, VideoFormat


def noise_clip(*, width: int, height: int, bit_depth: int, n_frames: int, full_range: bool = False) -> Clip:
    rng = np.random.default_rng(1)
    color = Color(full_range=full_range)
    format = VideoFormat(width, height, bit_depth, color, sample_aspect_ratio=Fraction(4, 3))
    frames = []
    for pts in range(n_frames):
        shapes = (
            (height, width),
            (format.chroma_height, format.chroma_width),
            (format.chroma_height, format.chroma_width),
        )
        y, u, v = (as_plane(rng.integers(0, 1 << bit_depth, shape), format) for shape in shapes)
        frames.append(Frame(y, u, v, format, pts=pts, duration=1, time_base=Fraction(1001, 30000)))
    return Clip("noise", format, Fraction(30000, 1001), tuple(frames))


@pytest.mark.parametrize(("bit_depth", "full_range"), [(8, False), (8, True), (10, False)])
def test_what_is_written_is_read_again(bit_depth: int, full_range: bool) -> None:
    clip = noise_clip(width=7, height=5, bit_depth=bit_depth, n_frames=3, full_range=full_range)
    buffer = io.BytesIO()
    write_y4m(clip, buffer)
    buffer.seek(0)
    again = read_y4m(buffer, name="noise")
    assert (again.format, again.frame_rate, again.n_pixels) == (clip.format, clip.frame_rate, 7 * 5 * 3)
    for expected, frame in zip(clip.frames, again.frames, strict=True):
        assert frame.pts == expected.pts
        assert frame.time_base == expected.time_base
        for name in ("y", "u", "v"):
            np.testing.assert_array_equal(getattr(frame, name), getattr(expected, name))


def test_only_the_frames_asked_for_are_read(tmp_path: Path) -> None:
    path = tmp_path / "many.y4m"
    with path.open("wb") as file:
        write_y4m(noise_clip(width=8, height=8, bit_depth=8, n_frames=5), file)
    clip = read_y4m(path, max_frames=2)
    assert (clip.name, len(clip.frames)) == ("many", 2)


def test_the_header_as_ffmpeg_writes_it() -> None:
    header = b"YUV4MPEG2 W4 H2 F25:1 Ip A0:0 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED\n"
    clip = read_y4m(io.BytesIO(header + b"FRAME\n" + bytes(range(8 + 4))))
    assert clip.format == VideoFormat(4, 2)
    assert clip.frames[0].y.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert clip.frames[0].v.tolist() == [[10, 11]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF....\n", "does not start with"),
        (b"YUV4MPEG2 W4 H2", "does not end"),
        (b"YUV4MPEG2 W4 H2 F25:1 C444\n", "4:2:0"),
        (b"YUV4MPEG2 W0 H2 F25:1\n", "not valid"),
        (b"YUV4MPEG2 W4 H2\n", "not valid"),
        (b"YUV4MPEG2 W4 H2 F0:1\n", "frame rate"),
        (b"YUV4MPEG2 W4 H2 F25:0\n", "not valid"),
        (b"YUV4MPEG2 W4 H2 F25:1\n", "no frame"),
        (b"YUV4MPEG2 W4 H2 F25:1\nFRAME\n" + bytes(11), "of the 2 bytes"),
        (b"YUV4MPEG2 W4 H2 F25:1\nFROME\n" + bytes(12), "no FRAME marker"),
    ],
)
def test_a_bad_file_is_a_media_error(data: bytes, message: str) -> None:
    with pytest.raises(MediaError, match=message):
        read_y4m(io.BytesIO(data))
