"""Samples a second for training: parts of .ssv against full decoding, and against H.264 with DIS flow.

    python benchmarks/loader.py clip.ssv --source clip.mkv --out results/loader.tsv

A sample is a GoP of the .ssv: its key frame and the flow of its other frames. Every way goes through a DataLoader with
1 and 2 workers of one thread each; the ways take turns, and the median over rounds counts. Whole passes over the data
are timed, the second of each: start, weights and what is decoded ahead for later samples are not in it or wholly so.

| way | what |
|---|---|
| ssv_boxes | headers alone |
| ssv_flow | MOTION alone |
| ssv_key4_flow | key frame at 1/4 without synthesis, and flow |
| ssv_key_flow | key frame in full, and flow |
| ssv_frames | every frame in full |
| h264_frames | the same frames by PyAV, as RGB |
| h264_key_dis | by PyAV: key frame as RGB, and DIS flow (fast preset) of the luma in full size |
| h264_key_dis4 | the same with luma at 1/4, where DIS is cheap and coarse |

The H.264 file is made of --source by libx264 (medium, the .ssv's GoP length) at the crf whose luma PSNR is nearest to
that of the .ssv. DIS gets the luma plane as it is in memory, and gives one vector a sample; .ssv has one for 4x4.
`ratio` is the speed over that of h264_key_dis with as many workers; `cpu_ratio` the same of CPU time in the workers,
which holds on a busy machine too. Needs opencv.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import torch
from results import write_table
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ssvc_codec.dataset import SsvFile, SsvIterable
from ssvc_codec.decoder import Decoder

REFERENCE = "h264_key_dis"
SSV_WAYS: dict[str, dict[str, Any]] = {
    "ssv_boxes": {"parts": {"boxes"}},
    "ssv_flow": {"parts": {"flow"}},
    "ssv_key4_flow": {"parts": {"keyframes", "flow"}, "scale": 4},
    "ssv_key_flow": {"parts": {"keyframes", "flow"}},
    "ssv_frames": {"parts": {"frames"}},
}
H264_WAYS: dict[str, int | None] = {"h264_frames": None, "h264_key_dis": 1, "h264_key_dis4": 4}  # scale of DIS


class Moment(NamedTuple):
    """Seconds, as a worker sees them."""

    clock: float
    cpu: float  # of its process


class H264Gops(IterableDataset[Any]):
    """GoPs of an H.264 file, read again and again; workers take turns."""

    def __init__(self, path: Path, *, keyint: int, n_times: int, dis_scale: int | None) -> None:
        self._path, self._keyint, self._n_times, self._scale = path, keyint, n_times, dis_scale

    def __iter__(self) -> Iterator[Moment]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info is not None else (0, 1)
        cv2.setNumThreads(1)
        for _ in range(first, self._n_times, step):
            yield from self._once()

    def _once(self) -> Iterator[Moment]:
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        rgb: list[np.ndarray] = []
        flow: list[np.ndarray] = []
        before: np.ndarray | None = None
        with av.open(str(self._path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for k, frame in enumerate(container.decode(video=0)):
                if k and k % self._keyint == 0:
                    yield _stacked(rgb, flow)
                    rgb, flow = [], []
                if self._scale is None or k % self._keyint == 0:
                    rgb.append(frame.to_ndarray(format="rgb24"))
                if self._scale is not None:
                    luma = luma_of(frame)
                    if self._scale > 1:
                        height, width = (n // self._scale for n in luma.shape)
                        luma = cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA)
                    if before is not None and k % self._keyint:
                        flow.append(dis.calc(luma, before, np.zeros((*luma.shape, 2), np.float32)))
                    before = luma
        yield _stacked(rgb, flow)


def _stacked(rgb: list[np.ndarray], flow: list[np.ndarray]) -> Moment:
    """Makes the tensors of a sample; when it was ready."""
    for arrays in (rgb, flow):
        if arrays:
            torch.from_numpy(np.stack(arrays))
    return ready(None)


def ready(_sample: Any) -> Moment:
    """When a sample was there."""
    return Moment(time.perf_counter(), time.process_time())


def rate(data: IterableDataset[Any], workers: int) -> tuple[float, float]:
    """Samples a second of all workers together, and CPU seconds for a sample."""
    loader = DataLoader(data, batch_size=None, num_workers=workers, persistent_workers=True)
    passes: list[list[Moment]] = []
    clock = 0.0
    for _ in range(2):
        clock = time.perf_counter()
        passes.append([Moment(*map(float, moment)) for moment in loader])
    seconds = time.perf_counter() - clock
    last = [[max(m.cpu for m in one[k::workers]) for k in range(workers)] for one in passes]  # workers take turns
    cpu = sum(after - before for before, after in zip(*last, strict=True))
    return len(passes[1]) / seconds, cpu / len(passes[1])


def luma_of(frame: av.VideoFrame) -> np.ndarray:
    """The luma plane (H, W) uint8."""
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return np.ascontiguousarray(rows[:, : plane.width])


def luma_planes(path: Path, n_frames: int) -> list[np.ndarray]:
    """The first frames of a video, 4:2:0."""
    with av.open(str(path)) as container:
        frames = zip(range(n_frames), container.decode(video=0), strict=False)
        return [luma_of(frame.reformat(format="yuv420p")) for _, frame in frames]


def psnr(planes: Iterable[np.ndarray], reference: list[np.ndarray]) -> float:
    """Mean over frames, in dB."""
    errors = [float(np.square(a.astype(float) - b).mean()) for a, b in zip(planes, reference, strict=True)]
    return statistics.mean(10 * math.log10(255**2 / max(error, 1e-6)) for error in errors)


def ssv_psnr(file: SsvFile, reference: list[np.ndarray]) -> float:
    """Of the fully decoded .ssv."""
    decoder = Decoder(device="cpu", threads=1)
    with file.open() as opened:
        return psnr((decoder.send(opened.packet(k))[0].y for k in range(file.n_frames)), reference)


def match_h264(
    source: Path, out: Path, reference: list[np.ndarray], wanted: float, *, keyint: int
) -> tuple[int, float]:
    """Encodes at the crf whose PSNR is nearest to the one that is wanted. Returns both."""
    low, high = 10, 45
    found: dict[int, float] = {}

    def measure(crf: int) -> float:
        if crf not in found:
            encode_h264(source, out, keyint=keyint, n_frames=len(reference), crf=crf)
            found[crf] = psnr(luma_planes(out, len(reference)), reference)
        return found[crf]

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if measure(middle) > wanted else (low, middle)
    best = min((low, high), key=lambda crf: abs(measure(crf) - wanted))
    encode_h264(source, out, keyint=keyint, n_frames=len(reference), crf=best)
    return best, found[best]


def encode_h264(source: Path, out: Path, *, keyint: int, n_frames: int, crf: int) -> None:
    """The same frames by libx264, key frames where the .ssv has them."""
    options = ["-frames:v", str(n_frames), "-an", "-c:v", "libx264", "-crf", str(crf), "-pix_fmt", "yuv420p"]
    gop = ["-g", str(keyint), "-keyint_min", str(keyint), "-sc_threshold", "0"]
    subprocess.run(["ffmpeg", "-y", "-v", "error", "-i", source, *options, *gop, out], check=True)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ssv", type=Path, help="GoPs of equal length")
    parser.add_argument("--source", type=Path, required=True, help="the video it was made of")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--samples", type=int, default=32, help="of each way, worker and pass")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    file = SsvFile(options.ssv)
    n_gops, keyint = len(file.gop_starts), int(np.diff(file.gop_starts).max())
    ways = [*SSV_WAYS, *H264_WAYS]
    rates: dict[tuple[str, int], list[tuple[float, float]]] = {(way, n): [] for way in ways for n in options.workers}
    with tempfile.TemporaryDirectory() as folder:
        h264 = Path(folder) / "clip.mp4"
        reference = luma_planes(options.source, file.n_frames)
        wanted = ssv_psnr(file, reference)
        crf, reached = match_h264(options.source, h264, reference, wanted, keyint=keyint)
        sizes = f"{int(file.sizes.sum())} bytes, H.264 of crf {crf} {reached:.2f} dB and {h264.stat().st_size} bytes"
        print(f"luma PSNR: .ssv {wanted:.2f} dB and {sizes}", flush=True)
        for _ in range(options.rounds):
            for way, workers in rates:
                n_times = -(-options.samples * workers // n_gops)
                data: IterableDataset[Any]
                if way in SSV_WAYS:
                    data = SsvIterable([options.ssv] * n_times, transform=ready, **SSV_WAYS[way])
                else:
                    data = H264Gops(h264, keyint=keyint, n_times=n_times, dis_scale=H264_WAYS[way])
                rates[way, workers].append(rate(data, workers))
    middle = {key: [statistics.median(column) for column in zip(*own, strict=True)] for key, own in rates.items()}
    rows = ["way\tworkers\tsamples_per_second\tframes_per_second\tratio\tcpu_ms_per_sample\tcpu_ratio"]
    for (way, workers), (speed, cpu) in middle.items():
        other_speed, other_cpu = middle[REFERENCE, workers]
        numbers = (
            f"{speed:.2f}\t{speed * keyint:.1f}\t{speed / other_speed:.2f}\t{1000 * cpu:.1f}\t{other_cpu / cpu:.2f}"
        )
        rows.append(f"{way}\t{workers}\t{numbers}")
    write_table("\n".join(rows) + "\n", options.out)


if __name__ == "__main__":
    main()
