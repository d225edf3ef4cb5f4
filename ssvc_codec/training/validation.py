"""What a model really costs and gives: strings, not estimates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from ..frame import Frame, VideoFormat
from ..inference.intra import IntraCoder
from ..inference.merge_coding import CellGrid
from ..nets.distortion import Tune, distortion, similarity_db
from ..weights import load_model
from .rate import lambda_of
from .shards import Clip

__all__ = ["code_stills", "rate_of_z"]


def code_stills(
    folder: Path, clips: Sequence[Clip], *, q_indexes: Sequence[int], tune: Tune = "psnr"
) -> dict[str, float]:
    """Mean bits per pixel, share of z, 6:1:1 PSNR and MS-SSIM in dB for every q_index, and one score.

    folder: of an exported model. clips: their first frames are coded. The score is the mean
    of log2(R + lambda D), D as tuned for: 0.1 less is 7 % less of both.
    """
    coder = IntraCoder(load_model(str(folder)), device="cpu", reduced_precision=False, optimise=True)
    result: dict[str, float] = {}
    scores: list[float] = []
    for q_index in q_indexes:
        rows = [_code(coder, clip, q_index, tune) for clip in clips]
        bpp, z_share, psnr, similarity, cost = np.mean(rows, axis=0)
        result |= {f"bpp{q_index}": bpp, f"z{q_index}": z_share, f"psnr{q_index}": psnr}
        result[f"ms_ssim{q_index}"] = similarity
        scores.append(cost)
    result["score"] = float(np.mean(scores))
    return {name: float(value) for name, value in result.items()}


def rate_of_z(coder: IntraCoder, z: np.ndarray, q: np.ndarray) -> int:
    """Bytes of a string that holds the hyper-latents alone. z: (n, C_z); q: (n,)."""
    return len(coder.coder.encode([(z, coder.head.z_indexes(q))]))


def _code(coder: IntraCoder, clip: Clip, q_index: int, tune: Tune) -> tuple[float, ...]:
    """Bits per pixel, share of z, 6:1:1 PSNR, MS-SSIM and log2 of the Lagrangian cost of the first frame of a clip."""
    height, width = clip.y.shape[1:]
    video = VideoFormat(width, height)
    planes = [plane[0].cpu().numpy() for plane in clip[:3]]
    frame = Frame(planes[0], planes[1], planes[2], video)
    rows, columns = -(-height // 32), -(-width // 32)
    q = np.full((rows, columns), q_index)
    groups = np.zeros((rows, columns), np.uint16)
    symbols = coder.latent_symbols(frame, q, groups)[0]
    string = coder.write(symbols, q.reshape(-1), CellGrid(np.arange(q.size), columns))
    decoded = coder.decode({0: string}, q, groups, video)
    errors = [np.mean((a.astype(float) - b) ** 2) for a, b in zip(planes, decoded, strict=True)]
    psnr = [10 * np.log10(255**2 / max(error, 1e-3)) for error in errors]
    share = rate_of_z(coder, symbols.z, q.reshape(-1)) / max(len(string), 1)
    bpp = 8 * len(string) / (width * height)
    original, shown = _half(*planes), _half(*decoded)
    similarity, difference = similarity_db(original, shown), float(distortion(original, shown, tune))
    cost = np.log2(bpp + float(lambda_of(torch.tensor(float(q_index)))) * difference)
    return bpp, share, (6 * psnr[0] + psnr[1] + psnr[2]) / 8, similarity, float(cost)


def _half(*planes: NDArray[np.integer]) -> torch.Tensor:
    """8-bit planes of even sides as (1, 6, H/2, W/2) in -0.5..0.5."""
    y, u, v = (torch.from_numpy(p.astype(np.float32) / 255 - 0.5)[None, None] for p in planes)
    return torch.cat([F.pixel_unshuffle(y, 2), u, v], 1)
