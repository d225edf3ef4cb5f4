"""What coding costs: multiply-accumulates a luma sample, parameters, and seconds a frame by preset.

    python benchmarks/cost.py clip.mp4 --out results/cost.tsv

Multiply-accumulates are those of convolutions and matrix products, counted by torch; interpolation, warping and entropy
coding are not in them. Parameters are those of the networks behind each operation.
"""

from __future__ import annotations

import argparse
import time
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from results import write_table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ffmpeg_bridge.reader import open_video
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder, Preset
from ssvc_codec.frame import Frame


class Line(NamedTuple):
    """One operation on one kind of frame."""

    what: str
    preset: str
    macs_per_sample: float  # of luma
    ms_per_frame: float
    width: int
    height: int


def counted(run: Any) -> float:
    """Multiply-accumulates of a call."""
    # the operator of oneDNN is unknown to the counter
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 2


def timed(run: Any) -> float:
    """Milliseconds of a call."""
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


def _collect(encoder: Encoder, frame: Frame, packets: list[Any]) -> None:
    packets.extend(encoder.send(frame))


def measure(frames: list[Frame], preset: Preset, model: str) -> list[Line]:
    """An I frame and P frames, there and back; time is the best of the frames of a kind."""
    video = frames[0].format
    samples = video.width * video.height
    rows: dict[str, tuple[float, list[float]]] = {}
    for is_counting in (True, False):
        encoder = Encoder(video, time_base=Fraction(1, 25), preset=preset, keyint=1000, scenecut=False, model=model)
        decoder: Decoder[Frame] = Decoder(encoder.sequence_header)
        flow: Decoder[Any] = Decoder(encoder.sequence_header, parts={"motion"})
        count_or_time = counted if is_counting else timed
        for number, frame in enumerate(frames):
            kind = "P" if number else "I"
            packets: list[Any] = []
            values = {
                f"{kind} encode": count_or_time(partial(_collect, encoder, frame, packets)),
                f"{kind} decode": count_or_time(partial(decoder.send, packets[0])),
                f"{kind} flow alone": count_or_time(partial(flow.send, packets[0])),
            }
            for name, value in values.items():
                if is_counting:
                    rows[name] = (value / samples, [])
                else:
                    rows[name][1].append(value)
    return [Line(name, preset, macs, min(ms), video.width, video.height) for name, (macs, ms) in rows.items()]


def parameters(model: str) -> str:
    """Parameters of each network of a model."""
    from ssvc_codec.training.export import import_inter, import_intra
    from ssvc_codec.weights import load_model

    loaded = load_model(model)

    def count(net: nn.Module) -> int:
        return sum(p.numel() for p in net.parameters())

    intra, inter = import_intra(loaded), import_inter(loaded)
    parts = {"I": intra, "motion": inter.motion, "compensation": inter.compensation, "residual": inter.residual}
    parts["estimation (encoder)"] = inter.estimation
    return "".join(f"{name} parameters\t\t\t{count(net)}\t\t\n" for name, net in parts.items())


def main() -> None:
    """See the top of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--model", default="base")
    parser.add_argument("--out", type=Path, help="stdout if not given")
    args = parser.parse_args()
    with open_video(args.clip) as reader:
        frames = list(islice(reader, args.frames))
    lines = [line for preset in get_args(Preset) for line in measure(frames, preset, args.model)]
    rows = [f"{a}\t{b}\t{macs:.0f}\t{ms:.1f}\t{w}\t{h}\n" for a, b, macs, ms, w, h in lines]
    write_table("\t".join(Line._fields) + "\n" + "".join(rows) + parameters(args.model), args.out)


if __name__ == "__main__":
    main()
