"""The choice of codecs, what they are compared with, and the counting of VVC bytes."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ffmpeg_bridge.bench.anchors import ANCHORS
from ffmpeg_bridge.bench.codec import Settings
from ffmpeg_bridge.bench.comparisons import Pair, choose_pairs, compare
from ffmpeg_bridge.bench.libjpeg import LibjpegCodec
from ffmpeg_bridge.bench.own_codec import OwnCodec
from ffmpeg_bridge.bench.registry import OWN_NAMES, anchor_codec, choose_codecs, split_names
from ffmpeg_bridge.bench.report import render_bd_rates
from ffmpeg_bridge.bench.results import Row, RowCache, read_rows, write_rows
from ffmpeg_bridge.bench.vvenc import VvencCodec, coded_bytes

from .conftest import make_clip, needs

GOP = Settings(keyint=12)


def test_files_of_a_network_belong_to_it() -> None:
    text = "ssvc,compressai:mbt2018-mean:a.pth,b.pth.tar,x264,compressai:bmshj2018-factorized:c.pth"
    assert split_names(text) == [
        "ssvc",
        "compressai:mbt2018-mean:a.pth,b.pth.tar",
        "x264",
        "compressai:bmshj2018-factorized:c.pth",
    ]


def test_two_networks_of_one_architecture_have_names_of_their_own(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.pth", "b.pth", "c.pth")]
    for path in files:
        path.write_bytes(b"weights")
    names = [f"compressai:mbt2018_mean:{path}" for path in files]
    choice = choose_codecs(names, own=OwnCodec(GOP), points={})
    assert [codec.name for codec in choice.codecs] == ["mbt2018-mean", "mbt2018-mean-2", "mbt2018-mean-3"]


def test_ssvc_intra_has_key_frames_alone_whatever_the_gop() -> None:
    ssvc, intra = choose_codecs(["ssvc", "ssvc-intra"], own=OwnCodec(GOP), points={}).codecs
    assert (ssvc.is_intra, intra.is_intra) == (False, True)
    assert "--keyint 12" in ssvc.command()
    assert "--keyint 1 " in intra.command()


def test_ssvc_is_compared_with_all_and_ssvc_intra_with_what_is_intra() -> None:
    x264, jpeg = anchor_codec("x264", GOP), LibjpegCodec()
    ssvc, intra = choose_codecs(["ssvc", "ssvc-intra"], own=OwnCodec(GOP), points={}).codecs
    codecs = [x264, ssvc, intra, jpeg]
    assert choose_pairs(codecs, own=OWN_NAMES) == [
        ("ssvc", "x264"),
        ("ssvc", "ssvc-intra"),
        ("ssvc", "libjpeg"),
        ("ssvc-intra", "libjpeg"),
    ]
    assert choose_pairs([x264, jpeg], own=OWN_NAMES) == [("libjpeg", "x264")]
    assert choose_pairs(codecs, own=OWN_NAMES, against=["libjpeg"])[0] == ("x264", "libjpeg")


@pytest.mark.parametrize("change", [{"keyint": 11}, {"threads": 2}])
def test_what_decides_a_result_is_in_its_identity(change: dict[str, int]) -> None:
    other = Settings(**{"keyint": 12, **change})
    codecs = [(OwnCodec(GOP), OwnCodec(other))]
    if "ffmpeg" in anchor_codec("x264", GOP).missing():
        pytest.skip("ffmpeg is not installed")
    codecs += [(anchor_codec("x265", GOP), anchor_codec("x265", other))]  # type: ignore[list-item]
    for codec, changed in codecs:
        assert codec.identity(20) == codec.identity(20)
        assert codec.identity(20) != codec.identity(21)
        assert codec.identity(20) != changed.identity(20)


@pytest.mark.parametrize("name", [*ANCHORS, "libjpeg"])
def test_each_anchor_gives_back_every_frame_at_low_delay(name: str, tmp_path: Path) -> None:
    codec = anchor_codec(name, Settings(keyint=2))
    needs(*([ANCHORS[name].encoder] if name in ANCHORS else []))
    clip = make_clip(96, 80, 3)
    coded = codec.code(clip, codec.points[2], folder=tmp_path)
    assert len(coded.frames) == 3
    assert 0 < coded.n_bytes < 96 * 80 * 3
    for frame, original in zip(coded.frames, clip.frames, strict=True):
        difference = frame.y.astype(int) - original.y.astype(int)
        assert abs(difference).mean() < 4  # of pictures in their order, at high quality
    if not codec.is_intra:
        assert coded.path is not None
        assert packet_flags(coded.path) == ["K", "_", "K"]


def packet_flags(path: Path) -> list[str]:
    """K for each key frame in order of presentation, which must be that of the file."""
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts,flags", "-of", "csv=p=0"]
    listing = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True).stdout
    packets = [line.split(",") for line in listing.split()]
    assert packets == sorted(packets, key=lambda packet: int(packet[0]))
    return [flags[0] for _pts, flags, *_rest in packets]


def test_vvc_bytes_are_those_of_slices_and_their_lengths() -> None:
    def unit(kind: int, n_bytes: int) -> bytes:
        return bytes([0, kind << 3 | 1]) + b"\xaa" * (n_bytes - 2)

    sps, pps, sei, key, inter = unit(15, 30), unit(16, 12), unit(23, 40), unit(7, 100), unit(0, 25)
    long, short = b"\x00\x00\x00\x01", b"\x00\x00\x01"
    stream = long + sps + short + pps + short + sei + long + key + short + inter
    assert coded_bytes(stream) == 100 + 4 + 25 + 4


STAND_IN = """#!{python}
import struct, sys
from pathlib import Path
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if sys.argv[1:] == ["--version"]:
    print("vvencapp stand-in")
elif "--input" in arguments:
    header, *frames = Path(arguments["--input"]).read_bytes().split(b"FRAME\\n")
    target = Path(arguments["--output"])
    start = b"\\0\\0\\1"
    target.write_bytes(start + bytes([0, 15 << 3]) + b"\\xaa" * 18 + start + bytes([0, 7 << 3]) + b"\\xbb" * 48)
    target.with_suffix(".raw").write_bytes(b"".join(frames))
else:
    samples = Path(arguments["-b"]).with_suffix(".raw").read_bytes()
    Path(arguments["-o"]).write_bytes(b"".join(struct.pack("<H", 4 * sample + 1) for sample in samples))
"""


def test_vvenc_is_run_by_its_own_programs_and_its_10_bits_are_rounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("vvencapp", "vvdecapp"):
        (programs / name).write_text(STAND_IN.format(python=sys.executable))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    codec, clip = VvencCodec(GOP), make_clip(32, 16, 2)
    assert (codec.missing(), codec.version()) == ("", "vvencapp stand-in")
    coded = codec.code(clip, 32, folder=tmp_path)
    assert coded.n_bytes == 50 + 4  # of the slice alone
    for frame, original in zip(coded.frames, clip.frames, strict=True):
        assert (frame.y == original.y).all()
        assert (frame.v == original.v).all()


def test_vvenc_codes_without_reordering_where_frames_refer_to_each_other() -> None:
    assert "picreordering=0" in VvencCodec(GOP).command()
    assert "--intraperiod 12" in VvencCodec(GOP).command()
    assert "--additional" not in VvencCodec(Settings(keyint=1)).command()


def test_means_come_with_their_worst_and_best_clip() -> None:
    def curve(clip: str, codec: str, factor: float) -> list[Row]:
        qualities = [(0.1, 30.0), (0.2, 34.0), (0.4, 38.0)]
        return [
            Row(clip, codec, 1.0, 3, 64, 48, 1, factor * bpp, q, q, q, q, math.nan, 1.0, 1.0) for bpp, q in qualities
        ]

    rows = [*curve("a", "x264", 1), *curve("a", "ssvc", 1.5), *curve("b", "x264", 1), *curve("b", "ssvc", 0.9)]
    report = render_bd_rates(compare(rows, [Pair("ssvc", "x264")]))
    assert "| ssvc | x264 | +20.0 | +50.0, -10.0 | n/a |  | MS-SSIM: no clip has a BD-rate |" in report


def test_rows_come_back_from_their_table(tmp_path: Path) -> None:
    row = Row("clip", "x264", 22.0, 3, 64, 48, 1234, 0.1, 40.5, 41.25, 42.125, 40.8, 0.99, 1.5, 0.25)
    write_rows(tmp_path / "rows.tsv", [row])
    (read,) = read_rows(tmp_path / "rows.tsv")
    assert repr(read) == repr(row)


def test_a_damaged_file_in_the_cache_counts_as_none(tmp_path: Path) -> None:
    cache = RowCache(tmp_path)
    row = Row("clip", "x264", 22.0, 3, 64, 48, 1234, 0.1, 40.5, 41.25, 42.125, 40.8, 0.99, 1.5, 0.25)
    cache.keep(["key"], row)
    found = cache.find(["key"], clip="other", codec="x264", point=22)
    assert found is not None
    assert (found.clip, found.n_bytes) == ("other", 1234)
    next(tmp_path.glob("*.json")).write_text('{"clip": ')
    assert cache.find(["key"], clip="clip", codec="x264", point=22) is None
