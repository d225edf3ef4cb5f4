"""The filter along borders of groups."""

from __future__ import annotations

import numpy as np
import torch

from ssvc_codec.inference.seam import filter_seams
from ssvc_codec.nets.inter import Planes

GROUPS = np.array([[0, 1], [0, 0]])
Q = np.full((2, 2), 30)


def test_a_step_is_filtered_as_the_specification_says():
    planes = flat_planes()
    planes.y[..., :32, 32:] = 0.01  # a step up at the right cell of the first row
    planes.uv[..., :16, 16:] = 0.01
    out = filter_seams(planes, Q, GROUPS)
    # flat sides: s = q0 - p0 = 0.01, below L = 2 x 10^(-(30 + 0.29 x 30) / 20) = 0.0232
    row = out.y[0, 0, 5, 29:36]
    assert torch.allclose(row, torch.tensor([0, 0.001, 0.004, 0.006, 0.009, 0.01, 0.01]), atol=1e-6)
    row = out.uv[0, 1, 3, 13:19]
    assert torch.allclose(row, torch.tensor([0, 0.00125, 0.00375, 0.00625, 0.00875, 0.01]), atol=1e-6)


def test_the_seam_filter_touches_borders_of_groups_alone():
    generator = torch.Generator().manual_seed(3)
    planes = Planes(
        torch.rand(1, 1, 64, 64, generator=generator) * 0.02, torch.rand(1, 2, 32, 32, generator=generator) * 0.02
    )
    before = planes.y.clone()
    out = filter_seams(planes, Q, GROUPS)
    assert torch.equal(planes.y, before), "what is predicted from stays"
    changed = (out.y != planes.y)[0, 0]
    near = torch.zeros(64, 64, dtype=torch.bool)
    near[:32, 30:34] = True
    near[30:34, 32:] = True
    assert changed.any()
    assert not (changed & ~near).any()
    assert filter_seams(planes, Q, np.zeros((2, 2), int)) is planes


def test_a_real_edge_is_left_alone():
    planes = flat_planes()
    planes.y[..., 33:] = 0.3
    planes.y[..., 32] = 0.15  # a blurred edge: the sides are busy
    assert torch.equal(filter_seams(planes, Q, GROUPS).y, planes.y)


def test_borders_of_cells_that_are_not_shown_stay():
    planes = flat_planes()
    planes.y[..., :32, 32:] = 0.01
    shown = np.array([[True, False], [True, True]])
    assert torch.equal(filter_seams(planes, Q, GROUPS, shown).y, planes.y)


def flat_planes() -> Planes:
    return Planes(torch.zeros(1, 1, 64, 64), torch.zeros(1, 2, 32, 32))
