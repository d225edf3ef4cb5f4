"""`ssvc bench` from end to end: what it measures, writes, keeps and refuses."""

from __future__ import annotations

import math
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ssvc_codec.evaluation.bd_rate import RatePoint, bd_rate
from ssvc_codec.evaluation.ms_ssim import ms_ssim_db

from .conftest import N_FRAMES, POINTS, Bench, Finished, make_clip, needs, read_table, save_clip

SSVC = [sys.executable, "-c", "import ssvc_codec.cli as c; c.main()"]


def ffprobe_bytes(path: Path) -> int:
    command = ["ffprobe", "-v", "error", "-select_streams", "v", "-show_packets", "-of", "default", str(path)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sum(int(size) for size in re.findall(r"^size=(\d+)$", listing, flags=re.MULTILINE))


def test_every_codec_is_measured_at_each_of_its_points(finished: Finished) -> None:
    assert (finished.run.code, finished.run.stdout) == (0, f"{finished.folder / 'report.md'}\n")
    measured = {(row["codec"], row["point"]) for row in finished.rows}
    assert {(codec, point) for codec, points in POINTS.items() for point in points.split(",")} <= measured
    assert {row["n_frames"] for row in finished.rows} == {str(N_FRAMES)}
    assert all(0 < float(row["ms_ssim"]) < 1 for row in finished.rows)


@pytest.mark.parametrize(("codec", "suffix"), [("ssvc", "ssv"), ("x264", "mkv"), ("x265", "mkv")])
def test_sizes_are_those_of_the_packets_in_the_file(finished: Finished, codec: str, suffix: str) -> None:
    rows = [row for row in finished.rows if row["codec"] == codec]
    for row in rows:
        path = finished.folder / "coded" / f"moving_{codec}_{row['point']}.{suffix}"
        assert int(row["n_bytes"]) == ffprobe_bytes(path)
        assert float(row["bpp"]) == pytest.approx(8 * int(row["n_bytes"]) / (176 * 176 * N_FRAMES))


def test_psnr_is_what_ffmpeg_finds_between_source_and_decoded_file(
    finished: Finished, source: Path, tmp_path: Path
) -> None:
    decoded = tmp_path / "decoded.mkv"
    ssv = finished.folder / "coded" / "moving_ssvc_40.ssv"
    subprocess.run([*SSVC, "decode", str(ssv), str(decoded), "--vcodec", "ffv1", "--threads", "1", "-q"], check=True)
    for name, path in (("ssvc 40", decoded), ("x264 32", finished.folder / "coded" / "moving_x264_32.mkv")):
        log = tmp_path / "psnr.log"
        filters = f"[0:v][1:v]psnr=stats_file={log}"
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-i", str(source), "-lavfi", filters, "-f", "null", "-"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        (row,) = [row for row in finished.rows if f"{row['codec']} {row['point']}" == name]
        for plane in "yuv":
            values = [float(value) for value in re.findall(rf"psnr_{plane}:(\S+)", log.read_text())]
            assert len(values) == N_FRAMES
            assert float(row[f"psnr_{plane}"]) == pytest.approx(sum(values) / N_FRAMES, abs=0.006)  # two decimals


def test_the_bd_rate_table_follows_from_the_table_of_results(finished: Finished) -> None:
    table = read_table(finished.folder / "bd_rate.tsv")
    curves = {codec: [row for row in finished.rows if row["codec"] == codec] for codec in ("ssvc", "x264", "x265")}
    for anchor in ("x264", "x265"):
        (line,) = [row for row in table if (row["anchor"], row["clip"]) == (anchor, "moving")]
        for column, quality in (
            ("bd_rate_psnr_611", lambda row: float(row["psnr_611"])),
            ("bd_rate_ms_ssim", lambda row: ms_ssim_db(float(row["ms_ssim"]))),
        ):
            points = [[RatePoint(float(row["bpp"]), quality(row)) for row in curves[c]] for c in (anchor, "ssvc")]
            expected = bd_rate(*points)
            assert expected.is_known
            assert float(line[column]) == pytest.approx(expected.percent, abs=0.002)


def test_the_report_names_versions_command_lines_and_what_is_missing(finished: Finished) -> None:
    report = (finished.folder / "report.md").read_text()
    assert "-tune zerolatency -bsf:v filter_units" in report
    assert "bframes=0:scenecut=0" in report
    assert re.search(r"libx264 1\d\d", report)
    assert re.search(r"model base [0-9a-f]{16}", report)
    assert "### Against x265" in report
    if shutil.which("vvencapp") is None:
        assert "Not measured: vvenc (vvencapp is not on PATH)." in report
        assert "note: vvenc is left out: vvencapp is not on PATH" in finished.run.stderr


def test_a_plot_is_drawn_for_each_clip(finished: Finished) -> None:
    pytest.importorskip("matplotlib")
    assert (finished.folder / "moving.png").read_bytes().startswith(b"\x89PNG")
    assert "![moving](moving.png)" in (finished.folder / "report.md").read_text()


def test_resume_measures_only_what_is_not_known(finished: Finished, tmp_path: Path, bench: Bench) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    arguments = [folder if argument == finished.folder else argument for argument in finished.arguments]
    kept = {path: path.stat().st_mtime_ns for path in (folder / "cache").iterdir()}
    again = bench(*arguments, "--resume")
    lines = [line for line in again.stderr.splitlines() if line.startswith("[")]
    assert again.code == 0
    assert len(lines) == len(finished.rows)
    assert all("(known)" in line for line in lines)
    assert {path: path.stat().st_mtime_ns for path in (folder / "cache").iterdir()} == kept
    assert (folder / "results.tsv").read_bytes() == (finished.folder / "results.tsv").read_bytes()

    next(path for path in kept if '"x264"' in path.read_text()).unlink()
    once_more = bench(*arguments, "--resume")
    fresh = [line for line in once_more.stderr.splitlines() if line.startswith("[") and "(known)" not in line]
    assert len(fresh) == 1
    assert " x264 " in fresh[0]


def test_a_folder_with_results_is_not_overwritten_unasked(finished: Finished, bench: Bench) -> None:
    before = (finished.folder / "results.tsv").read_bytes()
    result = bench(*finished.arguments)
    assert result.code == 1
    assert "holds results: --resume goes on with them, -y measures anew" in result.stderr
    assert (finished.folder / "results.tsv").read_bytes() == before


def test_against_compares_every_codec_with_one(finished: Finished, tmp_path: Path, bench: Bench) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished.folder, folder)
    arguments = [folder if argument == finished.folder else argument for argument in finished.arguments]
    assert bench(*arguments, "--resume", "--against", "x264").code == 0
    pairs = {(line["codec"], line["anchor"]) for line in read_table(folder / "bd_rate.tsv")}
    assert pairs == {("ssvc", "x264"), ("x265", "x264")}


def test_small_pictures_are_measured_in_psnr_alone(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("libx264")
    monkeypatch.setattr("ffmpeg_bridge.bench.folder.can_plot", lambda: False)
    small = save_clip(make_clip(64, 48, 1), tmp_path / "small.y4m")
    options = ["--codecs", "x264,x264-psnr", "--points", "x264=20,40", "--points", "x264-psnr=20,40", "--frames", "3"]
    result = bench(small, "--out", tmp_path / "out", *options)
    rows = read_table(tmp_path / "out" / "results.tsv")
    (line, _mean) = read_table(tmp_path / "out" / "bd_rate.tsv")
    report = (tmp_path / "out" / "report.md").read_text()
    assert result.code == 0
    assert all(math.isnan(float(row["ms_ssim"])) and float(row["psnr_y"]) > 20 for row in rows)
    assert (line["bd_rate_ms_ssim"], line["note"]) == ("nan", "MS-SSIM: picture too small")
    assert "too small for MS-SSIM, PSNR alone" in report
    assert "1 frames, 3 were wanted" in report
    assert "matplotlib is not installed" in report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codecs", "ssvc,x246"], "unknown codec 'x246': did you mean x2"),
        (["--codecs", "svt-av1"], "did you mean svtav1"),
        (["--codecs", "compressai:cheng2020:a.pth"], "unknown architecture 'cheng2020'"),
        (["--codecs", "compressai:mbt2018-mean:none.pth"], "none.pth: no such file"),
        (["--codecs", "compressai:mbt2018-mean"], "a file with weights must follow"),
        (["--codecs", "x264", "--points", "x265=20"], "points for x265, which is none of the codecs: x264"),
        (["--codecs", "x264", "--points", "x264"], "'x264' is not CODEC=N[,N]"),
        (["--codecs", "x264", "--against", "x265"], "x265 is none of --codecs"),
        (["--crfs", "10,64"], "64: 0 (best) to 63 are possible"),
        (["--crfs", "ten"], "'ten' is not a list of numbers"),
        (["--keyint", "0"], "--keyint"),
        (["--preset", "hasty"], "'hasty' is none of fast, medium, slow"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    source: Path, tmp_path: Path, bench: Bench, options: list[str], message: str
) -> None:
    result = bench(source, "--out", tmp_path / "out", *options)
    assert result.code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_standard_input_is_refused(tmp_path: Path, bench: Bench) -> None:
    result = bench("-", "--out", tmp_path / "out")
    assert (result.code, "name files" in result.stderr) == (2, True)


@pytest.mark.parametrize("content", [None, b"", b"this is no video at all"])
def test_what_is_no_video_ends_the_run_before_anything_is_measured(
    source: Path, tmp_path: Path, bench: Bench, content: bytes | None
) -> None:
    needs("libx264")
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    result = bench(source, path, "--out", tmp_path / "out", "--codecs", "x264")
    assert result.code == 1
    assert "clip.mp4" in result.stderr
    assert not (tmp_path / "out").exists()


def test_without_any_codec_that_is_installed_there_is_nothing_to_measure(
    source: Path, tmp_path: Path, bench: Bench
) -> None:
    if shutil.which("vvencapp") is not None:
        pytest.skip("vvencapp is installed")
    result = bench(source, "--out", tmp_path / "out", "--codecs", "vvenc")
    assert (result.code, "nothing to measure: vvenc: vvencapp is not on PATH" in result.stderr) == (1, True)


def test_ctrl_c_leaves_what_was_measured_and_resume_goes_on(source: Path, tmp_path: Path, bench: Bench) -> None:
    needs("libx264")
    options = ["--out", str(tmp_path / "out"), "--codecs", "x264", "--frames", "1"]
    with subprocess.Popen(
        [*SSVC, "bench", str(source), *options], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate()
    measured = read_table(tmp_path / "out" / "results.tsv")
    assert process.returncode == 130
    assert 1 <= len(measured) < 9  # of the points x264 has unless told otherwise
    assert "The run was stopped" in (tmp_path / "out" / "report.md").read_text()
    result = bench(source, *options, "--resume", "--points", "x264=8,12")
    assert result.code == 0
    assert result.stderr.splitlines()[0].startswith("[1/2] moving x264 8:")
    assert "(known)" in result.stderr.splitlines()[0]


def test_the_benchmark_script_still_takes_its_options(repository: Path) -> None:
    script = repository / "benchmarks" / "rate_distortion.py"
    result = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=True)
    for option in ("--data", "--cache", "--clips", "--points", "--codecs", "--test", "--keyint", "--model", "--cli"):
        assert option in result.stdout


def test_a_codec_that_fails_is_told_and_the_others_are_measured(tmp_path: Path, bench: Bench) -> None:
    needs("libx264", "libsvtav1")
    tiny = save_clip(make_clip(32, 32, 1), tmp_path / "tiny.y4m")  # SVT-AV1 takes no side below 64
    points = ["--points", "x264=20,40", "--points", "svtav1=30"]
    result = bench(tiny, "--out", tmp_path / "out", "--codecs", "svtav1,x264", "--frames", "1", *points)
    assert result.code == 1
    assert "points that failed: 1; the first, svtav1 at 30 on tiny: ffmpeg failed" in result.stderr
    assert [row["codec"] for row in read_table(tmp_path / "out" / "results.tsv")] == ["x264", "x264"]
    assert "| tiny | svtav1 | 30 | ffmpeg failed" in (tmp_path / "out" / "report.md").read_text()
