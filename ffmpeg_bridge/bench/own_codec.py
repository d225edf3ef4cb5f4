"""ssvc itself: real .ssv files, written by the writer, read back by the reader, decoded by the decoder."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from ffmpeg_bridge.bench.codec import Coded, Settings
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.frame import Frame
from ssvc_codec.weights import find_model

__all__ = ["DEFAULT_CRFS", "OwnCodec", "StoppedError", "code_digest"]

DEFAULT_CRFS = (0, 9, 18, 27, 36, 45, 54, 63)
_NOT_CODING = frozenset({"cli", "dataset", "editing", "evaluation", "models", "semantics", "training"})
T = TypeVar("T")


class StoppedError(Exception):
    """The user wants to end in the middle of a point."""


@cache
def code_digest() -> str:
    """Of all source files that have a part in coding: results of other code are not taken from a cache."""
    package = Path(__file__).resolve().parents[2] / "ssvc_codec"
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if path.relative_to(package).parts[0] not in _NOT_CODING:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class OwnCodec:
    """ssvc with the settings of a run. Seconds are those inside encoder and decoder: start and container left out."""

    settings: Settings
    points: tuple[float, ...] = DEFAULT_CRFS
    name: str = "ssvc"
    model: str = "base"  # name or folder
    preset: str = "medium"
    device: str = "auto"
    should_stop: Callable[[], bool] = bool  # asked between frames

    @property
    def is_intra(self) -> bool:
        """Whether every frame is a key frame."""
        return self.settings.keyint == 1

    def fingerprint(self) -> str:
        """First 8 bytes of the hash of the weights. Raises ModelError."""
        weights = find_model(self.model) / "weights.safetensors"
        return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]

    def version(self) -> str:
        """Of the package, the code and the weights."""
        return f"ssvc {metadata.version('ssvc')}, code {code_digest()}, model {self.model} {self.fingerprint()}"

    def command(self) -> str:
        """The command line that writes the same packets."""
        options = f"--keyint {self.settings.keyint} --no-scenecut --detector none --preset {self.preset}"
        return f"ssvc encode source.y4m {self.name}.ssv --crf POINT {options} --model {self.model}"

    def identity(self, point: float) -> list[str]:
        """Options, code and weights."""
        return [self.command(), f"{point:g}", self.version(), self.device, str(self.settings.threads)]

    def code(self, clip: Clip, point: float, *, folder: Path) -> Coded:
        """Encodes to a file and decodes it. Raises StoppedError when should_stop says so, and errors of the codec."""
        path = folder / f"{self.name}.ssv"
        encode_seconds = self._encode(clip, point, path)
        n_bytes, frames, decode_seconds = self._decode(path)
        return Coded(n_bytes, encode_seconds, decode_seconds, tuple(frames), path)

    def _encode(self, clip: Clip, crf: float, path: Path) -> float:
        from ffmpeg_bridge.writer import SsvWriter
        from ssvc_codec.bitstream import SequenceHeader, build_codec_private
        from ssvc_codec.encoder import Encoder

        preset: Any = self.preset
        encoder = Encoder(
            clip.format,
            time_base=1 / clip.frame_rate,
            crf=crf,
            keyint=self.settings.keyint,
            scenecut=False,
            preset=preset,
            model=self.model,
            device=self.device,
            threads=self.settings.threads,
        )
        clock = _Clock(self.should_stop)
        header = build_codec_private(SequenceHeader.from_bytes(encoder.sequence_header))
        time_base, rate = 1 / clip.frame_rate, clip.frame_rate
        with SsvWriter(
            str(path), format=clip.format, time_base=time_base, codec_private=header, average_rate=rate
        ) as writer:
            for frame in clip.frames:
                for packet in clock.timed(lambda frame=frame: encoder.send(frame)):
                    writer.write(packet)
            for packet in clock.timed(encoder.flush):
                writer.write(packet)
        return clock.seconds

    def _decode(self, path: Path) -> tuple[int, list[Frame], float]:
        """Bytes of the packets in the file, the frames, and the seconds of decoding."""
        from ffmpeg_bridge.reader import open_ssv
        from ssvc_codec.decoder import Decoder

        clock = _Clock(self.should_stop)
        frames: list[Frame] = []
        n_bytes = 0
        folder = self.model if Path(self.model).is_dir() else None
        with open_ssv(str(path)) as reader:
            threads = self.settings.threads
            decoder = Decoder(reader.sequence_header, model=folder, device=self.device, threads=threads)
            for packet in reader:
                n_bytes += len(packet.data)
                frames += clock.timed(lambda packet=packet: decoder.send(packet))
            frames += clock.timed(decoder.flush)
        return n_bytes, frames, clock.seconds


class _Clock:
    """Adds up the time of calls, and ends them when the user wants so."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self.seconds = 0.0
        self._should_stop = should_stop

    def timed(self, call: Callable[[], Iterable[T]]) -> list[T]:
        if self._should_stop():
            raise StoppedError
        start = time.perf_counter()
        result = list(call())
        self.seconds += time.perf_counter() - start
        return result
