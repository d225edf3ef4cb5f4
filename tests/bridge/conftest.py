"""Made-up streams for the media layer: real containers, packets of random bytes."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ffmpeg_bridge import SsvWriter, open_video
from ssvc_codec.frame import VideoFormat
from ssvc_codec.packet import Packet

SEQUENCE_HEADER = b"made-up sequence header"
PROGRAMS = ("ffmpeg", "ffprobe")

Run = Callable[..., str]
Clip = Callable[..., Path]


def _codec_private(video: VideoFormat) -> bytes:
    """BITMAPINFOHEADER and a made-up sequence header."""
    size = 40 + len(SEQUENCE_HEADER)
    header = struct.pack("<IIIHH4sIIIII", size, video.width, video.height, 1, 24, b"SSV1", 0, 0, 0, 0, 0)
    return header + SEQUENCE_HEADER


def _payload(index: int, n_bytes: int = 200) -> bytes:
    """The made-up packet of one frame."""
    return np.random.default_rng(index).bytes(n_bytes)


def _write_ssv(
    path: Path, *, n_frames: int = 10, rate: Fraction = Fraction(25), keyint: int = 1, video: VideoFormat | None = None
) -> list[Packet]:
    """An .ssv of made-up packets without sound."""
    video = video or VideoFormat(64, 48)
    base = 1 / rate
    packets = [Packet(_payload(i), i, i % keyint == 0, 1, base) for i in range(n_frames)]
    private = _codec_private(video)
    with SsvWriter(path, format=video, time_base=base, codec_private=private, average_rate=rate) as writer:
        for packet in packets:
            writer.write(packet)
    return packets


def _encode_made_up(source: Path, target: Path, **options: float) -> list[Packet]:
    """Turns a conventional clip into an .ssv of made-up packets, with all its other streams."""
    packets: list[Packet] = []
    with open_video(source, **options) as reader:  # pyright: ignore[reportArgumentType]
        private = _codec_private(reader.format)
        base, rate = reader.time_base, reader.average_rate
        with SsvWriter(
            target, format=reader.format, time_base=base, codec_private=private, average_rate=rate, source=reader
        ) as writer:
            for index, frame in enumerate(reader):
                packets.append(Packet(_payload(index), frame.pts, True, frame.duration, frame.time_base))
                writer.write(packets[-1])
    return packets


@pytest.fixture(scope="session")
def codec_private() -> Callable[[VideoFormat], bytes]:
    """Makes a CodecPrivate with a made-up sequence header."""
    return _codec_private


@pytest.fixture(scope="session")
def write_ssv() -> Callable[..., list[Packet]]:
    """Writes an .ssv of made-up packets without sound."""
    return _write_ssv


@pytest.fixture(scope="session")
def encode_made_up() -> Callable[..., list[Packet]]:
    """Turns a conventional clip into an .ssv of made-up packets."""
    return _encode_made_up


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs a program and returns its standard output; skips the test where the program is absent."""

    def call(*arguments: object) -> str:
        words = [str(argument) for argument in arguments]
        if shutil.which(words[0]) is None:
            pytest.skip(f"{words[0]} is not installed")
        if words[0] in PROGRAMS:
            words[1:1] = ["-v", "error"]
        done = subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
        return done.stdout.decode()

    return call


@pytest.fixture(scope="session")
def probe(run: Run) -> Callable[..., dict]:
    """What ffprobe says of a file."""

    def call(path: Path, *arguments: object) -> dict:
        return json.loads(run("ffprobe", "-show_streams", "-show_format", "-of", "json", *arguments, path))

    return call


@pytest.fixture(scope="session")
def packet_hashes(run: Run) -> Callable[..., list[str]]:
    """The MD5 of each packet's payload, as ffprobe sees it."""

    def call(path: Path, stream: str = "v:0") -> list[str]:
        show = ("-show_data_hash", "md5", "-show_entries", "packet=data_hash", "-of", "csv=p=0")
        return run("ffprobe", "-select_streams", stream, *show, path).split()

    return call


@pytest.fixture(scope="session")
def clip(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A test clip of ffmpeg's, made once for each set of arguments. Options follow the inputs."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[tuple[str, ...], Path] = {}

    def call(
        name: str, *options: object, size: str = "64x48", rate: str = "25", seconds: float = 0.6, sound: bool = False
    ) -> Path:
        key = (name, size, rate, str(seconds), str(sound), *map(str, options))
        if key not in made:
            path = folder / f"{len(made)}_{name}"
            inputs = ["-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}"]
            if sound:
                inputs += ["-f", "lavfi", "-i", f"sine=frequency=500:sample_rate=48000:duration={seconds}"]
            run("ffmpeg", "-y", *inputs, *options, "-threads", "1", path)
            made[key] = path
        return made[key]

    return call
