"""Samples a second for training: parts of .ssv against full decoding, and against H.264 with DIS flow.

    python benchmarks/loader.py clip.ssv --source clip.mkv --out results/loader.tsv

A sample is a GoP of the .ssv: its key frame and the flow of its other frames. Every way goes through a DataLoader with
1 and 2 workers of one thread each; the ways take turns, and the median over rounds counts. The clock starts when every
worker has given its first sample, so that neither start nor weights are in it.

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

The H.264 file is made of --source by libx264 (medium, crf 23, the .ssv's GoP length). `ratio` is the speed over that of
h264_key_dis with as many workers; `cpu_ratio` the same of CPU time in the workers, which holds on a busy machine too.
Needs opencv.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import torch
from results import write_table
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ssvc_codec.dataset import SsvFile, SsvIterable

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
                    luma = frame.to_ndarray(format="gray")
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
    times: list[list[Moment]] = [[] for _ in range(workers)]
    for k, moment in enumerate(DataLoader(data, batch_size=None, num_workers=workers)):
        times[k % workers].append(Moment(*map(float, moment)))  # a DataLoader asks its workers in turn
    begun = max(own[0].clock for own in times)  # all have opened what they need
    ended = min(own[-1].clock for own in times)
    n_samples = sum(begun < moment.clock <= ended for own in times for moment in own)
    cpu = [(own[-1].cpu - own[0].cpu) / (len(own) - 1) for own in times]
    return n_samples / (ended - begun), statistics.mean(cpu)


def encode_h264(source: Path, out: Path, *, keyint: int, n_frames: int) -> None:
    """The same frames by libx264, key frames where the .ssv has them."""
    options = ["-frames:v", str(n_frames), "-an", "-c:v", "libx264", "-crf", "23", "-pix_fmt", "yuv420p"]
    gop = ["-g", str(keyint), "-keyint_min", str(keyint), "-sc_threshold", "0"]
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, *options, *gop, out], check=True)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ssv", type=Path, help="GoPs of equal length")
    parser.add_argument("--source", type=Path, required=True, help="the video it was made of")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--samples", type=int, default=16, help="of each way, worker and round")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    file = SsvFile(options.ssv)
    n_gops, keyint = len(file.gop_starts), int(np.diff(file.gop_starts).max())
    ways = [*SSV_WAYS, *H264_WAYS]
    rates: dict[tuple[str, int], list[tuple[float, float]]] = {(way, n): [] for way in ways for n in options.workers}
    with tempfile.TemporaryDirectory() as folder:
        h264 = Path(folder) / "clip.mp4"
        encode_h264(options.source, h264, keyint=keyint, n_frames=file.n_frames)
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
