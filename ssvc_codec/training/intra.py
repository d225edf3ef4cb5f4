"""Training of the intra networks (`ssvc train intra`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import MediaError
from ..inference.device import pick_device
from ..nets.distortion import Tune, distortion, picture_error
from ..nets.intra import IntraConfig, IntraNet, Masks, to_half
from ..weights import load_model
from .export import export_intra, import_intra
from .rate import coded_bits, lambda_of
from .sampling import PictureSampler, random_masks
from .schedule import schedule
from .shards import Clip, read_shards, split_pictures
from .state import Ema, RunState, ValueLog, load_state, save_state
from .validation import code_stills

__all__ = ["IntraTrainer", "TrainOptions", "train"]

VALIDATION_Q = (4, 16, 28, 40, 52, 63)
VALIDATION_STILLS = 8
Z_PRICE = (8.0, 2.0)  # of a bit of z at q 0 and 63: keeps hyper-latents a small share at every rate


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """One run of training."""

    data: Path
    out: Path
    name: str = "base"
    minutes: float = 60.0
    horizon_minutes: float = 0.0  # length of the learning-rate schedule; 0: this run
    resume: bool = False
    init: str = ""  # name or folder of a model to start from
    restart_schedule: bool = False  # resume the weights, start the schedule anew
    device: str = "auto"
    threads: int = 0
    batch: int = 8
    crop: int = 128
    late_crop: int = 256  # the last tenth of the schedule, with a smaller batch
    learning_rate: float = 1.5e-3
    matrix_rate: float = 2.0e-3  # learning rate of matrices under Muon
    tune: Tune = "psnr"  # what distortion is; "ms-ssim" takes crops of MIN_CROP and more
    optimizer: str = "adamw"  # or muon, which wants a GPU: its matrix iterations cost 40 % of a step on two cores
    seed: int = 1
    mask_share: float = 0.35  # of the steps, with random groups in every sample
    report_seconds: float = 30.0
    validate_seconds: float = 300.0
    max_steps: int = 0


class _Optimizers:
    """Muon for matrices (orthogonalised momentum), AdamW for everything else."""

    def __init__(self, net: nn.Module, options: TrainOptions) -> None:
        self.rates: list[float] = []
        matrices: list[Tensor] = []
        tables: list[Tensor] = []
        rest: list[Tensor] = []
        for name, parameter in net.named_parameters():
            edge = any(part in name for part in ("linear", "scale_head", "log_gain"))
            if options.optimizer == "muon" and parameter.ndim == 2 and not edge:
                matrices.append(parameter)
            elif "linear" in name:
                tables.append(parameter)
            else:
                rest.append(parameter)
        groups = [
            {"params": rest, "lr": options.learning_rate, "weight_decay": 0.0},
            {"params": tables, "lr": options.learning_rate * 0.1, "weight_decay": 0.0},
        ]
        self.all: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, betas=(0.9, 0.98))]
        if matrices:
            muon = torch.optim.Muon(matrices, lr=options.matrix_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
            self.all.append(muon)
        for optimizer in self.all:
            self.rates += [group["lr"] for group in optimizer.param_groups]

    def step(self, factor: float) -> None:
        """One step at a share of the peak learning rates."""
        rates = iter(self.rates)
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = next(rates) * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


class IntraTrainer:
    """The loop, and everything that survives between runs."""

    def __init__(self, options: TrainOptions, *, config: IntraConfig | None = None) -> None:
        self.options = options
        self.device = pick_device(options.device)
        if options.threads:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        self.net = (import_intra(load_model(options.init)) if options.init else IntraNet(config)).to(self.device)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.run = RunState()
        self._load_data()
        if not options.resume and not options.init:
            self.net.start_from_covariance(self._covariance())
        self.optimizers = _Optimizers(self.net, options)
        self.ema = Ema(self.net, 0.999)
        self.log = ValueLog(options.out / "train.csv")
        self.validation_log = ValueLog(options.out / "validation.csv")
        if options.resume:
            self._restore()

    def _load_data(self) -> None:
        self.validation, training, videos = split_pictures(read_shards(self.options.data, device=self.device))
        pools: list[tuple[float, list[Clip]]] = [(0.65, training), (0.35, videos)]
        pools = [(share, pool) for share, pool in pools if pool]
        if not pools:
            raise MediaError(f"{self.options.data}: no training shards (*.safetensors); see `ssvc train pack`")
        self.sampler = PictureSampler(pools, self.device, self.generator)

    @torch.no_grad()
    def _covariance(self) -> Tensor:
        x = torch.cat([self.sampler.draw(64, 128).cpu() for _ in range(8)])
        blocks = torch.nn.functional.pixel_unshuffle(x, 2).permute(0, 2, 3, 1).reshape(-1, 384).double()
        return (blocks.t() @ blocks / blocks.shape[0]).to(self.device)

    def _restore(self) -> None:
        state = load_state(self.options.out)
        self.net.load_state_dict(state["net"])  # type: ignore[arg-type]
        values = {k: v.to(self.device) for k, v in state["ema"].items()}  # type: ignore[union-attr]
        self.ema.values = values
        self.run = RunState(**state["run"])  # type: ignore[arg-type]
        if self.options.restart_schedule:
            self.run.seconds = 0.0
            return
        for optimizer, values in zip(self.optimizers.all, state["optimizers"], strict=True):  # type: ignore[arg-type]
            optimizer.load_state_dict(values)
        self.generator.set_state(state["generator"])  # type: ignore[arg-type]
        if "noise" in state:  # not in what was saved before it was
            torch.set_rng_state(state["noise"])  # type: ignore[arg-type]

    def save(self) -> None:
        """Writes everything that the next run needs."""
        run = {"step": self.run.step, "seconds": self.run.seconds, "history": self.run.history}
        state: dict[str, object] = {
            "net": self.net.state_dict(),
            "ema": self.ema.values,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers.all],
            "generator": self.generator.get_state(),
            "noise": torch.get_rng_state(),
            "run": run,
        }
        save_state(self.options.out, state)

    def loss(self, x: Tensor, q: Tensor, masks: Masks) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over the batch of w (R + lambda D), and its parts (N,) for the log."""
        with torch.autocast(self.device, dtype=torch.bfloat16):
            out = self.net(x, q, masks)
        pixels = x.shape[2] * x.shape[3] * 64
        y_bits = coded_bits(out.y_residual.float(), out.y_scale).sum((1, 2, 3)) / pixels
        z_bits = coded_bits(out.z_residual.float(), out.z_scale).sum((1, 2, 3)) / pixels
        target = to_half(x)
        difference = distortion(target, out.x_hat, self.options.tune)
        lmbda = lambda_of(q)
        weight = (lmbda / 0.015) ** -0.4  # relative gains count alike at every rate
        price = Z_PRICE[0] * (Z_PRICE[1] / Z_PRICE[0]) ** (q / 63)
        total = (weight * (y_bits + price * z_bits + lmbda * difference)).mean()
        return total, {"y_bpp": y_bits, "z_bpp": z_bits, "mse": picture_error(target, out.x_hat)}

    def step(self, progress: float) -> dict[str, float]:
        """One optimiser step; a batch with a non-finite loss or gradient is skipped."""
        o = self.options
        late = progress > 0.9
        size = o.late_crop if late else o.crop
        n = max(2, o.batch * o.crop**2 // size**2) if late else o.batch
        x = self.sampler.draw(n, size)
        q = torch.rand(n, generator=self.generator).to(self.device) * 63
        masked = float(torch.rand((), generator=self.generator)) < o.mask_share
        masks = random_masks(n, size, self.device, self.generator) if masked else Masks()
        loss, parts = self.loss(x, q, masks)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        if torch.isfinite(norm):
            self.optimizers.step(schedule(progress, self.run.step))
            self.ema.update(self.net, self.run.step)
        else:
            for optimizer in self.optimizers.all:
                optimizer.zero_grad(set_to_none=True)
        self.run.step += 1
        return {
            "loss": float(loss.detach()),
            "norm": float(norm),
            "y_bpp": float(parts["y_bpp"].detach().mean()),
            "z_bpp": float(parts["z_bpp"].detach().mean()),
            "mse": float(parts["mse"].detach().mean()),
        }

    def validate(self) -> dict[str, float]:
        """Real bits and 6:1:1 PSNR of the averaged weights, exported, on held-out stills, for six q."""
        net = IntraNet(self.net.config)
        net.symbol_tables.put(self.net.symbol_tables.tables())
        self.ema.copy_to(net)
        folder = self.options.out / "model"
        about: dict[str, object] = {"steps": self.run.step, "minutes": round(self.run.seconds / 60, 1)}
        export_intra(net, folder, name=self.options.name, about=about)
        row = {"step": float(self.run.step), "minutes": self.run.seconds / 60}
        if not self.validation:  # clips alone
            return row
        return row | code_stills(
            folder, self.validation[:VALIDATION_STILLS], q_indexes=VALIDATION_Q, tune=self.options.tune
        )

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
            self.run.seconds = before + time.monotonic() - start
            sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
            n += 1
            now = time.monotonic()
            if now - reported > o.report_seconds:
                row = {"step": float(self.run.step), "minutes": self.run.seconds / 60}
                row |= {name: total / n for name, total in sums.items()}
                row["step_ms"] = 1000 * (now - reported) / n
                self.log.write(row)
                progress_line(" ".join(f"{name}={value:.4g}" for name, value in row.items()))
                sums, n, reported = {}, 0, now
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


def train(options: TrainOptions, progress_line: Callable[[str], None] = print) -> IntraTrainer:
    """Runs `ssvc train intra`. Raises MediaError without data, ModelError without a state to resume."""
    trainer = IntraTrainer(options)
    trainer.train(progress_line)
    return trainer
