"""What ablations.py trains: the baselines, and what is changed in each variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final, Literal

import torch
from ablation_table import BASELINE
from torch import Tensor

from ssvc_codec.training.inter import InterTrainer
from ssvc_codec.training.intra import IntraTrainer

Family = Literal["intra", "inter"]
Trainer = IntraTrainer | InterTrainer


class MissingOptimizerError(Exception):
    """A variant needs a package that is not installed."""


@dataclass(frozen=True)
class Variant:
    """One thing that is changed against the baseline of its family."""

    question: str
    name: str
    family: Family
    options: Mapping[str, Any] = field(default_factory=dict)  # of TrainOptions or InterTrainOptions
    sizes: Mapping[str, int] = field(default_factory=dict)  # of IntraConfig or InterConfig
    change: Callable[[Any], None] | None = None  # of a trainer, before its first step
    order: int = 1  # which crops, in which order

    @property
    def key(self) -> str:
        """As rows and --only name it."""
        return f"{self.family}/{self.name}"


def no_intra_context(trainer: IntraTrainer) -> None:
    """Means of the second half see zeros in place of the first half; sizes stay."""
    means = trainer.net.means
    others = means.others
    setattr(means, "others", lambda features, anchors, masks: others(features, torch.zeros_like(anchors), masks))  # noqa: B010


def no_motion_context(trainer: InterTrainer) -> None:
    """Means of every pass of motion see zeros in place of the passes before; sizes stay."""
    means = trainer.inter.motion.latents.means
    given = means.given

    def blind(number: int, features: Tensor, known: Tensor, mask: Any) -> Tensor:
        return given(number, features, torch.zeros_like(known), mask)

    setattr(means, "given", blind)  # noqa: B010


def plain_residual(trainer: InterTrainer) -> None:
    """Analysis sees the difference alone; sizes stay."""
    codec = trainer.inter.residual
    analysis = codec.analysis

    def differences_only(x: Tensor, predicted: Tensor, q: Tensor, masks: Any) -> Tensor:
        from ssvc_codec.nets.inter import half_to_merged

        return analysis(x - half_to_merged(predicted), torch.zeros_like(predicted), q, masks)

    setattr(codec, "analysis", differences_only)  # noqa: B010


def weighted_frames(weights: tuple[float, ...]) -> Callable[[InterTrainer], None]:
    """The loss of each P frame of a sequence times its weight."""

    def change(trainer: InterTrainer) -> None:
        step = trainer._frame_step

        def weighted(progress: float) -> tuple[Tensor, dict[str, float]]:
            loss, values = step(progress)
            return loss * weights[trainer.n_frames - len(trainer._sequence) - 1], values

        setattr(trainer, "_frame_step", weighted)  # noqa: B010

    return change


def use_soap(trainer: IntraTrainer) -> None:
    """SOAP of pytorch_optimizer for all but the linear paths. Raises MissingOptimizerError."""
    try:
        from pytorch_optimizer import SOAP  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingOptimizerError("SOAP needs `pip install --no-deps pytorch_optimizer`") from error
    rest, tables = trainer.optimizers.all[0].param_groups
    soap = SOAP(
        rest["params"],
        lr=rest["lr"],
        betas=(0.95, 0.95),
        weight_decay=0.0,
        precondition_frequency=10,
        max_precondition_dim=512,
    )
    adamw = torch.optim.AdamW(tables["params"], lr=tables["lr"], betas=(0.9, 0.98), weight_decay=0.0)
    trainer.optimizers.all = [soap, adamw]
    trainer.optimizers.rates = [rest["lr"], tables["lr"]]


INTRA: Final = (
    Variant("context", "no context", "intra", change=no_intra_context),
    Variant("optimiser", "SOAP", "intra", change=use_soap),
    Variant("group masks", "masks 0", "intra", options={"mask_share": 0.0}),
    Variant("latent channels", "192 latents", "intra", sizes={"n_y": 192}),
    Variant("block count", "1 + 1 analysis blocks", "intra", sizes={"analysis8": 1, "analysis16": 1}),
    Variant("block count", "1 mending layer", "intra", sizes={"mend_layers": 1}),
    Variant("optimiser", "Muon", "intra", options={"optimizer": "muon"}),
    Variant("group masks", "masks 0.7", "intra", options={"mask_share": 0.7}),
    Variant("block count", "6 + 4 analysis blocks", "intra", sizes={"analysis8": 6, "analysis16": 4}),
    Variant("block count", "5 mending layers", "intra", sizes={"mend_layers": 5}),
    Variant("latent channels", "288 latents", "intra", sizes={"n_y": 288}),
    Variant("optimiser", "SOAP, twice the rate", "intra", options={"learning_rate": 3e-3}, change=use_soap),
    Variant("optimiser", "AdamW, twice the rate", "intra", options={"learning_rate": 3e-3}),
)
INTER: Final = (
    Variant("residual", "plain residual", "inter", change=plain_residual),
    Variant("context", "no context", "inter", change=no_motion_context),
    Variant("cascade", "1 P frame", "inter", options={"n_frames": 1}),
    Variant("cascade", "6 P frames", "inter", options={"n_frames": 6}),
    Variant("loss weights", "0.4 to 1.6", "inter", change=weighted_frames((0.4, 0.8, 1.2, 1.6))),
    Variant("group masks", "masks 0", "inter", options={"mask_share": 0.0}),
    Variant("cascade", "2 P frames", "inter", options={"n_frames": 2}),
    Variant("loss weights", "1.6 to 0.4", "inter", change=weighted_frames((1.6, 1.2, 0.8, 0.4))),
    Variant("group masks", "masks 0.7", "inter", options={"mask_share": 0.7}),
    Variant("block count", "no mending layer between", "inter", sizes={"mend_layers": 0}),
)
CROPS: Final = (Variant("chance", "other crops", "intra", order=2), Variant("chance", "other crops", "inter", order=2))
BASELINES: Final = (Variant(BASELINE, BASELINE, "intra"), Variant(BASELINE, BASELINE, "inter"))
VARIANTS: Final = tuple(v for pair in zip_longest(INTRA, INTER) for v in pair if v is not None) + CROPS
