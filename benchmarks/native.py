"""What the patched ffmpeg (ffmpeg_bridge/native) adds to decoding: milliseconds per frame.

    python benchmarks/native.py --ffmpeg build/ffmpeg-ssvc/ffmpeg --out results/native.tsv

A clip is coded once. Then the library decodes its packets in this process, and ffmpeg decodes the file with
`-f null -`, in turns; both are the time of all frames but those of the first group of pictures, so that starting up
does not count, and the best of --repeats is kept. `transport_ms` is ffmpeg with a worker that decodes nothing and
answers each packet with one grey picture at once: demuxing, the socket both ways, and the copy into ffmpeg's frame.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
from results import write_table

from ffmpeg_bridge import worker_sessions
from ffmpeg_bridge.worker import serve_files
from ffmpeg_bridge.worker_options import DecoderOptions
from ffmpeg_bridge.worker_protocol import Channel, FrameHead, Message, MessageType, PacketHead
from ssvc_codec.bitstream import SequenceHeader
from ssvc_codec.decoder import Decoder
from ssvc_codec.packet import Packet

Line = tuple[str, str, float]  # size, quantity, value
MAIN = "import ssvc_codec.cli as c; c.main()"


class CannedSession:
    """Answers each packet with one grey picture."""

    def __init__(self, extradata: bytes, options: DecoderOptions) -> None:
        del options
        video = self._video = SequenceHeader.from_bytes(extradata).format
        self._y = np.full((video.height, video.width), 128, video.dtype)
        self._uv = np.full((video.chroma_height, video.chroma_width), 128, video.dtype)

    def answer(self, message: Message, channel: Channel) -> None:
        """One request."""
        data = channel.read(message.size)
        if message.type is not MessageType.PACKET:
            channel.write(MessageType.NOTHING)
            return
        video, pts = self._video, PacketHead.from_bytes(data[:24]).pts
        head = FrameHead(pts, 0, video.width, video.height, video.bit_depth, False)
        channel.write(MessageType.FRAME, head.to_bytes(), self._y, self._uv, self._uv)


def run_canned_worker(fd: int) -> NoReturn:
    """A worker of CannedSessions."""
    worker_sessions.DecoderSession = CannedSession  # pyright: ignore[reportAttributeAccessIssue]
    serve_files(fd)


def write_program(path: Path, *command: str) -> Path:
    """A program that runs a command with its own arguments after it."""
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)
    return path


def encode_clip(args: argparse.Namespace, path: Path) -> None:
    """Codes a test picture, or the clip given, at the size asked for."""
    picture = ["-stream_loop", "-1", "-i", args.clip] if args.clip else ["-f", "lavfi", "-i", "testsrc2=r=25"]
    y4m = path.with_suffix(".y4m")
    shape = ["-vf", f"scale={args.size.replace('x', ':')}", "-pix_fmt", "yuv420p", "-frames:v", str(args.frames)]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *picture, *shape, str(y4m)], check=True)
    code = [sys.executable, "-c", MAIN, "encode", str(y4m), str(path), "-g", str(args.keyint), "--detector", "none"]
    subprocess.run([*code, "--no-scenecut", "--crf", str(args.crf), "-q", "-y"], check=True)


def read_packets(path: Path) -> tuple[bytes, list[Packet]]:
    """Sequence header and packets of a file."""
    from ffmpeg_bridge.reader import open_ssv

    with open_ssv(str(path)) as reader:
        return reader.sequence_header, list(reader)


def in_process_seconds(header: bytes, packets: list[Packet], *, n_first: int) -> float:
    """Seconds of all packets after the first ones."""
    decoder = Decoder(header)
    start = 0.0
    for number, packet in enumerate(packets):
        if number == n_first:
            start = time.perf_counter()
        decoder.send(packet)
    return time.perf_counter() - start


def ffmpeg_seconds(ffmpeg: str, path: Path, worker: Path, *, n_first: int, n_loops: int = 0) -> float:
    """Seconds from the first frames, which ffmpeg reports as it goes, to the end of the last."""
    report = ["-progress", "pipe:1", "-stats_period", "0.001", "-nostats"]
    command = [ffmpeg, "-nostdin", "-v", "error", "-stream_loop", str(n_loops), "-i", str(path), "-map", "0:v"]
    environment = {**os.environ, "SSVC_WORKER": str(worker)}
    with subprocess.Popen([*command, *report, "-f", "null", "-"], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        times: dict[int, float] = {}
        for line in process.stdout:
            if line.startswith(b"frame="):
                times.setdefault(int(line[6:]), time.perf_counter())
    first = min(number for number in times if number >= n_first)
    last = max(times)
    return (times[last] - times[first]) / (last - first)


def measure(args: argparse.Namespace, folder: Path) -> Iterator[Line]:
    """All rows."""
    path = folder / "clip.ssv"
    encode_clip(args, path)
    header, packets = read_packets(path)
    ours = write_program(folder / "ours", sys.executable, "-c", MAIN)
    canned = write_program(folder / "canned", sys.executable, str(Path(__file__).resolve()), "canned")
    n_counted = len(packets) - args.keyint
    alone: list[float] = []
    native: list[float] = []
    transport: list[float] = []
    for _ in range(args.repeats):
        alone.append(in_process_seconds(header, packets, n_first=args.keyint) / n_counted)
        native.append(ffmpeg_seconds(args.ffmpeg, path, ours, n_first=args.keyint))
        transport.append(ffmpeg_seconds(args.ffmpeg, path, canned, n_first=args.keyint, n_loops=args.loops))
    yield args.size, "frames", len(packets)
    yield args.size, "in_process_ms", 1e3 * min(alone)
    yield args.size, "native_ms", 1e3 * min(native)
    yield args.size, "native/in_process", min(native) / min(alone)
    yield args.size, "transport_ms", 1e3 * min(transport)


def main() -> None:
    """Measure, print and write the table."""
    if sys.argv[1:4] == ["canned", "worker", "--fd"]:
        run_canned_worker(int(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ffmpeg", default="build/ffmpeg-ssvc/ffmpeg", help="the patched ffmpeg")
    parser.add_argument("--clip", help="a video; a test picture if not given")
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--keyint", type=int, default=4)
    parser.add_argument("--crf", type=float, default=28)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--loops", type=int, default=20, help="of the clip, for transport_ms")
    parser.add_argument("--out", type=Path, help="stdout if not given")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = list(measure(args, Path(folder)))
    rows = ["size\tquantity\tvalue", *(f"{size}\t{quantity}\t{value:.4g}" for size, quantity, value in lines)]
    write_table("\n".join(rows) + "\n", args.out)


if __name__ == "__main__":
    main()
