"""Intra pictures: planes to one string per group, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..entropy import SymbolCoder
from ..errors import ModelError
from ..frame import Frame, Plane, VideoFormat
from ..nets.distortion import Tune, cell_errors, tune_of
from ..nets.half import half_to_merged
from ..nets.intra import HALF_CHANNELS, IntraConfig, IntraNet, Masks, to_half
from ..nets.lagrangian import lambda_of
from ..weights import Model
from .device import fast_dtype, pick_device
from .key_blocks import KeySymbols, load_key_blocks
from .latents import GroupSymbols
from .loading import load_head, load_tables, load_weights
from .maps import CellMaps, q_tensor
from .merge_coding import CellGrid
from .phases import Phases
from .planes import frame_to_tensor, tensor_to_planes
from .quantiser import SYMBOL_LIMIT, Quantiser
from .reduction import reduced_linear
from .rows import from_rows, rows_by_group, y_rows, z_rows
from .windows import Window, pick_windows

__all__ = ["CodedIntra", "GroupSymbols", "IntraCoder"]

GroupMap = NDArray[np.integer]
MOST_BITS = 1.25  # of those of latents: blocks that take more are not looked at further


class CodedIntra(NamedTuple):
    """A coded picture."""

    symbols: dict[int, GroupSymbols]  # by group
    strings: dict[int, bytes]
    picture: Tensor | None = None  # what reconstruct() makes of the symbols, where coding has made it


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
        self._optimise = optimise
        self.net = _load_net(model).to(self.device)
        self._blocks = None if self.net.blocks is None else load_key_blocks(self.net.blocks, model, self.device)
        self._tune: Tune = _tune(model)
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
    def encode(self, frame: Frame, q: NDArray[np.integer], groups: GroupMap) -> CodedIntra:
        """Codes every group of a picture, as latents, or in blocks where these cost less.

        q: (rows, columns) q_index of each cell; groups: (rows, columns) group of each cell.
        """
        x = frame_to_tensor(frame, self.device)
        symbols = self._latent_symbols(x, q, groups)
        latents = CodedIntra(symbols, self.write_groups(symbols, q, groups))
        if self._blocks is None or not self._optimise:
            return latents
        with self._phase("blocks"):
            found = self._blocks.choose(x, q, groups, q_tensor(q.astype(np.int64), self.device))
            cells = rows_by_group(groups)
            in_blocks: dict[int, GroupSymbols] = {group: KeySymbols(*found.take(rows)) for group, rows in cells}
        return self._cheaper(x, latents, CodedIntra(in_blocks, self.write_groups(in_blocks, q, groups)), q, groups)

    @torch.inference_mode()
    def latent_symbols(self, frame: Frame, q: NDArray[np.integer], groups: GroupMap) -> dict[int, GroupSymbols]:
        """Symbols of every group as latents. q, groups: as for encode()."""
        return self._latent_symbols(frame_to_tensor(frame, self.device), q, groups)

    def _cheaper(
        self, x: Tensor, latents: CodedIntra, blocks: CodedIntra, q: NDArray[np.integer], groups: GroupMap
    ) -> CodedIntra:
        """Of each group what costs less, rate and distortion. x: (1, 96, H/8, W/8)."""
        sizes = [{group: len(string) for group, string in way.strings.items()} for way in (latents, blocks)]
        near = {group for group, size in sizes[1].items() if size < MOST_BITS * sizes[0][group]}
        if not near:
            return latents
        pictures = [
            self.reconstruct({k: way.symbols[k] for k in way.symbols if k in near}, q, groups)
            for way in (latents, blocks)
        ]
        original, lmbda = to_half(x), lambda_of(torch.from_numpy(q).float())
        worth = [cell_errors(original, picture, self._tune)[0].cpu() * lmbda for picture in pictures]
        better: set[int] = set()
        for group in near:
            here = torch.from_numpy(groups == group)
            costs = [8 * size[group] + float(error[here].sum()) for size, error in zip(sizes, worth, strict=True)]
            if costs[1] < costs[0]:
                better.add(group)
        whole = None
        if len(near) == len(latents.symbols) and better in (set(), near):
            whole = pictures[1 if better else 0]
        symbols = latents.symbols | {group: blocks.symbols[group] for group in better}
        strings = latents.strings | {group: blocks.strings[group] for group in better}
        return CodedIntra(symbols, strings, whole)

    def _latent_symbols(self, x: Tensor, q: NDArray[np.integer], groups: GroupMap) -> dict[int, GroupSymbols]:
        with self._phase("analysis"):
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

    def write(self, symbols: GroupSymbols, q: NDArray[np.integer], grid: CellGrid) -> bytes:
        """The string of one group. q: (n,) q_index of its cells; grid: where they lie."""
        with self._phase("entropy"):
            if isinstance(symbols, KeySymbols):
                assert self._blocks is not None
                return self._blocks.write(symbols, q, grid)
            parts = [(symbols.z, self.head.z_indexes(q)), (symbols.y, self.head.y_indexes(symbols.z, q))]
            return self.coder.encode(parts, head=None if self._blocks is None else self._blocks.no_blocks(q))

    def write_groups(
        self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap
    ) -> dict[int, bytes]:
        """Strings of every group from their symbols."""
        flat = q.reshape(-1)
        grids = ((group, rows, CellGrid(rows, groups.shape[1])) for group, rows in rows_by_group(groups))
        return {group: self.write(symbols[group], flat[rows], grid) for group, rows, grid in grids if group in symbols}

    # Decoding

    def read(self, data: bytes, q: NDArray[np.integer], grid: CellGrid) -> GroupSymbols:
        """Symbols of one group. q: (n,) q_index of its cells; grid: where they lie. Raises BitstreamError."""
        with self._phase("entropy"):
            decoder = self.coder.decoder(data)
            if self._blocks is not None and self._blocks.is_in_blocks(decoder, q):
                return self._blocks.read(decoder, q, grid)
            z = decoder.read(self.head.z_indexes(q))
            y = decoder.read(self.head.y_indexes(z, q))
            decoder.finish()
            return GroupSymbols(z, y)

    def read_groups(
        self, strings: Mapping[int, bytes], q: NDArray[np.integer], groups: GroupMap
    ) -> dict[int, GroupSymbols]:
        """Symbols of the groups whose strings are given. Raises BitstreamError."""
        cells = ((group, np.flatnonzero(groups == group)) for group in strings)
        return {
            group: self.read(strings[group], q.reshape(-1)[rows], CellGrid(rows, groups.shape[1]))
            for group, rows in cells
        }

    @torch.inference_mode()
    def reconstruct(self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap) -> Tensor:
        """The picture (1, 6, H/2, W/2) float32, in -0.5..0.5 and somewhat beyond.

        Groups that are not given are 0, mid grey.
        """
        rows, columns = groups.shape
        picture = torch.zeros(1, HALF_CHANNELS, 16 * rows, 16 * columns, device=self.device)
        for window, y_hat, cells in self._dequantised(symbols, q, groups):
            with self._phase("synthesis"):
                part = self.net.synthesis(y_hat, cells.q_map, cells.masks)
            picture = window.paste(picture, part, 16)
        for window, part, _ in self._from_blocks(symbols, q, groups):
            picture = window.paste(picture, part, 16)
        return picture

    def _from_blocks(
        self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap
    ) -> Iterator[tuple[Window, Tensor, CellMaps]]:
        """The picture of each window that holds groups in blocks, (1, 6, h/2, w/2)."""
        in_blocks = {group: own for group, own in symbols.items() if isinstance(own, KeySymbols)}
        if not in_blocks or self._blocks is None:
            return
        y = np.zeros((groups.size, self._blocks.n_columns), np.int32)
        for group, rows in rows_by_group(groups):
            if group in in_blocks:
                y[rows] = in_blocks[group].y
        cells = CellMaps(q.astype(np.int64), groups, self.device)
        for window in pick_windows(groups, np.isin(groups, list(in_blocks))):
            part = window.maps(cells)
            with self._phase("synthesis"):
                shape = window.cells.shape
                picture = self._blocks.synthesis(y[window.rows(groups.shape[1])], part.q_map, part.masks, shape)
            yield window, picture, part

    @torch.inference_mode()
    def latents(self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap) -> Tensor:
        """y_hat of the picture, (1, C_y, H/16, W/16) float32, before synthesis. NaN in groups that are not given.

        Of groups in blocks, the latents that the analysis finds in their picture.
        """
        rows, columns = groups.shape
        latents = torch.full((1, self.net.config.n_y, 2 * rows, 2 * columns), torch.nan, device=self.device)
        for window, y_hat, _ in self._dequantised(symbols, q, groups):
            latents = window.paste(latents, y_hat, 2)
        for window, picture, cells in self._from_blocks(symbols, q, groups):
            y = self.net.analysis(half_to_merged(picture), cells.q_map, cells.masks)
            latents = window.paste(latents, y, 2)
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
        """y_hat of each window that holds groups which are given as latents, and the window's maps."""
        symbols = {group: own for group, own in symbols.items() if not isinstance(own, KeySymbols)}
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
            q_map, masks = cells.q_map, cells.masks
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
        return self.synthesise(self.read_groups(substreams, q, groups), q, groups, video)

    def _maps(self, q: NDArray[np.integer], groups: GroupMap) -> tuple[Tensor, Masks]:
        cells = CellMaps(q.astype(np.int64), groups, self.device)
        return cells.q_map, cells.masks


def _load_net(model: Model) -> IntraNet:
    try:
        net = IntraNet(IntraConfig.of(model.config["intra"]))
    except (KeyError, TypeError) as error:
        raise ModelError(f"model {model.name}: no intra networks in its config: {error}") from error
    load_weights(net, model, "intra")
    return net


def _tune(model: Model) -> Tune:
    """What the model is tuned for."""
    inter = model.config.get("inter")
    return tune_of(str(inter.get("tune", "psnr"))) if isinstance(inter, Mapping) else "psnr"


def _reduce(net: IntraNet, dtype: torch.dtype) -> None:
    """Transforms in a fast type; their last products and everything about means stay float32."""
    mending = [] if net.blocks is None else [net.blocks.mending]
    for transform in (net.analysis, net.hyper_analysis, net.synthesis, *mending):
        for name, parameter in transform.named_parameters():
            if not name.startswith(("head.", "linear.")) and not name.endswith("log_gain"):
                parameter.data = parameter.data.to(dtype)
