"""Training: shards, a few steps, going on after a stop, and export."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ssvc_codec.entropy import IntegerScaleHead
from ssvc_codec.errors import MediaError, ModelError
from ssvc_codec.nets.intra import IntraConfig, IntraNet, Masks
from ssvc_codec.training.export import export_intra, import_intra
from ssvc_codec.training.intra import IntraTrainer, TrainOptions
from ssvc_codec.training.rate import coded_bits, gaussian_bits, lambda_of
from ssvc_codec.training.sampling import random_masks
from ssvc_codec.training.shards import ShardWriter, read_shards
from ssvc_codec.weights import load_model


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A shard of 24 synthetic stills."""
    random = np.random.default_rng(0)
    writer = ShardWriter(tmp_path / "data", shard_mib=1)
    for number in range(24):
        y, x = np.mgrid[:288, :320]
        wave = 128 + 80 * np.sin(x / (4 + number)) * np.cos(y / 9) + random.normal(scale=3, size=(288, 320))
        luma = wave.clip(0, 255).astype(np.uint8)
        writer.add([(luma, luma[::2, ::2].copy(), 255 - luma[::2, ::2])], f"wave{number}")
    writer.flush()
    return tmp_path / "data"


def options(data: Path, out: Path, **changes: object) -> TrainOptions:
    values = {"crop": 64, "batch": 2, "device": "cpu", "report_seconds": 0.0, "validate_seconds": 1e9} | changes
    return TrainOptions(data=data, out=out, **values)  # type: ignore[arg-type]


def run_steps(trainer: IntraTrainer, n: int) -> list[float]:
    return [trainer.step(0.1)["loss"] for _ in range(n)]


def test_shards_give_back_every_plane(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    shapes = [(3, 64, 96), (1, 32, 32), (2, 128, 64)]
    clips = [
        [tuple(random.integers(0, 256, s, np.uint8) for s in ((h, w), (h // 2, w // 2), (h // 2, w // 2)))] * t
        for t, h, w in shapes
    ]
    writer = ShardWriter(tmp_path, shard_mib=0.02)
    for number, clip in enumerate(clips):
        writer.add(clip, f"clip {number}")  # type: ignore[arg-type]
    writer.flush()
    assert writer.n_shards > 1
    for number, (clip, read) in enumerate(zip(clips, read_shards(tmp_path), strict=True)):
        assert read.source == f"clip {number}"
        for frame, planes in enumerate(clip):
            for plane, stack in zip(planes, read[:3], strict=True):
                np.testing.assert_array_equal(plane, stack[frame].numpy())


def test_training_lowers_the_loss(data: Path, tmp_path: Path, small_intra: IntraConfig) -> None:
    trainer = IntraTrainer(options(data, tmp_path / "run"), config=small_intra)
    x, q = trainer.sampler.draw(8, 64), torch.linspace(0, 63, 8)

    def loss() -> float:
        torch.manual_seed(0)
        with torch.no_grad():
            return float(trainer.loss(x, q, Masks())[0])

    before = loss()
    run_steps(trainer, 250)
    assert loss() < 0.95 * before


def test_a_run_goes_on_as_if_it_had_not_stopped(data: Path, tmp_path: Path, small_intra: IntraConfig) -> None:
    through = IntraTrainer(options(data, tmp_path / "a"), config=small_intra)
    torch.manual_seed(5)
    run_steps(through, 3)
    through.save()
    state = torch.get_rng_state()
    expected = run_steps(through, 3)
    resumed = IntraTrainer(options(data, tmp_path / "a", resume=True), config=small_intra)
    torch.set_rng_state(state)
    assert run_steps(resumed, 3) == pytest.approx(expected, rel=1e-5)
    assert resumed.run.step == through.run.step


def test_state_files_stay_small(data: Path, tmp_path: Path) -> None:
    trainer = IntraTrainer(options(data, tmp_path / "a"))
    trainer.save()
    files = list((tmp_path / "a").glob("*.pt"))
    assert len(files) > 2
    assert max(file.stat().st_size for file in files) < 15 * 2**20


def test_resuming_without_a_state_is_an_error(data: Path, tmp_path: Path, small_intra: IntraConfig) -> None:
    with pytest.raises(ModelError, match="no training state"):
        IntraTrainer(options(data, tmp_path / "nowhere", resume=True), config=small_intra)


def test_training_without_data_is_an_error(tmp_path: Path, small_intra: IntraConfig) -> None:
    with pytest.raises(MediaError, match="ssvc train pack"):
        IntraTrainer(options(tmp_path, tmp_path / "run"), config=small_intra)


def test_a_batch_that_is_not_finite_is_skipped(data: Path, tmp_path: Path, small_intra: IntraConfig) -> None:
    trainer = IntraTrainer(options(data, tmp_path / "run"), config=small_intra)
    before = {name: p.detach().clone() for name, p in trainer.net.named_parameters()}
    trainer.sampler.draw = lambda n, size: torch.full((n, 96, size // 8, size // 8), float("nan"))  # type: ignore[method-assign]
    trainer.step(0.1)
    assert all(torch.equal(p, before[name]) for name, p in trainer.net.named_parameters())


def test_an_exported_network_comes_back_with_the_same_indexes(tmp_path: Path, small_intra: IntraConfig) -> None:
    torch.manual_seed(2)
    net = IntraNet(small_intra)
    with torch.no_grad():
        for parameter in net.scale_head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    export_intra(net, tmp_path / "m", name="small", about={})
    export_intra(import_intra(load_model(str(tmp_path / "m"))), tmp_path / "n", name="small", about={})
    head, again = (IntegerScaleHead(load_model(str(tmp_path / name)).group("intra.head")) for name in "mn")
    z = np.random.default_rng(0).integers(-9, 10, (256, 4)).astype(np.int32)
    for level in (0, 9, 36, 63):  # anchors come back exactly
        q = np.full(256, level)
        # one rounding of a bias by half a unit may move an index by one, rarely
        assert (head.y_indexes(z, q) != again.y_indexes(z, q)).mean() < 0.002


def test_bits_follow_the_gaussian() -> None:
    scale = torch.tensor([0.5, 2.0, 20.0])
    symbols = torch.arange(-200, 201).float()[:, None]
    bits = gaussian_bits(symbols, scale)
    assert (2.0**-bits).sum(0).tolist() == pytest.approx([1, 1, 1], abs=1e-4)
    # a unit bin of a wide Gaussian: log2(scale sqrt(2 pi))
    assert bits[200, 2].item() == pytest.approx(np.log2(20 * np.sqrt(2 * np.pi)), abs=1e-3)


def test_lambda_spans_its_range_evenly_in_the_logarithm() -> None:
    values = lambda_of(torch.tensor([0.0, 31.5, 63.0]))
    assert values[0].item() == pytest.approx(0.0009)
    assert values[2].item() == pytest.approx(0.4)
    assert values[1].item() == pytest.approx((values[0] * values[2]).sqrt().item())


def test_training_masks_follow_the_grid_of_cells() -> None:
    masks = random_masks(6, 128, "cpu", torch.Generator().manual_seed(0))
    assert isinstance(masks, Masks)
    at8, at16 = masks.at8.inside, masks.at16.inside  # type: ignore[union-attr]
    assert at8.shape == (6, 1, 16, 16)
    assert torch.equal(at8[:, :, ::2, ::2], at16)
    cells = at8.reshape(6, 4, 4, 4, 4)
    assert torch.equal(cells.amin((2, 4)), cells.amax((2, 4)))
    assert 0 < at8.mean() < 1


def test_a_model_can_be_trained_further_and_validated_on_real_strings(
    data: Path, tmp_path: Path, small_intra: IntraConfig
) -> None:
    first = IntraTrainer(options(data, tmp_path / "run"), config=small_intra)
    run_steps(first, 3)
    row = first.validate()
    assert 0 < row["bpp4"] < row["bpp63"]
    assert row["psnr4"] < row["psnr63"]
    assert all(0 <= row[f"z{q}"] <= 1 for q in (4, 63))
    further = IntraTrainer(options(data, tmp_path / "next", init=str(tmp_path / "run" / "model")))
    assert further.net.config == small_intra
    # the exported floats are half precision, the integers exact
    assert further.validate()["score"] == pytest.approx(row["score"], abs=0.02)


def test_coded_bits_are_those_of_rounded_symbols_with_gradients_for_both() -> None:
    residual = torch.tensor([0.4, -1.2, 3.3], requires_grad=True)
    scale = torch.tensor([0.11, 1.0, 2.0], requires_grad=True)
    bits = coded_bits(residual, scale)
    torch.testing.assert_close(bits, gaussian_bits(torch.tensor([0.0, -1.0, 3.0]), scale))
    assert bits[0] < 0.001  # a latent that is always 0 costs nothing
    bits.sum().backward()
    assert residual.grad is not None
    assert scale.grad is not None
    assert residual.grad[2] > 0
    assert scale.grad.abs().min() >= 0
