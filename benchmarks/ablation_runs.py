"""One short training of ablations.py, and what it came to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import torch
from ablation_table import BASELINE, Row
from ablation_variants import Trainer, Variant

from ssvc_codec.nets.distortion import distortion
from ssvc_codec.nets.inter import InterMasks, InterNet, InterOutput, ResidualCodec, State
from ssvc_codec.nets.intra import IntraConfig, Masks, merge_planes, to_half
from ssvc_codec.training import inter, inter_validation, intra
from ssvc_codec.training.export import import_inter
from ssvc_codec.training.inter import InterTrainer, InterTrainOptions
from ssvc_codec.training.intra import IntraTrainer, TrainOptions
from ssvc_codec.training.rate import coded_bits, lambda_of
from ssvc_codec.training.sampling import random_inter_masks, random_masks
from ssvc_codec.training.schedule import schedule
from ssvc_codec.training.shards import Clip
from ssvc_codec.weights import Model

WARM_UP: Final = 30  # steps
VALIDATION_Q: Final = (8, 24, 40, 56)
INTER_Q: Final = (16, 40)
SIDE: Final = 256


@dataclass(frozen=True)
class Recipe:
    """What all runs of one family share."""

    stills: Path
    clips: Path
    scratch: Path
    model: str = "base"  # I networks, motion and compensation that P frames start from
    intra_steps: int = 150
    inter_steps: int = 100
    intra_crop: int = 128
    inter_crop: int = 96
    batch: int = 4


def run(variant: Variant, recipe: Recipe, *, seed: int) -> Row:
    """Trains and validates one variant. seed: of weights and noise, not of crops. Raises MissingOptimizerError."""
    torch.set_num_threads(1)
    steps = recipe.intra_steps if variant.family == "intra" else recipe.inter_steps
    with _short_warm_up():
        with _random_start(seed + variant.order - 1):
            trainer = _trainer(variant, recipe)
        if variant.change is not None:
            variant.change(trainer)
        trainer.sampler.generator = torch.Generator().manual_seed(
            variant.order
        )  # of its own: masks draw from the other
        trainer.step(0.0)  # what is made once is not timed
        began = time.process_time()
        for step in range(1, steps):
            trainer.step(step / steps)
    seconds = (time.process_time() - began) / (steps - 1)
    if isinstance(trainer, IntraTrainer):
        trainer.ema.copy_to(trainer.net)
        parameters = trainer.net.parameters()
        scores = validate_stills(trainer)
    else:
        trainer.ema.copy_to(trainer.nets)
        parameters = trainer.inter.parameters()
        scores = _validate_clips(trainer, with_groups=variant.question in (BASELINE, "group masks"))
    n_parameters = sum(p.numel() for p in parameters)
    return Row(variant.family, variant.question, variant.name, seed, steps, n_parameters, 1000 * seconds, *scores)


def _trainer(variant: Variant, recipe: Recipe) -> Trainer:
    if variant.family == "intra":
        options = TrainOptions(
            data=recipe.stills,
            out=recipe.scratch,
            device="cpu",
            threads=1,
            batch=recipe.batch,
            crop=recipe.intra_crop,
            late_crop=recipe.intra_crop,
            seed=variant.order,
        )
        return IntraTrainer(replace(options, **variant.options), config=IntraConfig(**variant.sizes))
    options = InterTrainOptions(
        data=recipe.clips,
        out=recipe.scratch,
        stage="joint",
        init=recipe.model,
        device="cpu",
        threads=1,
        batch=recipe.batch,
        crop=recipe.inter_crop,
        seed=variant.order,
    )

    def with_fresh_residual(model: Model) -> InterNet:
        net = import_inter(model)
        net.config = replace(net.config, **variant.sizes)
        net.residual = ResidualCodec(net.config)
        return net

    with patch.object(inter, "import_inter", with_fresh_residual):
        trainer = InterTrainer(replace(options, **variant.options))
    trainer.started.discard("residual")
    return trainer


@contextmanager
def _random_start(seed: int) -> Iterator[None]:
    """Trainers seed everything alike; here weights and noise are seeded apart from crops."""
    with patch.object(torch, "manual_seed", lambda _, set_seed=torch.manual_seed: set_seed(seed)):
        yield


@contextmanager
def _short_warm_up() -> Iterator[None]:
    """The usual schedule with a warm-up of WARM_UP steps in place of 200."""

    def short(progress: float, step: int) -> float:
        return schedule(progress, step * 200 // WARM_UP)

    with patch.object(intra, "schedule", short), patch.object(inter, "schedule", short):
        yield


def _corners(clips: list[Clip]) -> torch.Tensor:
    """(8, 96, SIDE/8, SIDE/8): corners of first frames."""
    chosen = [clip for clip in clips if min(clip.y.shape[1:]) >= SIDE][:8]
    y = torch.stack([clip.y[0, :SIDE, :SIDE] for clip in chosen])
    u, v = (torch.stack([clip[k][0, : SIDE // 2, : SIDE // 2] for clip in chosen]) for k in (1, 2))  # type: ignore[union-attr]
    planes = [plane[:, None].float() / 255 - 0.5 for plane in (y, u, v)]
    return merge_planes(*planes).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def validate_stills(trainer: IntraTrainer) -> tuple[float, float]:
    """Mean log2(R + lambda D) of held-out stills, with one group and with random groups of cells.

    R: bits of rounded symbols under their tables, without the container.
    """
    x = _corners(trainer.validation)
    groups = random_masks(len(x), SIDE, "cpu", torch.Generator().manual_seed(1))
    scores: list[list[float]] = [[], []]
    for q_index in VALIDATION_Q:
        q = torch.full((len(x),), float(q_index))
        for masks, into in zip((Masks(), groups), scores, strict=True):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = trainer.net(x, q, masks)
            bits = coded_bits(out.y_residual.float(), out.y_scale).sum((1, 2, 3))
            bits = bits + coded_bits(out.z_residual.float(), out.z_scale).sum((1, 2, 3))
            cost = bits / SIDE**2 + lambda_of(q) * distortion(to_half(x), out.x_hat.float(), "psnr")
            into.append(float(cost.log2().mean()))
    return sum(scores[0]) / len(scores[0]), sum(scores[1]) / len(scores[1])


class _Grouped:
    """P-frame networks that code every frame with two random groups of cells, the same in all frames."""

    def __init__(self, net: InterNet) -> None:
        self._net = net
        self.first_state = net.first_state

    def __call__(self, x: torch.Tensor, q: torch.Tensor, state: State, **options: Any) -> tuple[InterOutput, State]:
        masks: InterMasks = random_inter_masks(1, SIDE, "cpu", torch.Generator().manual_seed(1))
        return self._net(x, q, state, masks, **options)


def _validate_clips(trainer: InterTrainer, *, with_groups: bool) -> tuple[float, float]:
    """As validate_stills, of groups of 6 pictures of held-out clips; NaN without groups."""
    clips = [clip for clip in trainer.validation if min(clip.y.shape[1:]) >= SIDE]
    scores = [float("nan")] * 2
    nets: list[Any] = [trainer.inter, _Grouped(trainer.inter)]
    with patch.object(inter_validation, "VALIDATION_Q", INTER_Q):
        for number, net in enumerate(nets[: 1 + with_groups]):
            scores[number] = inter_validation.validate_clips(trainer.intra, net, clips, device="cpu")["score"]
    return scores[0], scores[1]
