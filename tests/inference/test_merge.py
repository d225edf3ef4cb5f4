"""Merge indexes and own vectors in streams: coding, groups alone, the flow that is shown, damage (docs/bitstream.md,
5.7 and 6.3)."""

from __future__ import annotations

import json
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ssvc_codec.bitstream import SceneObject, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.entropy.plain_tables import MERGE_SHAPES, plain_frequencies
from ssvc_codec.entropy.vectors import N_PASSES, position_neighbours
from ssvc_codec.errors import BitstreamError, ModelError
from ssvc_codec.flow import FlowField
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.groups import group_map
from ssvc_codec.inference.compensation import compensate
from ssvc_codec.inference.inter import InterCoder
from ssvc_codec.inference.latents import GroupSymbols, LatentCoder, Past, Substream
from ssvc_codec.inference.maps import CellMaps
from ssvc_codec.inference.merge_coding import CellGrid, MergeCoder, MergeContext
from ssvc_codec.inference.merging import shown_flow
from ssvc_codec.inference.reference import Chain, FrameMaps, InterReference
from ssvc_codec.nets.inter import Planes, planes_to_half
from ssvc_codec.nets.merge import merge_plan
from ssvc_codec.nets.motion import warp
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection
from ssvc_codec.training.counted_tables import start_tables
from ssvc_codec.weights import find_model, load_model

stream: Any = import_module("constriction").stream  # an extension module without type stubs
AnsCoder = stream.stack.AnsCoder
uniform = stream.model.Uniform
WIDTH, HEIGHT, N_FRAMES = 250, 150, 6  # 8 x 5 cells, the last of both sides not whole
ROWS, COLUMNS = 5, 8
OBJECTS_ALONE = Selection(background=False)
BOXES = [
    [SceneObject(1, 0, 200, 20 + 9 * k, 34, 60, 60), SceneObject(2, 16, 150, 190 - 6 * k, 60, 50, 60)]
    for k in range(N_FRAMES)
]
ROUNDING = 0.05  # code values: sums of windows of other shapes round otherwise


@pytest.fixture(scope="module")
def merging(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of the base model with merge tables."""
    folder = tmp_path_factory.mktemp("merging")
    start_tables(find_model("base"), folder)
    return str(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of the base model without merge tables."""
    base, folder = find_model("base"), tmp_path_factory.mktemp("plain")
    tensors = {k: v for k, v in load_file(base / "weights.safetensors").items() if not k.startswith("merge.")}
    save_file(tensors, folder / "weights.safetensors")
    config = json.loads((base / "config.json").read_text())
    config["inter"].pop("merge", None)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.fixture(scope="module")
def motion(merging: str) -> LatentCoder:
    return InterCoder(load_model(merging), device="cpu").motion


def moving_picture(n: int = N_FRAMES) -> list[Frame]:
    """Two textures that move against one that stands still, their borders sharp."""
    video = VideoFormat(WIDTH, HEIGHT)
    random = np.random.default_rng(0)
    back, *fronts = (random.normal(size=(HEIGHT // 3 + 1, WIDTH // 3 + 1)).repeat(3, 0).repeat(3, 1) for _ in range(3))
    frames: list[Frame] = []
    for k in range(n):
        luma = 0.5 + 0.1 * back[:HEIGHT, :WIDTH]
        for box, front in zip(BOXES[k], fronts, strict=True):
            inside = np.s_[box.y + 4 : box.y + box.height - 4, box.x + 6 : box.x + box.width - 6]
            luma[inside] = 0.5 + 0.12 * front[: box.height - 8, : box.width - 12]
        half = luma[::2, ::2] * 0.3 + 0.35
        planes = [np.clip(p * 255, 0, 255).astype(np.uint8) for p in (luma, half, 1 - half)]
        frames.append(Frame(planes[0], planes[1], planes[2], video, pts=k, duration=1, time_base=Fraction(1, 25)))
    return frames


def encode(model: str, *, objects: bool, **options: object) -> list[Packet]:
    frames = moving_picture()
    settings: dict[str, object] = {"crf": 28, "scenecut": False, "device": "cpu", "model": model, **options}
    encoder = Encoder(frames[0].format, time_base=Fraction(1, 25), **settings)  # type: ignore[arg-type]
    listed = BOXES if objects else [[]] * len(frames)
    return [encoder.send(frame, objects=boxes)[0] for frame, boxes in zip(frames, listed, strict=True)]


@pytest.fixture(scope="module")
def grouped(merging: str) -> list[Packet]:
    return encode(merging, objects=True)


def opened(model: str, **options: object) -> Decoder[Frame]:
    return Decoder(device="cpu", model=model, reduced_precision=False, **options)  # type: ignore[arg-type]


def opened_for_flow(model: str) -> Decoder[FlowField]:
    return Decoder(device="cpu", model=model, reduced_precision=False, parts={"motion"})


def reference_of(decoder: Decoder) -> InterReference:
    state = decoder._state
    assert state is not None
    assert state.reference is not None
    return state.reference


# Coding


def random_cells(random: np.random.Generator, n_columns: int = 7) -> CellGrid:
    cells = np.flatnonzero(random.random(6 * n_columns) < random.choice([0.2, 0.6, 1.0]))
    return CellGrid(cells if cells.size else np.array([11]), n_columns)


def random_merge(random: np.random.Generator, n: int) -> NDArray[np.int32]:
    chosen = (random.random((n, 16)) < 0.3) & (random.random((n, 1)) < 0.6)
    return np.where(chosen, random.choice([*range(1, 25), *[25] * 8], (n, 16)), 0).astype(np.int32)


def with_index_25(merge: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(n, 4) positions of each cell of which a block has the index 25. merge: (n, 16)."""
    found = np.zeros((merge.shape[0], 4), np.bool_)
    for cell, block in np.argwhere(merge == 25):
        found[cell, block // 8 * 2 + block % 4 // 2] = True
    return found


def random_own(random: np.random.Generator, merge: NDArray[np.integer]) -> NDArray[np.int32]:
    """(n, 8) vectors of all classes where there are to be some."""
    magnitude = random.integers(0, 1 << random.integers(0, 9, (merge.shape[0], 8)))
    values = magnitude * random.choice([-1, 1], magnitude.shape)
    return (values * with_index_25(merge).repeat(2, axis=1)).astype(np.int32)


def random_context(random: np.random.Generator) -> MergeContext:
    grid = random_cells(random)
    n = grid.rows.size
    y = random.integers(-3, 4, (n, 8)).astype(np.int32) * (random.random((n, 1)) < 0.5)
    return MergeContext(
        random.integers(0, 64, n), y.astype(np.int32), random_merge(random, n), random.random(n) < 0.7, grid
    )


def random_tables(random: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    return {name: plain_frequencies(random.exponential(size=shape) + 0.05) for name, shape in MERGE_SHAPES.items()}


def expected_rows(
    context: MergeContext, merge: NDArray[np.int32], own: NDArray[np.int32]
) -> dict[str, list[tuple[int, int]]]:
    """(row, symbol) of everything that is coded, as section 5.7 says, block by block."""
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in MERGE_SHAPES}
    rows, n_columns = context.grid
    flags = {}  # by row and column of the block in the picture
    for cell, place in enumerate(rows):
        for block in range(16):
            flags[4 * (place // n_columns) + block // 4, 4 * (place % n_columns) + block % 4] = merge[cell, block] != 0
    for cell, place in enumerate(rows):
        b, known = int(context.q[cell]) >> 3, bool(context.known[cell])
        size = int(np.abs(context.y[cell]).sum())
        a = 0 if size == 0 else 1 if size <= 3 else 2 if size <= 11 else 3
        s = 0 if not known else 2 if context.before[cell].any() else 1
        found["cell"].append((12 * b + 4 * s + a, int(merge[cell].any())))
        for block in range(16) if merge[cell].any() else ():
            y, x = 4 * (place // n_columns) + block // 4, 4 * (place % n_columns) + block % 4
            flag = int(merge[cell, block] != 0)
            if (y + x) % 2 == 0:
                s = 0 if not known else 2 if context.before[cell, block] else 1
                found["first"].append((3 * b + s, flag))
            else:
                beside = [(y, x - 1), (y, x + 1), (y - 1, x), (y + 1, x)]
                found["second"].append((5 * b + sum(flags.get(other, False) for other in beside), flag))
            if flag:
                found["index"].append((b, int(merge[cell, block]) - 1))
        for position in np.flatnonzero(with_index_25(merge)[cell]):
            for a in range(2):
                found["vector"].append((2 * b + a, len(f"{abs(own[cell, 2 * position + a]):b}".lstrip("0"))))
    return found


def test_what_is_coded_of_merge_indexes_follows_the_specification() -> None:
    random = np.random.default_rng(1)
    for _ in range(30):
        context = random_context(random)
        merge = random_merge(random, context.q.size)
        own = random_own(random, merge)
        expected = expected_rows(context, merge, own)
        for name, symbols, rows in MergeCoder.parts(merge, own, context):
            assert list(zip(rows.tolist(), symbols.tolist(), strict=True)) == expected[name], name


def test_merge_indexes_come_back_with_groups_and_frames_before(motion: LatentCoder) -> None:
    """Strings of several groups of cells, all read at once, each with symbols of its own before the indexes."""
    random = np.random.default_rng(2)
    assert motion.merge is not None
    written: list[GroupSymbols] = []
    substreams: list[Substream] = []
    for k in range(12):
        grid = random_cells(random)
        n = grid.rows.size
        q = np.full(n, random.integers(0, 64))
        known = np.full(n, False) if k % 3 == 0 else random.random(n) < 0.8
        before = motion.nothing(n).symbols._replace(merge=random_merge(random, n))
        z = np.where(random.random((n, motion.head.n_z)) < 0.2, random.integers(-2, 3, (n, motion.head.n_z)), 0)
        z[motion.z_indexes(q, Past(before, known)) == 0] = 0
        z = z.astype(np.int32)
        context = motion.context(z, q, Past(before, known), position_neighbours(grid.rows, grid.n_columns))
        y = np.zeros((n, motion.head.n_columns), np.int32)
        for number in range(N_PASSES):
            index = motion.head.pass_indexes(number, context, y)
            y += np.where(index > 20, random.integers(-3, 4, index.shape), 0).astype(np.int32)
        merge = random_merge(random, n)
        symbols = GroupSymbols(z, y, merge, random_own(random, merge))
        start = np.array([3, -40], np.int32) if k % 3 == 0 else None
        data = motion.write(symbols, q, Past(before, known), start, grid)
        written.append(symbols)
        substreams.append(Substream(data, q, Past(before, known), start is not None, grid))
    for symbols, found in zip(written, motion.read(substreams), strict=True):
        assert not isinstance(found, BitstreamError)
        for part, expected in zip(found[0], symbols, strict=True):
            assert np.array_equal(part, expected)  # type: ignore[arg-type]


def test_a_group_of_zeros_is_the_empty_string_and_one_merged_block_is_not(motion: LatentCoder) -> None:
    grid, q = CellGrid(np.arange(12), 4), np.full(12, 30)
    past = motion.nothing(12)
    assert motion.write(past.symbols, q, past, None, grid) == b""
    for k in (1, 24, 25):
        merge = np.zeros((12, 16), np.int32)
        merge[7, 5] = k
        data = motion.write(past.symbols._replace(merge=merge), q, past, None, grid)
        assert data
        (found,) = motion.read([Substream(data, q, past, False, grid)])
        assert not isinstance(found, BitstreamError)
        assert np.array_equal(found[0].merges(), merge)
        assert not found[0].owns().any()


def test_own_vectors_of_every_class_and_sign_come_back() -> None:
    """Read as section 5.7 says: classes of all by their tables, then for each class what it leaves open."""
    random = np.random.default_rng(6)
    coder, n = MergeCoder(random_tables(random)), 260
    grid = CellGrid(np.arange(n), 20)
    y, before = np.zeros((n, 8), np.int32), np.zeros((n, 16), np.int32)
    context = MergeContext(np.full(n, 37), y, before, np.full(n, False), grid)
    merge = np.zeros((n, 16), np.int32)
    merge[:, [0, 3, 12, 15]] = 25
    values = np.arange(-255, 256)
    own = np.resize(values, (n, 8)).astype(np.int32)  # every value in many places
    own[:, 1::2] = random.permutation(own[:, 1::2])
    ans = AnsCoder()
    coder.push(ans, merge, own, context)
    again = AnsCoder(ans.get_compressed())
    assert all(np.array_equal(a, b) for a, b in zip(coder.pop(again, context), (merge, own), strict=True))
    assert again.is_empty()
    for name, symbols, rows in MergeCoder.parts(merge, own, context):
        assert np.array_equal(coder.tables[name].pop(ans, rows), symbols)
    state = ans.num_bits()
    for c in range(1, 9):
        for d in own.reshape(-1)[(np.abs(own) >> (c - 1) == 1).reshape(-1)]:
            assert int(ans.decode(uniform(2**c))) == 2 * (abs(d) - 2 ** (c - 1)) + (d < 0)
    assert ans.is_empty()
    assert state >= sum(int(abs(d)).bit_length() for d in own.reshape(-1))


def test_own_vectors_are_those_of_positions_with_index_25() -> None:
    """What stands elsewhere is not coded, and what is beyond 255 is refused."""
    random = np.random.default_rng(7)
    coder, context = MergeCoder(random_tables(random)), random_context(random)
    n = context.q.size
    for merge in (random_merge(random, n), np.where(random_merge(random, n) == 0, 3, 0).astype(np.int32)):
        own = random.integers(-255, 256, (n, 8)).astype(np.int32)
        ans = AnsCoder()
        coder.push(ans, merge, own, context)
        found = coder.pop(ans, context)
        assert ans.is_empty()
        assert np.array_equal(found[0], merge)
        assert np.array_equal(found[1], own * with_index_25(merge).repeat(2, axis=1))
    merge = np.full((n, 16), 25, np.int32)
    with pytest.raises(ValueError, match="beyond 255"):
        coder.push(AnsCoder(), merge, np.full((n, 8), 256, np.int32), context)


def test_a_flagged_cell_without_a_flagged_block_is_refused() -> None:
    random = np.random.default_rng(3)
    coder, context = MergeCoder(random_tables(random)), random_context(random)
    cells = np.zeros(context.q.size, np.int64)
    cells[0] = 1
    ans = AnsCoder()
    for name in ("second", "first"):
        rows = (
            context.first_rows() if name == "first" else context.second_rows(np.zeros((context.q.size, 16), np.int64))
        )
        parity = np.indices((4, 4)).sum(axis=0).reshape(-1) % 2 == (name == "second")
        coder.tables[name].push(ans, np.zeros(8, np.int64), rows[0][parity])
    coder.tables["cell"].push(ans, cells, context.cell_rows())
    with pytest.raises(BitstreamError, match=r"5\.7"):
        coder.pop(ans, context)


def test_damaged_strings_are_errors_or_other_indexes(motion: LatentCoder) -> None:
    random = np.random.default_rng(4)
    grid, q = CellGrid(np.arange(20), 5), np.full(20, 40)
    past = motion.nothing(20)
    merge = random_merge(random, 20)
    data = motion.write(past.symbols._replace(merge=merge, own=random_own(random, merge)), q, past, None, grid)
    n_errors = 0
    for _ in range(300):
        changed = bytearray(data)
        changed[random.integers(len(data))] ^= 1 << random.integers(8)
        changed = changed[: random.integers(1, len(data) + 1)] if random.random() < 0.3 else changed
        (found,) = motion.read([Substream(bytes(changed), q, past, False, grid)])
        if isinstance(found, BitstreamError):
            n_errors += 1
        else:
            assert (found[0].merges() >= 0).all()
            assert (found[0].merges() < 26).all()
            assert (np.abs(found[0].owns()) < 256).all()
            assert not found[0].owns()[~with_index_25(found[0].merges()).repeat(2, axis=1)].any()
    assert n_errors > 250  # most do not end where the string does


def test_bad_merge_tables_are_refused(merging: str, tmp_path: Path) -> None:
    tensors = load_file(Path(merging) / "weights.safetensors")
    config = (Path(merging) / "config.json").read_text()
    for number, change in enumerate(("missing", "shape", "sum")):
        bad = dict(tensors)
        if change == "missing":
            del bad["merge.first"]
        elif change == "shape":
            bad["merge.index"] = bad["merge.index"][:7]
        else:
            bad["merge.cell"] = bad["merge.cell"] + np.uint32(1)
        folder = tmp_path / str(number)
        folder.mkdir()
        save_file(bad, folder / "weights.safetensors")
        (folder / "config.json").write_text(config)
        with pytest.raises(ModelError, match=r"5\.7"):
            InterCoder(load_model(str(folder)), device="cpu")


# Reconstruction


def maps_of(groups: NDArray[np.integer]) -> FrameMaps:
    members = [frozenset({k} if k else ()) for k in range(int(groups.max()) + 1)]
    return FrameMaps(CellMaps(np.zeros(groups.shape, np.int64), groups, "cpu"), members)


def merged_reference(
    groups: NDArray[np.integer], flow: torch.Tensor, merge: NDArray[np.int32], own: NDArray[np.int32]
) -> InterReference:
    n = groups.size
    symbols = GroupSymbols(np.zeros((n, 1), np.int32), np.zeros((n, 4), np.int32), merge, own)
    random = torch.Generator().manual_seed(0)
    planes = Planes(
        torch.rand(1, 1, 32 * ROWS, 32 * COLUMNS, generator=random),
        torch.rand(1, 2, 16 * ROWS, 16 * COLUMNS, generator=random),
    )
    chain = Chain.complete(symbols)
    return InterReference(planes, flow, chain, chain, groups, maps_of(groups).members)


def spread(flow: torch.Tensor, cells: NDArray[np.bool_]) -> torch.Tensor:
    """Section 6.3, extension: the nearest vector of the nearest cell for every other one, vector by vector."""
    known, result = np.argwhere(cells), flow.clone()
    for r, c in np.argwhere(~cells):
        row, column = min(known.tolist(), key=lambda cell: ((cell[0] - r) ** 2 + (cell[1] - c) ** 2, cell[1], cell[0]))
        for i, j in np.ndindex(8, 8):
            y = min(max(r * 8 + i, row * 8), row * 8 + 7)
            x = min(max(c * 8 + j, column * 8), column * 8 + 7)
            result[..., r * 8 + i, c * 8 + j] = flow[..., y, x]
    return result


def picture_of(blocks: NDArray[np.int32]) -> NDArray[np.int64]:
    """(n, 16) of all cells as they stand in the picture: (4 ROWS, 4 COLUMNS)."""
    cells = blocks.reshape(ROWS, COLUMNS, 4, 4).transpose(0, 2, 1, 3)
    return cells.reshape(4 * ROWS, 4 * COLUMNS).astype(np.int64)


def put_own(
    fine: torch.Tensor, half: torch.Tensor, flow: torch.Tensor, merge: NDArray[np.int32], own: NDArray[np.int32]
) -> None:
    """Section 6.3: blocks with k = 25 show the mean of their 16x16 samples and their own vector, everywhere."""
    for y, x in np.argwhere(picture_of(merge) == 25):
        vectors = flow[0, :, y // 2 * 4 : y // 2 * 4 + 4, x // 2 * 4 : x // 2 * 4 + 4]
        cell, position = y // 4 * COLUMNS + x // 4, y // 2 % 2 * 2 + x // 2 % 2
        vector = vectors.mean(dim=(1, 2)) + torch.from_numpy(own[cell, 2 * position : 2 * position + 2]) / 4
        fine[0, :, 8 * y : 8 * y + 8, 8 * x : 8 * x + 8] = vector[:, None, None]
        half[0, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4] = vector[:, None, None]


GROUP_MAPS = [
    np.zeros((ROWS, COLUMNS), np.int64),
    np.pad(np.ones((2, 3), np.int64), ((1, 2), (2, 3))),
    np.indices((ROWS, COLUMNS)).sum(axis=0) % 3,
]


@pytest.mark.parametrize("number", range(3))
def test_groups_look_up_their_own_vectors(number: int) -> None:
    """compensate and shown_flow, against whole pictures into which the vectors of one group were spread."""
    groups, random = GROUP_MAPS[number], np.random.default_rng(number)
    flow = torch.from_numpy(random.normal(scale=4, size=(1, 2, 8 * ROWS, 8 * COLUMNS))).float()
    merge = np.where(random.random((groups.size, 16)) < 0.5, random.integers(0, 28, (groups.size, 16)), 0)
    merge = np.minimum(merge, 25).astype(np.int32)
    own = random_own(random, merge)
    before = merged_reference(groups, flow, merge, own)
    indexes = picture_of(np.where(merge == 25, 0, merge))
    result = compensate(before, flow, maps_of(groups), motion=before.motion.symbols)
    assert before.planes is not None
    for group in range(int(groups.max()) + 1):
        cells = groups == group
        fine, half = merge_plan(spread(flow, cells), torch.from_numpy(indexes)[None])
        put_own(fine, half, flow, merge, own)
        inside = torch.from_numpy(cells.repeat(16, 0).repeat(16, 1))
        assert torch.allclose(result.flow[0][:, inside], half[0][:, inside], atol=1e-4)
        if group == 0:  # others read their own cells of the reference alone
            expected = planes_to_half(
                Planes(warp(before.planes.y, fine, mode="bicubic"), warp(before.planes.uv, half / 2, mode="bicubic"))
            )
            assert torch.allclose(result.warped[0][:, inside], expected[0][:, inside], atol=1e-3)
    assert torch.equal(before.flow, flow)


def own_case(number: int) -> tuple[InterReference, FrameMaps]:
    """Blocks of which many have own vectors that point far outside their group and the picture."""
    groups, random = GROUP_MAPS[number], np.random.default_rng(10 + number)
    flow = torch.from_numpy(random.normal(scale=30, size=(1, 2, 8 * ROWS, 8 * COLUMNS))).float()
    merge = np.where(random.random((groups.size, 16)) < 0.5, 25, 0).astype(np.int32)
    own = (random.integers(200, 256, (groups.size, 8)) * random.choice([-1, 1], (groups.size, 8))).astype(np.int32)
    return merged_reference(groups, flow, merge, own), maps_of(groups)


@pytest.mark.parametrize("number", [1, 2])
def test_own_vectors_read_the_source_of_their_group_alone(number: int) -> None:
    before, maps = own_case(number)
    assert before.planes is not None
    whole = compensate(before, before.flow, maps, motion=before.motion.symbols)
    for group in range(1, int(maps.groups.max()) + 1):
        cells = maps.groups == group
        planes = []
        for plane, size in zip(before.planes, (32, 16), strict=True):
            mask = torch.from_numpy(cells.repeat(size, 0).repeat(size, 1))
            planes.append(torch.where(mask, plane, torch.full_like(plane, 7)))
        rows = cells.reshape(-1, 1)
        kept = before.motion.symbols._replace(
            merge=before.motion.symbols.merges() * rows, own=before.motion.symbols.owns() * rows
        )
        flow = torch.where(torch.from_numpy(cells.repeat(8, 0).repeat(8, 1)), before.flow, 0)
        alone = compensate(before._replace(planes=Planes(*planes)), flow, maps, cells, kept)
        inside = torch.from_numpy(cells.repeat(16, 0).repeat(16, 1))
        for part, expected in zip(alone, whole, strict=True):
            assert torch.equal(part[0][:, inside], expected[0][:, inside])


@pytest.mark.parametrize("number", range(3))
def test_own_vectors_are_not_shown(number: int) -> None:
    before, _ = own_case(number)
    assert torch.equal(shown_flow(before), before.flow)


def test_flow_that_is_shown_is_merged_and_flow_that_is_predicted_from_is_not(
    merging: str, grouped: list[Packet]
) -> None:
    whole, alone, again = opened(merging), opened_for_flow(merging), opened_for_flow(merging)
    n_merged = 0
    for packet in grouped:
        whole.send(packet)
        found = alone.send(packet)
        (other,) = Decoder.send_together([again], [parse_packet(packet.data)])
        if not found:
            continue
        reference = reference_of(whole)
        shown = shown_flow(reference)[0, :, : -(-HEIGHT // 4), : -(-WIDTH // 4)].numpy()
        assert isinstance(other, FlowField)
        assert np.array_equal(found[0].values, shown)
        assert np.array_equal(found[0].values, other.values)
        merge = reference.motion.symbols.merges().reshape(ROWS, COLUMNS, 4, 4).transpose(0, 2, 1, 3)
        at4 = (merge.reshape(4 * ROWS, 4 * COLUMNS) > 0).repeat(2, 0).repeat(2, 1)
        changed = (shown_flow(reference) != reference.flow)[0].any(0).numpy()
        assert not (changed & ~at4).any()
        assert np.array_equal(reference_of(alone).motion.symbols.merges(), reference.motion.symbols.merges())
        n_merged += int(changed.sum())
    assert n_merged > 0


def test_objects_alone_decode_as_with_everything_else_where_blocks_merge(merging: str, grouped: list[Packet]) -> None:
    whole, part = opened(merging), opened(merging, select=OBJECTS_ALONE)
    n_merged = 0
    for packet, objects in zip(grouped, BOXES, strict=True):
        cells = group_map(objects, width=WIDTH, height=HEIGHT) > 0
        data = bytearray(packet.data)
        for entry in parse_packet(packet.data).entries:
            if entry.group == 0:
                data[entry.offset : entry.offset + entry.coded_size] = b"\xa5" * entry.coded_size
        whole.send(packet)
        part.send(Packet(bytes(data), packet.pts, packet.is_keyframe, packet.duration, packet.time_base))
        all_planes, planes = reference_of(whole).planes, reference_of(part).planes
        assert all_planes is not None
        assert planes is not None
        for p, q, size in zip(all_planes, planes, (32, 16), strict=True):
            inside = torch.from_numpy(cells.repeat(size, 0).repeat(size, 1))
            assert 255 * float((p - q)[0][:, inside].abs().max()) < ROUNDING
        n_merged += int((reference_of(part).motion.symbols.merges()[cells.reshape(-1)] > 0).sum())
        assert not reference_of(part).motion.symbols.merges()[~cells.reshape(-1)].any()
    assert n_merged > 0


@pytest.mark.parametrize("objects", [False, True])
def test_the_encoder_knows_exactly_what_a_decoder_shows_of_merged_blocks(merging: str, objects: bool) -> None:
    frames = moving_picture()
    encoder = Encoder(frames[0].format, time_base=Fraction(1, 25), crf=28, scenecut=False, device="cpu", model=merging)
    decoder = Decoder(device="cpu", model=merging)
    for frame, boxes in zip(frames, BOXES, strict=True):
        (shown,) = decoder.send(encoder.send(frame, objects=boxes if objects else [])[0])
        assert encoder.reconstruction is not None
        for plane, expected in zip((shown.y, shown.u, shown.v), encoder.reconstruction, strict=True):
            assert np.array_equal(plane, expected)
    assert encoder.p_frame is not None


def torn_picture() -> list[Frame]:
    """A texture of which squares come from far away in the frame before, each from another place."""
    random, video = np.random.default_rng(8), VideoFormat(WIDTH, HEIGHT)
    luma = 0.5 + 0.12 * random.normal(size=(HEIGHT // 3 + 1, WIDTH // 3 + 1)).repeat(3, 0).repeat(3, 1)
    luma = luma[:HEIGHT, :WIDTH]
    frames: list[Frame] = []
    for k in range(4):
        before = luma.copy()
        for _ in range(18 if k else 0):
            y, x = 16 * random.integers(2, 7), 16 * random.integers(2, 13)
            dy, dx = random.integers(-22, 23, 2)
            luma[y : y + 16, x : x + 16] = before[y + dy : y + dy + 16, x + dx : x + dx + 16]
        half = luma[::2, ::2] * 0.3 + 0.35
        planes = [np.clip(p * 255, 0, 255).astype(np.uint8) for p in (luma, half, 1 - half)]
        frames.append(Frame(planes[0], planes[1], planes[2], video, pts=k, duration=1, time_base=Fraction(1, 25)))
    return frames


@pytest.mark.parametrize("objects", [False, True])
def test_what_comes_from_far_away_gets_own_vectors_that_a_decoder_shows_exactly(merging: str, objects: bool) -> None:
    frames = torn_picture()
    encoder = Encoder(frames[0].format, time_base=Fraction(1, 25), crf=30, scenecut=False, device="cpu", model=merging)
    decoder, alone = Decoder(device="cpu", model=merging), opened_for_flow(merging)
    n_own = 0
    for frame, boxes in zip(frames, BOXES, strict=False):
        (packet,) = encoder.send(frame, objects=boxes if objects else [])
        (shown,) = decoder.send(packet)
        found = alone.send(packet)
        assert encoder.reconstruction is not None
        for plane, expected in zip((shown.y, shown.u, shown.v), encoder.reconstruction, strict=True):
            assert np.array_equal(plane, expected)
        symbols = reference_of(decoder).motion.symbols
        n_own += int(with_index_25(symbols.merges()).sum())
        if found:
            assert np.array_equal(reference_of(alone).motion.symbols.owns(), symbols.owns())
    assert n_own > 8


def test_streams_with_merged_blocks_do_not_depend_on_threads(merging: str, grouped: list[Packet]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    again = encode(merging, objects=True)
    torch.set_num_threads(before)
    assert [packet.data for packet in again] == [packet.data for packet in grouped]


def test_the_fast_preset_merges_nothing(merging: str) -> None:
    decoder = opened(merging)
    for packet in encode(merging, objects=False, preset="fast"):
        decoder.send(packet)
    assert not reference_of(decoder).motion.symbols.merges().any()


def test_a_model_without_merge_tables_works_as_before(plain: str) -> None:
    decoder = opened(plain)
    for packet in encode(plain, objects=True):
        decoder.send(packet)
    reference = reference_of(decoder)
    assert reference.motion.symbols.merge is None
    assert shown_flow(reference) is reference.flow
