"""What the tables of MOTION follow from: docs/bitstream.md, sections 5.1 and 5.4."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ssvc_codec.entropy.activity import activity_table, band_edges
from ssvc_codec.entropy.tables import LAPLACE_MIN
from ssvc_codec.entropy.vector_head import IntegerVectorHead
from ssvc_codec.entropy.vectors import VectorContext, n_vector_inputs, pass_numbers, position_neighbours
from ssvc_codec.nets.laplace import LAPLACE_STEP
from ssvc_codec.nets.latents import LatentModel, Symbols
from ssvc_codec.nets.masking import TwoGroupMask
from ssvc_codec.training.export import LAPLACE, _integer_tensors

ROWS, COLUMNS, N_Y, N_Z = 3, 5, 32, 6


def random_symbols(seed: int) -> Symbols:
    """Mostly zeros, some large, some as large as symbols can be; half of the cells known."""
    random = np.random.default_rng(seed)

    def symbols(*shape: int) -> torch.Tensor:
        values = np.rint(random.laplace(scale=0.8, size=shape) * random.choice([0, 1, 40], size=shape))
        values[random.random(shape) < 0.01] = -32768
        return torch.from_numpy(values).float()

    known = torch.from_numpy(random.random((1, 1, ROWS, COLUMNS)) < 0.5).float()
    return Symbols(symbols(1, N_Z, ROWS, COLUMNS), symbols(1, N_Y, 2 * ROWS, 2 * COLUMNS), known)


def cells(x: torch.Tensor) -> np.ndarray:
    """(1, C, 2 rows, 2 columns) as rows of cells: (n, 4 C), position by position (section 5)."""
    _, channels, height, width = x.shape
    blocks = x[0].view(channels, height // 2, 2, width // 2, 2).permute(1, 3, 2, 4, 0)
    return blocks.reshape(-1, 4 * channels).numpy().astype(np.int32)


def by_the_specification(
    y: np.ndarray, before: np.ndarray, known: np.ndarray, groups: np.ndarray, place: tuple[int, int], number: int
) -> list[int]:
    """Inputs after z of the position in row i and column j, in Python integers. y, before: (C_y, 2 rows, 2 columns)."""

    def levels(symbols: np.ndarray, counts: object) -> list[int]:
        out: list[int] = []
        for low, high in pairwise(band_edges(N_Y)):
            for di in (-1, 0, 1):
                for dj in (-1, 0, 1):
                    i, j = place[0] + di, place[1] + dj
                    inside = 0 <= i < 2 * ROWS and 0 <= j < 2 * COLUMNS
                    if not inside or groups[i // 2, j // 2] != groups[place[0] // 2, place[1] // 2]:
                        out.append(0)
                        continue
                    total = sum(abs(int(symbols[c, i, j])) for c in range(low, high) if counts(c, i, j))  # type: ignore[operator]
                    out.append(int(activity_table()[min(total, 255)]))
        return out

    def in_pass(c: int, i: int, j: int) -> int:
        column = (j + c // 8) % 2
        return i % 2 if i % 2 == column else 2

    past = levels(before, lambda c, i, j: known[i // 2, j // 2])
    now = levels(y, lambda c, i, j: in_pass(c, i, j) < number)
    own = [64 * int(known[place[0] // 2, place[1] // 2]), 64 * (place[0] % 2), 64 * (place[1] % 2)]
    return [*past, *own, *now, 64 * (number == 1), 64 * (number == 2)]


def of_random(seed: int) -> tuple[Symbols, Symbols, np.ndarray]:
    """Symbols of a frame and of the one before, and two groups of cells."""
    groups = (np.random.default_rng(seed).random((ROWS, COLUMNS)) < 0.4).astype(np.int64)
    return random_symbols(seed), random_symbols(seed + 100), groups


@pytest.mark.parametrize("number", [0, 1, 2])
def test_inputs_follow_the_specification(number: int) -> None:
    now, before, groups = of_random(number)
    known = before.known[0, 0].numpy() > 0
    z = np.arange(ROWS * COLUMNS * N_Z, dtype=np.float32).reshape(-1, N_Z)
    beside = position_neighbours(np.arange(ROWS * COLUMNS), COLUMNS, groups.reshape(-1))
    q = np.full(ROWS * COLUMNS, 7)
    context = VectorContext.of(z, q, cells(before.y), known.reshape(-1), beside)
    inputs = context.inputs_of(number, cells(now.y))
    assert inputs.shape == (4 * ROWS * COLUMNS, N_Z + n_vector_inputs(N_Y))
    for row, found in enumerate(inputs):
        cell, position = divmod(row, 4)
        place = 2 * (cell // COLUMNS) + position // 2, 2 * (cell % COLUMNS) + position % 2
        expected = by_the_specification(now.y[0].numpy(), before.y[0].numpy(), known, groups, place, number)
        assert found[:N_Z].tolist() == z[cell].tolist()
        assert found[N_Z:].tolist() == expected


def test_every_latent_is_in_one_pass_of_three() -> None:
    numbers = pass_numbers(N_Y)
    assert [int((numbers == k).sum()) for k in range(3)] == [N_Y, N_Y, 2 * N_Y]
    model = LatentModel(n_y=N_Y, n_z=N_Z, width=8, n_condition=4, steps=(1.0, 2.0))
    trained = cells(model.pass_numbers(4, 6, torch.device("cpu")))
    np.testing.assert_array_equal(trained, np.tile(numbers.reshape(1, -1), (6, 1)))


@pytest.mark.parametrize("seed", range(3))
def test_training_takes_the_tables_of_run_time(seed: int) -> None:
    torch.manual_seed(seed)
    model = LatentModel(n_y=N_Y, n_z=N_Z, width=8, n_condition=4, steps=(1.0, 2.0))
    with torch.no_grad():
        for parameter in [*model.scale_head.parameters(), model.z_scale.log_gain]:
            parameter.add_(torch.randn_like(parameter) * 0.2)
        model.scale_head.offset.log_gain.add_(2)
    head = IntegerVectorHead(_integer_tensors(model.scale_head, model.z_gain, model.z_scale, spacing=LAPLACE))
    now, before, groups = of_random(seed)
    q = torch.tensor([31])
    mask = TwoGroupMask(torch.from_numpy(groups).float().repeat_interleave(2, 0).repeat_interleave(2, 1)[None, None])
    with torch.no_grad():
        z_inputs = model.scale_head.z_inputs(now.z, 1 / model.z_gain(q))
        trained = cells(model.table_indexes(z_inputs, now.y, q, before, mask))
        z_scale = model._z_scales(before, q)
    rows, flat, known = now.z[0].flatten(1).t().numpy().astype(np.int32), groups.reshape(-1), before.known.flatten() > 0
    levels = np.full(flat.size, 31)
    for chosen in (flat == 0, flat == 1):  # as a decoder of one group has them
        at = np.flatnonzero(chosen)
        own = head.z_inputs(rows[at], levels[at])
        beside = position_neighbours(at, COLUMNS)
        context = VectorContext.of(own, levels[at], cells(before.y)[at], known.numpy()[at], beside)
        found = sum(head.pass_indexes(number, context, cells(now.y)[at]).astype(int) for number in range(3))
        np.testing.assert_array_equal(found, trained[at])
    assert len(np.unique(trained)) > 20
    states = model.z_states(before)[0].flatten(1).t().numpy()
    z_index = (z_scale[0] / LAPLACE_MIN).log().div(LAPLACE_STEP).round().clamp(0, 63).flatten(1).t()
    np.testing.assert_array_equal(head.z_indexes(levels, states), z_index.numpy())


def test_contexts_of_several_groups_are_those_of_each() -> None:
    now, before, _ = of_random(5)
    y, past, known = cells(now.y), cells(before.y), before.known.flatten().numpy() > 0
    z = np.zeros((ROWS * COLUMNS, N_Z), np.float32)
    at = [np.array([0, 1, 5, 6]), np.array([3, 4, 9])]
    parts = [VectorContext.of(z[k], np.full(k.size, 9), past[k], known[k], position_neighbours(k, COLUMNS)) for k in at]
    whole = VectorContext.joined(parts).inputs_of(2, np.concatenate([y[k] for k in at]))
    np.testing.assert_array_equal(whole, np.concatenate([p.inputs_of(2, y[k]) for p, k in zip(parts, at, strict=True)]))
