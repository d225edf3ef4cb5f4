"""P frames: planes to strings of motion and residual, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ModelError
from ..frame import Frame
from ..nets.inter import GLOBAL_STEPS, InterConfig, InterMasks, InterNet, Planes, half_to_planes, planes_to_half
from ..nets.intra import to_half
from ..nets.lagrangian import PLANE_WEIGHTS, lambda_of
from ..nets.motion import smooth_flow
from ..weights import Model
from .device import fast_dtype, pick_device
from .latents import GroupSymbols, LatentCoder, Maps, Past, Start
from .loading import load_head, load_tables, load_weights
from .maps import cell_mask, group_mask, q_tensor
from .phases import Phases
from .planes import frame_to_tensor
from .quantiser import Quantiser
from .rows import rows_by_group

__all__ = ["Effort", "FrameMaps", "InterCoder", "InterReference", "Members", "PFrame"]

START_LIMIT = 2**15 - 1  # what an escape can carry
Effort = Literal["fast", "medium", "slow"]
SMOOTHING = (1.0, 3.0, 0.4)  # how smooth the flow is made, in units of what is best on average; slow tries all
Members = Sequence[frozenset[int]]  # track ids of each group; the background has none


class Chain(NamedTuple):
    """Symbols of one kind in the frame before, by cell, and what became of them."""

    symbols: GroupSymbols
    known: NDArray[np.bool_]  # (n,) read, or coded
    lost: NDArray[np.bool_]  # (n,) the encoder had them, this decoder has not


class InterReference(NamedTuple):
    """What a P frame needs of the frame before."""

    planes: Planes | None  # decoded; None where only motion is read
    flow: Tensor  # (1, 2, H/4, W/4) float32
    motion: Chain
    residual: Chain
    cell_members: tuple[frozenset[int], ...]  # track ids of the group of each cell


class FrameMaps(NamedTuple):
    """q and group of every cell, as integers and as the networks want them."""

    groups: NDArray[np.integer]  # (rows, columns)
    members: Members
    q: NDArray[np.int64]  # (rows, columns)
    maps: Maps
    masks: InterMasks

    @property
    def cell_members(self) -> tuple[frozenset[int], ...]:
        """Track ids of the group of each cell, in raster order."""
        return tuple(self.members[group] for group in self.groups.reshape(-1).tolist())


class PFrame(NamedTuple):
    """One coded P frame."""

    motion: dict[int, bytes]  # by group
    residual: dict[int, bytes]
    reference: InterReference  # for the next frame
    predicted: Tensor  # (1, 6, H/2, W/2), refined
    warped: Tensor  # (1, 6, H/2, W/2)
    picture: Tensor  # (1, 6, H/2, W/2), decoded


class InterCoder:
    """The P-frame networks of one model on one device. Not thread safe."""

    def __init__(
        self,
        model: Model,
        *,
        device: str = "auto",
        reduced_precision: bool = True,
        effort: Effort = "medium",
    ) -> None:
        """reduced_precision: bfloat16 transforms where the processor is fast at it. effort: of the encoder.

        Raises ModelError where the model has no P-frame networks, or the integer heads fail here.
        """
        if "inter" not in model.config:
            raise ModelError(f"model {model.name} codes I frames alone")
        self.device = pick_device(device)
        self.effort: Effort = effort
        try:
            self.net = InterNet(InterConfig(**model.config["inter"]))  # type: ignore[arg-type]
        except TypeError as error:
            raise ModelError(f"model {model.name}: {error}") from error
        load_weights(self.net, model, "inter")
        self.net.to(self.device)
        tables = load_tables(model)
        motion, residual = load_head(model, "motion"), load_head(model, "residual")
        self.motion = LatentCoder(self.net.motion.latents, motion, tables, device=self.device)
        self.residual = LatentCoder(self.net.residual.latents, residual, tables, device=self.device)
        optimise = effort != "fast"
        self._motion_quantiser = Quantiser(tables, self.device, optimise=optimise)
        self._residual_quantiser = Quantiser(tables, self.device, optimise=optimise)
        self.dtype = fast_dtype(self.device) if reduced_precision else torch.float32
        _reduce(self.net, self.dtype)
        self._phase = Phases(self.device)

    @property
    def seconds(self) -> dict[str, float]:
        """Time by phase since the start."""
        return self._phase.seconds

    # References

    def after_intra(self, x_hat: Tensor | None, maps: FrameMaps) -> InterReference:
        """The reference that an I frame leaves. x_hat: (1, 6, H/2, W/2); None where only motion is read."""
        rows, columns = maps.groups.shape
        flow = torch.zeros(1, 2, 8 * rows, 8 * columns, device=self.device)
        chains = [_fresh(coder.nothing(rows * columns)) for coder in (self.motion, self.residual)]
        planes = None if x_hat is None else half_to_planes(x_hat)
        return InterReference(planes, flow, chains[0], chains[1], maps.cell_members)

    def frame_maps(self, q: NDArray[np.int64], groups: NDArray[np.integer], members: Members) -> FrameMaps:
        """What follows from q and group of every cell, (rows, columns) each."""
        at2, at4, at8, at16 = (group_mask(groups, k, self.device) for k in (16, 8, 4, 2))
        maps = Maps(q, q_tensor(q, self.device), at16)
        return FrameMaps(groups, members, q, maps, InterMasks(at2, at4, at8, at16))

    # Encoding

    @torch.inference_mode()
    def encode(self, frame: Frame, maps: FrameMaps, before: InterReference) -> PFrame:
        """Strings of every group, and the frame as a decoder will have it."""
        assert before.planes is not None
        x = frame_to_tensor(frame, self.device)
        luma = F.pixel_shuffle(x[:, :64], 8)
        with self._phase("motion estimation"):
            flow = self.net.estimation.search(luma, before.planes.y, finest=1 if self.effort == "fast" else 0)
        strengths = SMOOTHING if self.effort == "slow" else SMOOTHING[:1]
        coded = [self._encode(x, luma, self._smooth(flow, luma, maps, s), maps, before) for s in strengths]
        return coded[0] if len(coded) == 1 else min(coded, key=lambda c: self._cost(c, x, maps))

    def _encode(self, x: Tensor, luma: Tensor, flow: Tensor, maps: FrameMaps, before: InterReference) -> PFrame:
        """One way to code a frame. flow: (1, 2, H/4, W/4), not yet coded."""
        assert before.planes is not None
        net = self.net
        same = _same_members(before, maps)
        motion_past = _past(before.motion, same)
        starts = _starts(flow, maps, motion_past)
        flow_before = self._flow_before(before, motion_past.known, starts, maps)
        with self._phase("motion analysis"):
            y = net.motion.analysis(flow, luma, maps.masks) - net.motion.base(flow_before)
            condition = net.motion.condition(flow_before)
            motion = self.motion.quantise(y, condition, maps.maps, motion_past, self._motion_quantiser)
        residual_past = _past(before.residual, same, _complete(motion))
        flow_hat = self._flow(motion, flow_before, maps)
        warped, predicted = self._predict(before.planes, flow_hat, maps)
        with self._phase("residual analysis"):
            y = net.residual.analysis(x, predicted, maps.maps.q_map, maps.masks)
        with self._phase("residual hyper"):
            condition = net.residual.condition(predicted, maps.masks)
            residual = self.residual.quantise(y, condition, maps.maps, residual_past, self._residual_quantiser)
        picture = self._picture(residual, predicted, warped, maps)
        with self._phase("entropy"):
            flat = maps.q.reshape(-1)
            strings: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
            for group, rows in rows_by_group(maps.groups):
                past = motion_past.take(rows)
                strings[0][group] = self.motion.write(motion.take(rows), flat[rows], past, starts.get(group))
                strings[1][group] = self.residual.write(residual.take(rows), flat[rows], residual_past.take(rows))
        chains = (_complete(motion), _complete(residual))
        reference = InterReference(half_to_planes(picture), flow_hat, *chains, maps.cell_members)
        return PFrame(*strings, reference, predicted, warped, picture)

    def _smooth(self, flow: Tensor, luma: Tensor, maps: FrameMaps, strength: float) -> Tensor:
        with self._phase("motion smoothing"):
            lmbda = lambda_of(maps.maps.q_map)
            if lmbda.ndim == 1:
                lmbda = lmbda[:, None, None, None]
            else:
                lmbda = lmbda.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
            return smooth_flow(flow, luma, lmbda, strength=strength)

    def _cost(self, coded: PFrame, x: Tensor, maps: FrameMaps) -> float:
        """R + lambda D in bits; the parts outside the picture count too."""
        bits = 8 * sum(len(data) for data in (*coded.motion.values(), *coded.residual.values()))
        return bits + float((_cell_error(to_half(x) - coded.picture) * lambda_of(maps.maps.q_map)).sum())

    # Decoding

    @torch.inference_mode()
    def decode_motion(self, strings: Mapping[int, bytes], maps: FrameMaps, before: InterReference) -> InterReference:
        """The flow, from MOTION substreams by group. Raises BitstreamError.

        Planes and residual symbols of the reference returned are those of `before`.
        """
        same = _same_members(before, maps)
        with self._phase("entropy"):
            chain, starts = self._read(self.motion, strings, maps, before.motion, same, None)
        flow_before = self._flow_before(before, before.motion.known & same, starts, maps)
        flow = self._flow(chain.symbols, flow_before, maps)
        if not chain.known.all():
            flow = flow * cell_mask(chain.known.reshape(maps.groups.shape), 8, self.device)
        return before._replace(flow=flow, motion=chain, cell_members=maps.cell_members)

    @torch.inference_mode()
    def decode(
        self, motion: Mapping[int, bytes], residual: Mapping[int, bytes], maps: FrameMaps, before: InterReference
    ) -> tuple[Tensor, InterReference]:
        """The picture (1, 6, H/2, W/2) float32, and the next reference. Strings by group. Raises BitstreamError.

        Where a group has no motion, the reference is the picture; where it has no residual, the
        warped reference is.
        """
        assert before.planes is not None
        same = _same_members(before, maps)
        after = self.decode_motion(motion, maps, before)
        with self._phase("entropy"):
            chain, _ = self._read(self.residual, residual, maps, before.residual, same, after.motion)
        warped, predicted = self._predict(before.planes, after.flow, maps)
        picture = self._picture(chain.symbols, predicted, warped, maps)
        if not after.motion.known.all():  # mended or corrected, a picture that stands still would drift
            moved = cell_mask(after.motion.known.reshape(maps.groups.shape), 16, self.device)
            picture = torch.where(moved > 0, picture, planes_to_half(before.planes))
        return picture, InterReference(half_to_planes(picture), after.flow, after.motion, chain, maps.cell_members)

    def _read(
        self,
        coder: LatentCoder,
        strings: Mapping[int, bytes],
        maps: FrameMaps,
        before: Chain,
        same: NDArray[np.bool_],
        motion: Chain | None,
    ) -> tuple[Chain, dict[int, Start]]:
        """Symbols of all groups that are there and whose chain is whole, and whose motion is, where it matters.

        motion: of the same frame, to read residuals; None to read motion, and the vectors from which chains start.
        """
        past = _past(before, same, motion)
        broken = before.lost & same
        if motion is not None:
            broken = broken | ~motion.known
        flat = maps.q.reshape(-1)
        symbols = coder.nothing(flat.size).symbols
        known = np.zeros(flat.size, np.bool_)
        starts: dict[int, Start] = {}
        for group, rows in rows_by_group(maps.groups):
            if group in strings and not broken[rows].any():
                begins = motion is None and not past.known[rows].any()
                own, start = coder.read(strings[group], flat[rows], past.take(rows), has_start=begins)
                symbols.z[rows], symbols.y[rows] = own
                known[rows] = True
                if begins:
                    starts[group] = start
        return Chain(symbols, known, ~known), starts

    # What both sides compute

    def _flow_before(
        self, before: InterReference, known: NDArray[np.bool_], starts: Mapping[int, Start], maps: FrameMaps
    ) -> Tensor:
        """The flow of the frame before where it counts; where a chain starts, its vector; else 0."""
        if known.all():
            return before.flow
        cells = np.zeros((2, known.size), np.float32)
        for group, rows in rows_by_group(maps.groups):
            if group in starts:
                cells[:, rows] = starts[group][:, None] / np.float32(GLOBAL_STEPS)
        vectors = torch.from_numpy(cells.reshape(1, 2, *maps.groups.shape)).to(self.device)
        flow = vectors.repeat_interleave(8, 2).repeat_interleave(8, 3)
        kept = cell_mask(known.reshape(maps.groups.shape), 8, self.device)
        return torch.where(kept > 0, before.flow, flow)

    def _flow(self, symbols: GroupSymbols, flow_before: Tensor, maps: FrameMaps) -> Tensor:
        with self._phase("motion synthesis"):
            condition = self.net.motion.condition(flow_before)
            y_hat = self.motion.dequantise(symbols, condition, maps.maps) + self.net.motion.base(flow_before)
            return self.net.motion.synthesis(y_hat, flow_before, maps.maps.q_map, maps.masks)

    def _predict(self, planes: Planes, flow_hat: Tensor, maps: FrameMaps) -> tuple[Tensor, Tensor]:
        with self._phase("warp"):
            warped = self.net.compensation.warp(planes, flow_hat)
        with self._phase("refinement"):
            return warped, self.net.compensation.refine(warped, flow_hat, maps.maps.q_map, maps.masks)

    def _picture(self, symbols: GroupSymbols, predicted: Tensor, warped: Tensor, maps: FrameMaps) -> Tensor:
        """The picture: cells of which every latent is 0 show the warp, so that what stands still stays as it is."""
        coded = symbols.y.any(axis=1).reshape(maps.groups.shape)
        if not coded.any():
            return warped
        with self._phase("hyper"):
            condition = self.net.residual.condition(predicted, maps.masks)
            y_hat = self.residual.dequantise(symbols, condition, maps.maps)
        with self._phase("synthesis"):
            picture = self.net.residual.synthesis(y_hat, predicted, maps.maps.q_map, maps.masks)
            return torch.where(cell_mask(coded, 16, self.device) > 0, picture, warped)


def _cell_error(difference: Tensor) -> Tensor:
    """(rows, columns) weighted squared error of every cell, in squared 8-bit code values. (1, 6, H/2, W/2)."""
    error = (difference * 255).square()
    y, u, v = PLANE_WEIGHTS
    weighted = error[:, :4].mean(1) * y + error[:, 4] * u + error[:, 5] * v
    return F.avg_pool2d(weighted, 16)[0] * 32 * 32


def _starts(flow: Tensor, maps: FrameMaps, past: Past) -> dict[int, Start]:
    """The median vector of every group of which nothing is known, in steps of GLOBAL_STEPS a sample."""
    rows, columns = maps.groups.shape
    cells = flow[0].view(2, rows, 8, columns, 8).permute(1, 3, 0, 2, 4).reshape(rows * columns, 2, 64)
    starts: dict[int, Start] = {}
    for group, members in rows_by_group(maps.groups):
        if not past.known[members].any():
            vectors = cells[torch.from_numpy(members).to(flow.device)].permute(1, 0, 2).flatten(1)
            steps = (vectors.median(dim=1).values * GLOBAL_STEPS).round().clamp(-START_LIMIT, START_LIMIT)
            starts[group] = steps.cpu().numpy().astype(np.int32)
    return starts


def _fresh(past: Past) -> Chain:
    nowhere = np.zeros(past.known.size, np.bool_)
    return Chain(past.symbols, nowhere, nowhere)


def _complete(symbols: GroupSymbols) -> Chain:
    n = symbols.z.shape[0]
    return Chain(symbols, np.ones(n, np.bool_), np.zeros(n, np.bool_))


def _past(before: Chain, same: NDArray[np.bool_], motion: Chain | None = None) -> Past:
    known = before.known & same
    return Past(before.symbols, known) if motion is None else Past(before.symbols, known, motion.symbols, motion.known)


def _same_members(before: InterReference, maps: FrameMaps) -> NDArray[np.bool_]:
    """(n,) cells whose group has the same objects as in the frame before."""
    if not any(maps.members) and not any(before.cell_members):
        return np.ones(maps.groups.size, np.bool_)
    pairs = zip(before.cell_members, maps.cell_members, strict=True)
    return np.fromiter((a == b for a, b in pairs), np.bool_, maps.groups.size)


EXACT = ("head.", "linear", "log_gain", "means.", "condition", "scale_head", "persistence")


def _reduce(net: InterNet, dtype: torch.dtype) -> None:
    """Transforms in a fast type; linear paths, heads and everything about means stay float32."""
    for part in (net.estimation, net.motion, net.compensation, net.residual):
        for name, parameter in part.named_parameters():
            exact = any(word in name for word in EXACT)
            if not exact:
                parameter.data = parameter.data.to(dtype)
