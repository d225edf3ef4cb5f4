"""P frames through the shipped model: exact reconstruction, flow that decodes alone, chains of symbols."""

from collections.abc import Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from ssvc_codec.bitstream import SceneObject, SubstreamKind, drop_substreams, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.errors import BitstreamError
from ssvc_codec.flow import FlowField
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.planner import HIERARCHIES, q_offset
from ssvc_codec.inference.latents import LatentCoder, Substream
from ssvc_codec.inference.merging import shown_flow
from ssvc_codec.packet import Packet

MOTION, RESIDUAL = SubstreamKind.MOTION, SubstreamKind.RESIDUAL
PERSON, DOG = SceneObject(1, 0, 200, 40, 30, 50, 60), SceneObject(2, 16, 150, 130, 70, 40, 40)


def moving_picture(n: int, *, width: int = 200, height: int = 120, bit_depth: int = 8, seed: int = 0) -> list[Frame]:
    """A texture that moves by (2, 1) samples a frame, with fine grain, and a disc that moves the other way."""
    random = np.random.default_rng(seed)
    video = VideoFormat(width, height, bit_depth=bit_depth)
    peak = 2**bit_depth - 1
    grain = random.normal(scale=0.02, size=(height + 4 * n, width + 4 * n))
    frames: list[Frame] = []
    for k in range(n):
        y, x = np.mgrid[:height, :width].astype(float)
        moved_x, moved_y = x + 2 * k, y + k
        luma = 0.5 + 0.2 * np.sin(moved_x / 9) * np.cos(moved_y / 7) + 0.12 * ((moved_x / 23 + moved_y / 31) % 1 > 0.5)
        luma = luma + grain[k : k + height, 2 * k : 2 * k + width]
        disc = (x - 60 + 1.5 * k) ** 2 + (y - 50) ** 2 < 20**2
        luma[disc] = 0.8 + 0.1 * np.sin((x[disc] + 1.5 * k) / 3)
        half = luma[::2, ::2] * 0.3 + 0.35
        planes = [np.clip(p * peak, 0, peak).astype(video.dtype) for p in (luma, half, 1 - half)]
        frames.append(Frame(planes[0], planes[1], planes[2], video, pts=k, duration=1, time_base=Fraction(1, 25)))
    return frames


def encode(
    frames: Sequence[Frame], *, objects: Sequence[Sequence[SceneObject]] = (), **options: object
) -> list[Packet]:
    encoder = open_encoder(frames[0].format, **options)
    listed = objects or [()] * len(frames)
    return [encoder.send(frame, objects=o)[0] for frame, o in zip(frames, listed, strict=True)]


def open_encoder(video: VideoFormat, **options: object) -> Encoder:
    settings: dict[str, object] = {"crf": 28, "scenecut": False, "device": "cpu", **options}
    return Encoder(video, time_base=Fraction(1, 25), **settings)  # type: ignore[arg-type]


def decode(packets: Sequence[Packet], **options: object) -> list[Frame]:
    decoder: Decoder[Frame] = Decoder(device="cpu", **options)  # type: ignore[arg-type]
    return [decoder.send(packet)[0] for packet in packets]


def flows(packets: Sequence[Packet], **options: object) -> list[FlowField]:
    decoder: Decoder[FlowField] = Decoder(parts={"motion"}, device="cpu", **options)  # type: ignore[arg-type]
    return [field for packet in packets for field in decoder.send(packet)]


def with_data(packet: Packet, data: bytes) -> Packet:
    return Packet(data, packet.pts, packet.is_keyframe, packet.duration, packet.time_base)


def psnr(a: Frame, b: Frame) -> float:
    peak = 2**a.format.bit_depth - 1
    return float(10 * np.log10(peak**2 / np.mean((a.y.astype(float) - b.y.astype(float)) ** 2)))


@contextmanager
def threads(n: int):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return moving_picture(6)


@pytest.fixture(scope="module")
def packets(frames: list[Frame]) -> list[Packet]:
    return encode(frames)


@pytest.fixture(scope="module")
def grouped(frames: list[Frame]) -> list[Packet]:
    return encode(frames, objects=[(PERSON, DOG)] * len(frames))


@pytest.mark.parametrize(("width", "height", "bit_depth"), [(200, 120, 8), (67, 35, 8), (64, 64, 10), (33, 1, 8)])
def test_the_encoder_knows_exactly_what_a_decoder_shows(width: int, height: int, bit_depth: int) -> None:
    pictures = moving_picture(4, width=width, height=height, bit_depth=bit_depth)
    encoder = open_encoder(pictures[0].format)
    decoder = Decoder(device="cpu")
    for picture in pictures:
        (shown,) = decoder.send(encoder.send(picture)[0])
        assert encoder.reconstruction is not None
        for plane, expected in zip((shown.y, shown.u, shown.v), encoder.reconstruction, strict=True):
            assert np.array_equal(plane, expected)


def test_p_frames_are_small_and_good(frames: list[Frame], packets: list[Packet]) -> None:
    sizes = [len(packet.data) for packet in packets]
    assert max(sizes[1:]) < sizes[0] / 2  # a shift by whole samples and a disc: little is new
    first, *others = (psnr(a, b) for a, b in zip(frames, decode(packets), strict=True))
    assert min(others) > first - 4.5  # coarser by design: the I frame is 17 levels finer


def test_frame_types_and_numbers_follow_the_plan(frames: list[Frame]) -> None:
    packets = encode(frames, keyint=4)
    assert [packet.is_keyframe for packet in packets] == [True, False, False, False, True, False]
    assert [parse_packet(packet.data).header.frame_number for packet in packets] == [0, 1, 2, 3, 0, 1]


def test_a_forced_key_frame_starts_a_group(frames: list[Frame]) -> None:
    encoder = open_encoder(frames[0].format)
    packets = [encoder.send(frame, force_key=k == 3)[0] for k, frame in enumerate(frames)]
    assert [packet.is_keyframe for packet in packets] == [True, False, False, True, False, False]
    assert len(decode(packets[3:])) == 3  # closed: nothing before it is needed


def test_flow_alone_is_the_flow_of_full_decoding(packets: list[Packet]) -> None:
    decoder = Decoder(device="cpu")
    full = []
    for packet in packets:
        decoder.send(packet)
        state = decoder._state
        assert state is not None
        assert state.reference is not None
        full.append(shown_flow(state.reference)[0].numpy())
    alone = flows(packets)
    assert [field.pts for field in alone] == [1, 2, 3, 4, 5]
    for field, expected in zip(alone, full[1:], strict=True):
        assert field.scale == 4
        assert np.array_equal(field.values, expected[:, :30, :50])


@pytest.mark.parametrize("remove", [True, False])
def test_flow_needs_nothing_but_motion(packets: list[Packet], remove: bool) -> None:
    expected = flows(packets)
    spoiled = []
    for packet in packets:
        if remove:  # of I packets everything
            data = drop_substreams(packet.data, lambda entry: entry.kind != MOTION)
        else:
            data = bytearray(packet.data)
            for entry in parse_packet(packet.data).entries:
                if entry.kind != MOTION:
                    data[entry.offset : entry.offset + entry.coded_size] = b"\xa5" * entry.coded_size
        spoiled.append(with_data(packet, bytes(data)))
    for field, reference in zip(flows(spoiled), expected, strict=True):
        assert np.array_equal(field.values, reference.values)


def test_flow_finds_the_motion_of_the_picture(packets: list[Packet]) -> None:
    field = flows(packets)[2].values
    middle = field[:, 20:28, 25:45]  # of the texture, away from the disc and the edges
    assert np.median(middle[0]) == pytest.approx(2, abs=0.35)  # it moves left: what is at x was at x + 2
    assert np.median(middle[1]) == pytest.approx(1, abs=0.35)


def test_a_chain_of_motion_starts_from_a_vector_of_its_own(packets: list[Packet]) -> None:
    read = LatentCoder.read
    starts: list[list[int] | None] = []

    def record(coder: LatentCoder, substreams: Sequence[Substream]) -> Any:
        found: list[Any] = read(coder, substreams)
        for (_, start), substream in zip(found, substreams, strict=True):
            starts.append(start.tolist() if substream.has_start else None)
        return found

    with mock.patch.object(LatentCoder, "read", record):
        flows(packets)
    assert starts[1:] == [None] * 4  # frames 2 to 5 go on
    assert starts[0] == pytest.approx([8, 4], abs=1)  # the texture moves by (2, 1) samples; in quarters


def test_flow_of_a_group_alone_is_exact(grouped: list[Packet]) -> None:
    whole = flows(grouped, reduced_precision=False)
    person = [with_data(p, drop_substreams(p.data, lambda e: e.kind == MOTION and e.group != 1)) for p in grouped]
    for a, b in zip(flows(person, reduced_precision=False), whole, strict=True):
        inside = (slice(None), slice(8, 24), slice(8, 16))  # cells of PERSON: rows 1 and 2, column 1
        # exact but for sums over a window of another shape, which may round otherwise
        assert np.allclose(a.values[inside], b.values[inside], atol=1e-5)
        assert not a.values[:, :, 40:].any()  # nothing of the rest


def test_a_p_frame_without_its_reference_is_refused(packets: list[Packet]) -> None:
    decoder = Decoder(device="cpu")
    decoder.send(packets[0])
    with pytest.raises(BitstreamError, match="needs frame 1, frame 0 came before"):
        decoder.send(packets[2])
    with pytest.raises(BitstreamError, match="without the frame it refers to"):
        decoder.send(packets[1])  # frame 0 is not what was decoded last any more
    with pytest.raises(BitstreamError, match="without the frame it refers to"):
        Decoder(device="cpu").send(packets[1])


def test_after_damage_p_frames_are_refused_until_the_next_i_frame(packets: list[Packet]) -> None:
    decoder = Decoder(device="cpu")
    decoder.send(packets[0])
    data = bytearray(packets[1].data)
    data[-1] ^= 1
    with pytest.raises(BitstreamError, match="CRC-16"):
        decoder.send(with_data(packets[1], bytes(data)))
    with pytest.raises(BitstreamError, match="without the frame it refers to"):
        decoder.send(packets[2])
    assert decoder.send(packets[0])


def test_missing_motion_repeats_the_reference_and_missing_residual_shows_the_prediction(packets: list[Packet]) -> None:
    first = decode(packets[:1])[0]
    still = with_data(packets[1], drop_substreams(packets[1].data, lambda entry: True))
    shown = decode([packets[0], still])[1]
    assert np.array_equal(first.y, shown.y)
    moved = with_data(packets[1], drop_substreams(packets[1].data, lambda entry: entry.kind == RESIDUAL))
    predicted = decode([packets[0], moved])[1]
    whole = decode(packets[:2])[1]
    assert psnr(whole, predicted) > psnr(whole, shown)


@pytest.mark.parametrize("kind", [MOTION, RESIDUAL])
def test_a_substream_whose_chain_is_broken_counts_as_left_out(packets: list[Packet], kind: SubstreamKind) -> None:
    def without(packet: Packet) -> Packet:
        return with_data(packet, drop_substreams(packet.data, lambda entry: entry.kind == kind))

    broken = decode([packets[0], without(packets[1]), *packets[2:4]])
    removed = decode([packets[0], *(without(packet) for packet in packets[1:4])])
    for a, b in zip(broken, removed, strict=True):
        assert np.array_equal(a.y, b.y)


def test_a_chain_starts_anew_where_the_objects_of_a_group_change(frames: list[Frame]) -> None:
    packets = encode(frames, objects=[(PERSON,), (PERSON,), (PERSON, DOG), (PERSON, DOG), (DOG,), (DOG,)])
    decode(packets)  # every change of groups parses

    def without_person(packet: Packet) -> Packet:
        return with_data(packet, drop_substreams(packet.data, lambda e: e.kind == RESIDUAL and e.group == 1))

    cut = [packets[0], without_person(packets[1]), *packets[2:]]
    assert len(decode(cut)) == len(packets)


def test_symbols_of_p_frames_do_not_depend_on_threads_or_precision(grouped: list[Packet]) -> None:
    def symbols(**options: object) -> list[bytes]:
        decoder = Decoder(device="cpu", **options)  # type: ignore[arg-type]
        found: list[bytes] = []
        for packet in grouped:
            decoder.send(packet)
            state = decoder._state
            assert state is not None
            assert state.reference is not None
            for chain in (state.reference.motion, state.reference.residual):
                found += [chain.symbols.z.tobytes(), chain.symbols.y.tobytes(), chain.symbols.merges().tobytes()]
                found.append(chain.symbols.owns().tobytes())
        return found

    with threads(1):
        expected = symbols()
        assert symbols(reduced_precision=False) == expected
    with threads(2):
        assert symbols() == expected


def test_pictures_of_a_group_of_pictures_hardly_depend_on_precision(frames: list[Frame], packets: list[Packet]) -> None:
    fast, exact = decode(packets), decode(packets, reduced_precision=False)
    for frame, a, b in zip(frames, fast, exact, strict=True):
        assert psnr(frame, a) == pytest.approx(psnr(frame, b), abs=0.05)  # the limit for drift


def test_presets_differ_and_all_decode(frames: list[Frame]) -> None:
    coded = {preset: encode(frames[:3], preset=preset) for preset in ("fast", "medium", "slow")}
    assert all(len(decode(packets)) == 3 for packets in coded.values())
    assert coded["fast"][1].data != coded["medium"][1].data  # slow may find nothing better than medium


def test_statistics_add_up(frames: list[Frame]) -> None:
    encoder = open_encoder(frames[0].format)
    for frame in frames[:3]:
        (packet,) = encoder.send(frame)
        s = encoder.statistics
        assert s is not None
        assert s.n_bytes == len(packet.data)
        assert s.is_keyframe == packet.is_keyframe
        payload = sum(entry.length for entry in parse_packet(packet.data).entries)
        assert s.n_motion_bytes + s.n_residual_bytes == payload
        assert (s.n_motion_bytes == 0) == s.is_keyframe


def test_all_intra_needs_no_reference(frames: list[Frame]) -> None:
    packets = encode(frames[:2], keyint=1)
    assert all(packet.is_keyframe for packet in packets)
    a, b = (decode([packet])[0] for packet in packets)
    assert not np.array_equal(a.y, b.y)


def test_q_in_the_packets_is_that_of_the_plan(frames: list[Frame], packets: list[Packet]) -> None:
    offsets = [q_offset(k, keyint=60, hierarchy=HIERARCHIES["psnr"]) for k in range(len(packets))]
    assert [parse_packet(packet.data).header.q_index for packet in packets] == [35 + offset for offset in offsets]
    intra = encode(frames[:1], keyint=1)[0]
    assert parse_packet(intra.data).header.q_index == 35  # 63 less crf


def test_parts_that_cannot_be_decoded_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="motion can be decoded alone"):
        Decoder(parts={"sound"})


def test_what_stands_still_stays_as_it_is(frames: list[Frame]) -> None:
    packets = encode([frames[0], *([frames[0]] * 3)], crf=50)
    first, *others = decode(packets)
    for shown in others:  # most cells need nothing: no network may touch them again and again
        assert np.mean(shown.y == first.y) > 0.5
