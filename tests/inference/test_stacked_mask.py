"""Group masks of several pictures at once."""

import numpy as np
import pytest
import torch

from ssvc_codec.inference.maps import CellMaps
from ssvc_codec.nets.blocks import GroupMask

Q = np.zeros((3, 2, 3), np.int64)
GROUPS = np.array([[[0, 0, 1], [0, 2, 1]], [[0, 0, 0], [0, 0, 0]], [[1, 0, 0], [1, 1, 0]]])


def masked_convolution(x: np.ndarray, weight: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Position by position. x: (C, H, W); weight: (C_out, C or 1, 3, 3); groups: (H, W)."""
    height, width = groups.shape
    out = np.zeros((weight.shape[0], height, width))
    for i in range(height):
        for j in range(width):
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    y, z = i + di, j + dj
                    if 0 <= y < height and 0 <= z < width and groups[y, z] == groups[i, j]:
                        tap = weight[:, :, di + 1, dj + 1]
                        out[:, i, j] += tap[:, 0] * x[:, y, z] if weight.shape[1] == 1 else tap @ x[:, y, z]
    return out


@pytest.mark.parametrize("depthwise", [True, False])
def test_each_picture_is_convolved_within_its_own_groups(depthwise: bool) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 4, 4, 6)).astype(np.float32)
    weight = random.normal(size=(4 if depthwise else 5, 1 if depthwise else 4, 3, 3)).astype(np.float32)
    mask = CellMaps(Q, GROUPS, "cpu").at16
    assert mask is not None
    found = convolved(mask, x, weight)
    for picture, groups, own in zip(x, GROUPS, found, strict=True):
        expected = masked_convolution(picture, weight, groups.repeat(2, 0).repeat(2, 1))
        assert np.allclose(own, expected, atol=1e-5)


def convolved(mask: GroupMask, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    bias = torch.zeros(weight.shape[0])
    return mask.convolve(torch.from_numpy(x), torch.from_numpy(weight), bias).numpy()


def test_pictures_of_one_group_each_need_no_mask() -> None:
    assert CellMaps(Q, np.array([np.zeros((2, 3)), np.ones((2, 3)), np.zeros((2, 3))], np.int64), "cpu").at4 is None


def test_q_is_one_number_a_picture_where_it_can_be() -> None:
    q = np.arange(3)[:, None, None] + Q
    assert CellMaps(q, GROUPS, "cpu").q_map.tolist() == [0, 1, 2]
    q[2, 1, 2] = 9
    assert CellMaps(q, GROUPS, "cpu").q_map.tolist() == q.tolist()
