"""The intra networks without a bitstream."""

import pytest
import torch

from ssvc_codec.nets.blocks import GainTable
from ssvc_codec.nets.intra import IntraConfig, IntraNet, merge_planes, split_planes, to_half


def test_planes_come_back_from_the_merged_tensor() -> None:
    torch.manual_seed(0)
    planes = torch.rand(2, 1, 64, 96), torch.rand(2, 1, 32, 48), torch.rand(2, 1, 32, 48)
    for before, after in zip(planes, split_planes(to_half(merge_planes(*planes))), strict=True):
        assert torch.equal(before, after)


def test_one_gain_for_all_cells_equals_a_gain_for_each() -> None:
    table = GainTable(5, first=0.5, last=20.0)
    with torch.no_grad():
        table.log_gain.add_(torch.randn_like(table.log_gain))
    whole = table(torch.tensor([17.0]))
    cells = table(torch.full((1, 3, 4), 17.0), (6, 8))
    assert torch.equal(whole.expand(1, 5, 6, 8), cells)


def test_the_gain_table_lists_every_q_index() -> None:
    table = GainTable(3, first=1.0, last=64.0)
    rows = table.table()
    assert rows.shape == (64, 3)
    assert (rows[1:] > rows[:-1]).all()
    # the spacing of anchors is 9, so every ninth row is an anchor itself
    torch.testing.assert_close(rows[::9], table.log_gain.exp())


def test_half_of_all_latents_are_anchors_and_each_has_neighbours_of_the_other_half(small_intra: IntraConfig) -> None:
    mask = IntraNet(small_intra).anchor_mask(6, 8, torch.device("cpu"))
    assert mask.float().mean() == 0.5
    assert (mask[:, 1:] != mask[:, :-1]).all()
    assert (mask[0] == mask[-1]).all()


@pytest.mark.parametrize("size", [(4, 4), (8, 12)])
def test_shapes_follow_the_picture(size: tuple[int, int], small_intra: IntraConfig) -> None:
    height, width = size
    x = torch.randn(2, 96, height, width) * 0.2
    out = IntraNet(small_intra)(x, torch.tensor([3.0, 60.0]))
    assert out.x_hat.shape == (2, 6, 4 * height, 4 * width)
    assert out.y_residual.shape == out.y_scale.shape == (2, 24, height // 2, width // 2)
    assert out.z_residual.shape == (2, 4, height // 4, width // 4)


def test_principal_components_make_the_untrained_codec_reconstruct(small_intra: IntraConfig) -> None:
    torch.manual_seed(1)
    basis = torch.randn(384, 24)
    blocks = torch.randn(4096, 24) @ basis.t() * 0.02
    net = IntraNet(small_intra)
    net.start_from_covariance(blocks.t() @ blocks / 4096)
    flat = torch.randn(1, 24, 4, 4)
    x = torch.nn.functional.pixel_shuffle(torch.einsum("oc,nchw->nohw", basis, flat) * 0.02, 2)
    with torch.no_grad():
        fine = net(x, torch.tensor([63.0])).x_hat
    x = to_half(x)
    assert (fine - x).square().mean() < 0.02 * x.square().mean()
