"""What decides quality: short trainings that differ in one thing, validated alike.

    python benchmarks/ablations.py --stills data/intra --clips data/video --out results/ablations
    python benchmarks/ablations.py --out results/ablations --table

Every run of a family has the same number of steps, the same crops in the same order and the same validation. I frames
start from nothing (principal components), P frames from the I networks, motion and compensation of --model with a fresh
residual codec, as short runs from trained weights say nothing (two thousand steps once gave a thousandth). Short runs
rank early speed, not what a long training ends at. --seeds baselines, with other weights to start from and other noise,
say how much is chance. Runs that are in OUT/ablations.tsv are not
made again; OUT/ablations.md is the table. SOAP needs `pip install --no-deps pytorch_optimizer` and is left out without.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ablation_table import Row, append_row, markdown, read_rows
from ablation_variants import BASELINES, VARIANTS, MissingOptimizerError, Variant


def plan(n_seeds: int, only: Sequence[str] = ()) -> Iterator[tuple[Variant, int]]:
    """Runs in the order in which they say most: two baselines, half of the variants, the other baselines, the rest."""
    chosen = [variant for variant in VARIANTS if not only or variant.key in only]
    half = len(chosen) // 2
    for seeds, variants in ((range(1, min(n_seeds, 2) + 1), chosen[:half]), (range(3, n_seeds + 1), chosen[half:])):
        yield from ((variant, seed) for seed in seeds for variant in BASELINES)
        yield from ((variant, 1) for variant in variants)


def main() -> int:
    """Makes the runs that are missing."""
    parser = argparse.ArgumentParser(description="Short trainings that differ in one thing.", allow_abbrev=False)
    parser.add_argument("--stills", type=Path, help="shards for I frames")
    parser.add_argument("--clips", type=Path, help="shards for P frames")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="base")
    parser.add_argument("--seeds", type=int, default=3, help="of the baselines")
    parser.add_argument("--family", choices=["intra", "inter"], help="these alone")
    parser.add_argument("--only", default="", help='variants, as "intra/SOAP,inter/1 P frame"; baselines always')
    parser.add_argument("--intra-steps", type=int, default=150)
    parser.add_argument("--inter-steps", type=int, default=100)
    parser.add_argument("--table", action="store_true", help="nothing but the table of what is there")
    args = parser.parse_args()
    path = args.out / "ablations.tsv"
    if not args.table:
        if args.stills is None or args.clips is None:
            parser.error("--stills and --clips are needed to train")
        _train(args, path)
    text = markdown(read_rows(path))
    (args.out / "ablations.md").write_text(text)
    print(text, end="")
    return 0


def _train(args: argparse.Namespace, path: Path) -> None:
    from ablation_runs import Recipe, run

    with tempfile.TemporaryDirectory() as scratch:
        steps = {"intra": args.intra_steps, "inter": args.inter_steps}
        recipe = Recipe(args.stills, args.clips, Path(scratch), args.model, *steps.values())
        only = [name.strip() for name in args.only.split(",") if name.strip()]
        for variant, seed in plan(args.seeds, only):
            have = {(row.family, row.variant, row.seed, row.steps) for row in read_rows(path)}
            wanted = (variant.family, variant.name, seed, steps[variant.family])
            if wanted in have or args.family not in (None, variant.family):
                continue
            try:
                row: Row = run(variant, recipe, seed=seed)
            except MissingOptimizerError as error:
                print(f"{variant.key}: left out, {error}", file=sys.stderr, flush=True)
                continue
            append_row(path, row)
            print(*row, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
