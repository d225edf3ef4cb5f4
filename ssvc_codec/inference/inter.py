"""P frames: planes to strings of motion and residual, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..entropy.offsets import cell_neighbours
from ..entropy.plain_tables import FLAGS_SHAPE
from ..errors import BitstreamError, ModelError
from ..frame import Frame
from ..nets.distortion import tune_of
from ..nets.inter import InterConfig, InterMasks, InterNet, Planes, half_to_planes, planes_to_half
from ..nets.intra import to_half
from ..nets.lagrangian import lambda_of
from ..nets.motion import smooth_flow
from ..weights import Model
from .cell_search import CellSearch, CellTarget
from .compensation import Compensated, compensate
from .device import fast_dtype, pick_device
from .latents import GroupSymbols, LatentCoder
from .loading import load_block_heads, load_plain_tables, load_tables, load_vector_head, load_weights
from .maps import CellMaps, cell_mask
from .mended import MENDED, load_mended_flags
from .merge_coding import CellGrid, load_merge_coder
from .merge_search import MergeTarget, search_merges
from .motion_search import MotionSearch, MotionTarget
from .motion_zeroing import MotionZeroing
from .own_search import search_own_vectors
from .phases import Phases
from .planes import frame_to_tensor
from .quantiser import Quantiser
from .reading import FrameStrings, FrameSymbols, read_frames
from .reference import Chain, FrameMaps, InterReference, Members, find_starts, flow_before
from .residual import ResidualCoder
from .rows import rows_by_group
from .windows import Window, pick_windows

__all__ = ["Effort", "FrameMaps", "InterCoder", "InterReference", "Members", "MotionFrame", "PFrame"]

Effort = Literal["fast", "medium", "slow"]


class Search(NamedTuple):
    """What an encoder tries (docs/decisions/0009); no decoder sees it."""

    finest: int  # level of the pyramid at which motion estimation stops
    optimise: bool  # weighs each symbol against its rate
    skip: bool  # weighs each cell of the residual, and each group of cells
    motion_steps: int  # of gradient, from the motion that analysis gives
    zeroing: bool  # of symbols of motion, position by position
    merge: bool  # blocks with vectors of other places


SEARCHES: dict[Effort, Search] = {
    "fast": Search(finest=1, optimise=False, skip=False, motion_steps=0, zeroing=False, merge=False),
    "medium": Search(finest=0, optimise=True, skip=True, motion_steps=3, zeroing=True, merge=True),
    "slow": Search(finest=0, optimise=True, skip=True, motion_steps=15, zeroing=True, merge=True),
}


class PFrame(NamedTuple):
    """One coded P frame."""

    motion: dict[int, bytes]  # by group
    residual: dict[int, bytes]
    reference: InterReference  # for the next frame
    predicted: Tensor  # (1, 6, H/2, W/2), refined
    warped: Tensor  # (1, 6, H/2, W/2)
    picture: Tensor  # (1, 6, H/2, W/2), decoded


class MotionFrame(NamedTuple):
    """One of several P frames of which motion is decoded at once."""

    strings: Mapping[int, bytes]  # MOTION by group
    maps: FrameMaps
    before: InterReference


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
        self._search = search = SEARCHES[effort]
        try:
            self.net = InterNet(InterConfig.of(model.config["inter"]))
        except TypeError as error:
            raise ModelError(f"model {model.name}: {error}") from error
        load_weights(self.net, model, "inter")
        self.net.to(self.device)
        tables = load_tables(model, "laplace")
        merge = load_merge_coder(model)
        heads = load_vector_head(model), load_block_heads(model)
        self.motion = LatentCoder(self.net.motion.latents, heads[0], tables, device=self.device, merge=merge)
        flags = load_plain_tables(model, "residual.flags", FLAGS_SHAPE)
        mended = load_mended_flags(model)
        self.residual = ResidualCoder(self.net.residual, heads[1], tables, flags, mended, device=self.device)
        self._motion_quantiser = Quantiser(tables, self.device, optimise=search.optimise)
        self._motion_search = MotionSearch(self.net, self.motion, self._motion_quantiser)
        self._motion_zeroing = MotionZeroing(self.net, self.motion, self._motion_quantiser)
        self.dtype = fast_dtype(self.device) if reduced_precision else torch.float32
        _reduce(self.net, self.dtype)
        self._phase = Phases(self.device)
        self.tune = tune_of(self.net.config.tune)
        self._cell_search = CellSearch(self.residual, self.tune, self._phase)

    @property
    def seconds(self) -> dict[str, float]:
        """Time by phase since the start."""
        return self._phase.seconds

    # References

    def after_intra(
        self, x_hat: Tensor | None, maps: FrameMaps, *, known: NDArray[np.bool_] | None = None
    ) -> InterReference:
        """The reference that an I frame leaves.

        x_hat: (1, 6, H/2, W/2), None where only motion is read. known: (rows, columns) cells decoded, None for all.
        """
        rows, columns = maps.groups.shape
        flow = torch.zeros(1, 2, 8 * rows, 8 * columns, device=self.device)
        chains = [Chain.fresh(coder.nothing(rows * columns)) for coder in (self.motion, self.residual)]
        planes = None if x_hat is None else half_to_planes(x_hat)
        filled = None if known is None or known.all() else known
        return InterReference(planes, flow, chains[0], chains[1], maps.groups, maps.members, filled)

    def frame_maps(self, q: NDArray[np.int64], groups: NDArray[np.integer], members: Members) -> FrameMaps:
        """What follows from q and group of every cell, (rows, columns) each."""
        return FrameMaps(CellMaps(q, groups, self.device), members)

    # Encoding

    @torch.inference_mode()
    def estimate(self, frame: Frame, planes: Planes) -> Tensor:
        """Flow (1, 2, H/4, W/4) float32 from a frame to an earlier decoded picture, not yet coded."""
        luma = F.pixel_shuffle(frame_to_tensor(frame, self.device)[:, :64], 8)
        with self._phase("motion estimation"):
            return self.net.estimation.search(luma, planes.y, finest=self._search.finest)

    @torch.inference_mode()
    def encode(self, frame: Frame, maps: FrameMaps, before: InterReference, *, flow: Tensor | None = None) -> PFrame:
        """Strings of every group, and the frame as a decoder will have it. flow: what estimate gave, if known."""
        assert before.planes is not None
        if flow is None:
            flow = self.estimate(frame, before.planes)
        x = frame_to_tensor(frame, self.device)
        luma = F.pixel_shuffle(x[:, :64], 8)
        original = to_half(x)
        flow = self._smooth(flow, luma, maps)
        net = self.net
        same = before.same_members(maps)
        motion_past = before.motion.past(same)
        starts = find_starts(flow, maps, motion_past)
        expected = flow_before(before, motion_past.known, starts, maps)
        target = MotionTarget(half_to_planes(original), before.planes, expected, motion_past, maps)
        motion = self._choose_motion(flow, target)
        flow_hat = self._flow(motion, expected, maps)
        with self._phase("warp"):
            compensated = compensate(before, flow_hat, maps)
        if self._search.merge and self.motion.merge is not None:
            with self._phase("merge search"):
                merging = MergeTarget(motion_past, flow_hat, compensated, original, before, maps)
                motion = search_merges(self.motion, motion, merging)
            if motion.merges().any():
                with self._phase("warp"):
                    compensated = compensate(before, flow_hat, maps, motion=motion)
            with self._phase("own vectors"):
                owning = search_own_vectors(self.motion, motion, merging._replace(compensated=compensated))
            if owning is not motion:
                motion = owning
                with self._phase("warp"):
                    compensated = compensate(before, flow_hat, maps, motion=motion)
        residual_past = before.residual.past(same, Chain.complete(motion))
        predicted = self._refine(compensated, maps)
        with self._phase("residual analysis"):
            beside = cell_neighbours(np.arange(maps.q.size), maps.q.shape[1], maps.groups.reshape(-1))
            offsets = self.residual.choose_offsets(original - predicted, maps.maps, residual_past, beside)
            added = self.residual.offset_picture(offsets, maps.maps)
            known, shown = predicted + added, compensated.warped + added
            y = net.residual.analysis(x, known, maps.maps.q_map, maps.masks)
        with self._phase("residual symbols"):
            blocks = self.residual.whole(maps.maps, maps.groups, residual_past, offsets)
            chosen = self.residual.quantise(y, maps.maps, blocks, optimise=self._search.optimise)
            residual = self.residual.with_offsets(chosen, offsets)
        if self._search.skip:
            target = CellTarget(original, shown, residual_past, blocks, beside, maps)
            residual, made = self._cell_search(residual, target, lambda symbols: self._synthesis(symbols, known, maps))
            picture = self._shown(residual, made, shown, maps)
        else:
            picture = self._picture(residual, known, shown, maps)
        with self._phase("entropy"):
            flat = maps.q.reshape(-1)
            strings: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
            for group, rows in rows_by_group(maps.groups):
                past = motion_past.take(rows)
                grid = CellGrid(rows, maps.groups.shape[1])
                strings[0][group] = self.motion.write(motion.take(rows), flat[rows], past, starts.get(group), grid)
                past = residual_past.take(rows)
                strings[1][group] = self.residual.write(residual.take(rows), flat[rows], past, grid)
        chains = (Chain.complete(motion), Chain.complete(residual))
        reference = InterReference(half_to_planes(picture), flow_hat, *chains, maps.groups, maps.members)
        return PFrame(*strings, reference, predicted, compensated.warped, picture)

    def _choose_motion(self, flow: Tensor, target: MotionTarget) -> GroupSymbols:
        """Symbols of a flow (1, 2, H/4, W/4), or of one that costs less."""
        net, maps = self.net.motion, target.maps
        with self._phase("motion analysis"):
            y = net.analysis(flow, target.original.y, maps.masks) - net.base(target.expected)
            condition = net.condition(target.expected)
        if self._search.motion_steps:
            with self._phase("motion search"):
                y = self._motion_search(y, condition, target, n_steps=self._search.motion_steps)
        if self._search.zeroing:
            with self._phase("motion zeroing"):
                return self._motion_zeroing(y, condition, target)
        with self._phase("motion analysis"):
            found = self.motion.quantise(y, condition, maps.maps, maps.groups, target.past, self._motion_quantiser)
            return found.symbols

    def _smooth(self, flow: Tensor, luma: Tensor, maps: FrameMaps) -> Tensor:
        with self._phase("motion smoothing"):
            lmbda = lambda_of(maps.maps.q_map)
            if lmbda.ndim == 1:
                lmbda = lmbda[:, None, None, None]
            else:
                lmbda = lmbda.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
            return smooth_flow(flow, luma, lmbda)

    # Decoding

    @torch.inference_mode()
    def decode_motion(
        self,
        strings: Mapping[int, bytes],
        maps: FrameMaps,
        before: InterReference,
        *,
        latents: Tensor | None = None,
    ) -> InterReference:
        """The flow, from MOTION substreams by group. Raises BitstreamError.

        Planes and residual symbols of the reference returned are those of `before`. latents: takes y_hat of what
        was decoded, as empty_motion_latents gives it.
        """
        return self._decode_motion(strings, maps, before, before.same_members(maps), latents)

    def empty_motion_latents(self, maps: FrameMaps) -> Tensor:
        """(1, C_y, H/16, W/16) NaN."""
        rows, columns = maps.groups.shape
        channels = self.net.config.n_motion
        return torch.full((1, channels, 2 * rows, 2 * columns), torch.nan, device=self.device)

    def _decode_motion(
        self,
        strings: Mapping[int, bytes],
        maps: FrameMaps,
        before: InterReference,
        same: NDArray[np.bool_],
        latents: Tensor | None = None,
    ) -> InterReference:
        found = self._read(self.motion, FrameStrings(strings, maps, before.motion, same))
        return self._flow_by_windows(found, maps, before, same, latents)

    def _flow_by_windows(
        self,
        found: FrameSymbols,
        maps: FrameMaps,
        before: InterReference,
        same: NDArray[np.bool_],
        latents: Tensor | None = None,
    ) -> InterReference:
        chain, starts = found
        expected = flow_before(before, before.motion.known & same, starts, maps)
        flow = torch.zeros_like(expected)
        for window in pick_windows(maps.groups, chain.known.reshape(maps.groups.shape)):
            symbols = chain.symbols.take(window.rows(maps.groups.shape[1]))
            own, expected_part = maps.within(window), window.crop(expected, 8)
            y_hat = self._motion_latents(symbols, expected_part, own)
            flow = window.paste(flow, self._motion_synthesis(y_hat, expected_part, own), 8)
            if latents is not None:
                part = window.paste(latents, y_hat, 2)
                if part is not latents:
                    latents.copy_(part)
        return before._replace(flow=flow, motion=chain, groups=maps.groups, members=maps.members)

    @torch.inference_mode()
    def decode_motions(self, frames: Sequence[MotionFrame]) -> list[InterReference | BitstreamError]:
        """What decode_motion gives for frames of several streams, or the error that it raises, at less cost.

        All pictures have as many rows and columns of cells.
        """
        sames = [frame.before.same_members(frame.maps) for frame in frames]
        with self._phase("entropy"):
            asked = [FrameStrings(f.strings, f.maps, f.before.motion, s) for f, s in zip(frames, sames, strict=True)]
            read = read_frames(self.motion, asked)
        out: list[InterReference | BitstreamError] = []
        whole: dict[int, tuple[Chain, Tensor]] = {}
        for k, (frame, same, found) in enumerate(zip(frames, sames, read, strict=True)):
            maps, before = frame.maps, frame.before
            if isinstance(found, BitstreamError):
                out.append(found)
            elif found.chain.known.all():
                whole[k] = found.chain, flow_before(before, before.motion.known & same, found.starts, maps)
                out.append(before._replace(motion=found.chain, groups=maps.groups, members=maps.members))
            else:
                out.append(self._flow_by_windows(found, maps, before, same))
        if whole:
            symbols = GroupSymbols.joined([chain.symbols for chain, _ in whole.values()])
            expected = torch.cat([flow for _, flow in whole.values()])
            flows = self._flow(symbols, expected, FrameMaps.stacked([frames[k].maps for k in whole]))
            for k, flow in zip(whole, flows.split(1), strict=True):
                out[k] = cast(InterReference, out[k])._replace(flow=flow)
        return out

    @torch.inference_mode()
    def decode(
        self, motion: Mapping[int, bytes], residual: Mapping[int, bytes], maps: FrameMaps, before: InterReference
    ) -> tuple[Tensor, InterReference]:
        """The picture (1, 6, H/2, W/2) float32, and the next reference. Strings by group. Raises BitstreamError.

        Where a group has no motion, the reference is the picture; where it has no residual, the
        warped reference is.
        """
        assert before.planes is not None
        same = before.same_members(maps)
        after = self._decode_motion(motion, maps, before, same)
        chain, _ = self._read(self.residual, FrameStrings(residual, maps, before.residual, same, after.motion))
        decoded = after.motion.known.reshape(maps.groups.shape)
        with self._phase("warp"):
            compensated = compensate(before, after.flow, maps, decoded, after.motion.symbols)
        if decoded.all():
            picture, filled = self._window(Window(0, 0, decoded), chain, compensated, maps), None
        else:  # what has no motion stays as it is: mended or corrected again and again it would drift
            picture = planes_to_half(before.planes)
            for window in pick_windows(maps.groups, decoded):
                window.paste(picture, self._window(window, chain, compensated, maps), 16)
            kept = same.reshape(decoded.shape)
            filled = decoded | (kept if before.filled is None else before.filled & kept)
        return picture, after._replace(planes=half_to_planes(picture), residual=chain, filled=filled)

    def _window(self, window: Window, chain: Chain, compensated: Compensated, maps: FrameMaps) -> Tensor:
        """The picture of one window, (1, 6, h/2, w/2)."""
        own = maps.within(window)
        part = Compensated(*(window.crop(x, 16) for x in compensated))
        symbols = chain.symbols.take(window.rows(maps.groups.shape[1]))
        added = self.residual.offset_picture(symbols, own.maps)
        return self._picture(symbols, self._refine(part, own) + added, part.warped + added, own)

    def _read(self, coder: LatentCoder | ResidualCoder, frame: FrameStrings) -> FrameSymbols:
        with self._phase("entropy"):
            (found,) = read_frames(coder, [frame])
        if isinstance(found, BitstreamError):
            raise found
        return found

    # What both sides compute

    def _flow(self, symbols: GroupSymbols, expected: Tensor, maps: FrameMaps) -> Tensor:
        return self._motion_synthesis(self._motion_latents(symbols, expected, maps), expected, maps)

    def _motion_latents(self, symbols: GroupSymbols, expected: Tensor, maps: FrameMaps) -> Tensor:
        """y_hat (1, C_y, H/16, W/16)."""
        with self._phase("motion synthesis"):
            condition = self.net.motion.condition(expected)
            return self.motion.dequantise(symbols, condition, maps.maps) + self.net.motion.base(expected)

    def _motion_synthesis(self, y_hat: Tensor, expected: Tensor, maps: FrameMaps) -> Tensor:
        with self._phase("motion synthesis"):
            return self.net.motion.synthesis(y_hat, expected, maps.cells.q_map, InterMasks(at4=maps.cells.at4))

    def _refine(self, compensated: Compensated, maps: FrameMaps) -> Tensor:
        with self._phase("refinement"):
            return self.net.compensation.mend(*compensated, maps.maps.q_map, maps.masks)

    def _picture(self, symbols: GroupSymbols, predicted: Tensor, warped: Tensor, maps: FrameMaps) -> Tensor:
        """The picture. predicted, warped: with what offsets add."""
        if not _is_made(symbols).any():
            return warped
        return self._shown(symbols, self._synthesis(symbols, predicted, maps), warped, maps)

    def _synthesis(self, symbols: GroupSymbols, predicted: Tensor, maps: FrameMaps) -> Tensor:
        """What the networks make of symbols and prediction, in every cell."""
        with self._phase("dequantisation"):
            y_hat = self.residual.dequantise(symbols, maps.maps)
        with self._phase("synthesis"):
            return self.net.residual.synthesis(y_hat, predicted, maps.maps.q_map, maps.masks)

    def _shown(self, symbols: GroupSymbols, made: Tensor, warped: Tensor, maps: FrameMaps) -> Tensor:
        """Cells of zeros that are not mended show the warp, so that what stands still stays as it is."""
        return torch.where(cell_mask(_is_made(symbols).reshape(maps.groups.shape), 16, self.device) > 0, made, warped)


def _is_made(symbols: GroupSymbols) -> NDArray[np.bool_]:
    """(n,) cells that show what the networks make. symbols: of RESIDUAL."""
    return symbols.y.any(axis=1) | (symbols.z[:, MENDED] != 0)


EXACT = ("head.", "linear", "log_gain", "means.", "condition", "scale_head", "entropy.", "persistence")


def _reduce(net: InterNet, dtype: torch.dtype) -> None:
    """Transforms in a fast type; linear paths, heads and everything about means stay float32."""
    for part in (net.estimation, net.motion, net.compensation, net.residual):
        for name, parameter in part.named_parameters():
            exact = any(word in name for word in EXACT)
            if not exact:
                parameter.data = parameter.data.to(dtype)
