"""Small .ssv files with everything in them, what `ssvc decode` makes of them, and a server that offers them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from ffmpeg_bridge.serving import VideoServer

WIDTH, HEIGHT, N_FRAMES, KEYINT = 192, 128, 12, 5
PERSON, DOG = 1, 18  # category ids of COCO
_SUBTITLES = "1\n00:00:00,100 --> 00:00:00,200\nHello\n\n2\n00:00:00,300 --> 00:00:00,400\nWorld\n"
_CHAPTERS = (
    ";FFMETADATA1\ntitle=Test\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=240\ntitle=One\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=240\nEND=480\ntitle=Two\n"
)

Run = Callable[..., str]


def ssvc(*arguments: object) -> None:
    assert import_module("ssvc_codec.cli.main").run([*map(str, arguments), "-q"]) == 0


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a program and returns its standard output; skips the test where the program is absent."""

    def call(*arguments: object) -> str:
        words = [str(argument) for argument in arguments]
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")
        if words[0] in ("ffmpeg", "ffprobe"):
            words[1:1] = ["-v", "error"]
        done = subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        return done.stdout.decode()

    return call


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="session")
def rich(run: Run, folder: Path) -> Path:
    """12 frames of 192x128 at 30000/1001 in GoPs of 5 with a person and a dog, turned by 90 degrees, with sound that
    begins before the picture, subtitles, chapters, a title and an attachment.
    """
    grain = np.random.default_rng(4).uniform(40, 215, (HEIGHT, WIDTH))
    smooth = np.mean([np.roll(grain, (a, b), (0, 1)) for a in range(4) for b in range(4)], axis=0)
    with (folder / "clip.y4m").open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F30000:1001 C420jpeg\n".encode())
        for k in range(N_FRAMES):
            luma = smooth.copy()
            luma[8:88, 4 + k : 44 + k] /= 2
            chroma = np.full((HEIGHT // 2, WIDTH // 2), 120, np.uint8).tobytes()
            file.write(b"FRAME\n" + luma.astype(np.uint8).tobytes() + chroma * 2)
    (folder / "s.srt").write_text(_SUBTITLES)
    (folder / "m.txt").write_text(_CHAPTERS)
    rows = [
        {"image_id": k, "category_id": category, "bbox": box, "score": 0.9, "track_id": track}
        for k in range(N_FRAMES)
        for category, box, track in ((PERSON, [4 + k, 8, 40, 80], 7), (DOG, [136, 72, 40, 40], 9))
    ]
    (folder / "boxes.json").write_text(json.dumps(rows))
    sound = ("-f", "lavfi", "-i", "sine=frequency=500:sample_rate=48000:duration=0.4")
    color = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv")
    codecs = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "8", "-c:a", "aac", "-metadata:s:v", "rotate=90")
    run("ffmpeg", "-i", folder / "clip.y4m", *sound, *codecs, *color, folder / "clip.mp4")
    inputs = ("-i", folder / "clip.mp4", "-i", folder / "s.srt", "-i", folder / "m.txt")
    attachment = ("-attach", folder / "s.srt", "-metadata:s:t", "mimetype=text/plain")
    run("ffmpeg", *inputs, "-map", "0", "-map", "1", "-map_metadata", "2", "-c", "copy", *attachment, folder / "in.mkv")
    options = ["--detections", folder / "boxes.json", "-g", KEYINT, "--no-scenecut", "--preset", "fast"]
    ssvc("encode", folder / "in.mkv", folder / "rich.ssv", *options)
    return folder / "rich.ssv"


@pytest.fixture(scope="session")
def deep(run: Run, folder: Path) -> Path:
    """10 bit, odd sides, and times that vary."""
    picked = "format=yuv420p10le,select='eq(n,0)+eq(n,1)+eq(n,4)+eq(n,6)+eq(n,11)'"
    source = ("-f", "lavfi", "-i", "testsrc2=size=53x37:rate=25:duration=0.5", "-vf", picked, "-vsync", "vfr")
    run("ffmpeg", *source, "-c:v", "ffv1", folder / "deep.mkv")
    ssvc("encode", folder / "deep.mkv", folder / "deep.ssv", "-g", 3, "--detector", "none", "--preset", "fast")
    return folder / "deep.ssv"


@pytest.fixture(scope="session")
def decoded(folder: Path) -> Callable[..., Path]:
    """What `ssvc decode` makes of a file, as .mkv."""

    def call(source: Path, *options: object) -> Path:
        name = "_".join([source.stem, *(str(option).strip("-") for option in options)]) + ".decoded.mkv"
        if not (folder / name).exists():
            ssvc("decode", source, folder / name, *options)
        return folder / name

    return call


@pytest.fixture
def server() -> Iterator[VideoServer]:
    with VideoServer(threads=1) as server:
        yield server


@pytest.fixture(scope="session")
def frame_hashes(run: Run) -> Callable[..., list[str]]:
    """Of each frame its time in ms, its size in bytes and its MD5, by ffmpeg's framemd5."""

    def call(url: object, *before: object, after: tuple[object, ...] = ()) -> list[str]:
        options = ("-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "1:1000", *after, "-f", "framemd5")
        lines = run("ffmpeg", "-noautorotate", *before, "-i", url, *options, "-").splitlines()
        cells = [[cell.strip() for cell in line.split(",")] for line in lines if not line.startswith("#")]
        return [f"{time} {size} {md5}" for _, _, time, _, size, md5 in cells]

    return call


def connection_of(url: str) -> tuple[str, str]:
    """Host with port, and path with query."""
    parts = urlsplit(url)
    return parts.netloc, parts.path + ("?" + parts.query if parts.query else "")
