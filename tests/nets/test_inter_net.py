"""The networks of P frames without a bitstream."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ssvc_codec.nets.inter import (
    InterConfig,
    InterMasks,
    InterNet,
    Planes,
    State,
    half_to_merged,
    half_to_planes,
    planes_to_half,
)
from ssvc_codec.nets.intra import to_half
from ssvc_codec.nets.latents import Symbols
from ssvc_codec.nets.masking import BorderMask, TwoGroupMask
from ssvc_codec.training.inter_loss import frame_loss

SMALL = InterConfig(
    n_motion=8,
    n_motion_z=4,
    motion_width=16,
    analysis_width=16,
    refine_width=8,
    refine_width8=16,
    mend_width=8,
    mend_layers=1,
)
GRID = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]])  # groups of 3 x 4 cells


def trained_like(seed: int = 0) -> InterNet:
    """Every layer has weights, as after training."""
    torch.manual_seed(seed)
    net = InterNet(SMALL)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "estimation" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return net


def picture(rows: int, columns: int, *, n: int = 1, seed: int = 0) -> torch.Tensor:
    """(n, 96, 4 rows, 4 columns) in -0.5..0.5; rows, columns: of cells."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 6, 4 * rows, 4 * columns, generator=generator) - 0.5
    half = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bicubic").clamp(-0.5, 0.5)
    return half_to_merged(half)


def state_of(net: InterNet, x: torch.Tensor) -> State:
    return net.first_state(half_to_planes(to_half(x)))


def masks_of(kind: str, grid: torch.Tensor = GRID) -> InterMasks:
    def at(scale: int) -> TwoGroupMask | BorderMask:
        groups = grid.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
        return TwoGroupMask(groups.float()[None, None]) if kind == "two groups" else BorderMask(groups)

    return InterMasks(at(16), at(8), at(4), at(2), at(1))


def inside(scale: int, grid: torch.Tensor = GRID) -> torch.Tensor:
    """(H, W) bool: where group 1 is."""
    return grid.repeat_interleave(scale, 0).repeat_interleave(scale, 1) == 1


def random_symbols(net: InterNet, generator: torch.Generator) -> Symbols:
    latents = net.motion.latents
    z = torch.randint(-3, 4, (1, latents.n_z, 3, 4), generator=generator).float()
    y = torch.randint(-3, 4, (1, latents.n_y, 6, 8), generator=generator).float()
    return Symbols(z, y, torch.ones(1, 1, 3, 4))


def test_planes_and_halves_are_two_orders_of_the_same_samples() -> None:
    x = picture(2, 3, n=2)
    half = to_half(x)
    planes = half_to_planes(half)
    assert planes.y.shape == (2, 1, 64, 96)
    assert planes.uv.shape == (2, 2, 32, 48)
    assert torch.equal(planes_to_half(planes), half)
    assert torch.equal(half_to_merged(half), x)
    assert torch.equal(planes.y, torch.nn.functional.pixel_shuffle(x[:, :64], 8))


@pytest.mark.parametrize("motion_only", [True, False])
def test_shapes_and_gradients(motion_only: bool) -> None:
    net = trained_like()
    x = picture(2, 3, n=2)
    q = torch.tensor([8.0, 50.5])
    out, state = net(x, q, state_of(net, picture(2, 3, n=2, seed=1)), motion_only=motion_only)
    for half in (out.x_hat, out.predicted, out.warped):
        assert half.shape == (2, 6, 32, 48)
    assert out.flow.shape == out.flow_hat.shape == state.flow_hat.shape == (2, 2, 16, 24)
    assert out.motion.y_residual.shape == out.motion.y_scale.shape == (2, 8, 4, 6)
    assert out.motion.z_residual.shape == out.motion.z_scale.shape == (2, 4, 2, 3)
    assert state.motion.known.min() == 1
    if out.residual is not None:
        assert out.residual.y_hat.shape == out.residual.symbols.y.shape == (2, 96, 8, 12)
    assert (out.residual is None) == motion_only
    loss = frame_loss(x, out, q)
    assert all(torch.isfinite(part).all() for part in loss)
    loss.total.backward()
    without = {name for name, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()}
    expected = {name for name, _ in net.named_parameters() if motion_only and name.startswith("residual.")}
    assert without == expected


def test_motion_estimation_can_stand_still_while_the_rest_learns() -> None:
    net = trained_like()
    x = picture(2, 2)
    q = torch.tensor([30.0])
    out, _ = net(x, q, state_of(net, picture(2, 2, seed=1)), freeze_estimation=True, motion_only=True)
    frame_loss(x, out, q).total.backward()
    assert all(p.grad is None for p in net.estimation.parameters())
    assert net.motion.linear.weight.grad is not None


def test_gradients_reach_an_earlier_frame_only_where_asked() -> None:
    net = trained_like()
    q = torch.tensor([30.0])
    for detach in (True, False):
        _, state = net(picture(2, 2), q, state_of(net, picture(2, 2, seed=1)), detach=detach)
        assert state.planes.y.requires_grad != detach
        assert state.flow_hat.requires_grad != detach
        assert not state.motion.y.requires_grad


def test_a_flow_of_zeros_repeats_the_reference() -> None:
    planes = half_to_planes(to_half(picture(2, 3)))
    warped = InterNet(SMALL).compensation.warp(planes, torch.zeros(1, 2, 16, 24))
    torch.testing.assert_close(warped, planes_to_half(planes), atol=1e-5, rtol=0)


def test_chroma_moves_with_luma() -> None:
    """A ramp in every plane, moved by (4, -2) luma samples."""
    y = torch.arange(96.0).expand(1, 1, 64, 96) / 200
    uv = torch.arange(32.0)[:, None].expand(1, 2, 32, 48) / 200
    flow = torch.tensor([4.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 16, 24)
    warped = half_to_planes(InterNet(SMALL).compensation.warp(Planes(y, uv), flow))
    torch.testing.assert_close(warped.y[..., 8:-8], y[..., 8:-8] + 4 / 200, atol=1e-5, rtol=0)
    torch.testing.assert_close(warped.uv[:, :, 4:-4], uv[:, :, 4:-4] - 1 / 200, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["two groups", "any groups"])
def test_the_flow_of_a_group_does_not_change_with_another_group(kind: str) -> None:
    net, masks, generator = trained_like(1), masks_of(kind), torch.Generator().manual_seed(0)
    q = torch.tensor([40.0])
    y = torch.randn(1, 8, 6, 8, generator=generator) * 2
    flow_before = torch.randn(1, 2, 24, 32, generator=generator)
    previous = random_symbols(net, generator)

    def decode(y: torch.Tensor, flow_before: torch.Tensor, previous: Symbols) -> tuple[torch.Tensor, Symbols]:
        with torch.no_grad():
            out = net.motion.latents(y, net.motion.condition(flow_before), q, previous, masks.at16, torch.zeros_like(y))
            return net.motion.synthesis(out.y_hat, flow_before, q, masks), out.symbols

    flow, symbols = decode(y, flow_before, previous)
    other = Symbols(
        torch.where(inside(1), previous.z + 1, previous.z), torch.where(inside(2), 0.0, previous.y), previous.known
    )
    changed, changed_symbols = decode(
        torch.where(inside(2), y.flip(1) + 3, y), torch.where(inside(8), -flow_before, flow_before), other
    )
    assert torch.equal(flow[..., ~inside(8)], changed[..., ~inside(8)])
    assert (flow[..., inside(8)] != changed[..., inside(8)]).float().mean() > 0.9
    for before, after, scale in ((symbols.z, changed_symbols.z, 1), (symbols.y, changed_symbols.y, 2)):
        assert torch.equal(before[..., ~inside(scale)], after[..., ~inside(scale)])
        assert not torch.equal(before, after)


def test_the_prediction_mixes_groups_only_through_warp_and_flow() -> None:
    net, masks = trained_like(3), masks_of("any groups")
    warped, flow = to_half(picture(3, 4)), torch.randn(1, 2, 24, 32)
    with torch.no_grad():
        refined = net.compensation.refine(warped, flow, torch.tensor([40.0]), masks)
        again = net.compensation.refine(torch.where(inside(16), -warped, warped), flow, torch.tensor([40.0]), masks)
    assert torch.equal(refined[..., ~inside(16)], again[..., ~inside(16)])
    assert not torch.equal(refined, again)


def test_means_of_motion_follow_from_the_passes_before_alone() -> None:
    torch.manual_seed(2)
    latents = InterNet(replace(SMALL, n_motion=16)).motion.latents
    with torch.no_grad():
        for parameter in latents.means.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    numbers = latents.pass_numbers(4, 6, torch.device("cpu"))
    features, gain = torch.randn(1, SMALL.motion_width, 4, 6), torch.ones(1, 16, 1, 1)
    symbols = torch.randint(-3, 4, (1, 16, 4, 6)).float()
    with torch.no_grad():
        _, mean = latents.in_passes(features, gain, numbers, None, lambda *_: symbols)
        for number in range(3):
            changed = torch.where(numbers >= number, -symbols - 1, symbols)
            _, again = latents.in_passes(features, gain, numbers, None, lambda *_, changed=changed: changed)
            same = numbers <= number
            assert torch.equal(again[same], mean[same])
            assert number == 2 or not torch.equal(again[~same], mean[~same])


def test_every_layer_that_the_document_names_is_there(repository: Path) -> None:
    document = (repository / "docs" / "bitstream.md").read_text("utf-8")
    section = document.split("### 6.3")[1].split("## 7.")[0]
    keys = list(InterNet(SMALL).state_dict())
    part = ""
    for bullet in section.split("\n- ")[1:]:
        heading, *layers = re.findall(r"`([a-z_0-9.]+)`", bullet) or [""]
        part = heading
        codec = part.split(".")[0]  # the latents also name layers of their codec
        for layer in layers:
            assert any(key.startswith(f"{codec}.") and f".{layer}." in f".{key}." for key in keys), (part, layer)
    assert part == "residual"
