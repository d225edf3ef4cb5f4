"""Do all ways of decoding give the same symbols, and pictures that are close enough?

    python benchmarks/determinism.py clip.ssv --out results/determinism.tsv
    python benchmarks/determinism.py clip.y4m --keyint 12 --frames 12 --out results/determinism_gop.tsv

Each variant decodes the file in a process of its own, so that thread counts and the kernels of the matrix library can
be set before they load. Symbols and table indexes of all substreams must be identical; pictures may differ by rounding,
and the largest difference from the first variant is shown. Anything but an .ssv file is coded here first: then the
encoder's reconstruction must be the first variant's pictures, sample for sample, and PSNR may differ by 0.05 dB at
most over the whole GoP. Exit code 1 when something differs that must not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from clips import load_clip
from numpy.typing import NDArray
from results import write_table
from ssvc_runner import LENGTH, PACKET_HEAD, RunOptions, decode_frames, open_encoder, read_blob, read_packets
from symbol_spy import Spy

from ffmpeg_bridge.reader import open_ssv
from ssvc_codec.decoder import Decoder
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.psnr import frame_psnr, mean_psnr
from ssvc_codec.frame import Frame, Plane, VideoFormat
from ssvc_codec.packet import Packet

PSNR_LIMIT_DB = 0.05
ENCODER = "encoder's reconstruction"


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
    symbols: str = ""  # digest of all symbols of all substreams; empty for the encoder's own pictures
    indexes: str = ""  # digest of the table index of every y symbol
    n_symbols: int = 0
    pictures: str = ""  # MD5 of the samples of all frames
    largest_difference: int = 0  # of any sample from the first variant's
    psnr: float = math.nan  # 6:1:1, dB, mean over frames; NaN without the original


class Source(NamedTuple):
    """What is decoded, and what it was made of."""

    path: Path  # .ssv or .packets
    clip: Clip | None = None
    reconstruction: Path | None = None  # the encoder's pictures, where it tells


def open_source(path: Path, *, n_frames: int) -> tuple[bytes | None, list[Packet]]:
    """Sequence header and packets of an .ssv file or one of ssvc_runner's."""
    if path.suffix == ".packets":
        with path.open("rb") as file:
            rate, header = Fraction(read_blob(file).decode()), read_blob(file)
            return header, list(islice(read_packets(file, time_base=1 / rate), n_frames))
    with open_ssv(str(path), max_frames=n_frames) as reader:
        return reader.sequence_header, list(reader)


def decode(path: Path, variant: Variant, *, n_frames: int, model: str | None, planes: Path) -> Outcome:
    """Decode in this process; the samples of all frames go to a file."""
    torch.set_num_threads(variant.threads)
    torch.backends.mkldnn.enabled = variant.mkldnn  # pyright: ignore[reportAttributeAccessIssue]
    header, packets = open_source(path, n_frames=n_frames)
    decoder = Decoder(
        header,
        model=model,
        device=variant.device,
        threads=variant.threads,
        reduced_precision=variant.reduced_precision,
    )
    if not variant.channels_last:
        for net in networks(decoder):
            for parameter in net.parameters():
                parameter.data = parameter.data.contiguous()
    spy = Spy(batch=variant.batch)
    with planes.open("wb") as out, spy.watching():
        for packet in packets:
            for frame in decode_frames(decoder, packet):
                out.write(plane_bytes(frame.y, frame.u, frame.v))
    return Outcome(variant.name, *spy.digests())


def networks(decoder: Decoder) -> list[torch.nn.Module]:
    """Every network that an open decoder holds, one level deep."""
    owners = [decoder, *vars(decoder).values()]
    values = [value for owner in owners if hasattr(owner, "__dict__") for value in vars(owner).values()]
    return [value for value in values if isinstance(value, torch.nn.Module)]


def plane_bytes(*planes: Plane) -> bytes:
    """Samples as they are kept in files and digested."""
    return b"".join(plane.astype("<i2").tobytes() for plane in planes)


def code_clip(path: Path, folder: Path, args: argparse.Namespace) -> Source:
    """Code a video in low delay, and keep the pictures that the encoder itself goes on from."""
    clip = load_clip(path.stem, path, n_frames=args.frames)
    options = RunOptions(model=args.model or "base")
    encoder = open_encoder(
        clip.format, time_base=1 / clip.frame_rate, crf=args.crf, keyint=args.keyint, options=options
    )
    coded, reconstruction = folder / "coded.packets", folder / "encoder"
    with coded.open("wb") as out, reconstruction.open("wb") as pictures:
        for blob in (str(clip.frame_rate).encode(), encoder.sequence_header):
            out.write(LENGTH.pack(len(blob)) + blob)
        for frame in clip.frames:
            for packet in encoder.send(frame):
                out.write(PACKET_HEAD.pack(len(packet.data), packet.pts or 0, packet.is_keyframe) + packet.data)
            pictures.write(plane_bytes(*(encoder.reconstruction or ())))
    return Source(coded, clip, reconstruction if reconstruction.stat().st_size else None)


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


def judged(outcome: Outcome, planes: Path, *, reference: Path, clip: Clip | None) -> Outcome:
    """The outcome with what its pictures say. Raises ValueError where frames are missing."""
    x, y = np.fromfile(reference, dtype="<i2"), np.fromfile(planes, dtype="<i2")
    difference = int(np.abs(x.astype(np.int32) - y).max())
    digest = hashlib.md5(y.tobytes(), usedforsecurity=False).hexdigest()
    psnr = math.nan
    if clip is not None:
        pairs = zip(clip.frames, pictures_of(y, clip.format), strict=True)
        psnr = mean_psnr(frame_psnr(a, b) for a, b in pairs).yuv611
    return replace(outcome, pictures=digest, largest_difference=difference, psnr=psnr)


def pictures_of(samples: NDArray[np.int16], format: VideoFormat) -> Iterator[Frame]:
    """The frames of a file of samples."""
    chroma = (format.chroma_height, format.chroma_width)
    shapes = [(format.height, format.width), chroma, chroma]
    ends = np.cumsum([height * width for height, width in shapes])
    for picture in samples.reshape(-1, ends[-1]):
        parts = np.split(picture.astype(format.dtype), ends[:-1])
        y, u, v = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
        yield Frame(y, u, v, format)


def compare_all(source: Source, folder: Path, *, n_frames: int, model: str | None) -> list[Outcome]:
    """All variants that this machine can run; the encoder's pictures last, where it shows them."""
    outcomes: list[Outcome] = []
    reference, planes = folder / "reference", folder / "variant"
    for variant in VARIANTS:
        if variant.device == "cuda" and not torch.cuda.is_available():
            continue
        out = planes if outcomes else reference
        outcome = run_child(source.path, variant, n_frames=n_frames, model=model, planes=out)
        outcomes.append(judged(outcome, out, reference=reference, clip=source.clip))
    if source.reconstruction:
        found = judged(Outcome(ENCODER), source.reconstruction, reference=reference, clip=source.clip)
        outcomes.append(found)
    return outcomes


def is_good(outcome: Outcome, first: Outcome) -> bool:
    """Whether an outcome is as near to the first as it must be."""
    if outcome.variant == ENCODER:
        return outcome.pictures == first.pictures
    same = (outcome.symbols, outcome.indexes, outcome.n_symbols) == (first.symbols, first.indexes, first.n_symbols)
    return same and not abs(outcome.psnr - first.psnr) > PSNR_LIMIT_DB


def table(outcomes: Sequence[Outcome]) -> str:
    """All outcomes as TSV."""
    lines = ["variant\tsymbols\tindexes\tn_symbols\tpictures\tlargest_sample_difference\tpsnr_611\tpsnr_change\tgood"]
    for o in outcomes:
        cells = [o.variant, o.symbols[:16], o.indexes[:16], o.n_symbols, o.pictures[:16], o.largest_difference]
        psnr = ["", ""] if math.isnan(o.psnr) else [f"{o.psnr:.4f}", f"{o.psnr - outcomes[0].psnr:.4f}"]
        lines.append("\t".join(map(str, [*cells, *psnr, "yes" if is_good(o, outcomes[0]) else "NO"])))
    return "\n".join(lines) + "\n"


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare what ways of decoding a file give.")
    parser.add_argument("source", type=Path, help=".ssv file, or any other video to be coded first")
    parser.add_argument("--frames", type=int, default=4, help="the first frames only")
    parser.add_argument("--keyint", type=int, default=12, help="of a video that is coded first")
    parser.add_argument("--crf", type=float, default=28, help="of a video that is coded first")
    parser.add_argument("--model", help="folder of the weights where they are not the installed ones")
    parser.add_argument("--out", type=Path, help="TSV file; stdout when left out")
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    parser.add_argument("--planes", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Compare all variants, or (started by itself) run one."""
    args = parse_arguments()
    if args.variant:
        variant = Variant(**json.loads(args.variant))
        outcome = decode(args.source, variant, n_frames=args.frames, model=args.model, planes=args.planes)
        print(json.dumps(asdict(outcome)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = Source(args.source) if args.source.suffix == ".ssv" else code_clip(args.source, folder, args)
        outcomes = compare_all(source, folder, n_frames=args.frames, model=args.model)
    write_table(table(outcomes), args.out)
    return 0 if all(is_good(outcome, outcomes[0]) for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
