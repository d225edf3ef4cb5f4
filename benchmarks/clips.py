"""The evaluation clips by name, read through ffmpeg as limited-range 8-bit 4:2:0."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip, frame_bytes, read_y4m

EVALUATION_CLIPS = {
    "BasketballPass": "video/BasketballPass_416x240_50.mkv",
    "park_joy": "video/park_joy_420_720p50_frm0to9_480x270.y4m",
    "vid4_walk": "video/vid4_walk.mkv",
    "blackswan": "davis/JPEGImages/480p/blackswan/%05d.jpg",
    "car-roundabout": "davis/JPEGImages/480p/car-roundabout/%05d.jpg",
    "dog": "davis/JPEGImages/480p/dog/%05d.jpg",
    "soapbox": "davis/JPEGImages/480p/soapbox/%05d.jpg",
    "street_1080p": "video/street_1080p.mp4",
}
"""Path of each clip below the evaluation folder; a % pattern is a sequence of pictures."""

DAVIS_FRAME_RATE = 24


def find_clips(data: Path, selection: str) -> dict[str, Path]:
    """Paths of the clips in a comma-separated selection of names or files; `all` is EVALUATION_CLIPS."""
    if selection == "all":
        return {name: data / path for name, path in EVALUATION_CLIPS.items()}
    chosen = {}
    for item in selection.split(","):
        if item in EVALUATION_CLIPS:
            chosen[item] = data / EVALUATION_CLIPS[item]
        elif Path(item).is_file():
            chosen[Path(item).stem] = Path(item)
        else:
            raise SystemExit(f"{item}: neither a file nor one of {', '.join(EVALUATION_CLIPS)}")
    return chosen


def load_clip(name: str, path: Path, *, n_frames: int, size: tuple[int, int] | None = None) -> Clip:
    """The first n_frames frames as yuv420p of limited range, scaled to size (width, height) if it is given.

    The result is the reference of every measurement: full-range pictures are converted here, once, before any codec.
    Raises MediaError when ffmpeg cannot read the file.
    """
    source = ["-framerate", str(DAVIS_FRAME_RATE), "-start_number", "0"] if "%" in path.name else []
    scale = [] if size is None else ["-vf", f"scale={size[0]}:{size[1]}:flags=lanczos"]
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-nostdin",
        *source,
        "-i",
        str(path),
        "-map",
        "0:v:0",
        "-frames:v",
        str(n_frames),
    ]
    command += [*scale, "-pix_fmt", "yuv420p", "-color_range", "tv", "-f", "yuv4mpegpipe", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if process.stdout is None or process.stderr is None:
            raise AssertionError("both are pipes")
        try:
            return read_y4m(process.stdout, name=name, max_frames=n_frames)  # type: ignore[arg-type]
        except MediaError as error:
            process.kill()
            raise MediaError(f"{path}: {process.stderr.read().decode().strip() or error}") from error


def ping_pong(clip: Clip, *, n_frames: int) -> Clip:
    """n_frames frames of clip, played forwards and backwards without a cut.

    The turning point is chosen so that the last frames are frames 1, 2, 3, .. in reverse: quality at both ends can be
    compared on the same pictures. n_frames must be even. Raises ValueError when clip has fewer than two frames.
    """
    n_rounds = next(
        (k for k in range(1, n_frames) if n_frames % (2 * k) == 0 and n_frames // (2 * k) < len(clip.frames)), 0
    )
    if not n_rounds:
        raise ValueError(f"{n_frames} frames cannot be made of {len(clip.frames)} played to and fro")
    half = n_frames // (2 * n_rounds)
    order = [*range(half), *range(half, 0, -1)] * n_rounds
    return replace(clip, frames=tuple(replace(clip.frames[k], pts=pts) for pts, k in enumerate(order)))


def clip_digest(clip: Clip) -> str:
    """MD5 of all samples: names the content in caches."""
    digest = hashlib.md5(usedforsecurity=False)
    for frame in clip.frames:
        digest.update(frame_bytes(frame))
    return digest.hexdigest()


def run_tool(command: Sequence[str], *, stdin: bytes | None = None) -> bytes:
    """Run a program and give its stdout. Raises MediaError with the end of its stderr when it fails."""
    result = subprocess.run(command, input=stdin, capture_output=True, check=False)
    if result.returncode != 0:
        raise MediaError(f"{' '.join(command[:1])} failed: {result.stderr.decode(errors='replace').strip()[-500:]}")
    return result.stdout
