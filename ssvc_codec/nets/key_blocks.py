"""I frames in blocks of 8x8: cosines, tables from what was read before, and the network that mends the picture.

For what blocks of 16x16 and learned latents code badly: fine rates, sharp edges, and pictures that were in blocks of
8x8 before, as those that cameras and data sets store as JPEG (docs/decisions/0014). What a stream holds is
docs/bitstream.md, section 5.9; ssvc_codec.entropy.key_blocks computes the same from integers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy.activity import FLAG, activity_table
from ..entropy.blocks import N_BLOCKS, N_CHANNELS, N_CLASSES
from ..entropy.key_blocks import (
    BANDS,
    BROAD,
    FINE,
    FIRST,
    KEY_EDGES,
    MEANS,
    N_KEY_INPUTS,
)
from ..entropy.key_heads import KEY_HEADS
from ..entropy.neighbours import SIDES
from ..entropy.tables import LAPLACE_MIN
from .block_entropy import (
    beside_each,
    class_bits,
    class_slope,
    even_blocks,
    neighbour_taps,
    roughly,
    slope_of_bits,
    with_slope,
    worthwhile,
)
from .blocks import GainTable, GroupMask, pointwise
from .cosines import SUM_WEIGHTS, block_transform, cosines, start_gains, step_worth
from .laplace import LAPLACE_STEP, laplace_bits
from .mending import Mending, MendSizes
from .pictures import Masks, to_half
from .scale_head import ScaleHead

__all__ = ["KeyBlocks", "KeyOutput"]

HIDDEN = {"broad": 8, "fine": 32, "even": 32, "odd": 32, "first": 64, "second": 96}
SIDE = 4  # blocks of a cell on each side
PLACES = np.argsort(np.concatenate([BROAD, FINE]))  # of each component in broad and fine ones
LIVELY = 0.35  # steps from which on a latent is seen to make its block busier
CENTRES = (0.0, 1.5, 5.0, 13.0, 32.0, 80.0, 190.0, 450.0)  # of the sums of each class, about


class KeyOutput(NamedTuple):
    """What training needs of one pass."""

    x_hat: Tensor  # (N, 6, H/2, W/2)
    bits: Tensor  # (N,) of symbols
    class_bits: Tensor  # (N,)


class KeyBlocks(nn.Module):
    """One picture to latents of blocks and back."""

    def __init__(self, sizes: MendSizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes or MendSizes()
        self.y_gain = GainTable(N_CHANNELS)
        self.mending = Mending(self.sizes)
        self.entropy = nn.ModuleDict(
            {
                part: ScaleHead(0, n, hidden=HIDDEN[part], n_extra=N_KEY_INPUTS[part], positions=1)
                for part, n in KEY_HEADS.items()
            }
        )
        for name, value in (
            ("_transform", block_transform()),
            ("_means", torch.block_diag(*[torch.kron(cosines(SIDE), cosines(SIDE))] * MEANS.size)),
            ("_levels", torch.from_numpy(activity_table()).float()),
            ("_taps", neighbour_taps()),
        ):
            self.register_buffer(name, value, persistent=False)
        self._transform: Tensor
        self._means: Tensor
        self._levels: Tensor
        self._taps: Tensor
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        start_gains(self.y_gain, self._error_weights())
        for head in map(self.head, KEY_HEADS):
            nn.init.normal_(head.weights[0], std=0.05)
            head.biases[2].fill_(20.0)

    # The transform

    def analysis(self, x: Tensor) -> Tensor:
        """Latents (N, 96, H/8, W/8) float32 of merged planes (N, 96, H/8, W/8)."""
        with torch.autocast(x.device.type, enabled=False):
            y = self._product(x.float(), self._transform)
            return self._with_means(y, self._means)

    def picture(self, y_hat: Tensor) -> Tensor:
        """The inverse: (N, 6, H/2, W/2) float32."""
        with torch.autocast(y_hat.device.type, enabled=False):
            y = self._with_means(y_hat.float(), self._means.t())
            return to_half(self._product(y, self._transform.t()))

    def synthesis(self, y_hat: Tensor, q: Tensor, masks: Masks) -> Tensor:
        """The picture, mended: (N, 6, H/2, W/2) float32."""
        return self.mending.mend(self.picture(y_hat), F.pixel_unshuffle(y_hat, 2), q, masks)

    @classmethod
    def _with_means(cls, y: Tensor, matrix: Tensor) -> Tensor:
        """With the means of the blocks of a cell taken through a matrix (48, 48), Y, U and V one after another."""
        means = F.pixel_shuffle(cls._product(F.pixel_unshuffle(y[:, MEANS], SIDE), matrix), SIDE)
        return torch.cat([means[:, :1], y[:, 1:10], means[:, 1:2], y[:, 11:13], means[:, 2:], y[:, 14:]], dim=1)

    @staticmethod
    def _product(x: Tensor, matrix: Tensor) -> Tensor:
        return pointwise(x, matrix, x.new_zeros(matrix.shape[0]))

    def worth(self, q: Tensor, size: tuple[int, int] = (1, 1)) -> Tensor:
        """Bits that one squared step of error is worth, (N, 96, 1, 1), or (N, 96, *size); q as GainTable takes it."""
        return step_worth(self._error_weights(), self.y_gain, q, size)

    def _error_weights(self) -> Tensor:
        """(96,) of the squared error of each latent."""
        return 255**2 * SUM_WEIGHTS.to(self._transform.device)[self._transform.abs().argmax(1)]

    # Training

    def forward(self, x: Tensor, q: Tensor, masks: Masks = Masks()) -> KeyOutput:  # noqa: B008
        """One training pass; what is rounded passes its gradient straight through.

        x: (N, 96, H/8, W/8) in -0.5..0.5; q: (N,) q_index, may be fractional.
        """
        gain = self.y_gain(q)
        steps = self.analysis(x) * gain
        finite = steps.detach().nan_to_num()
        with torch.no_grad():
            scales, _ = self._scales(roughly(finite), q, masks.at8)
            symbols = worthwhile(finite, scales, self.worth(q))
            symbols[:, MEANS] = finite[:, MEANS].round()
        coded = self._coded(steps)
        scales, flags = self._scales(symbols, q, masks.at8)
        bits = with_slope(
            laplace_bits(self._coded(symbols).abs(), scales), coded, slope_of_bits(coded, scales.detach())
        )
        busy = self._busy(symbols)
        prices = class_bits(flags)
        rising = class_slope(prices.detach(), busy, CENTRES) * (steps.abs() > LIVELY) * steps.sign()
        rising = rising.index_fill(1, torch.from_numpy(MEANS).to(x.device), 0.0)
        classes = with_slope(prices.gather(1, busy.long()).expand_as(steps) / N_CHANNELS, steps, rising)
        y_hat = (symbols + steps - steps.detach()) / gain
        x_hat = self.synthesis(y_hat, q, masks)
        return KeyOutput(x_hat, bits.sum((1, 2, 3)), classes.sum((1, 2, 3)))

    def _busy(self, symbols: Tensor) -> Tensor:
        size = symbols.abs()
        total = size.sum(1, keepdim=True) - size[:, MEANS].sum(1, keepdim=True)
        return torch.bucketize(total, total.new_tensor(KEY_EDGES), right=True).to(total.dtype)

    @staticmethod
    def _coded(symbols: Tensor) -> Tensor:
        """Symbols with the levels as they are coded: as differences from cell to cell."""
        levels = symbols[:, MEANS, ::SIDE, ::SIDE].flatten(2)
        differences = torch.cat([levels[..., :1], levels[..., 1:] - levels[..., :-1]], dim=2)
        coded = symbols.clone()
        shape = symbols[:, MEANS, ::SIDE, ::SIDE].shape
        coded[:, MEANS, ::SIDE, ::SIDE] = differences.view(shape)
        return coded

    def _scales(self, symbols: Tensor, q: Tensor, mask: GroupMask | None) -> tuple[Tensor, Tensor]:
        """Decay lengths (N, 96, H/8, W/8) of the symbols as they are coded, tables of flags (N, 7, H/8, W/8)."""
        with torch.no_grad():
            coded = self._coded(symbols).abs()
            means = F.pixel_unshuffle(coded[:, MEANS], SIDE).unflatten(1, (MEANS.size, -1)).transpose(1, 2)
            busy = self._busy(symbols)
            n, _, height, width = symbols.shape
            place = torch.eye(N_BLOCKS, device=symbols.device).view(1, N_BLOCKS, SIDE, SIDE)
            even_inputs = FLAG * place.repeat(n, 1, height // SIDE, width // SIDE)
            even = even_blocks(busy)
            odd_inputs = torch.cat([even_inputs, 16 * beside_each(busy * even, self._taps, mask)], dim=1)
            broad_inputs = 16 * F.pixel_unshuffle(busy, SIDE)
            fine_inputs = torch.cat([broad_inputs, self._level(means[:, BROAD].flatten(1, 2))], dim=1)
            own = (busy == torch.arange(N_CLASSES, device=busy.device)[:, None, None]).float() * FLAG
            bands = [self._beside_sum(coded[:, band].sum(1, keepdim=True) * even, mask) * ~even for band in BANDS]
            inputs = torch.cat(
                [
                    own,
                    16 * beside_each(busy, self._taps, mask),
                    self._level(torch.cat(bands, dim=1)),
                    FLAG * (~even).expand_as(busy),
                ],
                dim=1,
            )
            first = coded[:, FIRST]
            least = torch.tensor([0.0, *KEY_EDGES], device=busy.device)[busy.long()]
            left = (least - first.sum(1, keepdim=True)).clamp_min(0)
            more = torch.cat([inputs, self._level(first), self._level(left)], dim=1)
        broad = self._index("broad", broad_inputs, q).clamp_min(1)
        fine = self._index("fine", fine_inputs, q).clamp_min(1)
        order = torch.from_numpy(PLACES).to(symbols.device)
        whole = torch.cat([broad.unflatten(1, (-1, MEANS.size)), fine.unflatten(1, (-1, MEANS.size))], dim=1)
        whole = F.pixel_shuffle(whole[:, order].transpose(1, 2).flatten(1, 2), SIDE)
        low, high = self._index("first", inputs, q).clamp_min(1), self._index("second", more, q).clamp_min(1)
        index = torch.cat(
            [whole[:, :1], low[:, :9], whole[:, 1:2], low[:, 9:11], whole[:, 2:], low[:, 11:], high], dim=1
        )
        scales = LAPLACE_MIN * torch.exp(index * LAPLACE_STEP)
        flags = torch.where(even, self._index("even", even_inputs, q), self._index("odd", odd_inputs, q))
        # Blocks of class 0 have no symbols but means: what they seem to cost is nothing.
        silent = (busy == 0).expand(-1, N_CHANNELS, -1, -1).clone()
        silent[:, MEANS] = False
        return torch.where(silent, scales.new_tensor(LAPLACE_MIN / 4), scales), flags

    def head(self, part: str) -> ScaleHead:
        """One of entropy.key_heads.KEY_HEADS."""
        head = self.entropy[part]
        assert isinstance(head, ScaleHead)
        return head

    def _index(self, part: str, inputs: Tensor, q: Tensor) -> Tensor:
        return self.head(part).index(inputs, q)

    def _beside_sum(self, x: Tensor, mask: GroupMask | None) -> Tensor:
        """(N, 1, H/8, W/8): sums over the blocks that share a side with each."""
        return beside_each(x, self._taps, mask)[:, SIDES].sum(1, keepdim=True)

    def _level(self, sums: Tensor) -> Tensor:
        return self._levels[sums.clamp_max(self._levels.numel() - 1).long()]
