"""The object parser: CenterNet (Zhou 2019) on a small backbone with aggregated layers.

Every stage of the backbone joins the outputs of all its layers in an aggregation node;
the way back up joins stages iteratively, from the coarsest to stride 4 (Yu 2018, deep
layer aggregation). Backbone and neck are those of DEIMv2 "femto", so that they can start
from published weights; the way up to stride 4 and the heads are our own. What something
is shows at strides 16 and 32, where it is at stride 4: the heatmap is the sum of both.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .parser_neck import ParserNeck

__all__ = ["STRIDE", "ConvUnit", "ExportedParser", "ParserConfig", "ParserNet", "ParserOutput", "Peaks", "find_peaks"]

STRIDE = 4  # input pixels of a cell of the output
SIZE_UNIT = 32.0  # input pixels at a raw size of 0
SIZE_RANGE = 4.0  # raw sizes are clipped to -4..4: 0.6 to 1747 pixels
START_BIAS = -2.2  # of the heatmap: a tenth, before anything is learnt


@dataclass(frozen=True, slots=True)
class ParserConfig:
    """Sizes of the parser."""

    n_classes: int = 80
    context_width: int = 96  # channels at strides 32 and 16
    middle_width: int = 64  # at stride 8
    fine_width: int = 48  # at stride 4
    head_width: int = 64
    backbone_norm: bool = True  # False for a backbone started from published weights: theirs is folded


class ParserOutput(NamedTuple):
    """What the heads say, cell by cell. All (N, C, H/4, W/4)."""

    heatmap: Tensor  # (N, classes, ...) logits
    size: Tensor  # (N, 2, ...) width and height: log of units of 32 input pixels
    offset: Tensor  # (N, 2, ...) logits of the centre's place in its cell: x, y


class ConvUnit(nn.Module):
    """Convolution, batch norm (or a bias alone), ReLU."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: bool = True,
        act: bool = True,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if kernel % 2 else 0
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, padding, groups=groups, bias=not norm)
        self.norm = nn.BatchNorm2d(n_out, momentum=0.03) if norm else nn.Identity()
        self.act = act
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out" if groups == 1 else "fan_in", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, H / stride, W / stride)."""
        if self.conv.groups > 1 and self.training:
            # oneDNN's backward of depthwise convolutions is up to 20 times slower in bfloat16.
            with torch.autocast(x.device.type, enabled=False):
                x = self.conv(x.float())
        else:
            x = self.conv(x)
        x = self.norm(x)
        return F.relu(x, inplace=True) if self.act else x

    def fold(self) -> None:
        """Puts the batch norm into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Stem(nn.Module):
    """RGB to 16 channels at stride 4."""

    def __init__(self, *, norm: bool) -> None:
        super().__init__()
        self.stem1 = ConvUnit(3, 16, 3, stride=2, norm=norm)
        self.stem2a = ConvUnit(16, 8, 2, norm=norm)
        self.stem2b = ConvUnit(8, 16, 2, norm=norm)
        self.stem3 = ConvUnit(32, 16, 3, stride=2, norm=norm)
        self.stem4 = ConvUnit(16, 16, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 16, H/4, W/4)."""
        x = F.pad(self.stem1(x), (0, 1, 0, 1))
        fine = self.stem2b(F.pad(self.stem2a(x), (0, 1, 0, 1)))
        return self.stem4(self.stem3(torch.cat([F.max_pool2d(x, 2, 1), fine], 1)))


class LightUnit(nn.Module):
    """A 1x1 convolution, then a depthwise 5x5."""

    def __init__(self, n_in: int, n_out: int, *, norm: bool) -> None:
        super().__init__()
        self.conv1 = ConvUnit(n_in, n_out, 1, norm=norm, act=False)
        self.conv2 = ConvUnit(n_out, n_out, 5, groups=n_out, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, H, W)."""
        return self.conv2(self.conv1(x))


class AggregatedStage(nn.Module):
    """Layers in a row; a node aggregates what went in and what each layer gave."""

    def __init__(
        self, n_in: int, n_layer: int, n_out: int, *, n_node: int, down: bool, light: bool, norm: bool
    ) -> None:
        super().__init__()
        self.down = ConvUnit(n_in, n_in, 3, stride=2, groups=n_in, norm=norm, act=False) if down else nn.Identity()
        inputs = [n_in, n_layer, n_layer]
        self.layers = nn.ModuleList(
            LightUnit(n, n_layer, norm=norm) if light else ConvUnit(n, n_layer, 3, norm=norm) for n in inputs
        )
        self.node1 = ConvUnit(n_in + len(inputs) * n_layer, n_node, 1, norm=norm)
        self.node2 = ConvUnit(n_node, n_out, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, H, W), half the size with `down`."""
        parts = [self.down(x)]
        for layer in self.layers:
            parts.append(layer(parts[-1]))
        return self.node2(self.node1(torch.cat(parts, 1)))


class UpNode(nn.Module):
    """Joins a coarse map with the finer one before it (iterative aggregation)."""

    def __init__(self, n_coarse: int, n_fine: int, n_out: int, *, light: bool) -> None:
        super().__init__()
        self.coarse = ConvUnit(n_coarse, n_out, 1, act=False)
        self.fine = ConvUnit(n_fine, n_out, 1, act=False)
        self.node = LightUnit(n_out, n_out, norm=True) if light else ConvUnit(n_out, n_out, 3)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(N, n_coarse, H/2, W/2), (N, n_fine, H, W) -> (N, n_out, H, W)."""
        up = F.interpolate(self.coarse(coarse), scale_factor=2.0, mode="nearest")
        return self.node(F.relu(up + self.fine(fine)))


def _doubled(x: Tensor, times: int) -> Tensor:
    """(N, C, H, W) to twice the size, again and again."""
    return F.interpolate(x, scale_factor=2.0**times, mode="bilinear", align_corners=False)


class ParserNet(nn.Module):
    """A picture to centre heatmap, size and offset at stride 4."""

    def __init__(self, config: ParserConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or ParserConfig()
        norm, wide = c.backbone_norm, c.context_width
        self.stem = Stem(norm=norm)
        self.stage4 = AggregatedStage(16, 16, 64, n_node=32, down=False, light=False, norm=norm)
        self.stage8 = AggregatedStage(64, 32, 256, n_node=128, down=True, light=False, norm=norm)
        self.stage16 = AggregatedStage(256, 64, 512, n_node=256, down=True, light=True, norm=norm)
        self.neck = ParserNeck(512, wide)
        self.classes16 = nn.Conv2d(wide, c.n_classes, 1)
        self.classes32 = nn.Conv2d(wide, c.n_classes, 1)
        self.up16 = UpNode(wide, wide, wide, light=True)
        self.up8 = UpNode(wide, 256, c.middle_width, light=False)
        self.up4 = UpNode(c.middle_width, 64, c.fine_width, light=False)
        self.head = ConvUnit(c.fine_width, c.head_width, 3)
        self.heatmap = nn.Conv2d(c.head_width, c.n_classes, 1)
        self.box = nn.Conv2d(c.head_width, 4, 1)
        for layer in (self.heatmap, self.box, self.classes16, self.classes32):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
        nn.init.constant_(self.heatmap.bias, START_BIAS)  # pyright: ignore[reportArgumentType]

    def backbone(self) -> list[nn.Module]:
        """The part that can start from published weights."""
        return [self.stem, self.stage4, self.stage8, self.stage16, self.neck, self.classes16, self.classes32]

    def forward(self, picture: Tensor) -> ParserOutput:
        """picture: (N, 3, H, W) RGB in 0..1, H and W multiples of 32."""
        x4 = self.stage4(self.stem(picture))
        x8 = self.stage8(x4)
        context = self.neck(self.stage16(x8))
        y = self.up16(context.coarse, context.fine)
        y = self.head(self.up4(self.up8(y, x8), x4))
        box = self.box(y)
        classes = self.classes16(context.fine) + _doubled(self.classes32(context.coarse), 1)
        return ParserOutput(self.heatmap(y) + _doubled(classes, 2), box[:, :2], box[:, 2:])

    def folded(self) -> ParserNet:
        """A copy for inference, its batch norms in its convolutions."""
        net = copy.deepcopy(self).eval()
        for module in net.modules():
            if isinstance(module, ConvUnit):
                module.fold()
        return net


class ExportedParser(nn.Module):
    """The parser as it is shipped: probabilities, input pixels, parts of a cell."""

    def __init__(self, net: ParserNet) -> None:
        super().__init__()
        self.net = net.folded()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """heatmap (N, classes, H/4, W/4) in 0..1; size (N, 2, ...) in pixels; offset (N, 2, ...) in 0..1."""
        return self.shipped(self.net(image))

    @staticmethod
    def shipped(raw: ParserOutput) -> tuple[Tensor, Tensor, Tensor]:
        """What the heads say, in the units that are shipped; float32."""
        size = SIZE_UNIT * raw.size.float().clamp(-SIZE_RANGE, SIZE_RANGE).exp()
        return raw.heatmap.float().sigmoid(), size, raw.offset.float().sigmoid()


class Peaks(NamedTuple):
    """Objects found, best first. All (N, k, ...)."""

    classes: Tensor  # (N, k) int64
    scores: Tensor  # (N, k)
    boxes: Tensor  # (N, k, 4) x, y, width, height in input pixels


def find_peaks(heatmap: Tensor, size: Tensor, offset: Tensor, *, k: int = 100) -> Peaks:
    """The k highest local maxima (3x3) of what ExportedParser gives, as boxes."""
    n, _, rows, columns = heatmap.shape
    kept = heatmap * (F.max_pool2d(heatmap, 3, 1, 1) == heatmap)
    scores, index = kept.flatten(1).topk(k)
    cell = index % (rows * columns)
    at = cell[:, None].expand(n, 2, -1)
    sides, offsets = size.flatten(2).gather(2, at), offset.flatten(2).gather(2, at)
    grid = torch.stack([cell % columns, torch.div(cell, columns, rounding_mode="floor")], 1)
    centre = (grid + offsets) * STRIDE
    boxes = torch.cat([centre - sides / 2, sides], 1).transpose(1, 2)
    return Peaks(torch.div(index, rows * columns, rounding_mode="floor"), scores, boxes)
