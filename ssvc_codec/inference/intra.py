"""Intra pictures: planes to one string per group, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..entropy import SymbolCoder
from ..errors import ModelError
from ..frame import Frame, Plane, VideoFormat
from ..nets.intra import HALF_CHANNELS, IntraConfig, IntraNet, Masks
from ..weights import Model
from .device import fast_dtype, pick_device
from .latents import GroupSymbols
from .loading import load_head, load_tables, load_weights
from .maps import CellMaps
from .phases import Phases
from .planes import frame_to_tensor, tensor_to_planes
from .quantiser import SYMBOL_LIMIT, Quantiser
from .reduction import reduced_linear
from .rows import from_rows, rows_by_group, y_rows, z_rows
from .windows import Window, pick_windows

__all__ = ["GroupSymbols", "IntraCoder"]

GroupMap = NDArray[np.integer]


class IntraCoder:
    """The intra networks of one model on one device. Not thread safe."""

    def __init__(
        self, model: Model, *, device: str = "auto", reduced_precision: bool = True, optimise: bool = False
    ) -> None:
        """reduced_precision: bfloat16 transforms where the processor is fast at it.
        optimise: weigh each symbol's error against its rate when encoding.

        Raises ModelError where the integer head does not give its known answer here.
        """
        self.device = pick_device(device)
        self.head = load_head(model)
        tables = load_tables(model)
        self.coder = SymbolCoder(tables)
        self._quantiser = Quantiser(tables, self.device, optimise=optimise)
        self.net = _load_net(model).to(self.device)
        self.dtype = fast_dtype(self.device) if reduced_precision else torch.float32
        _reduce(self.net, self.dtype)
        self._phase = Phases(self.device)
        where, net = torch.device(self.device), self.net
        self._anchors = lru_cache(maxsize=4)(lambda rows, columns: net.anchor_mask(rows, columns, where))
        self._reductions: dict[int, tuple[Tensor, Tensor]] = {}  # by scale

    @property
    def seconds(self) -> dict[str, float]:
        """Time by phase since the start."""
        return self._phase.seconds

    # Encoding

    @torch.inference_mode()
    def analyse(self, frame: Frame, q: NDArray[np.integer], groups: GroupMap) -> dict[int, GroupSymbols]:
        """Symbols of every group of a picture.

        q: (rows, columns) q_index of each cell; groups: (rows, columns) group of each cell.
        """
        with self._phase("analysis"):
            x = frame_to_tensor(frame, self.device)
            q_map, masks = self._maps(q, groups)
            y = self.net.analysis(x, q_map, masks)
        with self._phase("hyper"):
            gain = self.net.y_gain(q_map, (y.shape[2], y.shape[3]))
            steps = y * gain
            z_gain = self.net.z_gain(q_map, groups.shape)
            z = torch.round(self.net.hyper_analysis(steps, masks) * z_gain).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)
            z_symbols = z_rows(z)
            z_symbols[self.head.z_indexes(q.reshape(-1)) == 0] = 0
            z = torch.from_numpy(z_symbols).to(self.device).float().view(1, *groups.shape, -1).permute(0, 3, 1, 2)
            index_rows = self.head.y_indexes(z_symbols, q.reshape(-1))
            index = from_rows(torch.from_numpy(index_rows), groups.shape, self.device)
            features = self.net.means.features(z / z_gain, q_map, masks)
            anchors = self.net.anchor_mask(y.shape[2], y.shape[3], y.device)
            mean_a = self.net.means.anchors(features) * gain
            symbols_a = torch.where(anchors, self._quantiser(steps - mean_a, index), 0.0)
            half = torch.where(anchors, symbols_a + mean_a, 0.0) / gain
            mean_b = self.net.means.others(features, half, masks) * gain
            symbols = torch.where(anchors, symbols_a, self._quantiser(steps - mean_b, index))
            y_symbols = y_rows(symbols)
        return {int(group): GroupSymbols(z_symbols[rows], y_symbols[rows]) for group, rows in rows_by_group(groups)}

    def write(self, symbols: GroupSymbols, q: NDArray[np.integer]) -> bytes:
        """The string of one group. q: (n,) q_index of its cells."""
        with self._phase("entropy"):
            z_index = self.head.z_indexes(q)
            return self.coder.encode([(symbols.z, z_index), (symbols.y, self.head.y_indexes(symbols.z, q))])

    def encode(self, frame: Frame, q: NDArray[np.integer], groups: GroupMap) -> dict[int, bytes]:
        """Strings of every group of a picture."""
        return self.write_groups(self.analyse(frame, q, groups), q, groups)

    def write_groups(
        self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap
    ) -> dict[int, bytes]:
        """Strings of every group from their symbols."""
        flat = q.reshape(-1)
        return {group: self.write(symbols[group], flat[rows]) for group, rows in rows_by_group(groups)}

    # Decoding

    def read(self, data: bytes, q: NDArray[np.integer]) -> GroupSymbols:
        """Symbols of one group. q: (n,) q_index of its cells. Raises BitstreamError."""
        with self._phase("entropy"):
            decoder = self.coder.decoder(data)
            z = decoder.read(self.head.z_indexes(q))
            y = decoder.read(self.head.y_indexes(z, q))
            decoder.finish()
            return GroupSymbols(z, y)

    @torch.inference_mode()
    def reconstruct(self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap) -> Tensor:
        """The picture (1, 6, H/2, W/2) float32, in -0.5..0.5 and somewhat beyond.

        Groups that are not given are 0, mid grey.
        """
        rows, columns = groups.shape
        picture = torch.zeros(1, HALF_CHANNELS, 16 * rows, 16 * columns, device=self.device)
        for window, y_hat, cells in self._dequantised(symbols, q, groups):
            with self._phase("synthesis"):
                part = self.net.synthesis(y_hat, cells.q_map, Masks(cells.at2, cells.at8, cells.at16))
            picture = window.paste(picture, part, 16)
        return picture

    @torch.inference_mode()
    def latents(self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap) -> Tensor:
        """y_hat of the picture, (1, C_y, H/16, W/16) float32, before synthesis. NaN in groups that are not given."""
        rows, columns = groups.shape
        latents = torch.full((1, self.net.config.n_y, 2 * rows, 2 * columns), torch.nan, device=self.device)
        for window, y_hat, _ in self._dequantised(symbols, q, groups):
            latents = window.paste(latents, y_hat, 2)
        return latents

    @torch.inference_mode()
    def reduced_picture(self, latents: Tensor, scale: int) -> Tensor:
        """The synthesis' linear path alone, as means of scale x scale luma samples: (1, 3, H/scale, W/scale) Y, U, V.

        latents: what latents() gives; NaN stays NaN. scale: 2, 4, 8 or 16. In -0.5..0.5 and somewhat beyond.
        """
        if scale not in self._reductions:
            self._reductions[scale] = reduced_linear(self.net.synthesis.linear, scale)
        matrix, bias = self._reductions[scale]
        return F.pixel_shuffle(F.conv2d(latents, matrix[:, :, None, None], bias), 16 // scale)

    def _dequantised(
        self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap
    ) -> Iterator[tuple[Window, Tensor, CellMaps]]:
        """y_hat of each window that holds groups which are given, and the window's maps."""
        z_all = np.zeros((groups.size, self.head.n_z), dtype=np.int32)
        y_all = np.zeros((groups.size, self.head.n_columns), dtype=np.int16)
        for group, rows in rows_by_group(groups):
            if group in symbols:
                z_all[rows], y_all[rows] = symbols[group][:2]
        cells = CellMaps(q.astype(np.int64), groups, self.device)
        for window in pick_windows(groups, np.isin(groups, list(symbols))):
            rows = window.rows(groups.shape[1])
            part = window.maps(cells)
            yield window, self._dequantise(z_all[rows], y_all[rows], part), part

    def _dequantise(self, z_symbols: NDArray[np.int32], y_symbols: NDArray[np.int16], cells: CellMaps) -> Tensor:
        """y_hat of a rectangle of cells, (1, C_y, h/16, w/16). Symbols: (n, C_z) and (n, 4 C_y), all its cells."""
        net, grid = self.net, cells.groups.shape
        with self._phase("hyper"):
            q_map, masks = cells.q_map, Masks(cells.at2, cells.at8, cells.at16)
            z = torch.from_numpy(z_symbols).to(self.device).float().view(1, *grid, -1).permute(0, 3, 1, 2)
            steps = from_rows(torch.from_numpy(y_symbols), grid, self.device).float()
            gain = net.y_gain(q_map, (steps.shape[2], steps.shape[3]))
            features = net.means.features(z / net.z_gain(q_map, grid), q_map, masks)
            anchors = self._anchors(steps.shape[2], steps.shape[3])
            mean_a = net.means.anchors(features)
            latents = steps / gain
            half = torch.where(anchors, latents + mean_a, 0.0)
            mean_b = net.means.others(features, half, masks)
            return latents + torch.where(anchors, mean_a, mean_b)

    def synthesise(
        self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap, video: VideoFormat
    ) -> tuple[Plane, Plane, Plane]:
        """The samples. Groups that are not given are mid grey."""
        x_hat = self.reconstruct(symbols, q, groups)
        with self._phase("planes"):
            return tensor_to_planes(x_hat, video)

    def decode(
        self, substreams: Mapping[int, bytes], q: NDArray[np.integer], groups: GroupMap, video: VideoFormat
    ) -> tuple[Plane, Plane, Plane]:
        """The picture from the strings of its groups."""
        flat = q.reshape(-1)
        symbols = {
            group: self.read(substreams[group], flat[rows])
            for group, rows in rows_by_group(groups)
            if group in substreams
        }
        return self.synthesise(symbols, q, groups, video)

    def _maps(self, q: NDArray[np.integer], groups: GroupMap) -> tuple[Tensor, Masks]:
        cells = CellMaps(q.astype(np.int64), groups, self.device)
        return cells.q_map, Masks(cells.at2, cells.at8, cells.at16)


def _load_net(model: Model) -> IntraNet:
    try:
        net = IntraNet(IntraConfig(**model.config["intra"]))  # type: ignore[arg-type]
    except (KeyError, TypeError) as error:
        raise ModelError(f"model {model.name}: no intra networks in its config: {error}") from error
    load_weights(net, model, "intra")
    return net


def _reduce(net: IntraNet, dtype: torch.dtype) -> None:
    """Transforms in a fast type; their last products and everything about means stay float32."""
    for transform in (net.analysis, net.hyper_analysis, net.synthesis):
        for name, parameter in transform.named_parameters():
            if not name.startswith(("head.", "linear.")) and not name.endswith("log_gain"):
                parameter.data = parameter.data.to(dtype)
