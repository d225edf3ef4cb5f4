"""Intra pictures through the shipped model: exact symbols, independent groups, any size."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
import torch

from ssvc_codec.bitstream import SceneObject, SubstreamKind, build_packet, drop_substreams, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.errors import BitstreamError, ChecksumError, LimitError, ModelError
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.inference.intra import IntraCoder
from ssvc_codec.inference.merge_coding import CellGrid
from ssvc_codec.packet import Packet
from ssvc_codec.weights import load_model

OBJECTS = (SceneObject(1, 0, 200, 40, 30, 50, 60), SceneObject(2, 2, 150, 130, 70, 40, 40))


def picture(width: int, height: int, *, bit_depth: int = 8, seed: int = 0) -> Frame:
    """Smooth shapes with some noise, in all three planes."""
    random = np.random.default_rng(seed)
    video = VideoFormat(width, height, bit_depth=bit_depth)
    peak = 2**bit_depth - 1

    def plane(h: int, w: int, phase: float) -> np.ndarray:
        y, x = np.mgrid[:h, :w] / max(h, w, 8)
        wave = 0.5 + 0.25 * np.sin(9 * x + phase) * np.cos(7 * y - phase) + 0.15 * ((x * 11 + y * 5 + phase) % 1 > 0.5)
        return np.clip((wave + random.normal(scale=0.02, size=(h, w))) * peak, 0, peak).astype(video.dtype)

    chroma = (video.chroma_height, video.chroma_width)
    return Frame(plane(height, width, 0.0), plane(*chroma, 1.0), plane(*chroma, 2.0), video, pts=0)


def encode(frame: Frame, *, crf: float = 28, objects: tuple[SceneObject, ...] = (), **options: object) -> Packet:
    encoder = Encoder(frame.format, time_base=Fraction(1, 25), crf=crf, device="cpu")
    return encoder.send(frame, objects=objects, **options)[0]  # type: ignore[arg-type]


def psnr(a: np.ndarray, b: np.ndarray, peak: int = 255) -> float:
    return float(10 * np.log10(peak**2 / max(np.mean((a.astype(float) - b.astype(float)) ** 2), 1e-3)))


@pytest.fixture(scope="module")
def packet() -> Packet:
    return encode(picture(200, 120), objects=OBJECTS)


@contextmanager
def threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    yield
    torch.set_num_threads(before)


@contextmanager
def without_mkldnn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a flag for Intel GPUs here
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@contextmanager
def contiguous_layout() -> Iterator[None]:
    """The networks in NCHW instead of NHWC memory."""
    before = torch.channels_last
    torch.channels_last = torch.contiguous_format
    yield
    torch.channels_last = before


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[g].z, b[g].z) and np.array_equal(a[g].y, b[g].y) for g in a)


@pytest.mark.parametrize("situation", [lambda: threads(1), lambda: threads(2), without_mkldnn, contiguous_layout])
def test_symbols_are_the_same_in_every_situation(packet: Packet, situation: Callable) -> None:
    expected = Decoder(device="cpu").symbols(packet.data)
    with situation():
        assert same(Decoder(device="cpu").symbols(packet.data), expected)
        assert same(Decoder(device="cpu", reduced_precision=False).symbols(packet.data), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_symbols_are_the_same_on_cuda(packet: Packet) -> None:
    assert same(Decoder(device="cuda").symbols(packet.data), Decoder(device="cpu").symbols(packet.data))


def test_decoded_symbols_are_those_that_were_encoded() -> None:
    frame = picture(200, 120)
    coder = IntraCoder(load_model("base"), device="cpu", optimise=True)
    q = np.full((4, 7), 35)
    groups = np.zeros((4, 7), np.uint16)
    groups[1:3, 2:5] = 1
    symbols = coder.encode(frame, q, groups).symbols
    for group, coded in symbols.items():
        n = int((groups == group).sum())
        grid = CellGrid(np.flatnonzero(groups.reshape(-1) == group), groups.shape[1])
        again = coder.read(coder.write(coded, np.full(n, 35), grid), np.full(n, 35), grid)
        assert np.array_equal(coded.z, again.z)
        assert np.array_equal(coded.y, again.y)


def test_reduced_precision_changes_the_picture_by_little(packet: Packet) -> None:
    fast = Decoder(device="cpu").send(packet)[0]
    exact = Decoder(device="cpu", reduced_precision=False).send(packet)[0]
    # bfloat16 has 8 significant bits; only the part that the networks add to the linear transform passes through it
    assert psnr(fast.y, exact.y) > 45


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (31, 33), (32, 32), (97, 64), (176, 144)])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_any_size_comes_back(size: tuple[int, int], bit_depth: int) -> None:
    frame = picture(*size, bit_depth=bit_depth)
    packet = encode(frame, crf=4)
    decoded = Decoder(device="cpu").send(packet)[0]
    assert decoded.format == frame.format
    # the smaller the picture, the more of it is edges and noise
    assert psnr(decoded.y, frame.y, 2**bit_depth - 1) > (27 if min(size) > 30 else 22)


def test_a_finer_q_costs_more_and_looks_better() -> None:
    frame = picture(256, 192)
    sizes, qualities = [], []
    for crf in (60, 45, 30, 15, 0):
        packet = encode(frame, crf=crf)
        sizes.append(len(packet.data))
        qualities.append(psnr(Decoder(device="cpu").send(packet)[0].y, frame.y))
    assert sizes == sorted(sizes)
    assert qualities == sorted(qualities)


def test_the_bytes_of_a_group_depend_on_its_own_pixels_alone() -> None:
    frame = picture(200, 120)
    before = parse_packet(encode(frame, objects=OBJECTS).data)
    changed = frame.y.copy()
    changed[64:96, 128:160] = 255 - changed[64:96, 128:160]  # inside group 2, the second object
    after = parse_packet(encode(Frame(changed, frame.u, frame.v, frame.format), objects=OBJECTS).data)
    assert before.substream(SubstreamKind.BACKGROUND, 0) == after.substream(SubstreamKind.BACKGROUND, 0)
    assert before.substream(SubstreamKind.OBJECT, 1) == after.substream(SubstreamKind.OBJECT, 1)
    assert before.substream(SubstreamKind.OBJECT, 2) != after.substream(SubstreamKind.OBJECT, 2)


def test_a_group_decoded_alone_looks_as_in_the_full_picture(packet: Packet) -> None:
    full = Decoder(device="cpu").send(packet)[0]
    alone = drop_substreams(packet.data, lambda entry: entry.kind == SubstreamKind.BACKGROUND)
    part = Decoder(device="cpu").send(Packet(alone, 0, True))[0]
    inside = np.s_[34:94, 66:94]  # without the two samples that the seam filter may change
    assert np.abs(full.y[inside].astype(int) - part.y[inside]).max() <= 1
    assert (part.y[:32, 160:] == 128).all()


def test_a_group_may_have_a_quality_of_its_own() -> None:
    frame = picture(200, 120)
    plain, better = encode(frame, objects=OBJECTS), encode(frame, objects=OBJECTS, q_offsets=(0, 20))
    sizes = [{e.group: e.length for e in parse_packet(p.data).entries} for p in (plain, better)]
    assert sizes[1][1] > 1.3 * sizes[0][1]
    assert sizes[1][0] == sizes[0][0]
    pictures = [Decoder(device="cpu").send(p)[0].y[32:96, 32:96] for p in (plain, better)]
    original = frame.y[32:96, 32:96]
    assert psnr(pictures[1], original) > psnr(pictures[0], original) + 1


def test_a_damaged_substream_is_an_error_and_the_next_packet_is_fine(packet: Packet) -> None:
    damaged = bytearray(packet.data)
    damaged[-10] ^= 0x40
    decoder = Decoder(device="cpu")
    with pytest.raises(ChecksumError):
        decoder.send(Packet(bytes(damaged), 0, True))
    assert len(decoder.send(packet)) == 1


def test_a_string_that_ends_early_is_an_error() -> None:
    frame = picture(64, 64)
    parsed = parse_packet(encode(frame, crf=5).data)
    string = parsed.substream(SubstreamKind.BACKGROUND, 0)
    assert string is not None
    assert parsed.sequence_header is not None
    cut: dict[tuple[int, int], bytes] = {(SubstreamKind.BACKGROUND, 0): string[: len(string) // 2].rstrip(b"\0")}
    data = build_packet(cut, q_index=58, sequence_header=parsed.sequence_header)
    with pytest.raises(BitstreamError, match="does not end"):
        Decoder(device="cpu").send(Packet(data, 0, True))


def test_a_stream_of_other_weights_is_refused(packet: Packet) -> None:
    header = parse_packet(packet.data).sequence_header
    assert header is not None
    other = type(header)(header.format, header.model, b"\0" * 8).to_bytes()
    with pytest.raises(ModelError, match="0000000000000000"):
        Decoder(other, device="cpu")


def test_a_stream_of_an_unknown_model_says_what_there_is(packet: Packet) -> None:
    header = parse_packet(packet.data).sequence_header
    assert header is not None
    with pytest.raises(ModelError, match=r"no model 'elsewhere'; installed: .*base"):
        Decoder(type(header)(header.format, "elsewhere", b"\0" * 8).to_bytes(), device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crf": 64}, "crf 64"),
        ({"crf": float("nan")}, "crf nan"),
        ({"preset": "best"}, "preset"),
        ({"keyint": 0}, "key"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Encoder(VideoFormat(64, 64), time_base=Fraction(1, 25), **options)


def test_a_frame_of_another_format_is_refused() -> None:
    encoder = Encoder(VideoFormat(64, 64), time_base=Fraction(1, 25), device="cpu")
    with pytest.raises(ValueError, match="opened for"):
        encoder.send(picture(64, 66))


def test_a_picture_above_the_limits_is_refused() -> None:
    with pytest.raises(LimitError):
        Encoder(VideoFormat(16386, 16386), time_base=Fraction(1, 25))


def test_a_p_frame_is_refused_by_a_model_without_inter_networks() -> None:
    data = build_packet({(SubstreamKind.MOTION, 0): b"", (SubstreamKind.RESIDUAL, 0): b""}, q_index=30, frame_number=1)
    with pytest.raises(BitstreamError, match="P frame"):
        Decoder(device="cpu").send(Packet(data, 1, False))
