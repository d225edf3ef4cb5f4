"""Training of the P-frame networks (`ssvc train inter`), in the paper's stages (section 3.2.1).

motion: motion estimation alone, on known motion and on how well it warps; then motion
coding and compensation with it fixed; then all of these together.
joint: everything of a P frame, one optimiser step a frame, references detached.
gop: everything on the loss of several frames in a row, gradients through the references.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import MediaError, ModelError
from ..inference.device import pick_device
from ..nets.distortion import Tune, distortion
from ..nets.inter import InterMasks, InterNet, State, half_to_planes
from ..nets.intra import IntraNet, IntraOutput, Masks, to_half
from ..nets.motion import upsample_flow, warp
from ..weights import Model, load_model
from .clips import ClipSampler, known_motion
from .export import export_model, import_inter, import_intra
from .inter_loss import Z_PRICE, FrameLoss, frame_loss
from .inter_validation import validate_clips
from .rate import coded_bits, lambda_of
from .sampling import random_inter_masks
from .schedule import schedule
from .shards import Clip, read_shards
from .state import Ema, RunState, ValueLog, load_state, save_state

__all__ = ["InterTrainOptions", "InterTrainer", "Stage", "train_inter"]

Stage = Literal["motion", "joint", "gop"]
HELD_OUT = 23  # every 23rd clip
I_OFFSETS = (2.0, 14.0)  # of q: I frames draw theirs from this range
P_OFFSETS = 4.0  # of q: P frames draw theirs between 0 and this
STARTABLE = ("motion",)
ESTIMATION_SHARE, FROZEN_SHARE = 0.35, 0.75  # of stage motion: estimation alone until, then fixed until


@dataclass(frozen=True, slots=True)
class InterTrainOptions:
    """One run of training."""

    data: Path
    out: Path
    stage: Stage
    init: str = "base"  # model to start from: its intra networks, and its inter networks if it has them
    name: str = "base"
    minutes: float = 60.0
    horizon_minutes: float = 0.0  # length of the learning-rate schedule; 0: this run
    resume: bool = False
    device: str = "auto"
    threads: int = 0
    batch: int = 4
    crop: int = 128
    n_frames: int = 0  # P frames in a row; 0: 1 (motion), 4 (joint), 3 (gop)
    learning_rate: float = 1e-3
    intra_share: float = 0.0  # of the learning rate, for the intra networks in stage gop; 0: fixed
    tune: Tune = "psnr"  # what distortion is; "ms-ssim" takes crops of MIN_CROP and more
    seed: int = 1
    mask_share: float = 0.2  # of the steps, with random groups in every sample
    report_seconds: float = 30.0
    validate_seconds: float = 300.0
    max_steps: int = 0


class InterTrainer:
    """The loop, and everything that survives between runs."""

    def __init__(self, options: InterTrainOptions) -> None:
        self.options = options
        self.device = pick_device(options.device)
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        model = load_model(options.init)
        self.intra: IntraNet = import_intra(model).to(self.device)
        self.inter: InterNet = import_inter(model).to(self.device)
        self.inter.config = replace(self.inter.config, tune=options.tune)
        self.nets = nn.ModuleDict({"intra": self.intra, "inter": self.inter})
        if not (options.stage == "gop" and options.intra_share > 0):
            self.intra.requires_grad_(False)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.run = RunState()
        self._load_data()
        self.optimizer = self._optimizer()
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.ema = Ema(self.nets, 0.999)
        self.log = ValueLog(options.out / "train.csv")
        self.validation_log = ValueLog(options.out / "validation.csv")
        self.n_frames = options.n_frames or {"motion": 1, "joint": 4, "gop": 3}[options.stage]
        self.started: set[str] = set()
        if options.resume:
            self._restore()
        else:
            self.started = _started(model)
        self._sequence: list[Tensor] = []
        self._state: State | None = None
        self._q = torch.zeros(options.batch, device=self.device)

    def _load_data(self) -> None:
        clips = [c for c in read_shards(self.options.data, device=self.device) if c.y.shape[0] > 1]
        if not clips:
            raise MediaError(f"{self.options.data}: no shards of clips (*.safetensors); see `ssvc train pack`")
        self.validation: list[Clip] = clips[::HELD_OUT]
        training = [c for number, c in enumerate(clips) if number % HELD_OUT] or clips
        self.sampler = ClipSampler(training, self.device, self.generator)

    def _optimizer(self) -> torch.optim.Optimizer:
        o = self.options
        groups: dict[str, list[Tensor]] = {"rest": [], "linear": [], "estimation": [], "intra": []}
        for name, parameter in self.nets.named_parameters():
            if not parameter.requires_grad:
                continue
            part = name.split(".")
            if part[0] == "intra":
                groups["intra"].append(parameter)
            elif part[1] == "estimation":
                groups["estimation"].append(parameter)
            else:
                groups["linear" if "linear" in name else "rest"].append(parameter)
        later = 0.3 if o.stage != "motion" else 1.0
        rates = {"rest": 1.0, "linear": 0.1, "estimation": later, "intra": o.intra_share}
        return torch.optim.AdamW(
            [{"params": p, "lr": o.learning_rate * rates[k], "weight_decay": 0.0} for k, p in groups.items() if p],
            betas=(0.9, 0.98),
        )

    def _restore(self) -> None:
        state = load_state(self.options.out)
        self.nets.load_state_dict(state["net"])  # type: ignore[arg-type]
        self.ema.values = {k: v.to(self.device) for k, v in state["ema"].items()}  # type: ignore[union-attr]
        self.run = RunState(**state["run"])  # type: ignore[arg-type]
        self.started = set(state["started"])  # type: ignore[call-overload]
        if state["stage"] != self.options.stage:
            raise ModelError(f"{self.options.out} holds a run of stage {state['stage']}; start from it with --init")
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        self.generator.set_state(state["generator"])  # type: ignore[arg-type]
        if "noise" in state:  # not in what was saved before it was
            torch.set_rng_state(state["noise"])  # type: ignore[arg-type]

    def save(self) -> None:
        """Writes everything that the next run needs."""
        run = {"step": self.run.step, "seconds": self.run.seconds, "history": self.run.history}
        state: dict[str, object] = {
            "stage": self.options.stage,
            "started": sorted(self.started),
            "net": self.nets.state_dict(),
            "ema": self.ema.values,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "noise": torch.get_rng_state(),
            "run": run,
        }
        save_state(self.options.out, state)

    # Steps

    def step(self, progress: float) -> dict[str, float]:
        """One optimiser step; a batch with a non-finite loss or gradient is skipped."""
        stage = self.options.stage
        if stage == "motion" and progress < ESTIMATION_SHARE:
            loss, values = self._estimation_step()
        elif stage == "gop":
            loss, values = self._gop_step()
        else:
            loss, values = self._frame_step(progress)
        norm = loss.detach()
        if torch.isfinite(norm):  # the gradient of grid_sample crashes at positions that are no numbers
            loss.backward()
            norm = nn.utils.clip_grad_norm_([p for p in self.nets.parameters() if p.grad is not None], 5.0)
        if torch.isfinite(norm):
            factor = schedule(progress, self.run.step)
            for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
                group["lr"] = peak * factor
            self.optimizer.step()
            self.ema.update(self.nets, self.run.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.run.step += 1
        return {"loss": float(loss.detach()), "norm": float(norm)} | values

    def _estimation_step(self) -> tuple[Tensor, dict[str, float]]:
        """Known motion on odd steps, real pairs on even ones."""
        n, size = self.options.batch, self.options.crop
        now, before = self.sampler.draw(2 * n, 2, size)
        a, b = (F.pixel_shuffle(x[:, :64], 8) for x in (now, before))
        if self.run.step % 2:
            pair = known_motion(a, self.generator)
            flows = self.inter.estimation.pyramid(pair.current, pair.reference)
            loss = a.new_zeros(())
            for number, flow in enumerate(reversed(flows)):
                truth = F.avg_pool2d(pair.flow, 4 * 2**number) / 2**number
                if truth.shape != flow.shape:
                    continue
                error = (flow - truth).square().sum(1).add(1e-4).sqrt()
                loss = loss + 0.25 * 0.6**number * error.mean()
            final = F.avg_pool2d(pair.flow, 4)
            return loss, {"epe": float((flows[-1] - final).detach().square().sum(1).sqrt().mean())}
        b = b + torch.randn_like(b) * 0.02 * torch.rand(2 * n, 1, 1, 1, device=b.device)
        flow = self.inter.estimation(a, b)
        warped = warp(b, upsample_flow(flow, 4), mode="bicubic")
        error = ((a - warped) * 255).square().mean((1, 2, 3))
        smooth = (flow[:, :, 1:] - flow[:, :, :-1]).abs().mean() + (flow[:, :, :, 1:] - flow[:, :, :, :-1]).abs().mean()
        still = ((a - b) * 255).square().mean((1, 2, 3))
        loss = 0.5 * (error + 1).log().mean() + 0.1 * smooth
        gain = 4.343 * ((still + 1).log() - (error + 1).log())
        return loss, {"warp_gain_db": float(gain.detach().mean()), "smooth": float(smooth.detach())}

    def _begin_sequence(self) -> None:
        """New clips; the first frame coded by the intra networks."""
        o = self.options
        self._sequence = self.sampler.draw(o.batch, self.n_frames + 1, o.crop)
        self._q = torch.rand(o.batch, generator=self.generator).to(self.device) * 63
        first = self._sequence.pop(0)
        x_hat = self._intra_picture(first, self._q)
        self._state = self.inter.first_state(half_to_planes(x_hat))

    @torch.no_grad()
    def _intra_picture(self, x: Tensor, q: Tensor) -> Tensor:
        with torch.autocast(self.device, dtype=torch.bfloat16):
            return self.intra(x, self._intra_q(q), Masks()).x_hat.float()

    def _intra_q(self, q: Tensor) -> Tensor:
        low, high = I_OFFSETS
        offsets = low + (high - low) * torch.rand(q.shape[0], generator=self.generator)
        return (q + offsets.to(q.device)).clamp(0, 63)

    def _masks(self) -> InterMasks:
        o = self.options
        masked = float(torch.rand((), generator=self.generator)) < o.mask_share
        return random_inter_masks(o.batch, o.crop, self.device, self.generator) if masked else InterMasks()

    def _frame_q(self) -> Tensor:
        offsets = torch.rand(self.options.batch, generator=self.generator).to(self.device) * P_OFFSETS
        return (self._q + offsets).clamp(0, 63)

    def _frame_step(self, progress: float) -> tuple[Tensor, dict[str, float]]:
        """One P frame on the reference that the step before left."""
        motion_only = self.options.stage == "motion"
        if not self._sequence:
            self._begin_sequence()
            self._start_transforms()
        assert self._state is not None
        x, q = self._sequence.pop(0), self._frame_q()
        with torch.autocast(self.device, dtype=torch.bfloat16):
            frozen = not motion_only or progress < FROZEN_SHARE
            out, self._state = self.inter(
                x, q, self._state, self._masks(), freeze_estimation=frozen, motion_only=motion_only
            )
        loss = frame_loss(x, out, q, tune=self.options.tune)
        return loss.total, loss.values()

    def _gop_step(self) -> tuple[Tensor, dict[str, float]]:
        """Several frames, gradients through all of them."""
        o = self.options
        frames = self.sampler.draw(o.batch, self.n_frames + 1, o.crop)
        self._q = torch.rand(o.batch, generator=self.generator).to(self.device) * 63
        x = frames[0]
        losses: list[FrameLoss] = []
        total = x.new_zeros(())
        if o.intra_share > 0:
            q = self._intra_q(self._q)
            with torch.autocast(self.device, dtype=torch.bfloat16):
                out = self.intra(x, q, Masks())
            total = total + _intra_loss(x, out, q, o.tune)
            x_hat = out.x_hat.float()
        else:
            x_hat = self._intra_picture(x, self._q)
        state = self.inter.first_state(half_to_planes(x_hat))
        masks = self._masks()
        for x in frames[1:]:
            q = self._frame_q()
            with torch.autocast(self.device, dtype=torch.bfloat16):
                output, state = self.inter(x, q, state, masks, freeze_estimation=True, detach=False)
            losses.append(frame_loss(x, output, q, predictions=False, tune=o.tune))
            total = total + losses[-1].total
        return total / len(frames), losses[-1].values()

    @torch.no_grad()
    def _start_transforms(self) -> None:
        """Principal components of flow, when they are first needed."""
        if self.options.stage != "motion" or "motion" in self.started:
            return
        flows: list[Tensor] = []
        for _ in range(24):
            x = self.sampler.draw(self.options.batch, 2, self.options.crop)
            q = torch.rand(self.options.batch, generator=self.generator).to(self.device) * 63
            state = self.inter.first_state(half_to_planes(self._intra_picture(x[0], q)))
            out, _ = self.inter(x[1], q, state, freeze_estimation=True, motion_only=True)
            flows.append(F.pixel_unshuffle(out.flow, 4))
        _start(self.inter.motion, flows)
        self.started.add("motion")
        self.ema = Ema(self.nets, 0.999)

    # Runs

    def validate(self) -> dict[str, float]:
        """Rate and distortion of the averaged weights on held-out clips."""
        backup = {name: p.detach().clone() for name, p in self.nets.named_parameters()}
        self.ema.copy_to(self.nets)
        about: dict[str, object] = {"steps": self.run.step, "minutes": round(self.run.seconds / 60, 1)}
        about["started"] = sorted(self.started)
        export_model(self.intra, self.inter, self.options.out / "model", name=self.options.name, about=about)
        row = {"step": float(self.run.step), "minutes": self.run.seconds / 60}
        row |= validate_clips(self.intra, self.inter, self.validation, device=self.device, tune=self.options.tune)
        self.nets.load_state_dict(backup, strict=False)
        return row

    def train(self, progress_line: Callable[[str], None]) -> None:
        """Trains for the minutes asked for, reporting, validating and saving on the way."""
        o = self.options
        horizon = 60 * (o.horizon_minutes or o.minutes)
        start, before = time.monotonic(), self.run.seconds
        reported = validated = start
        sums: dict[str, tuple[float, int]] = {}
        while time.monotonic() - start < 60 * o.minutes:
            if o.max_steps and self.run.step >= o.max_steps:
                break
            for name, value in self.step(self.run.seconds / horizon).items():
                total, n = sums.get(name, (0.0, 0))
                sums[name] = (total + value, n + 1)
            self.run.seconds = before + time.monotonic() - start
            now = time.monotonic()
            if now - reported > o.report_seconds:
                row = {"step": float(self.run.step), "minutes": self.run.seconds / 60}
                row |= {name: total / n for name, (total, n) in sums.items()}
                row["step_ms"] = 1000 * (now - reported) / sums["loss"][1]
                self.log.write(row)
                progress_line(" ".join(f"{name}={value:.4g}" for name, value in row.items()))
                sums, reported = {}, now
            if now - validated > o.validate_seconds:
                self._checkpoint(progress_line)
                validated = reported = time.monotonic()
        self._checkpoint(progress_line)

    def _checkpoint(self, progress_line: Callable[[str], None]) -> None:
        row = self.validate()
        self.run.history.append(row)
        self.validation_log.write(row)
        progress_line("validation: " + " ".join(f"{name}={value:.4g}" for name, value in row.items()))
        self.save()


def _started(model: Model) -> set[str]:
    """Which linear paths of a model have left their random start."""
    about = model.config.get("about")
    if "inter" not in model.config:
        return set()
    started = about.get("started", STARTABLE) if isinstance(about, Mapping) else STARTABLE
    return set(started)


def _start(codec: nn.Module, blocks: list[Tensor]) -> None:
    """Principal components of blocks (N, C, h, w) as the linear paths of a codec."""
    rows = torch.cat([b.permute(0, 2, 3, 1).flatten(0, 2) for b in blocks]).double()
    values, vectors = torch.linalg.eigh(rows.t() @ rows / rows.shape[0])
    order = values.argsort(descending=True)
    deviation = values[order].clamp_min(1e-8).sqrt()
    basis = vectors[:, order]
    codec.linear.weight.copy_((basis / deviation).t())  # type: ignore[union-attr,operator]
    codec.linear_back.weight.copy_(basis * deviation)  # type: ignore[union-attr,operator]
    codec.latents.start_gains(deviation)  # type: ignore[union-attr,operator]


def _intra_loss(x: Tensor, out: IntraOutput, q: Tensor, tune: Tune) -> Tensor:
    pixels = x.shape[2] * x.shape[3] * 64
    y = coded_bits(out.y_residual.float(), out.y_scale).sum((1, 2, 3)) / pixels
    z = coded_bits(out.z_residual.float(), out.z_scale).sum((1, 2, 3)) / pixels
    lmbda = lambda_of(q)
    price = Z_PRICE[0] * (Z_PRICE[1] / Z_PRICE[0]) ** (q / 63)
    weight = (lmbda / 0.015) ** -0.4
    return (weight * (y + price * z + lmbda * distortion(to_half(x), out.x_hat, tune))).mean()


def train_inter(options: InterTrainOptions, progress_line: Callable[[str], None] = print) -> InterTrainer:
    """Runs `ssvc train inter`. Raises MediaError without data, ModelError without a state to resume."""
    trainer = InterTrainer(options)
    trainer.train(progress_line)
    return trainer
