"""A small U-Net that improves a mask that was carried by flow."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssvc_codec.errors import ModelError

__all__ = ["MaskUNet", "Refiner", "refiner_input", "save_refiner"]

N_INPUTS = 7  # mask, flow (2), whether the picture is known, RGB (3)
_SCALE = 2  # the network sees masks at half size
_FLOW_UNIT = 16.0  # luma pixels
_SHARPEST = 1e-3  # of a mask, as probability


class MaskUNet(nn.Module):
    """Three levels of 3x3 convolutions; adds to the logit of the mask it is given."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in ((N_INPUTS, width), (width, 2 * width)))
        self.middle = _block(2 * width, 3 * width)
        self.up = nn.ModuleList(_block(a, b) for a, b in ((5 * width, 2 * width), (3 * width, width)))
        self.head = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias if self.head.bias is not None else torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, 7, H, W), see refiner_input; sides multiples of 4. Returns (N, 1, H, W) logits."""
        kept, y = [], x
        for block in self.down:
            y = block(y)
            kept.append(y)
            y = F.max_pool2d(y, 2)
        y = self.middle(y)
        for block, side in zip(self.up, reversed(kept), strict=True):
            y = block(torch.cat((F.interpolate(y, scale_factor=2, mode="nearest"), side), 1))
        mask = x[:, :1].clamp(_SHARPEST, 1 - _SHARPEST)
        return torch.log(mask / (1 - mask)) + self.head(y)


def _block(n_in: int, n_out: int) -> nn.Sequential:
    layers = [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(), nn.Conv2d(n_out, n_out, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def refiner_input(mask: NDArray[np.float32], flow: NDArray[np.float32] | None, rgb: NDArray[np.uint8] | None) -> Tensor:
    """(1, 7, H, W): mask in 0..1, flow in 16 pixels, then 1 and RGB in -0.5..0.5 where there is a picture.

    mask: (H, W). flow: (2, H, W). rgb: (H, W, 3).
    """
    height, width = mask.shape
    x = np.zeros((1, N_INPUTS, height, width), np.float32)
    x[0, 0] = mask
    if flow is not None:
        x[0, 1:3] = np.clip(flow / _FLOW_UNIT, -2, 2)
    if rgb is not None:
        x[0, 3], x[0, 4:] = 1, np.moveaxis(rgb.astype(np.float32) / 255 - 0.5, 2, 0)
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
        self, mask: NDArray[np.float32], flow: NDArray[np.float32] | None, rgb: NDArray[np.uint8] | None
    ) -> NDArray[np.float32]:
        """A better mask (H, W) in 0..1. flow: that carried it here; rgb: the picture, where it was decoded."""
        x = refiner_input(mask, flow, rgb)
        height, width = mask.shape
        unit = 4 * _SCALE
        x = F.pad(x, (0, -width % unit, 0, -height % unit), mode="replicate")
        y = torch.sigmoid(self._network(F.avg_pool2d(x, _SCALE)))
        y = F.interpolate(y, scale_factor=_SCALE, mode="bilinear", align_corners=False)
        return y[0, 0, :height, :width].numpy()


def save_refiner(network: MaskUNet, path: Path) -> None:
    """Writes the weights as Refiner reads them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
