"""Training of what codes I frames in blocks.

    python -m ssvc_codec.training.key_blocks --init MODEL --data shards/ --out runs/blocks

The other networks of the model stay as they are. Half of the pictures went through JPEG before, as half of what people
have did.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ModelError
from ..nets.distortion import distortion, picture_error
from ..nets.intra import Masks, merge_planes, to_half
from ..nets.key_blocks import KeyBlocks
from ..weights import load_model
from .export import export_model, import_inter
from .intra import IntraTrainer, TrainOptions
from .jpeg import through_jpeg
from .rate import coded_bits, lambda_of
from .shards import Clip

__all__ = ["KeyBlockTrainer", "main"]

JPEG_SHARE = 0.5  # of the pictures
QUALITY = (72.0, 98.0)  # of these
LEAST_Q, LOW_SHARE = 16.0, 0.1  # most of the samples have finer q: coarser ones are for latents
VALIDATION_Q = (16, 28, 40, 52, 63)
VALIDATION_SIDE = 256


class KeyBlockTrainer(IntraTrainer):
    """The loop of intra training, on the blocks alone."""

    def __init__(self, options: TrainOptions) -> None:
        """Raises ModelError without a model to start from that has blocks."""
        super().__init__(options)
        model = load_model(options.init)
        if self.net.blocks is None:
            raise ModelError(f"model {model.name} has no networks for blocks (`blocks` in its config)")
        self._inter = import_inter(model) if "inter" in model.config else None
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name.startswith("blocks."))

    @property
    def _blocks(self) -> KeyBlocks:
        assert self.net.blocks is not None
        return self.net.blocks

    def loss(self, x: Tensor, q: Tensor, masks: Masks) -> tuple[Tensor, dict[str, Tensor]]:
        """See IntraTrainer."""
        n = x.shape[0]
        stored = torch.rand(n, generator=self.generator).to(x.device) < JPEG_SHARE
        low, high = QUALITY
        quality = low + (high - low) * torch.rand(n, generator=self.generator).to(x.device)
        x = torch.where(stored[:, None, None, None], through_jpeg(x, quality), x)
        fine = LEAST_Q + q * (63 - LEAST_Q) / 63
        q = torch.where(torch.rand(n, generator=self.generator).to(x.device) < LOW_SHARE, q, fine)
        total, y_bits, classes, error = self._costs(x, q, masks)
        weight = (lambda_of(q) / 0.015) ** -0.4
        return (weight * total).mean(), {"y_bpp": y_bits, "z_bpp": classes, "mse": error}

    def _costs(self, x: Tensor, q: Tensor, masks: Masks) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """R + lambda D, R of symbols and of classes in bits per sample, squared error; (N,) each."""
        with torch.autocast(self.device, dtype=torch.bfloat16):
            out = self._blocks(x, q, masks)
        pixels, target = x.shape[2] * x.shape[3] * 64, to_half(x)
        rate = (out.bits + out.class_bits) / pixels
        total = rate + lambda_of(q) * distortion(target, out.x_hat, self.options.tune)
        return total, out.bits / pixels, out.class_bits / pixels, picture_error(target, out.x_hat)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """R + lambda D of the averaged weights on held-out stills, as they are and through JPEG of quality 90.

        Mean of its logarithm to base 2, and of what the latents of the model cost there.
        """
        backup = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        self.ema.copy_to(self.net)
        row = {"step": float(self.run.step), "minutes": self.run.seconds / 60}
        about: dict[str, object] = {"steps": self.run.step, "minutes": round(self.run.seconds / 60, 1)}
        export_model(self.net, self._inter, self.options.out / "model", name=self.options.name, about=about)
        for name in ("plain", "jpeg"):
            for number in VALIDATION_Q:
                sums = torch.zeros(3)
                for still in self.validation[:8]:
                    x = _centre(still, self.device)
                    if name == "jpeg":
                        x = through_jpeg(x, torch.full((1,), 90.0, device=self.device))
                    q = torch.full((1,), float(number), device=self.device)
                    own, y_bits, classes, _ = self._costs(x, q, Masks())
                    sums += torch.tensor([float(own.log2()), self._latents(x, q), float(y_bits + classes)])
                row |= {f"{name}{number}": float(sums[0]) / 8, f"{name}{number}_latents": float(sums[1]) / 8}
        self.net.load_state_dict(backup, strict=False)
        row["score"] = sum(row[f"{name}{q}"] for name in ("plain", "jpeg") for q in VALIDATION_Q) / 10
        return row

    def _latents(self, x: Tensor, q: Tensor) -> float:
        with torch.autocast(self.device, dtype=torch.bfloat16):
            out = self.net(x, q)
        pixels = x.shape[2] * x.shape[3] * 64
        bits = coded_bits(out.y_residual.float(), out.y_scale).sum() + coded_bits(out.z_residual, out.z_scale).sum()
        cost = bits / pixels + lambda_of(q) * distortion(to_half(x), out.x_hat, self.options.tune)
        return math.log2(float(cost))


def _centre(still: Clip, device: str) -> Tensor:
    height, width = (min(VALIDATION_SIDE, side // 32 * 32) for side in still.y.shape[1:])
    top, left = ((side - size) // 4 * 2 for side, size in zip(still.y.shape[1:], (height, width), strict=True))
    planes = [still.y[0, top : top + height, left : left + width]]
    for plane in (still.u, still.v):
        planes.append(plane[0, top // 2 : (top + height) // 2, left // 2 : (left + width) // 2])
    return merge_planes(*(plane[None, None].float().to(device) / 255 - 0.5 for plane in planes))


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="shards made by `ssvc train pack`")
    parser.add_argument("--init", required=True, help="the model whose blocks are trained")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="base")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    KeyBlockTrainer(TrainOptions(**vars(args))).train(lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
