"""Do latents tell what an object is? A linear probe on y_hat, against colour, DCT statistics and the shape of the box.

    python benchmarks/latent_probe.py --train ../shared/data/train/detect --test ../shared/data/eval/detection \
        --teacher TEACHER.onnx --out results/latent_probe

Boxes and classes are a detector's (`teacher`), and for the test pictures the annotations' too. Each picture is coded
as a key frame whose groups follow from the boxes, at q 35 (--crf 28) and at a q drawn from 15..55 for each. Features
of a box: mean and maximum over the latents that it touches (768 numbers); the same of an orthonormal 16x16 DCT of the
uncoded picture, as magnitudes (768); mean and deviation of Y, U and V (6); size and shape of the box (4).
The probe is ridge regression onto the classes, all weighted alike; its penalty is chosen by cross-validation over
training pictures. Balanced accuracy is the mean over classes of the share that is right; 95 % intervals are
bootstrapped over test pictures. Writes latent_probe.tsv and features.npz, which the next run takes up.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.fft import dctn

from ffmpeg_bridge.reader import open_video
from ssvc_codec.bitstream import COCO_80, SceneObject
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.groups import group_map
from ssvc_codec.inference.intra import IntraCoder
from ssvc_codec.latents import Latents
from ssvc_codec.semantics.onnx_detector import open_onnx_detector
from ssvc_codec.weights import load_model

LEAST_SIDE = 32  # luma pixels of a box
MIN_SCORE = 0.5
FIXED_Q, MIXED_Q = 35, (15, 55)
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # features have deviation 1
N_FOLDS, N_BOOTSTRAPS = 4, 1000
KINDS = ("box", "colour", "dct", "latents_fixed_q", "latents_mixed_q")
Floats = NDArray[np.float32]


@dataclass
class Table:
    """Objects: features by kind, and what they are."""

    features: dict[str, list[Floats]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    labels: list[int] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)  # 0: training, 1: test by the teacher, 2: test by annotations

    def save(self, path: Path) -> None:
        """As one .npz."""
        columns = {name: np.array(getattr(self, name)) for name in ("labels", "pictures", "sources")}
        np.savez(path, **columns, **{kind: np.stack(rows) for kind, rows in self.features.items()})


def read_frame(path: Path) -> Frame:
    """A picture as a frame."""
    with open_video(str(path)) as video:
        return next(iter(video))


def pooled(values: Floats) -> Floats:
    """Mean and maximum over positions. values: (C, rows, columns)."""
    return np.concatenate([values.mean((1, 2)), values.max((1, 2))])


def latents_of(coder: IntraCoder, frame: Frame, boxes: list[SceneObject], q: int) -> Latents:
    """Those a decoder has: symbols are coded without loss, so they need not be written."""
    video = frame.format
    groups = group_map(boxes, width=video.width, height=video.height)
    grid = np.full(groups.shape, q, np.int64)
    values = coder.latents(coder.latent_symbols(frame, grid, groups), grid, groups)[0].numpy()
    return Latents(values, groups, video.width, video.height)


def dct_of(frame: Frame) -> Latents:
    """Magnitudes of the DCT of 16x16 luma and 8x8 chroma blocks, in place of latents."""
    parts: list[Floats] = []
    for plane, size in ((frame.y, 16), (frame.u, 8), (frame.v, 8)):
        rows, columns = (-(-side // (2 * size)) * 2 for side in plane.shape)
        padded = np.pad(plane / 255, ((0, rows * size - plane.shape[0]), (0, columns * size - plane.shape[1])), "edge")
        blocks = padded.reshape(rows, size, columns, size).transpose(1, 3, 0, 2)
        coefficients = np.abs(np.asarray(dctn(blocks, axes=(0, 1), norm="ortho")))
        parts.append(coefficients.reshape(size * size, rows, columns).astype(np.float32))
    video = frame.format
    return Latents(np.concatenate(parts), np.zeros((1, 1), np.uint16), video.width, video.height)


def colour_of(frame: Frame, box: SceneObject) -> Floats:
    """Mean and deviation of Y, U and V in a box."""
    values: list[float] = []
    for plane, scale in ((frame.y, 1), (frame.u, 2), (frame.v, 2)):
        top, left, height, width = (n // scale for n in (box.y, box.x, box.height, box.width))
        inside = plane[top : top + height, left : left + width]
        values += [float(inside.mean()), float(inside.std())]
    return np.array(values, np.float32)


def shape_of(video: VideoFormat, box: SceneObject) -> Floats:
    """Logarithms of height, width, their ratio, and the share of the picture."""
    height, width = np.log(box.height), np.log(box.width)
    return np.array([height, width, height - width, height + width - np.log(video.width * video.height)], np.float32)


def add_picture(
    table: Table, coder: IntraCoder, frame: Frame, boxes: list[SceneObject], *, picture: int, source: int
) -> None:
    """The features of all boxes of a picture."""
    kept = [box for box in boxes if min(box.width, box.height) >= LEAST_SIDE]
    if not kept:
        return
    q = int(np.random.default_rng(picture).integers(MIXED_Q[0], MIXED_Q[1] + 1))
    fields = {
        "dct": dct_of(frame),
        "latents_fixed_q": latents_of(coder, frame, boxes, FIXED_Q),
        "latents_mixed_q": latents_of(coder, frame, boxes, q),
    }
    for box in kept:
        for kind, latents in fields.items():
            table.features[kind].append(pooled(latents.of_box(box.x, box.y, box.width, box.height)))
        table.features["colour"].append(colour_of(frame, box))
        table.features["box"].append(shape_of(frame.format, box))
        table.labels.append(box.class_id)
        table.pictures.append(picture)
        table.sources.append(source)


def inside(video: VideoFormat, number: int, class_id: int, score: float, corners: list[float]) -> SceneObject | None:
    """A box of whole pixels inside the picture. corners: left, top, right, bottom."""
    left, top = max(int(corners[0]), 0), max(int(corners[1]), 0)
    right, bottom = min(int(corners[2] + 0.999), video.width), min(int(corners[3] + 0.999), video.height)
    if right <= left or bottom <= top:
        return None
    return SceneObject(number, class_id, round(255 * score), left, top, right - left, bottom - top)


def annotated(folder: Path) -> dict[str, list[tuple[int, list[float]]]]:
    """(class id, corners) by picture, for classes of COCO_80."""
    truth = json.loads((folder / "instances.json").read_text())
    ids = {name: class_id for class_id, name in COCO_80.names}
    names = {category["id"]: category["name"] for category in truth["categories"]}
    found: dict[str, list[tuple[int, list[float]]]] = {image["file_name"]: [] for image in truth["images"]}
    files = {image["id"]: image["file_name"] for image in truth["images"]}
    for row in truth["annotations"]:
        x, y, width, height = row["bbox"]
        if names[row["category_id"]] in ids and not row.get("iscrowd"):
            found[files[row["image_id"]]].append((ids[names[row["category_id"]]], [x, y, x + width, y + height]))
    return found


def collect(options: argparse.Namespace) -> Table:
    """Features of every picture."""
    table = Table()
    coder = IntraCoder(load_model("base"), device="cpu", optimise=True)
    teacher = open_onnx_detector(options.teacher, min_score=MIN_SCORE, threads=1)
    truth = annotated(options.test)
    train = sorted(path for path in options.train.iterdir() if path.suffix in (".webp", ".jpg", ".png"))
    train = [train[k] for k in np.random.default_rng(0).permutation(len(train))[: options.pictures]]
    work = [(path, 0) for path in train] + [(options.test / "images" / name, 1) for name in sorted(truth)]
    for number, (path, source) in enumerate(work):
        frame = read_frame(path)
        video = frame.format
        found = [
            inside(video, k, item.class_id, item.score, [item.x, item.y, item.x + item.width, item.y + item.height])
            for k, item in enumerate(teacher.detect(frame, 0) or ())
        ]
        add_picture(table, coder, frame, [b for b in found if b is not None], picture=number, source=source)
        if source:
            found = [inside(video, k, c, 1.0, corners) for k, (c, corners) in enumerate(truth[path.name])]
            add_picture(table, coder, frame, [b for b in found if b is not None], picture=number, source=2)
        if number % 50 == 0:
            print(f"{number} of {len(work)} pictures", file=sys.stderr, flush=True)
    return table


def fit(x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix and bias of the probe."""
    target = F.one_hot(y, len(weights)).double()
    share = (weights[y] / weights[y].sum())[:, None].double()
    mean, centre = (share * x).sum(0), (share * target).sum(0)
    features = x.double() - mean
    covariance = features.t() @ (share * features) + penalty * torch.eye(x.shape[1], dtype=torch.float64)
    matrix = torch.linalg.solve(covariance, features.t() @ (share * (target - centre))).t()
    return matrix.float(), (centre - matrix @ mean).float()


def balanced(y: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean over the classes that are there of the share that is right."""
    return float(np.mean([(predicted[y == label] == label).mean() for label in np.unique(y)]))


def class_weights(y: torch.Tensor, n_classes: int) -> torch.Tensor:
    """So that each class weighs the same."""
    counts = torch.bincount(y, minlength=n_classes).float()
    return len(y) / (n_classes * counts.clamp_min(1))


class Probe:
    """A probe on one kind of features, its penalty chosen by cross-validation."""

    def __init__(self, x: Floats, y: NDArray[np.int64], pictures: NDArray[np.int64], n_classes: int) -> None:
        self._mean, self._deviation = x.mean(0), x.std(0) + 1e-6
        features, labels = self._scaled(x), torch.from_numpy(y)
        fold = np.random.default_rng(1).permutation(int(pictures.max()) + 1)[pictures] % N_FOLDS
        scores: list[float] = []
        for penalty in PENALTIES:
            guesses = np.zeros_like(y)
            for k in range(N_FOLDS):
                seen = torch.from_numpy(fold != k)
                matrix, bias = fit(features[seen], labels[seen], class_weights(labels[seen], n_classes), penalty)
                guesses[fold == k] = (features[~seen] @ matrix.t() + bias).argmax(1).numpy()
            scores.append(balanced(y, guesses))
        self.penalty = PENALTIES[int(np.argmax(scores))]
        self._matrix, self._bias = fit(features, labels, class_weights(labels, n_classes), self.penalty)

    def _scaled(self, x: Floats) -> torch.Tensor:
        return torch.from_numpy((x - self._mean) / self._deviation)

    def __call__(self, x: Floats) -> NDArray[np.int64]:
        """The class of each row."""
        return (self._scaled(x) @ self._matrix.t() + self._bias).argmax(1).numpy()


def interval(y: NDArray[np.int64], predicted: NDArray[np.int64], pictures: NDArray[np.int64]) -> tuple[float, float]:
    """95 % of balanced accuracy, whole pictures drawn anew."""
    random = np.random.default_rng(2)
    rows = [np.flatnonzero(pictures == picture) for picture in np.unique(pictures)]
    values: list[float] = []
    for _ in range(N_BOOTSTRAPS):
        drawn = np.concatenate([rows[k] for k in random.integers(0, len(rows), len(rows))])
        values.append(balanced(y[drawn], predicted[drawn]))
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def report(columns: dict[str, NDArray[np.generic]], options: argparse.Namespace) -> str:
    """The table."""
    names = dict(COCO_80.names)
    labels, source = columns["labels"].astype(np.int64), columns["sources"]
    seen = Counter(labels[source == 0].tolist())
    tested = Counter(labels[source == 1].tolist())
    classes = [c for c, n in seen.most_common() if n >= options.least_train and tested[c] >= options.least_test]
    place = {c: k for k, c in enumerate(classes)}
    y = np.array([place.get(int(label), -1) for label in labels])
    rows = ["labels\tfeatures\tn_features\tn_train\tn_test\tn_classes\tbalanced_accuracy\tlow95\thigh95\taccuracy"]
    probes: dict[str, Probe] = {}
    n_train = int(((source == 0) & (y >= 0)).sum())
    for test, name in ((1, "teacher"), (2, "annotations")):
        chosen = (source == test) & (y >= 0)
        n_present = len(np.unique(y[chosen]))
        rows.append(f"{name}\tchance\t0\t{n_train}\t{chosen.sum()}\t{n_present}\t{1 / n_present:.3f}\t\t\t")
        sets = (*((kind,) for kind in KINDS), ("colour", "dct"), ("box", "latents_fixed_q"), ("box", "colour", "dct"))
        for kinds in sets:
            key = "+".join(kinds)
            x = np.concatenate([columns[kind] for kind in kinds], axis=1).astype(np.float32)
            if key not in probes:
                own = (source == 0) & (y >= 0)
                probes[key] = Probe(x[own], y[own], columns["pictures"][own].astype(np.int64), len(classes))
            guess = probes[key](x[chosen])
            score = balanced(y[chosen], guess)
            low, high = interval(y[chosen], guess, columns["pictures"][chosen].astype(np.int64))
            counts = f"{x.shape[1]}\t{n_train}\t{chosen.sum()}\t{n_present}"
            rows.append(
                f"{name}\t{key}\t{counts}\t{score:.3f}\t{low:.3f}\t{high:.3f}\t{(guess == y[chosen]).mean():.3f}"
            )
    told = ", ".join(f"{names[c]} {seen[c]}/{tested[c]}" for c in classes)
    return "\n".join(rows) + f"\n# objects for training and testing by class: {told}\n"


def main() -> None:
    """Runs the experiment."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--train", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--test", type=Path, required=True, help="folder with images/ and instances.json")
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder")
    parser.add_argument("--pictures", type=int, default=650, help="for training")
    parser.add_argument("--least-train", type=int, default=40, help="objects of a class")
    parser.add_argument("--least-test", type=int, default=15, help="objects of a class")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    features = options.out / "features.npz"
    if not features.exists():
        collect(options).save(features)
    with np.load(features) as stored:
        text = report(dict(stored), options)
    (options.out / "latent_probe.tsv").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
