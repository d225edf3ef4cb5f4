"""The integer scale head: docs/bitstream.md, section 5.4."""

import numpy as np
import pytest
import torch

from ssvc_codec.entropy import IntegerScaleHead
from ssvc_codec.errors import ModelError
from ssvc_codec.nets.blocks import GainTable
from ssvc_codec.nets.scale_head import ScaleHead


def trained_like(seed: int = 0, n_z: int = 8, n_y: int = 12) -> tuple[ScaleHead, GainTable]:
    """A head with weights as large as training makes them."""
    torch.manual_seed(seed)
    head = ScaleHead(n_z, n_y, hidden=32)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    return head, GainTable(n_z, first=0.4, last=3.0)


def integers(head: ScaleHead, gain: GainTable) -> dict[str, np.ndarray]:
    tensors = {name: value.numpy() for name, value in head.export(1 / gain.table()).items()}
    return tensors | {"z_index": np.ones((64, gain.log_gain.shape[1]), np.uint8)}


def by_the_specification(tensors: dict[str, np.ndarray], z: np.ndarray, q: int) -> list[int]:
    """Section 5.4 in Python integers, one cell."""

    def layer(a: list[int], number: int, shift: int) -> list[int]:
        bias = tensors[f"bias{number}"]
        row = bias if bias.ndim == 1 else bias[q]
        weight = tensors[f"weight{number}"].tolist()
        return [
            (sum(w * v for w, v in zip(ws, a, strict=True)) + int(b)) >> shift
            for ws, b in zip(weight, row, strict=True)
        ]

    def leaky(values: list[int]) -> list[int]:
        return [max(-127, min(127, v if v >= 0 else v >> 3)) for v in values]

    a = [max(-127, min(127, (int(s) * int(d) + 128) >> 8)) for s, d in zip(z, tensors["dequant"][q], strict=True)]
    a = leaky(layer(a, 1, 8))
    a = leaky(layer(a, 2, 8))
    return [max(0, min(63, v)) for v in layer(a, 3, 10)]


@pytest.mark.parametrize("seed", range(4))
def test_the_run_time_head_follows_the_specification(seed: int) -> None:
    tensors = integers(*trained_like(seed))
    head = IntegerScaleHead(tensors)
    random = np.random.default_rng(seed)
    z = random.integers(-40, 41, (50, 8)).astype(np.int32)
    q = random.integers(0, 64, 50)
    expected = [by_the_specification(tensors, row, int(level)) for row, level in zip(z, q, strict=True)]
    np.testing.assert_array_equal(head.y_indexes(z, q), expected)


def test_the_trained_head_gives_the_indexes_of_the_exported_one() -> None:
    head, gain = trained_like(5)
    exported = IntegerScaleHead(integers(head, gain))
    torch.manual_seed(1)
    z = torch.randint(-30, 31, (3, 8, 4, 5)).float()
    q = torch.tensor([0, 27, 63])
    with torch.no_grad():
        trained = head(z, 1 / gain(q), q)
    for sample in range(3):
        rows = z[sample].permute(1, 2, 0).reshape(20, 8).numpy().astype(np.int32)
        indexes = exported.y_indexes(rows, np.full(20, int(q[sample])))
        cells = trained[sample].view(12, 4, 2, 5, 2).permute(1, 3, 2, 4, 0).reshape(20, 48)
        np.testing.assert_array_equal(indexes, cells.numpy())


def test_hyper_latents_have_a_table_for_each_state() -> None:
    random = np.random.default_rng(3)
    tables = random.integers(0, 64, (64, 4, 8)).astype(np.uint8)
    head = IntegerScaleHead(integers(*trained_like(3)) | {"z_index": tables.reshape(64, 32)})
    q, states = random.integers(0, 64, 50), random.integers(0, 4, (50, 8))
    expected = [[tables[k, s, c] for c, s in enumerate(row)] for k, row in zip(q, states, strict=True)]
    np.testing.assert_array_equal(head.z_indexes(q, states), expected)


def test_float64_products_give_the_same_indexes() -> None:
    tensors = integers(*trained_like(6))
    head = IntegerScaleHead(tensors)
    exact = IntegerScaleHead(tensors)
    layers = exact._layers
    layers._weights = [weight.astype(np.float64) for weight in layers._weights]
    z = np.random.default_rng(6).integers(-500, 500, (3000, 8)).astype(np.int32)
    q = np.arange(3000) % 64
    np.testing.assert_array_equal(head.y_indexes(z, q), exact.y_indexes(z, q))


def test_a_head_whose_sums_could_be_inexact_is_refused() -> None:
    tensors = integers(*trained_like(7))
    tensors["weight2"] = tensors["weight2"] * 1000
    with pytest.raises(ModelError, match=r"layer 2 can exceed 2\*\*23.5"):
        IntegerScaleHead(tensors)


def test_a_head_without_a_tensor_names_it() -> None:
    tensors = integers(*trained_like(8))
    del tensors["bias3"]
    with pytest.raises(ModelError, match="bias3"):
        IntegerScaleHead(tensors)


def test_the_known_answer_changes_with_any_weight() -> None:
    tensors = integers(*trained_like(9))
    before = IntegerScaleHead(tensors).known_answer()
    tensors["weight3"] = tensors["weight3"].copy()
    tensors["weight3"][:, 0] += 90
    assert IntegerScaleHead(tensors).known_answer() != before
