"""Blocks that look their vectors up elsewhere, against loops written from docs/bitstream.md, section 6.3."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ssvc_codec.nets.inter import InterConfig, InterNet, Planes, half_to_merged, half_to_planes, warp_planes
from ssvc_codec.nets.merge import Blocks, Field, merge_flow, merge_plan
from ssvc_codec.nets.merge_choice import block_errors, choose_merges
from ssvc_codec.nets.motion import upsample_flow

PLACES = [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)]
ROWS, COLUMNS = 2, 3  # of cells


def displacement(k: int) -> tuple[int, int]:
    """Section 6.3: k = 1 + 8 i + j."""
    if k == 0:
        return 0, 0
    i, j = divmod(k - 1, 8)
    return (2, 4, 8)[i] * PLACES[j][0], (2, 4, 8)[i] * PLACES[j][1]


def displaced(e: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """e: (2, h, w)."""
    _, h, w = e.shape
    a, b = displacement(k)
    y, x = np.clip(np.arange(h) + b, 0, h - 1), np.clip(np.arange(w) + a, 0, w - 1)
    return e[:, y][:, :, x]


def bilinear(f: NDArray[np.float32], factor: int) -> NDArray[np.float64]:
    """Between centres of vectors, the edge repeated. f: (2, h, w)."""
    result = f.astype(np.float64)
    for axis in (1, 2):
        n = result.shape[axis]
        at = (np.arange(n * factor) + 0.5) / factor - 0.5
        low = np.floor(at).astype(int)
        share = (at - low).reshape((-1, 1) if axis == 1 else (1, -1))
        first, second = (np.take(result, np.clip(low + d, 0, n - 1), axis) for d in (0, 1))
        result = first * (1 - share) + second * share
    return result


def blocks_of(fields: list[NDArray], merge: NDArray[np.int64], size: int) -> NDArray:
    """Of each block the field that its index names. fields: by index, (2, h, w); merge: (rows, columns) of blocks."""
    result = np.zeros_like(fields[0])
    for (row, column), k in np.ndenumerate(merge):
        here = np.s_[:, row * size : (row + 1) * size, column * size : (column + 1) * size]
        result[here] = fields[k][here]
    return result


def random_case(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    flow = random.normal(scale=3, size=(2, 8 * ROWS, 8 * COLUMNS)).astype(np.float32)
    merge = np.where(random.random((4 * ROWS, 4 * COLUMNS)) < 0.7, random.integers(0, 25, (4 * ROWS, 4 * COLUMNS)), 0)
    return flow, merge


def test_a_displaced_lookup_follows_the_specification() -> None:
    for seed in range(4):
        flow, merge = random_case(seed)
        whole, indexes = torch.from_numpy(flow)[None], torch.from_numpy(merge)[None]
        for found, factor in zip(merge_plan(whole, indexes), (4, 2), strict=True):
            expected = blocks_of([bilinear(displaced(flow, k), factor) for k in range(25)], merge, 2 * factor)
            assert np.allclose(found[0].numpy(), expected, atol=1e-5)
        shown = merge_flow(whole, Field.whole(whole), Blocks.of(indexes))
        assert np.array_equal(shown[0].numpy(), blocks_of([displaced(flow, k) for k in range(25)], merge, 2))


def test_without_merging_the_flow_is_interpolated_as_a_whole() -> None:
    flow = torch.from_numpy(random_case(0)[0])[None]
    none = torch.zeros(1, 4 * ROWS, 4 * COLUMNS, dtype=torch.int64)
    fine, half = merge_plan(flow, none)
    assert torch.equal(fine, upsample_flow(flow, 4))
    assert torch.equal(half, upsample_flow(flow, 2))


def test_gradients_reach_the_vectors_that_are_looked_up() -> None:
    flow = torch.zeros(1, 2, 8 * ROWS, 8 * COLUMNS, requires_grad=True)
    merge = torch.zeros(1, 4 * ROWS, 4 * COLUMNS, dtype=torch.int64)
    merge[0, 0, 0] = 1 + 8 + 4  # 4 vectors to the right
    fine, _ = merge_plan(flow, merge)
    fine[:, :, :8, :8].sum().backward()
    assert flow.grad is not None
    assert not flow.grad[:, :, :, :2].any()
    assert float(flow.grad[:, :, :3, 3:7].sum()) == 2 * 64


def moving_square(dx: int = 7, dy: int = 4) -> tuple[Planes, Planes, Tensor]:
    """A texture that moves over another that stands still: before, now, and the motion of each 4x4, averaged over
    20x20 samples, as a codec that is good at smooth flow has it."""
    generator = torch.Generator().manual_seed(1)
    back, front = (
        F.interpolate(torch.rand(1, 1, side, side, generator=generator) - 0.5, scale_factor=4, mode="bilinear")
        for side in (32, 12)
    )
    pictures = []
    for x, y in ((40, 40), (40 + dx, 40 + dy)):
        luma = back.clone()
        luma[:, :, y : y + 48, x : x + 48] = front
        chroma = F.avg_pool2d(luma, 2).repeat(1, 2, 1, 1)
        pictures.append(Planes(luma, chroma))
    inside = torch.zeros(1, 1, 128, 128)
    inside[:, :, 40 + dy : 88 + dy, 40 + dx : 88 + dx] = 1
    share = F.avg_pool2d(F.avg_pool2d(inside, 4), 5, 1, 2, count_include_pad=False)
    return *pictures, torch.cat([-dx * share, -dy * share], 1)


def test_a_moving_square_is_warped_better_with_merging_than_without() -> None:
    before, now, flow = moving_square()
    shown = warp_planes(before, upsample_flow(flow, 4), upsample_flow(flow, 2))
    merge = choose_merges(now, before, shown, flow, torch.tensor([0.02]))
    merged = warp_planes(before, *merge_plan(flow, merge))
    errors = [block_errors(p.y - now.y, p.uv - now.uv).mean() for p in (shown, merged)]
    assert (merge > 0).any()
    assert errors[1] < 0.6 * errors[0]
    chosen = block_errors(merged.y - now.y, merged.uv - now.uv)[merge > 0]
    assert (chosen < block_errors(shown.y - now.y, shown.uv - now.uv)[merge > 0]).all()


def test_pictures_choose_together_what_they_choose_alone() -> None:
    cases = [moving_square(), moving_square(-5, 6)]
    before, now, shown = (
        [Planes(*(torch.cat([a, b]) for a, b in zip(*pair, strict=True)))][0]
        for pair in (
            [case[0] for case in cases],
            [case[1] for case in cases],
            [warp_planes(case[0], upsample_flow(case[2], 4), upsample_flow(case[2], 2)) for case in cases],
        )
    )
    lmbda = torch.tensor([0.02, 0.1])
    together = choose_merges(now, before, shown, torch.cat([case[2] for case in cases]), lmbda)
    for k, case in enumerate(cases):
        alone = choose_merges(case[1], case[0], (shown.y[k : k + 1], shown.uv[k : k + 1]), case[2], lmbda[k : k + 1])
        assert torch.equal(alone[0], together[k])


def test_nothing_merges_where_the_flow_is_the_same_everywhere() -> None:
    before, now, flow = moving_square()
    still = torch.zeros_like(flow)
    shown = warp_planes(before, upsample_flow(still, 4), upsample_flow(still, 2))
    assert not choose_merges(now, before, shown, still, torch.tensor([1.0])).any()


def test_flow_that_is_no_number_does_no_harm() -> None:
    before, now, flow = moving_square()
    flow[:, :, 3:9, 3:9] = torch.nan
    shown = warp_planes(before, *merge_plan(flow, torch.zeros(1, 16, 16, dtype=torch.int64)))
    choose_merges(now, before, shown, flow, torch.tensor([0.02]))


def test_a_network_trains_through_merged_blocks() -> None:
    torch.manual_seed(0)
    net = InterNet(InterConfig(analysis_width=16))
    before, now, _ = moving_square()
    x = half_to_merged(torch.cat([F.pixel_unshuffle(now.y, 2), now.uv], 1))
    out, state = net(x, torch.tensor([40.0]), net.first_state(before))
    assert out.merge.shape == (1, 16, 16)
    assert state.flow_hat.shape == (1, 2, 32, 32)
    out.predicted.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.motion.parameters() if p.grad is not None)
    assert half_to_planes(out.x_hat).y.shape == now.y.shape


def test_nothing_merges_where_the_warp_is_right() -> None:
    before, now, flow = moving_square()
    assert not choose_merges(now, before, now, flow, torch.tensor([0.02])).any()
