"""A small U-Net that improves a mask that was carried by flow."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ffmpeg_bridge.tasks.motion import object_flow, warp
from ssvc_codec.errors import ModelError

__all__ = ["Carried", "MaskUNet", "Refiner", "carry", "refiner_input", "save_refiner"]

SoftMask = NDArray[np.float32]  # (H, W), 0..1
N_INPUTS = 8  # the mask carried in two ways, flow beside the object's own (2), whether the picture is known, RGB (3)
SCALE = 2  # the network sees masks at half size
_FLOW_UNIT = 4.0  # luma pixels
_SHARPEST = 0.02  # of a mask, as probability
_MARGIN = 48  # luma pixels around the mask that the network sees; a multiple of its unit
_UNIT = 4 * SCALE


class MaskUNet(nn.Module):
    """Three levels of 3x3 convolutions; says what to add to the logit of the mask it is given."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in ((N_INPUTS, width), (width, 2 * width)))
        self.middle = _block(2 * width, 3 * width)
        self.up = nn.ModuleList(_block(a, b) for a, b in ((5 * width, 2 * width), (3 * width, width)))
        self.head = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias if self.head.bias is not None else torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, 8, H, W), see refiner_input; sides multiples of 4. Returns (N, 1, H, W), to be added to logits."""
        kept, y = [], x
        for block in self.down:
            y = block(y)
            kept.append(y)
            y = F.max_pool2d(y, 2)
        y = self.middle(y)
        for block, side in zip(self.up, reversed(kept), strict=True):
            y = block(torch.cat((F.interpolate(y, scale_factor=2, mode="nearest"), side), 1))
        return self.head(y)


def _block(n_in: int, n_out: int) -> nn.Sequential:
    first, second = nn.Conv2d(n_in, n_out, 3, padding=1), nn.Conv2d(n_out, n_out, 3, padding=1)
    for layer in (first, second):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


@dataclass(frozen=True)
class Carried:
    """A mask carried to the next frame in two ways, and the flow that did it. All (H, W) or (2, H, W)."""

    plain: SoftMask  # by the flow
    own: SoftMask  # by the object's own flow
    relative: NDArray[np.float32]  # the flow less the object's own, luma pixels

    def logit(self) -> Tensor:
        """(1, 1, H, W): of what the object's own flow carried."""
        mask = torch.from_numpy(self.own)[None, None].clamp(_SHARPEST, 1 - _SHARPEST)
        return torch.log(mask / (1 - mask))


def carry(mask: SoftMask, flow: NDArray[np.float32] | None) -> Carried:
    """A mask of the frame before, carried on by flow (2, H, W); without flow it stays where it is."""
    if flow is None:
        return Carried(mask, mask, np.zeros((2, *mask.shape), np.float32))
    plain = warp(mask, flow)
    own = object_flow(plain, flow)
    return Carried(plain, warp(mask, own), flow - own)


def refiner_input(carried: Carried, rgb: NDArray[np.uint8] | None, where: NDArray[np.bool_] | None = None) -> Tensor:
    """(1, 8, H, W): masks in 0..1, flow in 4 pixels, then 1 and RGB in -0.5..0.5 where there is a picture.

    rgb: (H, W, 3). where: (H, W), the part of it that was decoded; None: all.
    """
    x = np.zeros((1, N_INPUTS, *carried.plain.shape), np.float32)
    x[0, 0], x[0, 1] = carried.plain, carried.own
    x[0, 2:4] = np.clip(carried.relative / _FLOW_UNIT, -3, 3)
    if rgb is not None:
        x[0, 4] = 1 if where is None else where
        x[0, 5:] = x[0, 4] * np.moveaxis(rgb.astype(np.float32) / 255 - 0.5, 2, 0)
    return torch.from_numpy(x)


class Refiner:
    """A trained network from a file."""

    def __init__(self, path: Path) -> None:
        """Raises ModelError for a file that holds no such network."""
        self._network = MaskUNet()
        try:
            self._network.load_state_dict(load_file(path))
        except Exception as error:
            raise ModelError(f"{path}: no refiner that `ssvc eval segment --train` wrote") from error
        self._network.eval()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        n_weights = sum(parameter.numel() for parameter in self._network.parameters())
        self.description = f"{path.name} ({n_weights} weights, {digest})"

    @torch.inference_mode()
    def refine(
        self, carried: Carried, rgb: NDArray[np.uint8] | None, where: NDArray[np.bool_] | None = None
    ) -> SoftMask:
        """A better mask (H, W) in 0..1. rgb: the picture if it was decoded, where: in which part; None: everywhere."""
        mask = np.maximum(carried.plain, carried.own)
        rows, columns = (_around(np.flatnonzero((mask >= 0.25).any(axis))) for axis in (1, 0))
        x = refiner_input(carried, rgb, where)[..., rows, columns]
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % _UNIT, 0, -height % _UNIT), mode="replicate")
        change = F.interpolate(
            self._network(F.avg_pool2d(padded, SCALE)), scale_factor=SCALE, mode="bilinear", align_corners=False
        )
        refined = np.zeros_like(mask)
        logit = carried.logit()[..., rows, columns] + change[..., :height, :width]
        refined[rows, columns] = torch.sigmoid(logit)[0, 0].numpy()
        return refined


def _around(places: NDArray[np.intp]) -> slice:
    """Where the mask is, and a margin; at least so much of the picture that the network can pad it."""
    if not len(places):
        return slice(0, _MARGIN)
    return slice(max(int(places[0]) - _MARGIN, 0), int(places[-1]) + _MARGIN + 1)


def save_refiner(network: MaskUNet, path: Path) -> None:
    """Writes the weights as Refiner reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
