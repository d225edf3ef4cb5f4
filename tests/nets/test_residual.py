"""The transform of 8x8 blocks, and what training takes its symbols to cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssvc_codec.entropy.tables import N_TABLES, laplace_scale_of_index, laplace_tables
from ssvc_codec.nets.block_entropy import BlockSymbols, class_bits
from ssvc_codec.nets.cosines import block_transform
from ssvc_codec.nets.half import InterConfig, InterMasks
from ssvc_codec.nets.intra import merge_planes, to_half
from ssvc_codec.nets.laplace import laplace_bits
from ssvc_codec.nets.latents import Symbols
from ssvc_codec.nets.masking import BorderMask, TwoGroupMask
from ssvc_codec.nets.residual import ResidualCodec, ResidualOutput

GRID = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]])
Q = torch.tensor([40.0])


def trained_like(seed: int = 0) -> ResidualCodec:
    torch.manual_seed(seed)
    codec = ResidualCodec(InterConfig(analysis_width=16, mend_width=8))
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if "entropy" in name or "linear" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return codec.eval()


def picture(seed: int) -> torch.Tensor:
    """(1, 96, 12, 16) in -0.5..0.5."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 12, 16, generator=generator) - 0.5
    fine = torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic").clamp(-0.5, 0.5)
    return merge_planes(fine[:, :1], fine[:, 1:2, ::2, ::2], fine[:, 2:, ::2, ::2])


def inside(scale: int) -> torch.Tensor:
    return GRID.repeat_interleave(scale, 0).repeat_interleave(scale, 1) == 1


def masks_of(kind: str) -> InterMasks:
    def at(scale: int) -> TwoGroupMask | BorderMask:
        groups = GRID.repeat_interleave(scale, 0).repeat_interleave(scale, 1)
        return TwoGroupMask(groups.float()[None, None]) if kind == "two groups" else BorderMask(groups)

    return InterMasks(at(16), at(8), at(4), at(2), at(1))


def random_motion(seed: int) -> Symbols:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(-3, 4, (1, 32, 6, 8), generator=generator).float()
    return Symbols(torch.zeros(1, 8, 3, 4), y, torch.ones(1, 1, 3, 4))


def test_the_transform_is_orthonormal_and_begins_with_means() -> None:
    rows = block_transform()
    torch.testing.assert_close(rows @ rows.t(), torch.eye(96), atol=1e-6, rtol=0)
    torch.testing.assert_close(rows[0], torch.cat([torch.full((64,), 1 / 8), torch.zeros(32)]))
    torch.testing.assert_close(
        rows[10], torch.cat([torch.zeros(64), torch.full((16,), 1 / 4), torch.zeros(16)])
    )  # of U
    torch.testing.assert_close(rows[13], torch.cat([torch.zeros(80), torch.full((16,), 1 / 4)]))  # of V


def test_steps_begin_where_a_squared_one_is_worth_nine_bits() -> None:
    for q in (0.0, 20.0, 63.0):
        torch.testing.assert_close(
            ResidualCodec(InterConfig()).worth(torch.tensor([q])), torch.full((1, 96, 1, 1), 9.0)
        )


def test_bits_are_those_of_the_tables() -> None:
    tables = laplace_tables()
    assert len(tables) == N_TABLES
    for index in (1, 17, 40, 63):
        scale = torch.tensor(laplace_scale_of_index(index), dtype=torch.float64)
        halves = tables[index][:-1:2]  # of 0, 1, 2, ..
        likely = [k for k in range(min(6, halves.size)) if halves[k] > 20000]  # rarer ones are not counted exactly
        known = 24 - np.log2(halves[likely].astype(np.float64))
        np.testing.assert_allclose(laplace_bits(torch.tensor(likely, dtype=torch.float64), scale), known, atol=2e-3)


def test_bits_rise_without_a_step_at_halves() -> None:
    scale = torch.tensor(0.6)
    below, above = laplace_bits(torch.tensor(0.49999), scale), laplace_bits(torch.tensor(0.50001), scale)
    assert float(above - below) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("kind", ["two groups", "any groups"])
def test_the_residual_of_a_group_does_not_change_with_another_group(kind: str) -> None:
    codec, masks = trained_like(2), masks_of(kind)
    predicted, x = to_half(picture(0)), picture(1)
    past = codec.entropy.nothing(1, 3, 4, torch.device("cpu"))
    generator = torch.Generator().manual_seed(3)
    past = past._replace(
        y=torch.randint(-2, 3, past.y.shape, generator=generator).float(), known=torch.ones_like(past.known)
    )

    def decode(x: torch.Tensor, past: BlockSymbols, motion: Symbols) -> tuple[torch.Tensor, ResidualOutput]:
        with torch.no_grad():
            out = codec.code(codec.analysis(x, predicted, Q, masks), Q, past, motion, masks)
            return codec.synthesis(out.y_hat, predicted, Q, masks), out

    motion = random_motion(0)
    decoded, out = decode(x, past, motion)
    other = motion._replace(y=torch.where(inside(2), motion.y * 5 + 9, motion.y))
    changed_past = past._replace(y=torch.where(inside(4), past.y + 1, past.y))
    changed, changed_out = decode(torch.where(inside(4), x.flip(1), x), changed_past, other)
    assert torch.equal(decoded[..., ~inside(16)], changed[..., ~inside(16)])
    assert (decoded[..., inside(16)] != changed[..., inside(16)]).float().mean() > 0.9
    assert torch.equal(out.symbols.y[..., ~inside(4)], changed_out.symbols.y[..., ~inside(4)])


def test_gradients_reach_everything() -> None:
    codec, motion = trained_like(4).train(), random_motion(1)
    x, predicted = picture(1), to_half(picture(0)).requires_grad_(True)
    past = codec.entropy.nothing(1, 3, 4, torch.device("cpu"))
    offsets = codec.offset_entropy(to_half(x) - predicted, Q, past, motion.y, None, None)
    y = codec.analysis(x, predicted, Q, InterMasks())
    out = codec.code(y, Q, past, motion, InterMasks(), offsets=offsets)
    shown = codec.synthesis(out.y_hat, predicted, Q, InterMasks())
    (out.bits.sum() + out.busy_bits.sum() + out.offset_bits.sum() + shown.square().sum()).backward()
    without = [name for name, p in codec.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert without == []
    assert predicted.grad is not None


def test_fresh_heads_take_one_flag_in_ten_to_be_1() -> None:
    torch.manual_seed(6)
    entropy = ResidualCodec(InterConfig()).entropy
    busy = torch.randint(0, 8, (1, 1, 12, 16)).float()
    past = entropy._past(entropy.nothing(1, 3, 4, busy.device), torch.zeros(1, 1, 12, 16), random_motion(2).y, None)
    with torch.no_grad():
        flags = entropy._flags(busy, entropy._class_inputs(past, torch.zeros(1, 9, 3, 4), None), Q, None)
        shares = torch.exp2(-class_bits(flags))
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 12, 16))
    left = shares.flip(1).cumsum(1).flip(1)  # P(c >= k)
    assert 0.05 < float((left[:, 1:] / left[:, :-1]).mean()) < 0.2


def test_classes_teach_their_heads() -> None:
    torch.manual_seed(7)
    entropy = ResidualCodec(InterConfig()).entropy
    past = entropy.nothing(1, 3, 4, torch.device("cpu"))
    steps = torch.randn(1, 96, 12, 16) * (torch.rand(1, 1, 12, 16) < 0.3) * 2
    optimiser = torch.optim.Adam([*entropy.even_head.parameters(), *entropy.odd_head.parameters()], 1e-2)
    found: list[float] = []
    for _ in range(40):
        _, _, bits = entropy(
            steps, torch.full((1, 96, 1, 1), 9.0), Q, past, torch.zeros(1, 32, 6, 8), None, past.offsets, None
        )
        optimiser.zero_grad()
        bits.sum().backward()
        optimiser.step()
        found.append(float(bits.detach().sum()))
    assert found[-1] < 0.6 * found[0]


def test_symbols_are_dropped_where_they_cost_more_than_they_give() -> None:
    codec = trained_like(5)
    steps = torch.zeros(1, 96, 12, 16)
    steps[0, 60, 5, 5] = 0.55
    past = codec.entropy.nothing(1, 3, 4, torch.device("cpu"))
    for worth, kept in ((1.0, False), (1e6, True)):
        symbols, _, _ = codec.entropy(
            steps, torch.full((1, 96, 1, 1), worth), Q, past, torch.zeros(1, 32, 6, 8), None, past.offsets, None
        )
        assert bool(symbols.any()) == kept
