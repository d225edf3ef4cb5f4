"""What P frames take from the symbols of the frame before: docs/bitstream.md, sections 5.1 and 5.4."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from ssvc_codec.entropy.activity import FLAG, N_Z_STATES, activity_rows, activity_table, band_edges
from ssvc_codec.nets.latents import LatentModel, Symbols


def by_the_specification(y: np.ndarray, n_y: int) -> list[int]:
    """Further inputs of one known cell, y: (4 C_y,), in Python integers."""
    edges = band_edges(n_y)
    result: list[int] = []
    for low, high in pairwise(edges):
        for position in range(4):
            total = sum(abs(int(v)) for v in y[position * n_y + low : position * n_y + high])
            result.append(int(activity_table()[min(total, 255)]))
    return [*result, 64]


def random_symbols(seed: int, n_y: int, rows: int = 3, columns: int = 5) -> Symbols:
    """Mostly zeros, some large, some as large as symbols can be; half of the cells known."""
    random = np.random.default_rng(seed)

    def symbols(*shape: int) -> torch.Tensor:
        values = np.rint(random.laplace(scale=0.8, size=shape) * random.choice([0, 1, 40], size=shape))
        values[random.random(shape) < 0.01] = -32768
        return torch.from_numpy(values).float()

    known = torch.from_numpy(random.random((1, 1, rows, columns)) < 0.5).float()
    return Symbols(symbols(1, 6, rows, columns), symbols(1, n_y, 2 * rows, 2 * columns), known)


def cells(x: torch.Tensor) -> np.ndarray:
    """(1, C, 2 rows, 2 columns) as rows of cells: (n, 4 C), position by position (section 5)."""
    _, channels, height, width = x.shape
    blocks = x[0].view(channels, height // 2, 2, width // 2, 2).permute(1, 3, 2, 4, 0)
    return blocks.reshape(-1, 4 * channels).numpy().astype(np.int32)


@pytest.mark.parametrize("n_y", [32, 384, 12])
def test_inputs_from_earlier_symbols_follow_the_specification(n_y: int) -> None:
    rows = cells(random_symbols(n_y, n_y).y)
    expected = [by_the_specification(row, n_y) for row in rows]
    np.testing.assert_array_equal(activity_rows(rows, np.ones(15, np.bool_)), expected)


def test_cells_that_are_not_known_have_no_inputs() -> None:
    rows = np.full((2, 4 * 32), 9, np.int32)
    inputs = activity_rows(rows, np.array([True, False]))
    assert (inputs[0] > 0).all()
    assert not inputs[1].any()


def test_a_cell_of_zeros_differs_from_one_that_is_not_known() -> None:
    inputs = activity_rows(np.zeros((1, 4 * 32), np.int32), np.array([True]))
    assert inputs[0].tolist() == [0] * 16 + [FLAG]


@pytest.mark.parametrize("n_y", [32, 384])
@pytest.mark.parametrize("seed", range(3))
def test_training_takes_the_inputs_of_run_time(n_y: int, seed: int) -> None:
    model = LatentModel(n_y=n_y, n_z=6, width=8, n_condition=4, anchor_run=8, steps=(1.0, 2.0))
    previous = random_symbols(seed, n_y)
    trained = model.activity(previous)[0].flatten(1).t().numpy()
    known = previous.known.flatten().numpy() > 0
    np.testing.assert_array_equal(activity_rows(cells(previous.y), known), trained)
    assert trained.shape[1] == model.scale_head.weights[0].shape[1] - 6


def test_states_of_hyper_latents_follow_the_specification() -> None:
    model = LatentModel(n_y=4, n_z=6, width=8, n_condition=4, anchor_run=8, steps=(1.0, 2.0))
    z = torch.tensor([0.0, 1.0, -1.0, 2.0, -3.0, 32767.0]).view(1, 6, 1, 1).repeat(1, 1, 1, 2)
    known = torch.tensor([1.0, 0.0]).view(1, 1, 1, 2)
    states = model.z_states(Symbols(z, torch.zeros(1, 4, 2, 4), known))
    assert states[0, :, 0, 0].tolist() == [1, 2, 2, 3, 3, 3]
    assert states[0, :, 0, 1].tolist() == [0] * 6
    assert N_Z_STATES == 4
