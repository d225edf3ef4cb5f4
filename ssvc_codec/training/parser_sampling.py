"""Training samples of the object parser: crops, mosaics and what happens to pictures before a parser sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .parser_data import LabelledPicture, yuv_to_rgb

__all__ = ["Objects", "ParserSampler", "Samples", "degrade", "whole_pictures"]

REFERENCE_SIDE = 384  # a scale of 1 brings the long side of a picture to this
SCALES = (0.5, 1.6)
ASPECT = 0.15  # largest change of the aspect, as a log
FILL = (114.0, 128.0, 128.0)  # Y, U, V around pictures
MIN_VISIBLE = 0.25  # of a box's area, or the box goes
MIN_SIDE = 3.0  # pixels; smaller boxes go
MAX_OBJECTS = 60  # of a sample, best first

Tile = tuple[int, int, int, int]  # left, top, width, height in the sample


class Objects(NamedTuple):
    """Boxes of a batch, one row each."""

    sample: Tensor  # (M,) int64
    class_id: Tensor  # (M,) int64
    score: Tensor  # (M,) of the teacher
    box: Tensor  # (M, 4) x, y, width, height in pixels


class Samples(NamedTuple):
    """A batch. picture: (N, 3, S, S) RGB in 0..1."""

    picture: Tensor
    objects: Objects


def _collect(rows: Sequence[Tensor], device: str) -> Objects:
    """Objects from one (n, 6) table a sample: class, score, x, y, width, height."""
    best = [table[table[:, 1].argsort(descending=True)[:MAX_OBJECTS]] for table in rows]
    sample = torch.repeat_interleave(torch.arange(len(best)), torch.tensor([len(table) for table in best]))
    table = torch.cat(list(best)).to(device)
    return Objects(sample.to(device), table[:, 0].long(), table[:, 1], table[:, 2:])


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of a picture (even numbers) and where in a sample it goes."""

    left: int
    top: int
    width: int
    height: int
    tile: Tile

    def planes(self, picture: LabelledPicture) -> Tensor:
        """(3, tile height, tile width) float Y, U, V in 0..255."""
        _, _, width, height = self.tile
        rows, columns = slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)
        half = [slice(s.start // 2, s.stop // 2) for s in (rows, columns)]
        luma = picture.y[rows, columns][None, None].float()
        chroma = torch.stack([picture.u[half[0], half[1]], picture.v[half[0], half[1]]])[None].float()
        smaller = height < self.height or width < self.width
        luma = F.interpolate(luma, (height, width), mode="bilinear", antialias=smaller)
        return torch.cat([luma, F.interpolate(chroma, (height, width), mode="bilinear", antialias=smaller)], 1)[0]

    def boxes(self, table: Tensor, *, mirrored: bool) -> Tensor:
        """(m, 6): the boxes that are visible enough, in samples of the crop, clipped to it."""
        left, top, width, height = self.tile
        factor = torch.tensor((width / self.width, height / self.height))
        low = (table[:, 2:4] - torch.tensor((self.left, self.top), dtype=torch.float32)) * factor
        sides = table[:, 4:6] * factor
        limit = torch.tensor((width, height), dtype=torch.float32)
        inside = low.clamp(min=0).minimum(limit), (low + sides).clamp(min=0).minimum(limit)
        seen = inside[1] - inside[0]
        kept = (seen.prod(1) > MIN_VISIBLE * sides.prod(1)) & (seen > MIN_SIDE).all(1)
        low = inside[0].clone()
        if mirrored:
            low[:, 0] = width - inside[1][:, 0]
        low += torch.tensor((left, top), dtype=torch.float32)
        return torch.cat([table[:, :2], low, seen], 1)[kept]


class ParserSampler:
    """Random samples from resident pictures."""

    def __init__(self, pictures: Sequence[LabelledPicture], device: str, generator: torch.Generator) -> None:
        self.pictures, self.device, self.generator = pictures, device, generator

    def _uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def _integer(self, high: int) -> int:
        return int(torch.randint(max(1, high), (), generator=self.generator))

    def _window(self, picture: LabelledPicture, tile: Tile) -> _Window:
        """A random part of a picture at a random scale; a smaller picture lands anywhere in the tile."""
        height, width = picture.y.shape
        scale = math.exp(self._uniform(*(math.log(s) for s in SCALES))) * REFERENCE_SIDE / max(height, width)
        stretch = math.exp(self._uniform(-ASPECT, ASPECT) / 2)
        across, down = scale * stretch, scale / stretch
        x, y, tile_width, tile_height = tile
        n_columns = min(width, 2 * max(8, round(tile_width / across / 2)))
        n_rows = min(height, 2 * max(8, round(tile_height / down / 2)))
        out_width = min(tile_width, max(1, round(n_columns * across)))
        out_height = min(tile_height, max(1, round(n_rows * down)))
        x += self._integer(tile_width - out_width + 1)
        y += self._integer(tile_height - out_height + 1)
        left, top = 2 * self._integer((width - n_columns) // 2 + 1), 2 * self._integer((height - n_rows) // 2 + 1)
        return _Window(left, top, n_columns, n_rows, (x, y, out_width, out_height))

    def _tiles(self, size: int) -> list[Tile]:
        if self._integer(2):
            return [(0, 0, size, size)]
        x, y = (round(size * self._uniform(0.3, 0.7)) for _ in range(2))
        return [(0, 0, x, y), (x, 0, size - x, y), (0, y, x, size - y), (x, y, size - x, size - y)]

    def draw(self, n: int, size: int) -> Samples:
        """n samples of size x size pixels, half of them mosaics of four pictures."""
        canvas = torch.tensor(FILL, device=self.device).view(1, 3, 1, 1).repeat(n, 1, size, size)
        rows: list[Tensor] = []
        for sample in range(n):
            tables = []
            for tile in self._tiles(size):
                picture = self.pictures[self._integer(len(self.pictures))]
                window = self._window(picture, tile)
                mirrored = self._integer(2) == 1
                x, y, width, height = window.tile
                planes = window.planes(picture)
                canvas[sample, :, y : y + height, x : x + width] = planes.flip(-1) if mirrored else planes
                tables.append(window.boxes(picture.boxes, mirrored=mirrored))
            rows.append(torch.cat(tables))
        picture = yuv_to_rgb(self._recolour(degrade(canvas, self.generator)))
        return Samples(picture.contiguous(memory_format=torch.channels_last), _collect(rows, self.device))

    def _recolour(self, yuv: Tensor) -> Tensor:
        """Brightness, contrast, saturation and a little hue."""
        n = len(yuv)
        change = torch.rand(n, 4, generator=self.generator).to(yuv.device) * 2 - 1
        gain = torch.exp(0.35 * change[:, 0])
        y = (yuv[:, :1] - 110) * gain.view(-1, 1, 1, 1) + (110 + 30 * change[:, 1]).view(-1, 1, 1, 1)
        saturation, hue = torch.exp(0.5 * change[:, 2]), 0.25 * change[:, 3]
        real, imaginary = saturation * hue.cos(), saturation * hue.sin()
        turn = torch.stack([real, -imaginary, imaginary, real], 1).view(n, 2, 2)
        chroma = torch.bmm(turn, (yuv[:, 1:] - 128).flatten(2)).view_as(yuv[:, 1:]) + 128
        return torch.cat([y, chroma], 1)


def _cosines(device: torch.device) -> Tensor:
    """(8, 8) orthonormal DCT-II."""
    k = torch.arange(8, device=device, dtype=torch.float32)
    matrix = torch.cos(math.pi / 8 * k[:, None] * (k[None] + 0.5)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def _quantised(yuv: Tensor, step: Tensor) -> Tensor:
    """8x8 DCT coefficients rounded to multiples of step (n,), coarser at high frequencies and in chroma."""
    n, channels, height, width = yuv.shape
    dct = _cosines(yuv.device)
    k = torch.arange(8, device=yuv.device, dtype=torch.float32)
    ramp = 1 + 0.4 * (k[:, None] + k[None])
    plane = torch.tensor((1.0, 1.5, 1.5), device=yuv.device)
    steps = step.view(-1, 1, 1, 1, 1, 1) * plane.view(1, 3, 1, 1, 1, 1) * ramp
    blocks = yuv.view(n, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = dct @ (blocks - 128) @ dct.t()
    blocks = dct.t() @ (torch.round(coefficients / steps) * steps) @ dct + 128
    return blocks.transpose(3, 4).reshape(yuv.shape)


def _softened(yuv: Tensor, factor: float) -> Tensor:
    """Scaled down by a factor and up again."""
    size = yuv.shape[-1]
    small = F.interpolate(yuv, (round(size / factor),) * 2, mode="bilinear", antialias=True)
    return F.interpolate(small, (size, size), mode="bilinear")


def degrade(yuv: Tensor, generator: torch.Generator) -> Tensor:
    """Some samples lose detail, some gain noise, some are coarsely quantised. yuv: (N, 3, S, S), 0..255, changed."""
    n = len(yuv)
    chosen = torch.rand(3, n, generator=generator) < torch.tensor([[0.15], [0.2], [0.25]])
    soft, noisy, coded = (row.nonzero().flatten().tolist() for row in chosen)
    if soft:
        factor = 1.3 + 1.2 * float(torch.rand((), generator=generator))
        yuv[soft] = _softened(yuv[soft], factor)
    if noisy:
        sigma = (2 + 10 * torch.rand(len(noisy), generator=generator)).view(-1, 1, 1, 1)
        noise = torch.randn((len(noisy), *yuv.shape[1:]), generator=generator) * sigma
        yuv[noisy] += noise.to(yuv.device)
    if coded:
        step = torch.exp(torch.rand(len(coded), generator=generator) * math.log(6.0)) * 8
        yuv[coded] = _quantised(yuv[coded], step.to(yuv.device))
    return yuv


def whole_pictures(pictures: Sequence[LabelledPicture], size: int, device: str) -> Samples:
    """Pictures as they are, the long side brought to `size`, top left in a square."""
    canvas = torch.tensor(FILL, device=device).view(1, 3, 1, 1).repeat(len(pictures), 1, size, size)
    rows = []
    for sample, picture in enumerate(pictures):
        height, width = picture.y.shape
        scale = size / max(height, width)
        tile = (0, 0, min(size, round(width * scale)), min(size, round(height * scale)))
        window = _Window(0, 0, width, height, tile)
        canvas[sample, :, : tile[3], : tile[2]] = window.planes(picture)
        rows.append(window.boxes(picture.boxes, mirrored=False))
    picture = yuv_to_rgb(canvas).contiguous(memory_format=torch.channels_last)
    return Samples(picture, _collect(rows, device))
