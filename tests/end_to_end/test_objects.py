"""Objects through the real commands: coded from a list of boxes, decoded, listed, cut out and extracted one by one."""

from __future__ import annotations

import csv
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from ffmpeg_bridge.reader import open_ssv, open_video
from ssvc_codec.bitstream import SubstreamKind, parse_packet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .conftest import Command

    Luma = NDArray[np.uint8]

WIDTH, HEIGHT, N_FRAMES, KEYINT = 192, 128, 10, 5
PERSON, DOG = 1, 18  # category ids of COCO
GREY = 128


def person_at(k: int) -> tuple[int, int, int, int]:
    """Box x, y, width, height. It stays within cells (0..1, 0..2), so that the group's cells do not change."""
    return (4 + k, 8, 40, 80)


DOG_BOX = (136, 72, 40, 40)  # cells (4..5, 2..3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clip.y4m, boxes.json and clip.ssv."""
    path = tmp_path_factory.mktemp("objects")
    grain = np.random.default_rng(4).uniform(40, 215, (HEIGHT + 8, WIDTH + 64))
    smooth = sum(np.roll(grain, (a, b), (0, 1)) for a in range(4) for b in range(4)) / 16
    with (path / "clip.y4m").open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 C420jpeg\n".encode())
        for k in range(N_FRAMES):
            luma = np.asarray(smooth)[:HEIGHT, :WIDTH].copy()
            x, y, width, height = person_at(k)
            luma[y : y + height, x : x + width] = np.asarray(smooth)[8 : 8 + height, 60 : 60 + width] / 2
            chroma = np.full((HEIGHT // 2, WIDTH // 2), GREY, np.uint8)
            file.write(b"FRAME\n" + luma.astype(np.uint8).tobytes() + chroma.tobytes() * 2)
    rows = [
        {"image_id": k, "category_id": category, "bbox": list(box), "score": 0.9, "track_id": track}
        for k in range(N_FRAMES)
        for category, box, track in ((PERSON, person_at(k), 7), (DOG, DOG_BOX, 9))
    ]
    (path / "boxes.json").write_text(json.dumps(rows))
    options = ["--detections", str(path / "boxes.json"), "-g", f"{KEYINT}", "--no-scenecut", "--preset", "fast", "-q"]
    assert run("encode", path / "clip.y4m", path / "clip.ssv", *options) == 0
    return path


def run(*arguments: str | Path) -> int:
    return import_module("ssvc_codec.cli.main").run([*map(str, arguments)])


@pytest.fixture(scope="module")
def whole(folder: Path) -> list[Luma]:
    return decoded(folder, "whole")


def decoded(folder: Path, name: str, *options: str) -> list[Luma]:
    path = folder / f"{name}.mkv"
    assert run("decode", folder / "clip.ssv", path, "-y", "-q", *options) == 0
    return lumas(path)


def lumas(path: Path) -> list[Luma]:
    with open_video(str(path)) as reader:
        return [frame.y.astype(np.uint8) for frame in reader]


def cells(frame: Luma, columns: slice, rows: slice) -> NDArray[np.int64]:
    return frame[32 * rows.start : 32 * rows.stop, 32 * columns.start : 32 * columns.stop].astype(int)


PERSON_CELLS, DOG_CELLS = (slice(0, 2), slice(0, 3)), (slice(4, 6), slice(2, 4))


def inner(frame: Luma, place: tuple[slice, slice]) -> NDArray[np.int64]:
    """Without the two samples along the border, which the seam filter may change."""
    return cells(frame, *place)[2:-2, 2:-2]


def test_boxes_of_a_file_are_in_the_stream(folder: Path) -> None:
    with open_ssv(str(folder / "clip.ssv")) as reader:
        heads = [parse_packet(packet.data) for packet in reader]
    assert heads[0].sequence_header is not None
    objects: Any = ()
    for k, head in enumerate(heads):
        objects = head.objects_after(objects, heads[0].sequence_header)
        found = {item.track_id: (item.x, item.y, item.width, item.height) for item in objects}
        assert set(found) == {7, 9}
        assert found[9] == DOG_BOX
        assert np.abs(np.subtract(found[7], person_at(k))).max() <= 4, "small steps of a box are not worth their bits"
        kinds = {(entry.kind, entry.group) for entry in head.entries}
        pairs = [(SubstreamKind.OBJECT, 1), (SubstreamKind.OBJECT, 2), (SubstreamKind.BACKGROUND, 0)]
        if k % KEYINT:
            pairs = [(kind, group) for kind in (SubstreamKind.MOTION, SubstreamKind.RESIDUAL) for group in range(3)]
        assert kinds == set(pairs)


@pytest.mark.parametrize(
    ("options", "shows_person", "shows_dog", "shows_background"),
    [
        (["--objects", "person"], True, False, False),
        (["--objects", "#9"], False, True, False),
        (["--objects", "person,dog"], True, True, False),
        (["--objects", "person", "--background"], True, False, True),
        (["--exclude", "person"], False, True, True),
        (["--no-background"], True, True, False),
        (["--background-only"], False, False, True),
        (["--objects", "person", "--exclude", "#7"], False, False, False),
    ],
)
def test_only_what_is_asked_for_is_shown(
    folder: Path,
    whole: list[Luma],
    options: list[str],
    shows_person: bool,
    shows_dog: bool,
    shows_background: bool,
) -> None:
    frames = decoded(folder, "part", *options)
    assert len(frames) == N_FRAMES
    for k, (frame, full) in enumerate(zip(frames, whole, strict=True)):
        for place, shown in ((PERSON_CELLS, shows_person), (DOG_CELLS, shows_dog)):
            part = inner(frame, place)
            if shown:  # objects take nothing from outside of their groups
                assert np.abs(part - inner(full, place)).max() <= 1, k
            else:
                assert (part == GREY).all(), k
        corner = frame[:30, 100:].astype(int)
        if not shows_background:
            assert (corner == GREY).all(), k
        elif k % KEYINT == 0:
            assert np.abs(corner - full[:30, 100:]).max() <= 1, k


@pytest.mark.parametrize(("fill", "level"), [("black", 16), ("gray", 128)])
def test_what_is_left_out_is_filled(folder: Path, fill: str, level: int) -> None:
    frame = decoded(folder, "filled", "--objects", "dog", "--fill", fill, "--frames", "1")[0]
    assert (cells(frame, *PERSON_CELLS) == level).all()
    assert np.ptp(inner(frame, DOG_CELLS)) > 20


@pytest.mark.parametrize("fill", ["blur", "hold"])
def test_a_fill_may_go_on_from_what_is_there(folder: Path, fill: str) -> None:
    frame = decoded(folder, "filled", "--objects", "dog", "--fill", fill, "--frames", "1")[0]
    beside, inside = frame[80, 124:128].astype(int).mean(), frame[80, 128:132].astype(int).mean()
    assert abs(beside - inside) < 25
    assert np.ptp(cells(frame, *PERSON_CELLS)) < 120


def test_key_frames_and_every_nth_group(folder: Path, whole: list[Luma]) -> None:
    keys = decoded(folder, "keys", "--keyframes-only")
    assert len(keys) == 2
    assert np.abs(keys[1].astype(int) - whole[KEYINT]).max() == 0
    first = decoded(folder, "every", "--every", "2")
    assert len(first) == KEYINT
    assert np.abs(first[-1].astype(int) - whole[KEYINT - 1]).max() == 0


def test_flow_of_objects_alone(folder: Path) -> None:
    for name, options in (("all", []), ("person", ["--objects", "person"])):
        assert run("decode", folder / "clip.ssv", folder / f"{name}.npz", "--flow-only", "-y", "-q", *options) == 0
    full, part = (np.load(folder / f"{name}.npz")["flow"].astype(float) for name in ("all", "person"))
    inside = np.s_[:, :, 8:88, 8:56]
    assert np.abs(full[inside] - part[inside]).max() < 0.02
    assert not part[:, :, :, 72:].any()


def test_heads_alone_tell_which_objects_are_where(folder: Path) -> None:
    path = folder / "objects.jsonl"
    assert run("decode", folder / "clip.ssv", path, "--header-only", "--objects", "person", "-y", "-q") == 0
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(N_FRAMES))
    assert [[item["class"] for item in row["objects"]] for row in rows] == [["person"]] * N_FRAMES


def test_crops_show_the_objects(folder: Path, whole: list[Luma]) -> None:
    crops = folder / "crops"
    assert run("decode", folder / "clip.ssv", "--crops", crops, "--objects", "dog", "--keyframes-only", "-q") == 0
    with (crops / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == [0, KEYINT]
    picture = np.asarray(Image.open(crops / rows[0]["file"]).convert("L")).astype(int)
    x, y, width, height = DOG_BOX
    assert picture.shape == (height, width)
    limited = (whole[0][y : y + height, x : x + width].astype(int) - 16) * 255 / 219
    assert np.abs(picture - limited.clip(0, 255)).mean() < 3


def test_an_extracted_file_decodes_to_the_same_part(folder: Path) -> None:
    small = folder / "person.ssv"
    assert run("extract", folder / "clip.ssv", small, "--objects", "person", "-y", "-q") == 0
    assert small.stat().st_size < 0.6 * (folder / "clip.ssv").stat().st_size
    assert run("decode", small, folder / "small.mkv", "--objects", "person", "-y", "-q") == 0
    for a, b in zip(lumas(folder / "small.mkv"), decoded(folder, "part", "--objects", "person"), strict=True):
        assert np.array_equal(a, b)


def test_quality_by_class(folder: Path) -> None:
    sizes = []
    for quality in ("person=+12", "person=-12"):
        options = ["--detections", folder / "boxes.json", "--object-quality", quality, "--frames", "1"]
        assert run("encode", folder / "clip.y4m", folder / "q.ssv", "-y", "-q", *options) == 0
        with open_ssv(str(folder / "q.ssv")) as reader:
            entries = parse_packet(next(iter(reader)).data).entries
        sizes.append([entry.length for entry in entries])
    assert sizes[0][0] > 1.5 * sizes[1][0]
    assert sizes[0][1:] == sizes[1][1:], "the other groups stay byte for byte as long"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decode", "{ssv}", "{out}", "--objects", "persn"], "did you mean person"),
        (["decode", "{ssv}", "{out}", "--objects", "#x"], "#"),
        (["decode", "{ssv}", "{out}", "--background-only", "--objects", "dog"], "--background-only"),
        (["decode", "{ssv}", "{out}", "--crops", "{out}"], "--crops"),
        (["decode", "{ssv}"], "OUT"),
        (["decode", "{ssv}", "{out}", "--header-only", "--flow-only"], "exclude one another"),
        (["encode", "{clip}", "{out}", "--detector", "none", "--classes", "dog"], "--classes"),
        (["encode", "{clip}", "{out}", "--classes", "dgo"], "did you mean dog"),
        (["encode", "{clip}", "{out}", "--object-quality", "person"], "class=+N"),
        (["encode", "{clip}", "{out}", "--object-quality", "persn=3"], "did you mean person"),
        (["encode", "{clip}", "{out}", "--detector", "no.onnx"], "no.onnx"),
        (["encode", "{clip}", "{out}", "--detections", "no.json"], "no.json"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    ssvc: Command, folder: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    names = {"ssv": folder / "clip.ssv", "clip": folder / "clip.y4m", "out": tmp_path / "out.mkv"}
    if arguments[0] == "encode":
        names["out"] = tmp_path / "out.ssv"
    result = ssvc(*(part.format(**names) for part in arguments))
    assert result.code in (1, 2)
    assert message in result.error
    assert not list(tmp_path.iterdir())
