"""Training without anyone watching (`ssvc train auto`): in slices, each judged by real packets.

A slice trains one stage from the best weights so far. Afterwards held-out clips are coded
with what came out; it replaces the best weights only where they cost less. The stage of the
next slice is the one that has gained most a minute lately.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import MediaError, ModelError
from ..nets.distortion import Tune
from ..weights import find_model, load_model
from .export import export_model, import_inter, import_intra
from .inter import HELD_OUT, InterTrainer, InterTrainOptions
from .intra import IntraTrainer, TrainOptions
from .real_validation import code_groups
from .shards import read_shards
from .state import ValueLog

__all__ = ["AutoOptions", "AutoTrainer", "Slice", "next_stage"]

Stage = Literal["intra", "joint"]
STAGES: tuple[Stage, ...] = ("intra", "joint")
LEARNING_RATES: dict[Stage, float] = {"intra": 6e-4, "joint": 5e-4}
LEAST_RATE_SHARE = 1 / 32  # a stage that only loses at this share of its rate has nothing left to give
CROP, LONG_CROP = 128, 192  # samples a side; long ones for MS-SSIM, which takes MIN_CROP and more


@dataclass(frozen=True, slots=True)
class AutoOptions:
    """One run of unattended training."""

    stills: Path  # shards for the intra networks
    clips: Path  # shards for the P-frame networks; some are held out to judge by
    out: Path
    init: str = "base"  # where to start; not looked at again once OUT has a best model
    name: str = "base"
    tune: Tune = "psnr"
    minutes: float = 60.0
    slice_minutes: float = 20.0
    stages: tuple[Stage, ...] = STAGES
    device: str = "auto"
    threads: int = 0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Slice:
    """What one slice did."""

    stage: Stage
    minutes: float
    learning_rate: float
    before: float  # score of the best weights
    after: float  # score of the slice's
    seed: int

    @property
    def is_kept(self) -> bool:
        """Whether its weights are the best since."""
        return self.after < self.before

    @property
    def gain(self) -> float:
        """Of the score, a minute."""
        return (self.before - self.after) / max(self.minutes, 1e-3)


def next_stage(slices: list[Slice], stages: tuple[Stage, ...] = STAGES) -> tuple[Stage, float]:
    """The stage of the next slice and its share of the learning rate.

    Each stage once; then the one whose last slice gained most a minute. A slice that was thrown away halves
    its stage's rate twice, and tells nothing about the gain at that rate: half of the last gain is expected.
    """
    best: tuple[float, Stage, float] | None = None
    for stage in stages:
        own = [s for s in slices if s.stage == stage]
        if not own:
            return stage, 1.0
        n_lost = 0
        while n_lost < len(own) and not own[-1 - n_lost].is_kept:
            n_lost += 1
        share = own[-1].learning_rate / LEARNING_RATES[stage] * (0.25 if n_lost else 1.0)
        kept = [s.gain for s in own if s.is_kept]
        expected = (kept[-1] if kept else 1e-4) * 0.5**n_lost
        if share >= LEAST_RATE_SHARE and (best is None or expected > best[0]):
            best = (expected, stage, share)
    if best is None:  # everything has lost at the least rate: new random numbers at a middle one
        return stages[len(slices) % len(stages)], 0.25
    return best[1], best[2]


@dataclass
class _Ledger:
    """What OUT/auto.json holds."""

    tune: Tune
    start: str
    score: float
    slices: list[Slice] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> _Ledger:
        try:
            values = json.loads(path.read_text())
            slices = [Slice(**entry) for entry in values.pop("slices")]
            return cls(**values, slices=slices)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{path}: not the ledger of an unattended training ({error})") from error

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")
        temporary.replace(path)


class AutoTrainer:
    """Slices until time is over. OUT/best is a model folder at every moment; OUT/auto.json says what was tried."""

    def __init__(self, options: AutoOptions) -> None:
        """Raises MediaError without clips, ModelError where OUT holds a run tuned for something else."""
        self.options = options
        clips = [clip for clip in read_shards(options.clips) if clip.y.shape[0] > 1]
        self._held_out = clips[::HELD_OUT]
        if not self._held_out:
            raise MediaError(f"{options.clips}: no shards of clips (*.safetensors); see `ssvc train pack`")
        self.best = options.out / "best"
        self._path = options.out / "auto.json"
        self._log = ValueLog(options.out / "auto.csv")
        if self._path.exists():
            self.ledger = _Ledger.load(self._path)
            if self.ledger.tune != options.tune:
                raise ModelError(f"{options.out} holds a training tuned for {self.ledger.tune}")
        else:
            self._begin()

    def _begin(self) -> None:
        source = find_model(self.options.init)
        self.best.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "weights.safetensors"):
            shutil.copyfile(source / name, self.best / name)
        row = self._judge(self.best)
        self.ledger = _Ledger(self.options.tune, self.options.init, row["score"])
        self._log.write({"kept": 1.0, **row})
        self.ledger.save(self._path)

    def _judge(self, folder: Path) -> dict[str, float]:
        return code_groups(str(folder), self._held_out, tune=self.options.tune, device=self.options.device)

    def train(self, progress_line: Callable[[str], None]) -> None:
        """Runs slices; the last one is as long as the time left, if that is half a slice or more."""
        o = self.options
        start = time.monotonic()
        while True:
            left = o.minutes - (time.monotonic() - start) / 60
            if left < o.slice_minutes / 2:
                break
            done = self._slice(min(left, o.slice_minutes), progress_line)
            verdict = "kept" if done.is_kept else "thrown away"
            about = f"slice {len(self.ledger.slices)}: {done.stage}, {done.minutes:.0f} minutes"
            progress_line(f"{about}, score {done.before:.4f} to {done.after:.4f}: {verdict}")

    def save(self) -> None:
        """Nothing to do: what was kept is on the disk, and half a slice counts for nothing."""

    def _slice(self, minutes: float, progress_line: Callable[[str], None]) -> Slice:
        stage, share = next_stage(self.ledger.slices, self.options.stages)
        rate, seed = share * LEARNING_RATES[stage], self.options.seed + len(self.ledger.slices)
        folder = self.options.out / "slice"
        shutil.rmtree(folder, ignore_errors=True)
        progress_line(f"slice {len(self.ledger.slices) + 1}: {stage}, learning rate {rate:.2g}")
        began = time.monotonic()
        if stage == "intra":
            self._train_intra(folder, minutes, rate, seed, progress_line)
        else:
            self._train_inter(folder, minutes, rate, seed, progress_line)
        spent = (time.monotonic() - began) / 60
        row = self._judge(folder / "model")
        done = Slice(stage, spent, rate, self.ledger.score, row["score"], seed)
        if done.is_kept:
            self._keep(folder / "model")
            self.ledger.score = done.after
        self.ledger.slices.append(done)
        self.ledger.save(self._path)
        self._log.write({"kept": float(done.is_kept), **row})
        return done

    def _keep(self, folder: Path) -> None:
        for name in ("config.json", "weights.safetensors"):
            temporary = self.best / f"{name}.tmp"
            shutil.copyfile(folder / name, temporary)
            temporary.replace(self.best / name)

    def _train_intra(
        self, folder: Path, minutes: float, rate: float, seed: int, progress_line: Callable[[str], None]
    ) -> None:
        o = self.options
        tuned = o.tune == "ms-ssim"
        options = TrainOptions(
            data=o.stills,
            out=folder,
            name=o.name,
            minutes=minutes,
            init=str(self.best),
            device=o.device,
            threads=o.threads,
            batch=4 if tuned else 8,
            crop=LONG_CROP if tuned else CROP,
            learning_rate=rate,
            tune=o.tune,
            seed=seed,
            validate_seconds=1e9,
        )
        trainer = IntraTrainer(options)
        trainer.train(progress_line)
        intra = import_intra(load_model(str(folder / "model")))
        about: dict[str, object] = {"slice": "intra", "seed": seed}
        export_model(intra, import_inter(load_model(str(self.best))), folder / "model", name=o.name, about=about)

    def _train_inter(
        self, folder: Path, minutes: float, rate: float, seed: int, progress_line: Callable[[str], None]
    ) -> None:
        o = self.options
        tuned = o.tune == "ms-ssim"
        options = InterTrainOptions(
            data=o.clips,
            out=folder,
            stage="joint",
            name=o.name,
            minutes=minutes,
            init=str(self.best),
            device=o.device,
            threads=o.threads,
            batch=2 if tuned else 4,
            crop=LONG_CROP if tuned else CROP,
            learning_rate=rate,
            tune=o.tune,
            seed=seed,
            validate_seconds=1e9,
        )
        InterTrainer(options).train(progress_line)
