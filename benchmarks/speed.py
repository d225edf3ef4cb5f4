"""Speed of ssvc beside compressai's mbt2018-mean (quality 5), and peak memory at 1080p.

    python benchmarks/speed.py --data ../shared/data/eval --out results/speed.tsv

Both codecs code the same picture, in one process, in turns; the best of --repeats counts and the ratio is what to
quote. mbt2018-mean has untrained weights: its networks cost what trained ones cost, but the cost of its entropy
coding depends on its symbols, which untrained weights make cheap. So its networks are also timed alone, and are the
lower bound of a trained one. Memory is that of child processes, for a short and a long clip.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, get_args

import torch
from clips import find_clips, load_clip
from results import write_table
from ssvc_runner import RunOptions, run_decoder, run_encoder

from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder, Preset
from ssvc_codec.evaluation.clip import Clip, write_y4m
from ssvc_codec.frame import Frame
from ssvc_codec.packet import Packet
from ssvc_codec.training.compressai_import import zoo

SIZES = {"480p": (854, 480), "1080p": (1920, 1080)}
MIB = 1 << 20
Line = tuple[str, str, str, float]  # size, codec, quantity, value


class Ssvc:
    """An encoder and a decoder that stay open, as in a long clip."""

    def __init__(self, frame: Frame, *, crf: float, preset: Preset, options: RunOptions) -> None:
        self.frame = frame
        device, threads = options.device, options.threads
        self.encoder = Encoder(
            frame.format,
            time_base=frame.time_base,
            crf=crf,
            preset=preset,
            model=options.model,
            device=device,
            threads=threads,
        )
        header = self.encoder.sequence_header
        self.decoder = Decoder(header, model=options.model_folder, device=device, threads=threads)
        self.packet = self.encode()

    def encode(self) -> Packet:
        """Code the picture once more."""
        (packet,) = self.encoder.send(self.frame)
        return packet

    def decode(self) -> Frame:
        """Decode it."""
        (frame,) = self.decoder.send(self.packet)
        return frame


class MeanScaleHyperprior:
    """compressai's mbt2018-mean on the luma plane shown as grey RGB, padded to a multiple of 64."""

    def __init__(self, frame: Frame, *, quality: int, device: str) -> None:
        self.model: Any = zoo.mbt2018_mean(quality=quality, pretrained=False).eval().to(device)
        self.model.update(force=True)
        luma = torch.from_numpy(frame.y.copy()).to(device).float() / ((1 << frame.format.bit_depth) - 1)
        height, width = luma.shape
        padding = (0, -width % 64, 0, -height % 64)
        self.picture = torch.nn.functional.pad(luma[None, None], padding, mode="replicate").repeat(1, 3, 1, 1)
        self.coded = self.encode()
        y = self.model.g_a(self.picture)
        self.y_hat, self.z_hat = y.round(), self.model.h_a(y).round()

    def encode(self) -> dict[str, Any]:
        """Networks and entropy coding."""
        return self.model.compress(self.picture)

    def decode(self) -> object:
        """Entropy decoding and networks."""
        return self.model.decompress(self.coded["strings"], self.coded["shape"])

    def decode_networks(self) -> object:
        """h_s and g_s alone."""
        self.model.h_s(self.z_hat)
        return self.model.g_s(self.y_hat)


def best_seconds(calls: dict[str, Callable[[], object]], *, n_repeats: int) -> dict[str, float]:
    """Best time of each call after one that is not counted; the calls take turns."""
    best = dict.fromkeys(calls, float("inf"))
    for repeat in range(n_repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat > 0:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def run_options(args: argparse.Namespace) -> RunOptions:
    """The options of ssvc on the command line."""
    return RunOptions(args.model, args.preset, args.threads, args.device)


def speed_lines(clip: Clip, size: str, args: argparse.Namespace) -> Iterator[Line]:
    """Milliseconds per frame of both codecs at one size, and their ratios."""
    frame = clip.frames[0]
    ssvc = Ssvc(frame, crf=args.crf, preset=args.preset, options=run_options(args))
    mbt = MeanScaleHyperprior(frame, quality=args.quality, device=args.device)
    best = best_seconds(
        {
            "ssvc encode": ssvc.encode,
            "mbt2018-mean encode": mbt.encode,
            "ssvc decode": ssvc.decode,
            "mbt2018-mean decode": mbt.decode,
            "mbt2018-mean decode_networks": mbt.decode_networks,
        },
        n_repeats=args.repeats,
    )
    n_pixels = frame.format.width * frame.format.height
    yield size, "ssvc", "bpp", 8 * len(ssvc.packet.data) / n_pixels
    yield size, "mbt2018-mean", "bpp", 8 * sum(len(s[0]) for s in mbt.coded["strings"]) / n_pixels
    for name, seconds in best.items():
        codec, quantity = name.split(" ")
        yield size, codec, f"{quantity}_ms", 1e3 * seconds
    for quantity, slow in (("encode", "encode"), ("decode", "decode"), ("decode", "decode_networks")):
        ratio = best[f"mbt2018-mean {slow}"] / best[f"ssvc {quantity}"]
        yield size, "ratio", f"mbt_{slow}/ssvc_{quantity}", ratio
    before = ssvc.decoder.phase_seconds
    for _ in range(args.repeats):
        ssvc.decode()
    for phase, seconds in ssvc.decoder.phase_seconds.items():
        yield size, "ssvc", f"decode_{phase}_mean_ms", 1e3 * (seconds - before.get(phase, 0.0)) / args.repeats


def memory_lines(clip: Clip, size: str, args: argparse.Namespace) -> Iterator[Line]:
    """Peak resident memory of encoder and decoder processes by number of frames (the clip is repeated)."""
    for n_frames in (5, 20):
        frames = tuple(replace(f, pts=i) for i, f in enumerate(islice(cycle(clip.frames), n_frames)))
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source, packets, decoded = folder / "source.y4m", folder / "coded.packets", folder / "decoded.y4m"
            with source.open("wb") as file:
                write_y4m(replace(clip, frames=frames), file)
            encoding = run_encoder(source, packets, crf=args.crf, keyint=1, options=run_options(args))
            decoding = run_decoder(packets, decoded, options=run_options(args))
        yield size, "ssvc", f"encode_peak_rss_mib_{n_frames}_frames", encoding.peak_rss_bytes / MIB
        yield size, "ssvc", f"decode_peak_rss_mib_{n_frames}_frames", decoding.peak_rss_bytes / MIB


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Speed beside mbt2018-mean, and peak memory.")
    parser.add_argument("--data", type=Path, required=True, help="evaluation folder")
    parser.add_argument("--clip", default="street_1080p", help="scaled to each size")
    parser.add_argument("--sizes", default="480p,1080p")
    parser.add_argument("--crf", type=float, default=28)
    parser.add_argument("--model", default="base", help="of ssvc: name or folder")
    parser.add_argument("--preset", default="medium", choices=get_args(Preset))
    parser.add_argument("--quality", type=int, default=5, help="of mbt2018-mean: 5 to 8 have 192 and 320 channels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--out", type=Path, help="TSV file; stdout when left out")
    return parser.parse_args()


@torch.inference_mode()
def main() -> int:
    """Run everything and write the table."""
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    ((name, path),) = find_clips(args.data, args.clip).items()
    lines: list[Line] = []
    for size in args.sizes.split(","):
        clip = load_clip(name, path, n_frames=5, size=SIZES[size])
        lines += speed_lines(clip, size, args)
        if size == "1080p" and not args.no_memory:
            lines += memory_lines(clip, size, args)
    text = "size\tcodec\tquantity\tvalue\n" + "".join(f"{s}\t{c}\t{q}\t{v:.4g}\n" for s, c, q, v in lines)
    write_table(text, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
