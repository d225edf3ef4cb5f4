"""Image codecs of CompressAI from state dicts of one's own, frame by frame, for reference.

They code RGB. Planes become RGB as their matrix says (BT.709 or BT.601 where it does not), chroma samples repeated
2x2; what comes back becomes planes by the inverse matrix, chroma by the mean of 2x2, so that the conversion itself
gives back every sample that lies within RGB.
"""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ffmpeg_bridge.bench.codec import Coded
from ssvc_codec.errors import ModelError
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.frame import Frame, VideoFormat

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ARCHITECTURES", "CompressaiCodec", "load_network", "planes_to_rgb", "rgb_to_planes"]

ARCHITECTURES = {
    "bmshj2018-factorized": "FactorizedPrior",
    "bmshj2018-hyperprior": "ScaleHyperprior",
    "mbt2018-mean": "MeanScaleHyperprior",
}
"""Classes of compressai.models."""
_MAX_REASON = 200  # characters
_STRIDE = 64  # sides are padded to a multiple, as the hyper-latents need it


def load_network(architecture: str, path: Path) -> Any:
    """The network of a state dict, or of a training checkpoint that holds one, with tables for its entropy coder.

    Raises ModelError for a file that is neither, or of another architecture.
    """
    import torch

    from ssvc_codec.training.compressai_import import compressai, zoo

    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: no state dict: {error}") from error
    if isinstance(stored, Mapping) and "state_dict" in stored:
        stored = stored["state_dict"]
    try:
        state = zoo.load_state_dict(cast("dict[str, Tensor]", stored))
        network = getattr(compressai.models, ARCHITECTURES[architecture]).from_state_dict(state)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:_MAX_REASON]
        raise ModelError(f"{path}: not the weights of {architecture} ({reason})") from error
    network.update()
    return network.eval()


@dataclass(frozen=True)
class CompressaiCodec:
    """One architecture; each file is a quality point, numbered from 1. Strings are counted, without their shape.

    Seconds are those of compress() and decompress() on the CPU: conversion and start left out.
    """

    architecture: str
    files: tuple[Path, ...]
    threads: int = 1
    name: str = ""
    is_intra: bool = True

    @property
    def points(self) -> tuple[float, ...]:
        """Numbers of the files."""
        return tuple(range(1, len(self.files) + 1))

    def check(self) -> None:
        """Loads each file once. Raises ModelError."""
        for path in self.files:
            load_network(self.architecture, path)

    def version(self) -> str:
        """Of compressai."""
        from importlib import metadata

        return f"compressai {metadata.version('compressai')}"

    def command(self) -> str:
        """Which files."""
        return f"compress() and decompress() of {self.architecture} with {', '.join(path.name for path in self.files)}"

    def identity(self, point: float) -> list[str]:
        """Architecture and content of the file. Raises ModelError where it cannot be read."""
        try:
            digest = hashlib.sha256(self.files[int(point) - 1].read_bytes()).hexdigest()
        except OSError as error:
            raise ModelError(f"{error.filename}: {error.strerror}") from error
        return [self.architecture, digest, self.version(), str(self.threads)]

    def code(self, clip: Clip, point: float, *, folder: Path) -> Coded:
        """Encodes and decodes clip frame by frame, from the strings alone."""
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)
        network = load_network(self.architecture, self.files[int(point) - 1])
        frames: list[Frame] = []
        n_bytes, encode_seconds, decode_seconds = 0, 0.0, 0.0
        path = folder / f"{self.name}.strings"
        with path.open("wb") as file, torch.inference_mode():
            for frame in clip.frames:
                picture = _padded(torch.from_numpy(planes_to_rgb(frame))[None])
                start = time.perf_counter()
                coded = network.compress(picture)
                encode_seconds += time.perf_counter() - start
                strings = [string for group in coded["strings"] for string in group]
                n_bytes += sum(map(len, strings))
                file.write(b"".join(strings))
                start = time.perf_counter()
                decoded = network.decompress(coded["strings"], coded["shape"])["x_hat"]
                decode_seconds += time.perf_counter() - start
                cut = decoded[0, :, : clip.format.height, : clip.format.width]
                frames.append(rgb_to_planes(cut.numpy(), like=frame))
        return Coded(n_bytes, encode_seconds, decode_seconds, tuple(frames), path)


def _padded(picture: Tensor) -> Tensor:
    """(1, 3, H, W) with its last row and column repeated up to multiples of 64."""
    import torch.nn.functional as F

    height, width = picture.shape[2:]
    return F.pad(picture, (0, -width % _STRIDE, 0, -height % _STRIDE), mode="replicate")


def planes_to_rgb(frame: Frame) -> NDArray[np.float32]:
    """(3, height, width) in 0..1, not rounded; what lies outside of RGB is cut off."""
    matrix, offset = _matrix(frame.format)
    height, width = frame.y.shape
    chroma = [p.repeat(2, axis=0).repeat(2, axis=1)[:height, :width] for p in (frame.u, frame.v)]
    yuv = np.stack([frame.y, *chroma]).astype(np.float32)
    rgb = np.einsum("ij,jhw->ihw", matrix, yuv) + offset[:, None, None]
    return np.clip(rgb / 255, 0, 1).astype(np.float32)


def rgb_to_planes(rgb: NDArray[np.float32], *, like: Frame) -> Frame:
    """The frame of an RGB picture (3, height, width) in 0..1; format and times are those of `like`."""
    matrix, offset = _matrix(like.format)
    yuv = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), rgb.astype(np.float64) * 255 - offset[:, None, None])
    u, v = (_halved(plane) for plane in yuv[1:])
    y, u, v = (np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in (yuv[0], u, v))
    return Frame(y, u, v, like.format, pts=like.pts, duration=like.duration, time_base=like.time_base)


def _halved(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each 2x2 block; at an odd side of those samples that are there."""
    height, width = plane.shape
    padded = np.pad(plane, [(0, height % 2), (0, width % 2)], mode="edge")
    return padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))


def _matrix(format: VideoFormat) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from ssvc_codec.semantics.rgb import yuv_to_rgb_matrix

    matrix, offset = yuv_to_rgb_matrix(format)
    return matrix.astype(np.float64), offset.astype(np.float64)
