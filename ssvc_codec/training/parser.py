"""Training of the object parser (`ssvc train parser`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..errors import MediaError
from ..inference.device import pick_device
from ..nets.parser import ParserConfig, ParserNet
from .parser_backbone import load_backbone
from .parser_data import is_held_out, read_labelled
from .parser_loss import draw_targets, parser_loss
from .parser_sampling import ParserSampler
from .parser_validation import validate_parser
from .schedule import schedule
from .state import Ema, RunState, ValueLog, load_state, save_state

__all__ = ["ParserTrainOptions", "ParserTrainer", "averaged_parser"]

CLIP_NORM = 10.0
WEIGHT_DECAY = 0.02
EMA_DECAY = 0.998  # as far back as a run of some thousand steps can afford


@dataclass(frozen=True, slots=True)
class ParserTrainOptions:
    """One run of training."""

    data: Path  # shards made by `ssvc train label`
    out: Path
    backbone: Path | None = None  # an HGNetV2 detector in ONNX to start the backbone from
    minutes: float = 60.0
    horizon_minutes: float = 0.0  # length of the learning-rate schedule; 0: this run
    resume: bool = False
    restart_schedule: bool = False  # resume the weights, start the schedule anew
    device: str = "auto"
    threads: int = 0
    batch: int = 8
    crop: int = 256
    late_crop: int = 320  # the last quarter of the schedule, with a smaller batch
    learning_rate: float = 1.5e-3
    backbone_share: float = 0.3  # of the learning rate, for a backbone that started from published weights
    seed: int = 1
    report_seconds: float = 30.0
    validate_seconds: float = 600.0
    n_validation: int = 0  # held-out pictures; 0: all
    max_steps: int = 0


class ParserTrainer:
    """The loop, and everything that survives between runs."""

    def __init__(self, options: ParserTrainOptions) -> None:
        self.options = options
        self.device = pick_device(options.device)
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        self.generator = torch.Generator().manual_seed(options.seed)
        state = load_state(options.out) if options.resume else None
        self.net = self._new_net(state).to(self.device)
        self.net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (an overload torch leaves out)
        self._load_data()
        self.optimizer = self._new_optimizer()
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.ema = Ema(self.net, EMA_DECAY)
        self.run = RunState()
        self.log = ValueLog(options.out / "train.csv")
        self.validation_log = ValueLog(options.out / "validation.csv")
        if state is not None:
            self._restore(state)

    def _new_net(self, state: dict[str, object] | None) -> ParserNet:
        started = bool(state["started"]) if state else self.options.backbone is not None
        net = ParserNet(ParserConfig(backbone_norm=not started))
        if state is None and self.options.backbone is not None:
            load_backbone(net, self.options.backbone)
        return net

    @property
    def _started(self) -> bool:
        """Whether the backbone came from published weights: it moves slowly."""
        return not self.net.config.backbone_norm

    def _load_data(self) -> None:
        pictures = list(read_labelled(self.options.data, device=self.device))
        training = [p for p in pictures if not is_held_out(p.source)]
        self.validation = [p for p in pictures if is_held_out(p.source)]
        if self.options.n_validation:
            self.validation = self.validation[:: max(1, len(self.validation) // self.options.n_validation)]
        if not training:
            raise MediaError(f"{self.options.data}: no labelled shards (*.safetensors); see `ssvc train label`")
        self.sampler = ParserSampler(training, self.device, self.generator)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        ours = {id(p) for part in self.net.backbone() for p in part.parameters()} if self._started else set()
        groups = []
        for backbone in (False, True):
            rate = self.options.learning_rate * (self.options.backbone_share if backbone else 1.0)
            chosen = [p for p in self.net.parameters() if p.requires_grad and (id(p) in ours) == backbone]
            for decayed in (False, True):
                params = [p for p in chosen if (p.ndim > 1) == decayed]
                if params:
                    groups.append({"params": params, "lr": rate, "weight_decay": WEIGHT_DECAY * decayed})
        return torch.optim.AdamW(groups, betas=(0.9, 0.99))

    def _restore(self, state: dict[str, object]) -> None:
        self.net.load_state_dict(state["net"])  # type: ignore[arg-type]
        self.ema.values = {k: v.to(self.device) for k, v in state["ema"].items()}  # type: ignore[union-attr]
        self.run = RunState(**state["run"])  # type: ignore[arg-type]
        self.generator.set_state(state["generator"])  # type: ignore[arg-type]
        if self.options.restart_schedule:
            self.run.seconds = 0.0
            return
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]

    def save(self) -> None:
        """Writes everything that the next run needs."""
        state: dict[str, object] = {
            "net": self.net.state_dict(),
            "started": self._started,
            "ema": self.ema.values,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "run": {"step": self.run.step, "seconds": self.run.seconds, "history": self.run.history},
        }
        save_state(self.options.out, state)

    def step(self, progress: float) -> dict[str, float]:
        """One optimiser step; a batch with a non-finite loss or gradient is skipped."""
        o = self.options
        late = progress > 0.75
        size = o.late_crop if late else o.crop
        n = max(2, round(o.batch * o.crop**2 / size**2)) if late else o.batch
        samples = self.sampler.draw(n, size)
        self.net.train()
        with torch.autocast(self.device, dtype=torch.bfloat16):
            output = self.net(samples.picture)
        rows, columns = output.heatmap.shape[2:]
        classes = self.net.config.n_classes
        targets = draw_targets(samples.objects, n_samples=n, n_classes=classes, rows=rows, columns=columns)
        loss = parser_loss(output, targets)
        loss.total.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), CLIP_NORM)
        if torch.isfinite(norm):
            factor = schedule(progress, self.run.step)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * factor
            self.optimizer.step()
            self.ema.update(self.net, self.run.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.run.step += 1
        names = ("loss", "heatmap", "size", "offset")
        values = {name: float(part.detach()) for name, part in zip(names, loss, strict=True)}
        return values | {"norm": float(norm), "samples": float(n)}

    def validate(self) -> dict[str, float]:
        """Loss and AP50 of the averaged weights on the held-out pictures."""
        row = {"step": float(self.run.step), "minutes": self.run.seconds / 60}
        net = averaged_parser(self.net, self.ema)
        return row | validate_parser(net, self.validation, device=self.device)

    def train(self, progress_line: Callable[[str], None]) -> None:
        """Trains for the minutes asked for, reporting, validating and saving on the way."""
        o = self.options
        horizon = 60 * (o.horizon_minutes or o.minutes)
        start, before = time.monotonic(), self.run.seconds
        reported = validated = start
        sums: dict[str, float] = {}
        n = 0
        while time.monotonic() - start < 60 * o.minutes:
            if o.max_steps and self.run.step >= o.max_steps:
                break
            values = self.step(self.run.seconds / horizon)
            now = time.monotonic()
            self.run.seconds = before + now - start
            sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
            n += 1
            if now - reported > o.report_seconds:
                row = {"step": float(self.run.step), "minutes": self.run.seconds / 60}
                row |= {name: total / n for name, total in sums.items()}
                row["samples_per_second"] = sums["samples"] / (now - reported)
                self.log.write(row)
                progress_line(" ".join(f"{name}={value:.4g}" for name, value in row.items()))
                sums, n, reported = {}, 0, now
            if now - validated > o.validate_seconds:
                self._checkpoint(progress_line)
                validated = reported = time.monotonic()
        self._checkpoint(progress_line)

    def _checkpoint(self, progress_line: Callable[[str], None]) -> None:
        self.save()
        if self.validation:
            row = self.validate()
            self.run.history.append(row)
            self.validation_log.write(row)
            progress_line("validation: " + " ".join(f"{name}={value:.4g}" for name, value in row.items()))


def averaged_parser(net: ParserNet, ema: Ema) -> ParserNet:
    """A copy with the averaged parameters and the net's own batch statistics."""
    averaged = ParserNet(net.config)
    averaged.load_state_dict(net.state_dict())
    ema.copy_to(averaged)
    return averaged
