"""Small .ssv files with a person and a dog, coded once."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ffmpeg_bridge.writer import SsvWriter
from ssvc_codec.bitstream import SceneObject, SequenceHeader, build_codec_private
from ssvc_codec.encoder import Encoder
from ssvc_codec.frame import Frame, VideoFormat

WIDTH, HEIGHT, N_FRAMES, KEYINT = 150, 100, 8, 4  # 5 x 4 cells, the last of both sides not whole
RATE = Fraction(25)


def moving_picture(n: int, *, width: int, height: int, seed: int) -> list[Frame]:
    """A texture that moves by (2, 1) samples a frame."""
    random = np.random.default_rng(seed)
    phases = random.uniform(0, 6, 4)
    frames: list[Frame] = []
    for k in range(n):
        y, x = np.mgrid[:height, :width].astype(float)
        x, y = x + 2 * k, y + k
        luma = 0.5 + 0.2 * np.sin(x / 9 + phases[0]) * np.cos(y / 7 + phases[1]) + 0.15 * np.sin(x / 23 + y / 5)
        u, v = (0.5 + 0.2 * np.sin(x / 31 + p)[::2, ::2] for p in phases[2:])
        y, u, v = (np.clip(p * 255, 16, 235).astype(np.uint8) for p in (luma, u, v))
        frames.append(Frame(y, u, v, VideoFormat(width, height), pts=k, duration=1, time_base=1 / RATE))
    return frames


def objects_of(k: int) -> list[SceneObject]:
    """A person who walks by 2 pixels a frame, and from the second frame on a dog."""
    person, dog = SceneObject(7, 0, 204, 4 + 2 * k, 8, 30, 50), SceneObject(9, 16, 153, 104, 60, 40, 36)
    return [person, dog] if k else [person]


def write_ssv(path: Path, n: int = N_FRAMES, *, width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Path:
    frames = moving_picture(n, width=width, height=height, seed=seed)
    options = {"crf": 30, "keyint": KEYINT, "scenecut": False, "preset": "fast", "device": "cpu"}
    encoder = Encoder(frames[0].format, time_base=1 / RATE, **options)  # type: ignore[arg-type]
    packets = [encoder.send(frame, objects=objects_of(k))[0] for k, frame in enumerate(frames)]
    private = build_codec_private(SequenceHeader.from_bytes(encoder.sequence_header))
    with SsvWriter(path, format=encoder.format, time_base=1 / RATE, average_rate=RATE, codec_private=private) as writer:
        for packet in packets:
            writer.write(packet)
    return path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of 2, 2 and 3 GoPs, the last of which has 2 frames instead of 4."""
    folder = tmp_path_factory.mktemp("dataset")
    return [write_ssv(folder / f"{k}.ssv", n, seed=k) for k, n in enumerate((8, 8, 10))]


@pytest.fixture(scope="session")
def first(files: list[Path]) -> Path:
    return files[0]


@pytest.fixture
def damaged(first: Path, tmp_path: Path) -> Path:
    """The first file with one byte of the last packet's head changed: a P frame of the second GoP."""
    from ssvc_codec.dataset import SsvFile

    path = tmp_path / "damaged.ssv"
    data = bytearray(first.read_bytes())
    data[int(SsvFile(first).starts[-1]) + 3] ^= 0xFF
    path.write_bytes(data)
    return path
