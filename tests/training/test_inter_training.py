"""Training of P frames: known motion, a few steps of every stage, export, and going on."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssvc_codec.errors import MediaError, ModelError
from ssvc_codec.nets.inter import InterNet, InterOutput, half_to_planes
from ssvc_codec.nets.intra import IntraNet, to_half
from ssvc_codec.training.clips import ClipSampler, known_motion
from ssvc_codec.training.export import export_model, import_inter
from ssvc_codec.training.inter import InterTrainer, InterTrainOptions, train_inter
from ssvc_codec.training.inter_validation import validate_clips
from ssvc_codec.training.sampling import random_inter_masks
from ssvc_codec.training.shards import read_shards
from ssvc_codec.weights import load_model


def options(data: Path, out: Path, model: str, **changes: object) -> InterTrainOptions:
    values = {"crop": 64, "batch": 2, "device": "cpu", "report_seconds": 0.0, "validate_seconds": 1e9} | changes
    return InterTrainOptions(data=data, out=out, init=model, **values)  # type: ignore[arg-type]


def parameters(trainer: InterTrainer) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainer.nets.named_parameters()}


def changed(trainer: InterTrainer, before: dict[str, torch.Tensor]) -> set[str]:
    """Networks with a parameter that is not what it was."""
    names = (name for name, p in trainer.nets.named_parameters() if not torch.equal(p, before[name]))
    return {".".join(name.split(".")[: 1 if name.startswith("intra") else 2]) for name in names}


def some_pass(net: InterNet, q: float = 40.0) -> InterOutput:
    generator = torch.Generator().manual_seed(3)
    x, before = (torch.rand(1, 96, 8, 8, generator=generator) * 0.6 - 0.3 for _ in range(2))
    with torch.no_grad():
        return net(x, torch.tensor([q]), net.first_state(half_to_planes(to_half(before))))[0]


def test_clips_are_drawn_in_order_or_backwards_with_planes_together(data: Path) -> None:
    clips = list(read_shards(data))
    frames = ClipSampler(clips, "cpu", torch.Generator().manual_seed(0)).draw(12, 3, 64)
    assert [tuple(frame.shape) for frame in frames] == [(12, 96, 8, 8)] * 3
    x = torch.stack(frames)
    luma = torch.nn.functional.pixel_shuffle(x[:, :, :64].flatten(0, 1), 8)
    u, v = (torch.nn.functional.pixel_shuffle(x[:, :, c : c + 16].flatten(0, 1), 4) for c in (64, 80))
    torch.testing.assert_close(u, -v)
    straight = (u - luma[:, :, ::2, ::2]).abs().amax((1, 2, 3)) < 1e-6
    mirrored = (u - luma[:, :, ::2, 1::2]).abs().amax((1, 2, 3)) < 1e-6
    assert (straight != mirrored).all()
    assert 0 < straight.sum() < 36
    assert torch.equal(straight.view(3, 12), straight.view(3, 12)[:1].expand(3, 12))
    assert ((x[1:] - x[:-1]).abs().mean((2, 3, 4)) > 0).all()


def test_known_motion_is_what_it_says() -> None:
    """Away from the edge of the foreground, the reference at the flow's positions is the current picture."""
    from scipy import ndimage

    generator = torch.Generator().manual_seed(4)
    smooth = torch.nn.functional.interpolate(
        torch.rand(4, 1, 12, 12, generator=generator) - 0.5, (96, 96), mode="bicubic"
    )
    pair = known_motion(smooth, generator, most=4.0)
    assert pair.flow.shape == (2, 2, 96, 96)
    rows, columns = np.mgrid[:96, :96]
    for current, reference, flow in zip(*pair, strict=True):
        at = [rows + flow[1].numpy(), columns + flow[0].numpy()]
        found = ndimage.map_coordinates(reference[0].numpy(), at, order=1, mode="nearest")
        error = np.abs(found - current[0].numpy())
        # noise of up to 0.02 and a shift of brightness of up to 0.01; few samples are hidden or at the edge
        assert np.median(error) < 0.03


def test_training_masks_of_p_frames_agree_at_every_scale() -> None:
    masks = random_inter_masks(6, 128, "cpu", torch.Generator().manual_seed(0))
    maps = [mask.inside for mask in masks if mask is not None]  # type: ignore[attr-defined]
    assert [m.shape[2] for m in maps] == [64, 32, 16, 8, 4]
    for fine, coarse in pairwise(maps):
        assert torch.equal(fine[:, :, ::2, ::2], coarse)


@pytest.mark.parametrize(
    ("stage", "progress", "learning"),
    [
        ("motion", 0.1, {"inter.estimation"}),
        ("motion", 0.5, {"inter.motion", "inter.compensation"}),
        ("motion", 0.9, {"inter.estimation", "inter.motion", "inter.compensation"}),
        ("joint", 0.5, {"inter.motion", "inter.compensation", "inter.residual"}),
        ("joint", 0.9, {"inter.motion", "inter.compensation", "inter.residual"}),
        ("gop", 0.5, {"inter.motion", "inter.compensation", "inter.residual"}),
    ],
)
def test_a_stage_trains_its_networks(
    data: Path, tmp_path: Path, model: str, stage: str, progress: float, learning: set[str]
) -> None:
    trainer = InterTrainer(options(data, tmp_path / "run", model, stage=stage, mask_share=0.5))
    before = parameters(trainer)
    values = [trainer.step(progress) for _ in range(2)]
    assert all(np.isfinite(list(row.values())).all() for row in values)
    assert changed(trainer, before) == learning


def test_the_intra_networks_learn_where_asked(data: Path, tmp_path: Path, model: str) -> None:
    trainer = InterTrainer(options(data, tmp_path / "run", model, stage="gop", n_frames=2, intra_share=0.1))
    before = parameters(trainer)
    trainer.step(0.5)
    assert "intra" in changed(trainer, before)


def test_fresh_transforms_start_from_principal_components(data: Path, tmp_path: Path, small: Any) -> None:
    export_model(IntraNet(small.intra), None, tmp_path / "intra", name="small", about={})
    trainer = InterTrainer(options(data, tmp_path / "run", str(tmp_path / "intra"), stage="motion"))
    trainer.step(0.5)
    assert trainer.started == {"motion"}
    codec = trainer.inter.motion
    product = codec.linear_back.weight @ codec.linear.weight
    # one step has moved both a little, at a tenth of a rate that is still warming up
    torch.testing.assert_close(product, torch.eye(32), atol=0.05, rtol=0)


def test_a_run_goes_on_as_if_it_had_not_stopped(data: Path, tmp_path: Path, model: str) -> None:
    through = InterTrainer(options(data, tmp_path / "a", model, stage="gop", n_frames=1, batch=1))
    torch.manual_seed(5)
    through.step(0.1)
    through.save()
    expected = [through.step(0.1)["loss"] for _ in range(2)]
    resumed = InterTrainer(options(data, tmp_path / "a", model, stage="gop", n_frames=1, batch=1, resume=True))
    assert [resumed.step(0.1)["loss"] for _ in range(2)] == pytest.approx(expected, rel=1e-5)
    assert resumed.run.step == through.run.step
    with pytest.raises(ModelError, match="stage gop"):
        InterTrainer(options(data, tmp_path / "a", model, stage="joint", resume=True))


def test_training_without_clips_is_an_error(tmp_path: Path, model: str) -> None:
    with pytest.raises(MediaError, match="ssvc train pack"):
        InterTrainer(options(tmp_path / "empty", tmp_path / "run", model, stage="motion"))


@pytest.mark.parametrize(("stage", "n_frames"), [("motion", 1), ("joint", 1), ("gop", 2)])
def test_a_batch_that_is_not_finite_is_skipped(
    data: Path, tmp_path: Path, model: str, stage: str, n_frames: int
) -> None:
    trainer = InterTrainer(options(data, tmp_path / "run", model, stage=stage, n_frames=n_frames))
    trainer.sampler.draw = lambda n, t, size: [torch.full((n, 96, 8, 8), float("nan"))] * t  # type: ignore[method-assign]
    before = parameters(trainer)
    trainer.step(0.5)
    assert changed(trainer, before) == set()


def test_a_run_validates_saves_and_exports(data: Path, tmp_path: Path, model: str, small: Any) -> None:
    lines: list[str] = []
    trainer = train_inter(options(data, tmp_path / "run", model, stage="joint", max_steps=2), lines.append)
    assert trainer.run.step == 2
    row = trainer.run.history[-1]
    assert {"score", "m8", "r56", "z24", "psnr40", "still", "warp", "predicted"} <= row.keys()
    finite = [value for name, value in row.items() if not name.startswith("ms_ssim")]  # clips are too small for it
    assert np.isfinite(finite).all()
    assert lines[-1].startswith("validation: ")
    exported = load_model(str(tmp_path / "run" / "model"))
    assert import_inter(exported).config == small.inter
    assert (tmp_path / "run" / "validation.csv").read_text().count("\n") == 2
    further = InterTrainer(options(data, tmp_path / "next", str(tmp_path / "run" / "model"), stage="gop"))
    assert further.started == {"motion"}


def test_the_figures_of_validation_fit_one_another(data: Path, small: Any) -> None:
    torch.manual_seed(0)
    clips = list(read_shards(data))[:1]
    row = validate_clips(IntraNet(small.intra), InterNet(small.inter), clips, device="cpu")
    assert row["score"] == pytest.approx(np.mean([row[f"score{q}"] for q in (8, 24, 40, 56)]))
    for q in (8, 24, 40, 56):
        assert 0 < row[f"z{q}"] < row[f"m{q}"] + row[f"r{q}"]
    assert row["m8"] < row["m56"]
    assert row["r8"] < row["r56"]


@pytest.mark.parametrize("q", [0.0, 36.0, 63.0])
def test_an_exported_network_of_p_frames_comes_back(tmp_path: Path, q: float, small: Any) -> None:
    torch.manual_seed(2)
    net = InterNet(small.inter)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    export_model(IntraNet(small.intra), net, tmp_path / "m", name="small", about={})
    again = import_inter(load_model(str(tmp_path / "m")))
    assert again.config == small.inter
    kept = again.residual.entropy.state_dict()
    for name, value in net.residual.entropy.state_dict().items():
        if "bias" not in name and "offset" not in name:  # these come back as one
            torch.testing.assert_close(kept[name], value, atol=2**-6, rtol=0)
    before, after = some_pass(net, q), some_pass(again, q)
    assert after.residual is not None
    assert before.residual is not None
    # half precision: 2^-11 of every weight; a few symbols land on the other side of a half, a few blocks look elsewhere
    for a, b in ((before.flow, after.flow), (before.warped, after.warped), (before.x_hat, after.x_hat)):
        assert (a - b).abs().median() < 0.03 * a.abs().mean()
    a, b = before.motion, after.motion
    assert ((a.y_scale / b.y_scale).log().abs() > 1e-3).float().mean() < 0.1
    torch.testing.assert_close(a.z_scale, b.z_scale)
    for p, r in ((a, b), (before.residual, after.residual)):
        assert (p.symbols.y != r.symbols.y).float().mean() < 0.1
