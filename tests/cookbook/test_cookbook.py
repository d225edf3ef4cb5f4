"""Every command of docs/ffmpeg.md, run as a reader would run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:<!-- needs: (\w+) -->\n)?```sh\n(.*?)```", re.DOTALL)
BLOCKS = [(needs, script) for needs, script in BLOCK.findall((ROOT / "docs" / "ffmpeg.md").read_text())]
READER_GONE = 141
SIZE, RATE, N_FRAMES = "96x64", 25, 10

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def pantry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """in.mp4 with sound, subtitles and a chapter; in.ssv with one person in it."""
    folder = tmp_path_factory.mktemp("pantry")
    (folder / "words.srt").write_text("1\n00:00:00,000 --> 00:00:00,300\nwords\n")
    (folder / "chapter.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=300\ntitle=first\n")
    person = {"category_id": 1, "bbox": [8, 8, 24, 40], "score": 0.9}
    (folder / "found.json").write_text(json.dumps([{"image_id": number, **person} for number in range(N_FRAMES)]))
    seconds = N_FRAMES / RATE
    sources = ["-f", "lavfi", "-i", f"testsrc2=size={SIZE}:rate={RATE}:duration={seconds}"]
    sources += ["-f", "lavfi", "-i", f"sine=duration={seconds}", "-i", "words.srt", "-i", "chapter.txt"]
    coding = ["-map", "0", "-map", "1", "-map", "2", "-map_chapters", "3", "-c:v", "libx264", "-c:s", "mov_text"]
    subprocess.run(["ffmpeg", "-v", "error", *sources, *coding, "in.mp4"], cwd=folder, check=True)
    run("ssvc encode in.mp4 in.ssv -q -g 5 --detections found.json", folder)
    return folder


@pytest.fixture
def kitchen(pantry: Path, tmp_path: Path) -> Path:
    for name in ("in.mp4", "in.ssv"):
        shutil.copy(pantry / name, tmp_path)
    return tmp_path


def run(script: str, folder: Path) -> str:
    """Runs a block in bash, ssvc being that of this environment.

    Every command of a pipe must end well, or with the silence of a writer whose reader had enough.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "FFMPEG": os.environ.get("SSVC_NATIVE_FFMPEG", "")}
    done = subprocess.run(
        ["bash", "-mc", f"set -e -o pipefail\n{script}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode in (0, READER_GONE), f"{script}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def missing(needs: str) -> str | None:
    if needs == "native":
        return None if os.environ.get("SSVC_NATIVE_FFMPEG") else "SSVC_NATIVE_FFMPEG names no patched ffmpeg"
    return f"{needs} is not installed" if needs and shutil.which(needs) is None else None


@pytest.mark.parametrize(("needs", "script"), BLOCKS, ids=[script.splitlines()[0][:60] for _, script in BLOCKS])
def test_the_block_runs_and_makes_what_it_names(needs: str, script: str, kitchen: Path) -> None:
    if reason := missing(needs):
        pytest.skip(reason)
    run(script, kitchen)
    for name in re.findall(r"(?<= )[\w%]+\.(?:mp4|mkv|ssv|png|jpg|yuv|txt|m4a)\b", script):
        if "%" in name:
            stem, suffix = name.split("%")[0], Path(name).suffix
            assert list(kitchen.glob(f"{stem}*{suffix}")), f"no {name}"
        else:
            assert (kitchen / name).stat().st_size > 0, f"{name} is empty"


def test_the_page_has_blocks_for_each_way() -> None:
    words = "\n".join(script for _, script in BLOCKS)
    for word in ("ssvc serve", "ssvc ffmpeg", "ssvc ffprobe", "| ssvc encode -", "ssvc decode in.ssv - |", "$FFMPEG"):
        assert word in words
