"""Do all ways of decoding give the same symbols? Digests of every symbol and table index, by variant.

    python benchmarks/determinism.py clip.ssv --out results/determinism.tsv

Each variant decodes the file in a process of its own, so that thread counts and the kernels of the matrix library can
be set before they load. Symbols and table indexes must be identical; pictures may differ by rounding, and the largest
difference from the first variant is shown. Exit code 1 when a symbol differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from results import write_table

from ffmpeg_bridge.reader import open_ssv
from ssvc_codec.bitstream import parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.entropy import IntegerScaleHead
from ssvc_codec.packet import Packet


@dataclass(frozen=True)
class Variant:
    """One way of decoding."""

    name: str
    threads: int = 1
    channels_last: bool = True
    mkldnn: bool = True
    reduced_precision: bool = True  # bfloat16 synthesis where the processor has it
    batch: str = "picture"  # what the scale head gets at once: row (one cell), picture, file
    device: str = "cpu"
    blas_kernel: str = ""  # OPENBLAS_CORETYPE, for numpy's matrix products


VARIANTS = (
    Variant("reference"),
    Variant("2 threads", threads=2),
    Variant("contiguous layout", channels_last=False),
    Variant("mkldnn off", mkldnn=False),
    Variant("float32 synthesis", reduced_precision=False),
    Variant("float32, mkldnn off, 2 threads", threads=2, mkldnn=False, reduced_precision=False),
    Variant("batch of one cell", batch="row"),
    Variant("batch of the whole file", batch="file"),
    Variant("OpenBLAS Prescott", blas_kernel="Prescott"),
    Variant("OpenBLAS Haswell", blas_kernel="Haswell"),
    Variant("OpenBLAS SkylakeX, 2 threads", blas_kernel="SkylakeX", threads=2),
    Variant("CUDA", device="cuda"),
)


@dataclass(frozen=True)
class Outcome:
    """What one variant found."""

    variant: str
    symbols: str  # digest of z and y of all groups and packets
    indexes: str  # digest of the table index of every symbol
    n_symbols: int
    largest_difference: int = 0  # of any sample from the first variant's


class Digests:
    """Running digests of symbols and table indexes."""

    def __init__(self) -> None:
        self.symbols, self.indexes = hashlib.sha256(), hashlib.sha256()
        self.n_symbols = 0

    def add(self, z: NDArray[np.int32], y: NDArray[np.int32]) -> None:
        """Symbols of one group."""
        self.symbols.update(z.astype("<i4").tobytes() + y.astype("<i4").tobytes())
        self.n_symbols += z.size + y.size

    def add_indexes(self, index: NDArray[np.uint8]) -> None:
        """Table indexes of one group."""
        self.indexes.update(index.tobytes())


def y_indexes(head: IntegerScaleHead, z: NDArray[np.int32], q: NDArray[np.int64], *, by_row: bool) -> NDArray[np.uint8]:
    """Table indexes of y, for all cells at once or cell by cell."""
    if not by_row:
        return head.y_indexes(z, q)
    return np.concatenate([head.y_indexes(z[i : i + 1], q[i : i + 1]) for i in range(len(z))])


def decode(packets: list[Packet], variant: Variant, *, model: str | None, planes: Path) -> Outcome:
    """Decode in this process; the samples of all frames go to a file."""
    torch.set_num_threads(variant.threads)
    torch.backends.mkldnn.enabled = variant.mkldnn  # pyright: ignore[reportAttributeAccessIssue]
    decoder = Decoder(
        model=model, device=variant.device, threads=variant.threads, reduced_precision=variant.reduced_precision
    )
    digests = Digests()
    head: IntegerScaleHead | None = None
    all_z, all_q = [], []
    with planes.open("wb") as out:
        for packet in packets:
            intra, q, groups, symbols = decoder._symbols(parse_packet(packet.data))
            head = intra.head
            if not variant.channels_last:
                for parameter in intra.net.parameters():
                    parameter.data = parameter.data.contiguous()
            for group, (z, y) in sorted(symbols.items()):
                group_q = q[groups == group]
                digests.add(z, y)
                all_z.append(z)
                all_q.append(group_q)
                if variant.batch != "file":
                    digests.add_indexes(y_indexes(head, z, group_q, by_row=variant.batch == "row"))
            for frame in decoder.send(packet):
                out.write(b"".join(plane.astype("<i2").tobytes() for plane in (frame.y, frame.u, frame.v)))
    if variant.batch == "file" and head is not None:
        digests.add_indexes(head.y_indexes(np.concatenate(all_z), np.concatenate(all_q)))
    return Outcome(variant.name, digests.symbols.hexdigest(), digests.indexes.hexdigest(), digests.n_symbols)


def run_child(source: Path, variant: Variant, *, n_frames: int, model: str | None, planes: Path) -> Outcome:
    """Decode in a process of its own. Raises CalledProcessError when decoding fails."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(variant.threads))}
    if variant.blas_kernel:
        environment["OPENBLAS_CORETYPE"] = variant.blas_kernel
    command = [sys.executable, __file__, str(source), "--variant", json.dumps(asdict(variant)), "--planes", str(planes)]
    command += ["--frames", str(n_frames), *(["--model", model] if model else [])]
    result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return Outcome(**json.loads(result.stdout))


def largest_difference(a: Path, b: Path) -> int:
    """Largest difference of two files of samples."""
    x, y = np.memmap(a, dtype="<i2", mode="r"), np.memmap(b, dtype="<i2", mode="r")
    return int(np.abs(x.astype(np.int32) - y).max())


def compare_all(source: Path, *, n_frames: int, model: str | None) -> list[Outcome]:
    """All variants that this machine can run."""
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        reference = Path(name) / "reference"
        for variant in VARIANTS:
            if variant.device == "cuda" and not torch.cuda.is_available():
                continue
            planes = reference if variant.name == "reference" else Path(name) / "variant"
            outcome = run_child(source, variant, n_frames=n_frames, model=model, planes=planes)
            difference = largest_difference(reference, planes)
            outcomes.append(Outcome(**{**asdict(outcome), "largest_difference": difference}))
    return outcomes


def main() -> int:
    """Compare all variants, or (started by itself) run one."""
    parser = argparse.ArgumentParser(description="Compare the symbols of a file between ways of decoding.")
    parser.add_argument("source", type=Path)
    parser.add_argument("--frames", type=int, default=4, help="decode the first frames only")
    parser.add_argument("--model", help="folder of the weights where they are not the installed ones")
    parser.add_argument("--out", type=Path, help="TSV file; stdout when left out")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--planes", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.variant:
        with open_ssv(str(args.source), max_frames=args.frames) as reader:
            packets = list(reader)
        variant = Variant(**json.loads(args.variant))
        print(json.dumps(asdict(decode(packets, variant, model=args.model, planes=args.planes))))
        return 0
    outcomes = compare_all(args.source, n_frames=args.frames, model=args.model)
    first = outcomes[0]
    lines = ["variant\tsymbols\tindexes\tn_symbols\tlargest_sample_difference\tidentical"]
    n_different = 0
    for o in outcomes:
        same = (o.symbols, o.indexes, o.n_symbols) == (first.symbols, first.indexes, first.n_symbols)
        n_different += not same
        cells = (o.variant, o.symbols[:16], o.indexes[:16], o.n_symbols, o.largest_difference, "yes" if same else "NO")
        lines.append("\t".join(map(str, cells)))
    text = "\n".join(lines) + "\n"
    write_table(text, args.out)
    return 1 if n_different else 0


if __name__ == "__main__":
    sys.exit(main())
