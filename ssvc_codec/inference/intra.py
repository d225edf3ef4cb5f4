"""Intra pictures: planes to one string per group, and back."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..entropy import IntegerScaleHead, SymbolCoder
from ..errors import ModelError
from ..frame import Frame, Plane, VideoFormat
from ..nets.intra import IntraConfig, IntraNet, Masks
from ..nets.masking import BorderMask
from ..weights import Model
from .device import fast_dtype, pick_device
from .planes import frame_to_tensor, tensor_to_planes
from .quantiser import SYMBOL_LIMIT, Quantiser

__all__ = ["GroupSymbols", "IntraCoder"]

GroupMap = NDArray[np.integer]


class GroupSymbols(NamedTuple):
    """All symbols of one group. z: (n, C_z) int32; y: (n, 4 C_y) int32; one row a cell."""

    z: NDArray[np.int32]
    y: NDArray[np.int32]


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
        self.head = IntegerScaleHead(model.group("intra.head"))
        known = model.config.get("known_answer", {})
        if not isinstance(known, Mapping) or known.get("intra") != self.head.known_answer():
            raise ModelError(f"model {model.name}: the integer scale head fails its known-answer test on this machine")
        tables = _tables(model)
        self.coder = SymbolCoder(tables)
        self._quantiser = Quantiser(tables, self.device, optimise=optimise)
        self.net = _load_net(model).to(self.device)
        self.dtype = fast_dtype(self.device) if reduced_precision else torch.float32
        _reduce(self.net, self.dtype)
        self.seconds: defaultdict[str, float] = defaultdict(float)  # time by phase since the start

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.seconds[name] += time.perf_counter() - start

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
            z_rows = _z_rows(z)
            z_rows[self.head.z_indexes(q.reshape(-1)) == 0] = 0
            z = torch.from_numpy(z_rows).to(self.device).float().view(1, *groups.shape, -1).permute(0, 3, 1, 2)
            index_rows = self.head.y_indexes(z_rows, q.reshape(-1))
            index = _from_rows(torch.from_numpy(index_rows), groups.shape, self.device)
            features = self.net.means.features(z / z_gain, q_map, masks)
            anchors = self.net.anchor_mask(y.shape[2], y.shape[3], y.device)
            mean_a = self.net.means.anchors(features) * gain
            symbols_a = torch.where(anchors, self._quantiser(steps - mean_a, index), 0.0)
            half = torch.where(anchors, symbols_a + mean_a, 0.0) / gain
            mean_b = self.net.means.others(features, half, masks) * gain
            symbols = torch.where(anchors, symbols_a, self._quantiser(steps - mean_b, index))
            y_rows = _y_rows(symbols)
        return {int(group): GroupSymbols(z_rows[rows], y_rows[rows]) for group, rows in _rows_by_group(groups)}

    def write(self, symbols: GroupSymbols, q: NDArray[np.integer]) -> bytes:
        """The string of one group. q: (n,) q_index of its cells."""
        with self._phase("entropy"):
            z_index = self.head.z_indexes(q)
            return self.coder.encode([(symbols.z, z_index), (symbols.y, self.head.y_indexes(symbols.z, q))])

    def encode(self, frame: Frame, q: NDArray[np.integer], groups: GroupMap) -> dict[int, bytes]:
        """Strings of every group of a picture."""
        flat = q.reshape(-1)
        symbols = self.analyse(frame, q, groups)
        return {group: self.write(symbols[group], flat[rows]) for group, rows in _rows_by_group(groups)}

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
    def synthesise(
        self, symbols: Mapping[int, GroupSymbols], q: NDArray[np.integer], groups: GroupMap, video: VideoFormat
    ) -> tuple[Plane, Plane, Plane]:
        """The picture. Groups that are not given come out as whatever all-zero symbols give."""
        net = self.net
        with self._phase("hyper"):
            z_rows = np.zeros((groups.size, self.head.n_z), dtype=np.int32)
            y_rows = np.zeros((groups.size, self.head.n_columns), dtype=np.int16)
            for group, rows in _rows_by_group(groups):
                if group in symbols:
                    z_rows[rows], y_rows[rows] = symbols[group]
            q_map, masks = self._maps(q, groups)
            z = torch.from_numpy(z_rows).to(self.device).float()
            z = z.view(1, *groups.shape, -1).permute(0, 3, 1, 2)
            y_symbols = _from_rows(torch.from_numpy(y_rows), groups.shape, self.device).float()
            gain = net.y_gain(q_map, (y_symbols.shape[2], y_symbols.shape[3]))
            features = net.means.features(z / net.z_gain(q_map, groups.shape), q_map, masks)
            anchors = net.anchor_mask(y_symbols.shape[2], y_symbols.shape[3], y_symbols.device)
            mean_a = net.means.anchors(features)
            half = torch.where(anchors, y_symbols / gain + mean_a, 0.0)
            mean_b = net.means.others(features, half, masks)
            y_hat = y_symbols / gain + torch.where(anchors, mean_a, mean_b)
        with self._phase("synthesis"):
            x_hat = net.synthesis(y_hat, q_map, masks)
        with self._phase("planes"):
            return tensor_to_planes(x_hat, video)

    def decode(
        self, substreams: Mapping[int, bytes], q: NDArray[np.integer], groups: GroupMap, video: VideoFormat
    ) -> tuple[Plane, Plane, Plane]:
        """The picture from the strings of its groups."""
        flat = q.reshape(-1)
        symbols = {
            group: self.read(substreams[group], flat[rows])
            for group, rows in _rows_by_group(groups)
            if group in substreams
        }
        return self.synthesise(symbols, q, groups, video)

    def _maps(self, q: NDArray[np.integer], groups: GroupMap) -> tuple[Tensor, Masks]:
        first = int(q.flat[0])
        if (q == first).all():
            q_map = torch.tensor([first], device=self.device)
        else:
            q_map = torch.from_numpy(q.astype(np.int64)).to(self.device)[None]
        if (groups == groups.flat[0]).all():
            return q_map, Masks()
        cells = torch.from_numpy(groups.astype(np.int64)).to(self.device)
        at16 = cells.repeat_interleave(2, 0).repeat_interleave(2, 1)
        at8 = at16.repeat_interleave(2, 0).repeat_interleave(2, 1)
        at2 = at8.repeat_interleave(4, 0).repeat_interleave(4, 1)
        return q_map, Masks(BorderMask(at2), BorderMask(at8), BorderMask(at16))


def _rows_by_group(groups: GroupMap) -> list[tuple[int, NDArray[np.intp]]]:
    flat = groups.reshape(-1)
    return [(int(group), np.flatnonzero(flat == group)) for group in np.unique(flat)]


def _z_rows(z: Tensor) -> NDArray[np.int32]:
    return z[0].permute(1, 2, 0).flatten(0, 1).to(torch.int32).cpu().numpy()


def _y_rows(y: Tensor) -> NDArray[np.int32]:
    _, channels, height, width = y.shape
    cells = y[0].view(channels, height // 2, 2, width // 2, 2).permute(1, 3, 2, 4, 0)
    return cells.reshape(height * width // 4, 4 * channels).to(torch.int32).cpu().numpy()


def _from_rows(rows: Tensor, cells: tuple[int, ...], device: str) -> Tensor:
    """(n, 4 C) rows of cells to (1, C, 2 rows, 2 columns), channels last in memory."""
    height, width = cells
    blocks = rows.to(device).view(height, width, 2, 2, -1).permute(0, 2, 1, 3, 4)
    return blocks.reshape(1, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def _tables(model: Model) -> list[NDArray[np.uint32]]:
    group = model.group("tables")
    if "sizes" not in group or "frequencies" not in group:
        raise ModelError(f"model {model.name}: no probability tables")
    ends = np.cumsum(group["sizes"].astype(np.int64))
    return np.split(group["frequencies"].astype(np.uint32), ends[:-1].tolist())


def _load_net(model: Model) -> IntraNet:
    try:
        net = IntraNet(IntraConfig(**model.config["intra"]))  # type: ignore[arg-type]
        values = {k: torch.from_numpy(np.array(v)).float() for k, v in model.group("intra").items()}
        values = {k: v for k, v in values.items() if not k.startswith("head.")}
        missing, unexpected = net.load_state_dict(values, strict=False)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"model {model.name}: weights do not fit its config: {error}") from error
    if unexpected or any(not name.startswith("scale_head.") for name in missing):
        raise ModelError(f"model {model.name}: weights do not fit its config: {missing + unexpected}")
    return (
        net.eval()
        .requires_grad_(False)
        .to(  # pyright: ignore[reportCallIssue]
            memory_format=torch.channels_last
        )
    )


def _reduce(net: IntraNet, dtype: torch.dtype) -> None:
    """Transforms in a fast type; their last products and everything about means stay float32."""
    for transform in (net.analysis, net.hyper_analysis, net.synthesis):
        for name, parameter in transform.named_parameters():
            if not name.startswith(("head.", "linear.")) and not name.endswith("log_gain"):
                parameter.data = parameter.data.to(dtype)
