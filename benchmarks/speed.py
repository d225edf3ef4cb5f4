"""Speed of ssvc's I and P frames, beside compressai's mbt2018-mean (quality 5), and peak memory at 1080p.

    python benchmarks/speed.py --data ../shared/data/eval --out results/speed.tsv

Both codecs code the same picture as an I frame, in one process, in turns; the best of --repeats counts and the ratio
is what to quote. P frames are timed one after the other in a GoP. mbt2018-mean has untrained weights: its networks cost
what trained ones cost, but the cost of its entropy coding depends on its symbols, which untrained weights make cheap.
So its networks are also timed alone, and are the lower bound of a trained one. Memory is that of child processes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from clips import find_clips, load_clip
from results import write_table
from ssvc_runner import (
    RunOptions,
    add_options,
    decode_frames,
    open_decoder,
    open_encoder,
    run_decoder,
    run_encoder,
    run_options,
)

from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.evaluation.clip import Clip, write_y4m
from ssvc_codec.frame import Frame
from ssvc_codec.packet import Packet
from ssvc_codec.training.compressai_import import zoo

SIZES = {"480p": (854, 480), "1080p": (1920, 1080)}
MIB = 1 << 20
Item = TypeVar("Item", Frame, Packet)
Line = tuple[str, str, str, float]  # size, codec, quantity, value


class Ssvc:
    """An encoder and a decoder of I frames that stay open, as in a long clip."""

    def __init__(self, frame: Frame, *, crf: float, options: RunOptions) -> None:
        self.frame = frame
        self.encoder = open_encoder(frame.format, time_base=frame.time_base, crf=crf, keyint=1, options=options)
        self.decoder = open_decoder(self.encoder.sequence_header, options=options)
        self.packet = self.encode()

    def encode(self) -> Packet:
        """Code the picture once more."""
        (packet,) = self.encoder.send(self.frame)
        return packet

    def decode(self) -> Frame:
        """Decode it."""
        (frame,) = decode_frames(self.decoder, self.packet)
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
            finish_device()
            if repeat > 0:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def finish_device() -> None:
    """Wait for the accelerator, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def phases(coder: Encoder | Decoder) -> Counter[str]:
    """Seconds spent so far by phase."""
    return Counter(coder.phase_seconds)


def phase_lines(size: str, name: str, before: Counter[str], after: Counter[str], *, n_frames: int) -> Iterator[Line]:
    """Milliseconds per frame of each phase between two calls of phases."""
    for phase, seconds in after.items():
        if seconds > before[phase]:
            label = phase.removeprefix("P ").replace(" ", "_")
            yield size, "ssvc", f"{name}_{label}_mean_ms", 1e3 * (seconds - before[phase]) / n_frames


def speed_lines(clip: Clip, size: str, args: argparse.Namespace) -> Iterator[Line]:
    """Milliseconds per I frame of both codecs at one size, and their ratios."""
    frame = clip.frames[0]
    ssvc = Ssvc(frame, crf=args.crf, options=run_options(args))
    mbt = MeanScaleHyperprior(frame, quality=args.quality, device=args.device)
    best = best_seconds(
        {
            "ssvc I_encode": ssvc.encode,
            "mbt2018-mean encode": mbt.encode,
            "ssvc I_decode": ssvc.decode,
            "mbt2018-mean decode": mbt.decode,
            "mbt2018-mean decode_networks": mbt.decode_networks,
        },
        n_repeats=args.repeats,
    )
    n_pixels = frame.format.width * frame.format.height
    yield size, "ssvc", "I_bpp", 8 * len(ssvc.packet.data) / n_pixels
    yield size, "mbt2018-mean", "bpp", 8 * sum(len(s[0]) for s in mbt.coded["strings"]) / n_pixels
    for name, seconds in best.items():
        codec, quantity = name.split(" ")
        yield size, codec, f"{quantity}_ms", 1e3 * seconds
    for quantity, slow in (("encode", "encode"), ("decode", "decode"), ("decode", "decode_networks")):
        ratio = best[f"mbt2018-mean {slow}"] / best[f"ssvc I_{quantity}"]
        yield size, "ratio", f"mbt_{slow}/ssvc_I_{quantity}", ratio
    for name, coder, call in (("I_encode", ssvc.encoder, ssvc.encode), ("I_decode", ssvc.decoder, ssvc.decode)):
        before = phases(coder)
        for _ in range(args.repeats):
            call()
        yield from phase_lines(size, name, before, phases(coder), n_frames=args.repeats)


def to_and_fro(clip: Clip, *, n_frames: int) -> tuple[Frame, ...]:
    """Frames of a short clip played forwards and backwards for ever, cut after n_frames."""
    order = [*clip.frames, *clip.frames[-2:0:-1]]
    return tuple(replace(frame, pts=pts) for pts, frame in enumerate(islice(cycle(order), n_frames)))


def p_lines(clip: Clip, size: str, args: argparse.Namespace) -> Iterator[Line]:
    """Milliseconds per P frame of one GoP; the I frame and the first P frame are not counted."""
    frames = to_and_fro(clip, n_frames=args.repeats + 2)
    options = run_options(args)
    encoder = open_encoder(
        clip.format, time_base=1 / clip.frame_rate, crf=args.crf, keyint=len(frames), options=options
    )
    packets: list[Packet] = []
    yield from timed_lines(size, "P_encode", encoder, frames, lambda frame: packets.extend(encoder.send(frame)))
    n_bytes = sum(len(packet.data) for packet in packets[1:])
    yield size, "ssvc", "P_bpp", 8 * n_bytes / (len(packets) - 1) / (clip.format.width * clip.format.height)
    decoder = open_decoder(encoder.sequence_header, options=options)
    yield from timed_lines(size, "P_decode", decoder, packets, decoder.send)
    flow_decoder = open_decoder(encoder.sequence_header, options=options, parts=frozenset({"motion"}))
    yield from timed_lines(size, "P_decode_flow_only", flow_decoder, packets, flow_decoder.send)


def timed_lines(
    size: str, name: str, coder: Encoder | Decoder, items: Sequence[Item], send: Callable[[Item], object]
) -> Iterator[Line]:
    """Best and mean time of sending each item but the first two, and the phases."""
    seconds: list[float] = []
    before: Counter[str] = Counter()
    for number, item in enumerate(items):
        if number == 2:
            before = phases(coder)
        start = time.perf_counter()
        send(item)
        finish_device()
        seconds.append(time.perf_counter() - start)
    counted = seconds[2:]
    yield size, "ssvc", f"{name}_ms", 1e3 * min(counted)
    yield size, "ssvc", f"{name}_mean_ms", 1e3 * sum(counted) / len(counted)
    yield from phase_lines(size, name, before, phases(coder), n_frames=len(counted))


def memory_lines(clip: Clip, size: str, args: argparse.Namespace) -> Iterator[Line]:
    """Peak resident memory of encoder and decoder processes: all intra by number of frames, and one GoP."""
    for label, keyint, n_frames in (("I", 1, 5), ("I", 1, 20), ("GoP", 20, 20)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source, packets, decoded = folder / "source.y4m", folder / "coded.packets", folder / "decoded.y4m"
            with source.open("wb") as file:
                write_y4m(replace(clip, frames=to_and_fro(clip, n_frames=n_frames)), file)
            encoding = run_encoder(source, packets, crf=args.crf, keyint=keyint, options=run_options(args))
            decoding = run_decoder(packets, decoded, options=run_options(args))
        yield size, "ssvc", f"{label}_encode_peak_rss_mib_{n_frames}_frames", encoding.peak_rss_bytes / MIB
        yield size, "ssvc", f"{label}_decode_peak_rss_mib_{n_frames}_frames", decoding.peak_rss_bytes / MIB


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Speed beside mbt2018-mean, and peak memory.")
    parser.add_argument("--data", type=Path, required=True, help="evaluation folder")
    parser.add_argument("--clip", default="street_1080p", help="scaled to each size")
    parser.add_argument("--sizes", default="480p,1080p")
    parser.add_argument("--crf", type=float, default=28)
    parser.add_argument("--quality", type=int, default=5, help="of mbt2018-mean: 5 to 8 have 192 and 320 channels")
    parser.add_argument("--repeats", type=int, default=5)
    add_options(parser)
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
        lines += p_lines(clip, size, args)
        if size == "1080p" and not args.no_memory:
            lines += memory_lines(clip, size, args)
    text = "size\tcodec\tquantity\tvalue\n" + "".join(f"{s}\t{c}\t{q}\t{v:.4g}\n" for s, c, q, v in lines)
    write_table(text, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
