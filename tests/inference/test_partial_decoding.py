"""Some groups of a picture decoded alone: nothing else is read, computed or needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from ssvc_codec.bitstream import COCO_80, SceneObject, drop_substreams, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.errors import ChecksumError
from ssvc_codec.frame import Color, Frame, VideoFormat
from ssvc_codec.gop.groups import group_map
from ssvc_codec.inference.latents import GroupSymbols
from ssvc_codec.inference.merging import shown_flow
from ssvc_codec.inference.windows import Window, pick_windows
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection

WIDTH, HEIGHT = 250, 150  # 8 x 5 cells, the last of both sides not whole
PERSON, DOG = SceneObject(1, 0, 200, 40, 34, 50, 60), SceneObject(2, 16, 150, 170, 70, 60, 40)
PERSON_ALONE = Selection(objects=("#1",), background=False)
GRAY = 128
SEAM = 2  # samples beside a border of groups that the filter of section 6.4 may change where both sides are shown


def moving_picture(n: int, *, width: int = WIDTH, height: int = HEIGHT, full_range: bool = False) -> list[Frame]:
    """A texture that moves by (2, 1) samples a frame, and a disc that moves the other way."""
    video = VideoFormat(width, height, color=Color(full_range=full_range))
    frames: list[Frame] = []
    for k in range(n):
        y, x = np.mgrid[:height, :width].astype(float)
        moved_x, moved_y = x + 2 * k, y + k
        luma = 0.5 + 0.2 * np.sin(moved_x / 9) * np.cos(moved_y / 7) + 0.12 * ((moved_x / 23 + moved_y / 31) % 1 > 0.5)
        luma[(x - 60 + 1.5 * k) ** 2 + (y - 60) ** 2 < 20**2] = 0.8
        half = luma[::2, ::2] * 0.3 + 0.35
        planes = [np.clip(p * 255, 0, 255).astype(np.uint8) for p in (luma, half, 1 - half)]
        frames.append(Frame(planes[0], planes[1], planes[2], video, pts=k, duration=1, time_base=Fraction(1, 25)))
    return frames


def encode(frames: Sequence[Frame], objects: Sequence[Sequence[SceneObject]], **options: object) -> list[Packet]:
    settings: dict[str, object] = {"crf": 28, "scenecut": False, "device": "cpu", **options}
    encoder = Encoder(frames[0].format, time_base=Fraction(1, 25), **settings)  # type: ignore[arg-type]
    return [encoder.send(frame, objects=o)[0] for frame, o in zip(frames, objects, strict=True)]


def opened(select: Selection | None = None, **options: object) -> Decoder[Frame]:
    return Decoder(device="cpu", select=select, **options)  # type: ignore[arg-type]


def decode(packets: Sequence[Packet], select: Selection | None = None, **options: object) -> list[Frame]:
    decoder = opened(select, **options)
    return [decoder.send(packet)[0] for packet in packets]


def samples(mask: NDArray[np.bool_], frame: Frame, *, margin: int = 0) -> NDArray[np.int64]:
    """All samples of the cells of a (rows, columns) mask, luma then chroma, without a margin along other cells."""
    parts: list[NDArray[np.integer]] = []
    for plane, size in ((frame.y, 32), (frame.u, 16), (frame.v, 16)):
        inside = mask.repeat(size, 0).repeat(size, 1)
        around = np.pad(inside, margin, mode="edge")
        for dy, dx in np.ndindex(2 * margin + 1, 2 * margin + 1):
            inside = inside & around[dy : dy + inside.shape[0], dx : dx + inside.shape[1]]
        parts.append(plane[inside[: plane.shape[0], : plane.shape[1]]])
    return np.concatenate(parts).astype(np.int64)


def spoiled(packet: Packet, keep: Callable[[int], bool]) -> Packet:
    """Garbage in place of the payloads, and of their checksums, of groups that are not kept."""
    data = bytearray(packet.data)
    for entry in parse_packet(packet.data).entries:
        if not keep(entry.group):
            data[entry.offset : entry.offset + entry.coded_size] = b"\xa5" * entry.coded_size
    return with_data(packet, bytes(data))


def with_data(packet: Packet, data: bytes) -> Packet:
    return Packet(data, packet.pts, packet.is_keyframe, packet.duration, packet.time_base)


def same(a: Sequence[Frame], b: Sequence[Frame]) -> bool:
    return all(np.array_equal(p, q) for x, y in zip(a, b, strict=True) for p, q in ((x.y, y.y), (x.u, y.u), (x.v, y.v)))


def symbols_of(decoder: Decoder[Frame]) -> list[GroupSymbols]:
    state = decoder._state
    assert state is not None
    assert state.reference is not None
    return [state.reference.motion.symbols, state.reference.residual.symbols]


def filled_of(decoder: Decoder[Frame]) -> NDArray[np.bool_]:
    state = decoder._state
    assert state is not None
    assert state.reference is not None
    filled = state.reference.filled
    return np.ones(decoder.shown.shape, np.bool_) if filled is None else filled


def flow_of(decoder: Decoder[Frame]) -> NDArray[np.float32]:
    state = decoder._state
    assert state is not None
    assert state.reference is not None
    return shown_flow(state.reference)[0].numpy()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return moving_picture(5)


@pytest.fixture(scope="module")
def packets(frames: list[Frame]) -> list[Packet]:
    return encode(frames, [(PERSON, DOG)] * len(frames))


@pytest.fixture(scope="module")
def groups() -> NDArray[np.uint16]:
    return group_map((PERSON, DOG), width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize("select", [PERSON_ALONE, Selection(objects=("dog",)), Selection(exclude=("dog",))])
def test_what_is_selected_decodes_on_an_i_frame_as_in_the_whole(
    packets: list[Packet], groups: NDArray[np.uint16], select: Selection
) -> None:
    decoder = opened(select)
    part, whole = decoder.send(packets[0])[0], decode(packets[:1])[0]
    wanted = select.resolve(COCO_80).groups((PERSON, DOG), groups)
    assert np.array_equal(decoder.shown, np.isin(groups, list(wanted)))
    difference = samples(decoder.shown, part, margin=SEAM) - samples(decoder.shown, whole, margin=SEAM)
    assert np.abs(difference).max() <= 1  # sums of other shapes may round otherwise
    assert set(samples(~decoder.shown, part)) == {GRAY}


def test_symbols_of_what_is_selected_are_those_of_the_whole(packets: list[Packet], groups: NDArray[np.uint16]) -> None:
    whole, part = opened(), opened(PERSON_ALONE)
    of_i = part.symbols(packets[0].data)
    expected = whole.symbols(packets[0].data)[1]
    assert set(of_i) == {1}
    assert np.array_equal(of_i[1].z, expected.z)
    assert np.array_equal(of_i[1].y, expected.y)
    rows = np.flatnonzero(groups == 1)
    for packet in packets:
        whole.send(packet)
        part.send(packet)
        for a, b in zip(symbols_of(part), symbols_of(whole), strict=True):
            assert np.array_equal(a.take(rows).y, b.take(rows).y)
            assert np.array_equal(a.take(rows).z, b.take(rows).z)


def test_the_flow_of_what_is_selected_is_that_of_the_whole(packets: list[Packet], groups: NDArray[np.uint16]) -> None:
    whole, part = opened(reduced_precision=False), opened(PERSON_ALONE, reduced_precision=False)
    inside = (groups == 1).repeat(8, 0).repeat(8, 1)
    for packet in packets:
        whole.send(packet)
        part.send(packet)
        assert np.allclose(flow_of(part)[:, inside], flow_of(whole)[:, inside], atol=1e-5)  # rounding of sums
        assert not flow_of(part)[:, ~inside].any()


def test_flow_alone_can_be_selected_too(packets: list[Packet], groups: NDArray[np.uint16]) -> None:
    decoder = Decoder(parts={"motion"}, select=PERSON_ALONE, device="cpu")
    pictures = opened(PERSON_ALONE)
    for packet in packets:
        fields = decoder.send(packet)
        pictures.send(packet)
        for field in fields:
            height, width = field.values.shape[1:]
            assert np.array_equal(field.values, flow_of(pictures)[:, :height, :width])
            assert np.array_equal(decoder.shown, groups == 1)
    assert decoder.n_bytes_read < pictures.n_bytes_read


@pytest.mark.parametrize("fill", ["gray", "black", "blur", "hold"])
def test_other_substreams_may_be_garbage_or_missing(packets: list[Packet], fill: str) -> None:
    expected = decode(packets, PERSON_ALONE, fill=fill)
    assert same(expected, decode([spoiled(p, lambda group: group == 1) for p in packets], PERSON_ALONE, fill=fill))
    dropped = [with_data(p, drop_substreams(p.data, lambda entry: entry.group != 1)) for p in packets]
    assert same(expected, decode(dropped, PERSON_ALONE, fill=fill))


def test_a_packet_may_end_after_the_last_substream_that_is_selected(packets: list[Packet]) -> None:
    cut: list[Packet] = []
    for packet in packets:
        entries = parse_packet(packet.data).entries
        end = max(entry.offset + entry.coded_size for entry in entries if entry.group == 1)
        cut.append(with_data(packet, packet.data[:end]))
    assert len(cut[0].data) < len(packets[0].data)
    assert same(decode(cut, PERSON_ALONE), decode(packets, PERSON_ALONE))


def test_damage_to_what_is_selected_is_reported(packets: list[Packet]) -> None:
    decoder = opened(PERSON_ALONE)
    with pytest.raises(ChecksumError, match="group 1"):
        decoder.send(spoiled(packets[0], lambda group: group != 1))


def test_bytes_read_are_heads_and_selected_substreams(packets: list[Packet]) -> None:
    decoder = opened(PERSON_ALONE)
    expected = 0
    for packet in packets:
        decoder.send(packet)
        parsed = parse_packet(packet.data)
        expected += parsed.head_length + sum(entry.coded_size for entry in parsed.entries if entry.group == 1)
        assert decoder.n_bytes_read == expected
    whole = opened()
    for packet in packets:
        whole.send(packet)
    assert whole.n_bytes_read == sum(len(packet.data) for packet in packets)


def test_a_decoder_tells_objects_and_classes(packets: list[Packet]) -> None:
    decoder = opened(Selection(objects=("0",), background=False))
    assert decoder.objects == ()
    decoder.send(packets[0])
    assert decoder.objects == (PERSON, DOG)
    assert decoder.classes == COCO_80
    with pytest.raises(ValueError, match="did you mean person"):
        opened(Selection(objects=("persn",))).send(packets[0])


def test_windows_change_nothing_but_rounding(packets: list[Packet], groups: NDArray[np.uint16]) -> None:
    def everywhere(groups: NDArray[np.integer], chosen: NDArray[np.bool_]) -> list[Window]:
        return [Window(0, 0, chosen)] if chosen.any() else []

    def run() -> tuple[list[Frame], Decoder[Frame]]:
        decoder = opened(PERSON_ALONE, reduced_precision=False)
        return [decoder.send(packet)[0] for packet in packets], decoder

    (windowed, a) = run()
    with (
        mock.patch("ssvc_codec.inference.inter.pick_windows", everywhere),
        mock.patch("ssvc_codec.inference.intra.pick_windows", everywhere),
    ):
        (plain, b) = run()
    for x, y in zip(windowed, plain, strict=True):
        assert np.abs(samples(groups >= 0, x) - samples(groups >= 0, y)).max() <= 1
    for x, y in zip(symbols_of(a), symbols_of(b), strict=True):
        assert np.array_equal(x.y, y.y)
    assert np.allclose(flow_of(a), flow_of(b), atol=1e-5)


def test_a_selection_of_nothing_reads_heads_alone(packets: list[Packet]) -> None:
    decoder = opened(Selection(objects=(), background=False))
    for packet in packets:
        (frame,) = decoder.send(packet)
        assert set(samples(np.ones((5, 8), np.bool_), frame)) == {GRAY}
        assert not decoder.shown.any()
    assert decoder.n_bytes_read == sum(parse_packet(packet.data).head_length for packet in packets)


def test_a_selection_of_everything_is_plain_decoding(packets: list[Packet]) -> None:
    assert same(decode(packets, Selection()), decode(packets))


def test_objects_may_cover_the_whole_picture(frames: list[Frame]) -> None:
    left = SceneObject(1, 0, 255, 0, 0, 128, HEIGHT)
    right = SceneObject(2, 16, 255, 128, 0, WIDTH - 128, HEIGHT)
    packets = encode(frames[:3], [(left, right)] * 3)
    part, whole = decode(packets, Selection(objects=("dog",))), decode(packets)
    for a, b in zip(part, whole, strict=True):
        assert (a.y[:, :128] == GRAY).all()
        error = a.y[:, 128:].astype(int) - b.y[:, 128:]
        assert np.mean(error**2) < 0.5  # bfloat16 rounds otherwise in windows


def test_two_hundred_objects_decode_one_by_one() -> None:
    frames = moving_picture(2, width=640, height=320)
    objects = [SceneObject(k, k % 80, 255, k % 20 * 32, k // 20 * 32, 32, 32) for k in range(200)]
    packets = encode(frames, [objects] * 2, crf=40)
    decoder = opened(Selection(objects=("#0", "#57", "#199", "person"), background=False))
    whole = decode(packets)
    for packet, expected in zip(packets, whole, strict=True):
        (frame,) = decoder.send(packet)
        assert set(np.flatnonzero(decoder.shown)) == {0, 57, 80, 160, 199}
        difference = samples(decoder.shown, frame, margin=SEAM) - samples(decoder.shown, expected, margin=SEAM)
        assert np.abs(difference).max() <= 1


def test_chains_go_on_and_start_anew_when_groups_change(frames: list[Frame]) -> None:
    beside = SceneObject(2, 16, 150, 80, 60, 60, 40)  # shares a cell with PERSON
    late = SceneObject(3, 2, 90, 200, 100, 30, 30)
    objects = [(PERSON,), (PERSON, DOG), (PERSON, beside), (PERSON, beside, late), (PERSON, DOG, late)]
    packets = encode(frames, objects)
    for select in (PERSON_ALONE, Selection(objects=("#3",), background=False), Selection(exclude=("#2",))):
        whole, part = opened(), opened(select)
        for packet, listed in zip(packets, objects, strict=True):
            whole.send(packet)
            part.send(packet)
            grid = group_map(listed, width=WIDTH, height=HEIGHT)
            wanted = select.resolve(COCO_80).groups(listed, grid)
            rows = np.flatnonzero(np.isin(grid, list(wanted)) & part.shown)
            for a, b in zip(symbols_of(part), symbols_of(whole), strict=True):
                assert np.array_equal(a.take(rows).y, b.take(rows).y)
            if select is PERSON_ALONE:
                assert np.array_equal(part.shown, grid == grid[1, 1])  # merged with the dog it is still wanted
    decoder = opened(Selection(objects=("#3",), background=False))
    shown = [(decoder.send(packet), decoder.shown.any())[1] for packet in packets]
    assert shown == [False, False, False, True, True]


def test_a_group_that_is_left_out_from_the_i_frame_on_stays_gray(packets: list[Packet]) -> None:
    """Plain decoding: what prediction takes from beyond what is known is not shown."""
    left_out = [with_data(p, drop_substreams(p.data, lambda entry: entry.group == 0)) for p in packets]
    decoder = opened()
    for packet in left_out:
        (frame,) = decoder.send(packet)
        assert set(samples(~decoder.shown, frame)) == {GRAY}


def test_beyond_what_is_filled_the_reference_holds_the_nearest_samples() -> None:
    """Every row has one brightness, so the nearest samples to the left are the right ones."""
    frames = moving_picture(2)
    for frame in frames:
        frame.y[:], frame.u[:], frame.v[:] = 200 + 20 * np.sin(np.arange(HEIGHT)[:, None] / 5), 90, 160
    narrow, moved = SceneObject(1, 0, 200, 100, 34, 20, 60), SceneObject(1, 0, 200, 170, 34, 20, 60)
    packets = encode(frames, [(narrow,), (moved,)])
    left = np.s_[32:96, 96:128]  # cells that were of the object

    def error() -> float:
        part, whole = decode(packets, Selection(exclude=("person",)))[1], decode(packets)[1]
        return float(np.mean((part.y[left].astype(float) - whole.y[left]) ** 2))

    extended = error()
    with mock.patch("ssvc_codec.inference.compensation.extend", lambda x, *_, per_cell, area: area.crop(x, per_cell)):
        gray = error()
    assert extended < gray / 100


def test_cells_that_an_object_has_left_are_not_filled(frames: list[Frame]) -> None:
    moved = SceneObject(1, 0, 200, 104, 34, 50, 60)
    objects = [(PERSON,), (moved,), (moved,)]
    packets = encode(frames[:3], objects)
    decoder = opened(PERSON_ALONE)
    for packet, listed in zip(packets, objects, strict=True):
        decoder.send(packet)
        assert np.array_equal(filled_of(decoder), group_map(listed, width=WIDTH, height=HEIGHT) == 1)


def test_what_is_lost_stays_filled_while_its_group_is_the_same(packets: list[Packet]) -> None:
    decoder = opened()
    lost = with_data(packets[1], drop_substreams(packets[1].data, lambda entry: entry.group == 0))
    for packet in (packets[0], lost, packets[2]):
        decoder.send(packet)
        assert filled_of(decoder).all()  # an old background is a better prediction than none


@pytest.mark.parametrize(("full_range", "black"), [(False, 16), (True, 0)])
def test_black_is_that_of_the_format(full_range: bool, black: int) -> None:
    frames = moving_picture(1, full_range=full_range)
    packets = encode(frames, [(PERSON,)])
    (frame,) = decode(packets, PERSON_ALONE, fill="black")
    assert (frame.y[:32] == black).all()
    assert (frame.u[:16] == 128).all()


def test_hold_shows_what_was_decoded_there_last(frames: list[Frame]) -> None:
    moved = SceneObject(1, 0, 200, 104, 34, 50, 60)  # 64 samples to the right
    packets = encode(frames[:3], [(PERSON,), (PERSON,), (moved,)])
    _, before, after = decode(packets, PERSON_ALONE, fill="hold")
    assert np.array_equal(before.y[32:96, 32:96], after.y[32:96, 32:96])
    assert (after.y[:32, 40] == after.y[32, 40]).all()  # never known: the nearest
    assert (before.y[64, 96:] == before.y[64, 95]).all()


def test_hold_goes_on_across_i_frames(frames: list[Frame]) -> None:
    moved = SceneObject(1, 0, 200, 104, 34, 50, 60)
    packets = encode(frames[:2], [(PERSON,), (moved,)], keyint=1)
    before, after = decode(packets, PERSON_ALONE, fill="hold")
    assert np.array_equal(before.y[32:96, 32:96], after.y[32:96, 32:96])


def test_blur_is_smooth_and_like_what_is_around(packets: list[Packet], groups: NDArray[np.uint16]) -> None:
    (frame,) = decode(packets[:1], PERSON_ALONE, fill="blur")
    (plain,) = decode(packets[:1], PERSON_ALONE)
    assert np.array_equal(samples(groups == 1, frame), samples(groups == 1, plain))
    outside = frame.y[96:].astype(int)
    assert np.abs(np.diff(outside, axis=1)).max() <= 4
    inside = samples(groups == 1, frame)
    assert inside.min() <= samples(groups != 1, frame).min()
    assert samples(groups != 1, frame).max() <= inside.max()


def test_a_fill_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="gray, black, blur, hold"):
        opened(fill="pink")


def test_every_chosen_cell_is_in_one_window() -> None:
    random = np.random.default_rng(3)
    for _ in range(30):
        n = int(random.integers(1, 40))
        corners = random.integers(0, (600, 300), (n, 2))
        objects = [SceneObject(k, 0, 0, int(x), int(y), 40, 40) for k, (x, y) in enumerate(corners)]
        groups = group_map(objects, width=640, height=340)
        chosen = np.isin(groups, random.integers(0, groups.max() + 1, 5))
        counts = np.zeros(groups.shape, np.int64)
        for window in pick_windows(groups, chosen):
            counts[window.top : window.bottom, window.left : window.right] += window.cells
            inside = groups[window.top : window.bottom, window.left : window.right][window.cells]
            for group in np.unique(inside):
                assert (inside == group).sum() == (groups == group).sum()
        assert np.array_equal(counts, chosen)


def test_windows_take_no_more_than_the_picture() -> None:
    groups = np.zeros((10, 10), np.int64)
    groups[::2, ::2] = np.arange(1, 26).reshape(5, 5)
    assert sum(window.cells.size for window in pick_windows(groups, groups > 0)) <= 100
    assert pick_windows(groups, groups < 0) == []
