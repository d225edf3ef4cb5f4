"""Groups of objects are predicted from themselves alone: with or without the rest they decode to the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ssvc_codec.bitstream import SceneObject, SubstreamKind, drop_substreams, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.groups import group_map, group_members
from ssvc_codec.inference.compensation import compensate
from ssvc_codec.inference.extension import Area, extend, nearest_cells
from ssvc_codec.inference.latents import GroupSymbols
from ssvc_codec.inference.maps import CellMaps
from ssvc_codec.inference.reference import Chain, FrameMaps, InterReference
from ssvc_codec.nets.inter import Planes, planes_to_half
from ssvc_codec.nets.motion import upsample_flow, warp
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection

WIDTH, HEIGHT, N_FRAMES = 250, 150, 12  # 8 x 5 cells, the last of both sides not whole
ROUNDING = 0.05  # code values: sums of windows of other shapes round otherwise, by about 0.001 after 12 frames
OBJECTS_ALONE = Selection(background=False)
Scene = Sequence[Sequence[SceneObject]]


def crossing(k: int) -> list[SceneObject]:
    """Two boxes that move through each other: apart, one group from frame 3 to 8, apart again."""
    return [SceneObject(1, 0, 200, 10 + 14 * k, 34, 40, 50), SceneObject(2, 16, 150, 190 - 12 * k, 50, 36, 44)]


CROSSING = [crossing(k) for k in range(N_FRAMES)]


def moving_picture(scene: Scene) -> list[Frame]:
    """A texture that moves by (2, 1) samples a frame, and another one in every box, which moves with it."""
    video = VideoFormat(WIDTH, HEIGHT)
    frames: list[Frame] = []
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    for k, objects in enumerate(scene):
        luma = (
            0.45 + 0.2 * np.sin((x + 2 * k) / 9) * np.cos((y + k) / 7) + 0.1 * (((x + 2 * k) / 23 + y / 31) % 1 > 0.5)
        )
        for box in objects:
            dx, dy = x - box.x - box.width / 2, y - box.y - box.height / 2
            inside = (2.2 * dx / box.width) ** 2 + (2.2 * dy / box.height) ** 2 < 1
            luma[inside] = (0.6 + 0.25 * np.sin(dx / 3 + box.track_id) * np.cos(dy / 4))[inside]
        half = luma[::2, ::2] * 0.3 + 0.35
        planes = [np.clip(p * 255, 0, 255).astype(np.uint8) for p in (luma, half, 1 - half)]
        frames.append(Frame(planes[0], planes[1], planes[2], video, pts=k, duration=1, time_base=Fraction(1, 25)))
    return frames


def opened(select: Selection | None = None, *, exact: bool = True) -> Decoder[Frame]:
    """exact: float32 throughout, so that windows of other shapes differ by the rounding of few sums alone."""
    return Decoder(device="cpu", select=select, reduced_precision=not exact)


def open_encoder(video: VideoFormat) -> Encoder:
    return Encoder(video, time_base=Fraction(1, 25), crf=28, scenecut=False, device="cpu")


def encode(scene: Scene) -> list[Packet]:
    frames = moving_picture(scene)
    encoder = open_encoder(frames[0].format)
    return [encoder.send(frame, objects=objects)[0] for frame, objects in zip(frames, scene, strict=True)]


def with_data(packet: Packet, data: bytes) -> Packet:
    return Packet(data, packet.pts, packet.is_keyframe, packet.duration, packet.time_base)


def spoiled(packet: Packet, keep: Callable[[int], bool]) -> Packet:
    """Garbage in place of the payloads, and of their checksums, of groups that are not kept."""
    data = bytearray(packet.data)
    for entry in parse_packet(packet.data).entries:
        if not keep(entry.group):
            data[entry.offset : entry.offset + entry.coded_size] = b"\xa5" * entry.coded_size
    return with_data(packet, bytes(data))


def picture_of(decoder: Decoder[Frame]) -> Planes:
    """What the next frame is predicted from: before the filter along borders of groups, which takes both sides."""
    state = decoder._state
    assert state is not None
    assert state.reference is not None
    assert state.reference.planes is not None
    return state.reference.planes


def difference(a: Decoder[Frame], b: Decoder[Frame], cells: NDArray[np.bool_]) -> float:
    """The largest difference of a sample in the cells of a (rows, columns) mask, in code values."""
    largest = 0.0
    for p, q, size in zip(picture_of(a), picture_of(b), (32, 16), strict=True):
        inside = torch.from_numpy(cells.repeat(size, 0).repeat(size, 1))
        largest = max(largest, 255 * float((p - q)[0][:, inside].abs().max()))
    return largest


def groups_of(objects: Sequence[SceneObject]) -> NDArray[np.uint16]:
    return group_map(objects, width=WIDTH, height=HEIGHT)


@pytest.fixture(scope="module")
def packets() -> list[Packet]:
    return encode(CROSSING)


def test_the_boxes_of_these_tests_merge_and_part() -> None:
    n_groups = [int(groups_of(objects).max()) for objects in CROSSING]
    assert n_groups[0] == n_groups[-1] == 2
    assert 1 in n_groups


def test_objects_alone_decode_as_with_everything_else(packets: list[Packet]) -> None:
    """They cross cells, become one group and part again; of all the rest there is garbage."""
    whole, part = opened(), opened(OBJECTS_ALONE)
    for packet, objects in zip(packets, CROSSING, strict=True):
        whole.send(packet)
        part.send(spoiled(packet, lambda group: group > 0))
        cells = groups_of(objects) > 0
        assert np.array_equal(part.shown, cells)
        assert difference(part, whole, cells) < ROUNDING


def test_objects_alone_hardly_depend_on_reduced_precision(packets: list[Packet]) -> None:
    whole, part = opened(exact=False), opened(OBJECTS_ALONE, exact=False)
    for packet, objects in zip(packets, CROSSING, strict=True):
        whole.send(packet)
        part.send(packet)
        assert difference(part, whole, groups_of(objects) > 0) < 3  # bfloat16 has 8 bits; 1.1 was found


@pytest.mark.parametrize("exact", [True, False])
def test_the_encoder_knows_exactly_what_a_decoder_of_groups_shows(exact: bool) -> None:
    frames = moving_picture(CROSSING)
    encoder = Encoder(
        frames[0].format, time_base=Fraction(1, 25), crf=28, scenecut=False, device="cpu", reduced_precision=not exact
    )
    decoder = opened(exact=exact)
    for frame, objects in zip(frames, CROSSING, strict=True):
        (shown,) = decoder.send(encoder.send(frame, objects=objects)[0])
        assert encoder.reconstruction is not None
        for plane, expected in zip((shown.y, shown.u, shown.v), encoder.reconstruction, strict=True):
            assert np.array_equal(plane, expected)


def test_a_new_object_on_a_p_frame_is_predicted_from_everything() -> None:
    """So it needs the rest of that one frame; objects that were there before still need nothing."""
    old, late = SceneObject(1, 0, 200, 40, 34, 50, 60), SceneObject(3, 2, 90, 170, 70, 60, 40)
    scene = [[old], [old], [old, late], [old, late]]
    packets = encode(scene)
    whole, part, joining = opened(), opened(OBJECTS_ALONE), opened()
    for k, (packet, objects) in enumerate(zip(packets, scene, strict=True)):
        groups = groups_of(objects)
        cut = with_data(packet, drop_substreams(packet.data, lambda entry: entry.group == 0)) if k > 2 else packet
        for decoder, data in ((whole, packet), (part, packet), (joining, cut)):
            decoder.send(data)
        assert difference(part, whole, groups == 1) < ROUNDING
        assert difference(joining, whole, groups > 0) < ROUNDING
        if k == 2:
            assert difference(part, whole, groups == 2) > 1


@pytest.mark.parametrize("motion", [True, False])
def test_what_is_redacted_does_not_touch_other_objects(motion: bool) -> None:
    """motion: of the redacted object, stays."""
    still = SceneObject(2, 16, 150, 170, 70, 60, 40)
    scene = [[SceneObject(1, 0, 200, 10 + 8 * k, 34, 50, 60), still] for k in range(6)]
    whole, part = opened(), opened()
    for packet, objects in zip(encode(scene), scene, strict=True):
        kept = drop_substreams(packet.data, lambda e: e.group == 1 and not (motion and e.kind == SubstreamKind.MOTION))
        part.send(with_data(packet, kept))
        whole.send(packet)
        still_there = groups_of(objects) == int(groups_of(objects)[3, 6])
        assert difference(part, whole, still_there) < ROUNDING


# The warp itself, against one of the whole picture at a time


def nothing(n: int) -> Chain:
    return Chain(
        GroupSymbols(np.zeros((n, 1), np.int32), np.zeros((n, 4), np.int32)),
        np.zeros(n, np.bool_),
        np.zeros(n, np.bool_),
    )


def reference(
    objects: Sequence[SceneObject], planes: Planes, filled: NDArray[np.bool_] | None = None
) -> InterReference:
    groups = groups_of(objects)
    flow = torch.zeros(1, 2, 8 * groups.shape[0], 8 * groups.shape[1])
    chain = nothing(groups.size)
    return InterReference(planes, flow, chain, chain, groups, group_members(objects, groups), filled)


def maps_of(objects: Sequence[SceneObject]) -> FrameMaps:
    groups = groups_of(objects)
    return FrameMaps(CellMaps(np.zeros(groups.shape, np.int64), groups, "cpu"), group_members(objects, groups))


def noise(*shape: int, scale: float = 1.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(len(shape)).normal(scale=scale, size=shape)).float()


def spread(x: Tensor, cells: NDArray[np.bool_], per_cell: int) -> Tensor:
    """Nearest sample of the nearest cell for every other one, sample by sample."""
    known = np.argwhere(cells)
    result = x.clone()
    for r, c in np.argwhere(~cells):
        row, column = known[min(range(len(known)), key=lambda k: (*_order(known[k], (r, c)),))]
        for i in range(per_cell):
            for j in range(per_cell):
                y = min(max(r * per_cell + i, row * per_cell), row * per_cell + per_cell - 1)
                z = min(max(c * per_cell + j, column * per_cell), column * per_cell + per_cell - 1)
                result[..., r * per_cell + i, c * per_cell + j] = x[..., y, z]
    return result


def _order(cell: NDArray[np.int64], place: tuple[int, int]) -> tuple[int, int, int]:
    return int((cell[0] - place[0]) ** 2 + (cell[1] - place[1]) ** 2), int(cell[1]), int(cell[0])


@pytest.mark.parametrize("scale", [0.5, 20.0])
def test_the_warp_of_a_group_reads_its_own_cells_alone(scale: float) -> None:
    before, now = CROSSING[2], CROSSING[6]  # two groups, then one
    planes = Planes(noise(1, 1, 160, 256, scale=0.1), noise(1, 2, 80, 128, scale=0.1))
    flow = noise(1, 2, 40, 64, scale=scale)
    lost = groups_of(before) != 2
    for old, new, filled in ((before, before, None), (before, now, None), (now, before, None), (before, now, lost)):
        result = compensate(reference(old, planes, filled), flow, maps_of(new))
        groups, tracks = groups_of(new), group_members(new, groups_of(new))
        for group, members in enumerate(tracks):
            cells = groups == group
            grid = groups_of(old)
            shared = [k for k, other in enumerate(group_members(old, grid)) if other & members]
            known = np.ones_like(cells) if filled is None else filled
            source = np.isin(grid, shared) & known
            source = source if source.any() else known
            own = spread(flow, cells, 8)
            luma = warp(spread(planes.y, source, 32), upsample_flow(own, 4), mode="bicubic")
            chroma = warp(spread(planes.uv, source, 16), upsample_flow(own, 2) / 2, mode="bicubic")
            inside = torch.from_numpy(cells.repeat(16, 0).repeat(16, 1))
            expected = planes_to_half(Planes(luma, chroma))
            # positions in a part of a plane round otherwise: 1e-5 of a sample and its side
            assert torch.allclose(result.warped[0][:, inside], expected[0][:, inside], atol=1e-4)
            assert torch.allclose(result.flow[0][:, inside], upsample_flow(own, 2)[0][:, inside], atol=1e-5 * scale)


def test_one_group_is_warped_as_a_whole() -> None:
    planes = Planes(noise(1, 1, 160, 256), noise(1, 2, 80, 128))
    flow = noise(1, 2, 40, 64, scale=9)
    result = compensate(reference([], planes), flow, maps_of([]))
    luma = warp(planes.y, upsample_flow(flow, 4), mode="bicubic")
    assert torch.equal(result.warped[:, :4], F.pixel_unshuffle(luma, 2))
    assert torch.equal(result.flow, upsample_flow(flow, 2))


def test_groups_without_a_flow_are_left_alone() -> None:
    planes = Planes(noise(1, 1, 160, 256), noise(1, 2, 80, 128))
    groups = groups_of(CROSSING[0])
    result = compensate(reference([], planes), noise(1, 2, 40, 64), maps_of(CROSSING[0]), groups == 1)
    inside = torch.from_numpy((groups == 1).repeat(16, 0).repeat(16, 1))
    assert result.warped[0][:, inside].any()
    assert not result.warped[0][:, ~inside].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_flow_that_is_no_number_reaches_no_further_than_the_picture(value: float) -> None:
    planes = Planes(noise(1, 1, 160, 256), noise(1, 2, 80, 128))
    flow = torch.full((1, 2, 40, 64), value)
    for objects in (CROSSING[0], []):
        assert compensate(reference(objects, planes), flow, maps_of(objects)).warped.shape == (1, 6, 80, 128)


def test_the_nearest_cell_is_the_leftmost_then_the_upper_one_of_equals() -> None:
    random = np.random.default_rng(5)
    for _ in range(20):
        known = random.random((7, 9)) < 0.15
        known[random.integers(7), random.integers(9)] = True
        top, left = (int(v) for v in random.integers(0, 5, 2))
        rows, columns = nearest_cells(known, Area(top, left, 7, 8))
        for (r, c), row, column in zip(np.ndindex(7 - top, 8 - left), rows.flat, columns.flat, strict=True):
            best = min(((i - r - top) ** 2 + (j - c - left) ** 2, j, i) for i, j in np.argwhere(known))
            assert (column, row) == best[1:]


def test_an_extension_takes_the_nearest_sample_of_the_nearest_cell() -> None:
    x = torch.arange(36.0).view(1, 1, 6, 6)
    known = np.zeros((3, 3), np.bool_)
    known[1, 1] = True
    result = extend(x, known, per_cell=2)[0, 0].numpy()
    assert result[2:4, 2:4].tolist() == [[14, 15], [20, 21]]
    assert result[0].tolist() == result[1].tolist() == [14, 14, 14, 15, 15, 15]
    assert result[:, 5].tolist() == [15, 15, 15, 21, 21, 21]
    assert np.array_equal(extend(x, known, per_cell=2, area=Area(0, 1, 2, 3))[0, 0].numpy(), result[:4, 2:])
    assert extend(x, known, per_cell=2, area=Area(1, 1, 2, 2))[0, 0].tolist() == [[14, 15], [20, 21]]
