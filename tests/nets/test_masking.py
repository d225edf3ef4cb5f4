"""Masked depthwise convolution: nothing crosses the border of a group."""

import pytest
import torch
import torch.nn.functional as F

from ssvc_codec.nets.masking import BorderMask, TwoGroupMask


def random_groups(seed: int, n_groups: int, cells: int = 4, repeat: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    grid = torch.randint(n_groups, (cells, cells), generator=generator)
    return grid.repeat_interleave(repeat, 0).repeat_interleave(repeat, 1)


def by_group(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """One ordinary convolution for each group on a picture that holds nothing else."""
    out = torch.zeros(1, weight.shape[0], *x.shape[2:])
    for group in groups.unique():
        inside = (groups == group).float()
        out = out + F.conv2d(x * inside, weight, bias, padding=1, groups=x.shape[1] // weight.shape[1]) * inside
    return out


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_groups", [1, 2, 7])
@pytest.mark.parametrize("shape", [(6, 1, 3, 3), (4, 6, 3, 3)])
def test_border_mask_equals_one_convolution_for_each_group(seed: int, n_groups: int, shape: tuple[int, ...]) -> None:
    torch.manual_seed(seed)
    groups = random_groups(seed, n_groups)
    x = torch.randn(1, 6, *groups.shape).to(memory_format=torch.channels_last)
    weight, bias = torch.randn(shape), torch.randn(shape[0])
    expected = by_group(x, weight, bias, groups)
    # float32 sums of up to 54 products in another order
    torch.testing.assert_close(BorderMask(groups).convolve(x, weight, bias), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(6, 1, 3, 3), (4, 6, 3, 3)])
def test_two_group_mask_equals_border_mask(shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    groups = random_groups(11, 2)
    x = torch.randn(1, 6, *groups.shape)
    weight, bias = torch.randn(shape), torch.randn(shape[0])
    two = TwoGroupMask((groups == 1).float()[None, None])
    expected = BorderMask(groups).convolve(x, weight, bias)
    torch.testing.assert_close(two.convolve(x, weight, bias), expected, atol=1e-5, rtol=1e-5)
