"""What an encoder tries beyond rounding: it costs less, and a decoder shows what the encoder saw."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from unittest import mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssvc_codec.bitstream import SceneObject, SubstreamKind, parse_packet
from ssvc_codec.decoder import Decoder
from ssvc_codec.encoder import Encoder
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.inference.inter import SEARCHES
from ssvc_codec.inference.motion_search import finer_flow, symbol_bits
from ssvc_codec.inference.skip_search import CellCosts, mended_cells, skipped_cells
from ssvc_codec.nets.lagrangian import PLANE_WEIGHTS
from ssvc_codec.nets.motion import upsample_flow
from ssvc_codec.packet import Packet

PERSON = SceneObject(1, 0, 200, 32, 32, 64, 64)
GROUPS = np.array([[0, 0, 1, 1]])
VIDEO = VideoFormat(160, 128)


def moving(n: int, *, shift: float = 1.3, noise: float = 0.0) -> list[Frame]:
    """A smooth texture that moves to the left, and noise that does not."""
    random = np.random.default_rng(1)
    frames: list[Frame] = []
    y, x = np.mgrid[: VIDEO.height, : VIDEO.width].astype(float)
    for k in range(n):
        luma = 128 + 50 * np.sin((x + shift * k) / 6) * np.cos(y / 8) + 20 * np.sin((x + shift * k) / 2.5 + y / 3)
        luma = luma + random.normal(scale=noise, size=luma.shape) if noise else luma
        planes = [
            np.clip(p, 0, 255).astype(np.uint8) for p in (luma, luma[::2, ::2] / 2 + 64, 192 - luma[::2, ::2] / 2)
        ]
        frames.append(Frame(planes[0], planes[1], planes[2], VIDEO, pts=k, duration=1, time_base=Fraction(1, 25)))
    return frames


def encode(
    frames: Sequence[Frame], *, objects: tuple[SceneObject, ...] = (), **options: object
) -> tuple[list[Packet], list[np.ndarray], Encoder]:
    """Packets, and the luma that the encoder says a decoder will show."""
    settings: dict[str, object] = {"crf": 36, "scenecut": False, "device": "cpu", **options}
    encoder = Encoder(frames[0].format, time_base=Fraction(1, 25), **settings)  # type: ignore[arg-type]
    packets, shown = [], []
    for frame in frames:
        packets += encoder.send(frame, objects=objects)
        assert encoder.reconstruction is not None
        shown.append(encoder.reconstruction[0].copy())
    return packets, shown, encoder


@pytest.mark.parametrize("preset", ["medium", "slow"])
@pytest.mark.parametrize("objects", [(), (PERSON,)], ids=["plain", "objects"])
def test_a_decoder_shows_what_the_encoder_predicted_from(preset: str, objects: tuple[SceneObject, ...]) -> None:
    frames = moving(3, noise=2.0)
    packets, shown, _ = encode(frames, preset=preset, objects=objects, object_quality={"person": 6})
    decoder: Decoder[Frame] = Decoder(device="cpu")
    for packet, luma in zip(packets, shown, strict=True):
        np.testing.assert_array_equal(decoder.send(packet)[0].y, luma)


@pytest.mark.parametrize("preset", ["medium", "slow"])
def test_the_same_frames_give_the_same_bytes(preset: str) -> None:
    frames = moving(3, noise=2.0)
    first, second = (encode(frames, preset=preset)[0] for _ in range(2))
    assert [packet.data for packet in first] == [packet.data for packet in second]


def parting() -> list[Frame]:
    """Two frames of a patch that moves one way before a background that moves another."""
    random = np.random.default_rng(1)
    textures: list[torch.Tensor] = []
    for _ in range(2):
        texture = torch.from_numpy(random.normal(size=(1, 1, 200, 240))).float()
        for size in (3, 3, 5):
            texture = F.avg_pool2d(texture, size, 1, size // 2)
        textures.append(texture / texture.std() * 45 + 128)
    y, x = torch.meshgrid(torch.arange(128.0) + 20, torch.arange(160.0) + 20, indexing="ij")
    frames: list[Frame] = []
    for k in range(2):
        layers: list[np.ndarray] = []
        for texture, (dx, dy) in zip(textures, ((-1.4, 0.7), (3.3, -2.1)), strict=True):
            grid = torch.stack([(x + dx * k) * 2 / 239 - 1, (y + dy * k) * 2 / 199 - 1], -1)[None]
            layers.append(F.grid_sample(texture, grid, mode="bicubic", align_corners=True)[0, 0].numpy())
        luma, front = layers
        top, left = 40 + int(2.1 * k), 40 - int(3.3 * k)
        luma[top : top + 50, left : left + 60] = front[top : top + 50, left : left + 60]
        planes = (luma, luma[::2, ::2] / 2 + 64, 192 - luma[::2, ::2] / 2)
        y8, u8, v8 = (np.clip(plane, 0, 255).astype(np.uint8) for plane in planes)
        frames.append(Frame(y8, u8, v8, VIDEO, pts=k, duration=1, time_base=Fraction(1, 25)))
    return frames


def block_errors(frame: Frame, shown: torch.Tensor) -> np.ndarray:
    """Weighted squared error of every 16x16 block. shown: (1, 6, H/2, W/2)."""
    planes = (torch.pixel_shuffle(shown[:, :4], 2)[0, 0], shown[0, 4], shown[0, 5])
    total = np.zeros((VIDEO.height // 16, VIDEO.width // 16))
    for weight, original, plane in zip(PLANE_WEIGHTS, (frame.y, frame.u, frame.v), planes, strict=True):
        rows, columns = total.shape
        error = np.square(original - (plane.numpy() * 255 + 127.5))
        total += weight * error.reshape(rows, error.shape[0] // rows, columns, -1).mean((1, 3))
    return total


@pytest.mark.parametrize("more", [{"motion_steps": 6}, {"zeroing": True}])
def test_the_search_lowers_bits_and_error_of_motion(more: dict[str, int]) -> None:
    frames = parting()
    costs: dict[bool, float] = {}
    for searched, crf in product((False, True), (15, 25, 35)):
        less = SEARCHES["medium"]._replace(motion_steps=0, zeroing=False)
        with mock.patch.dict(SEARCHES, medium=less._replace(**more) if searched else less):
            _, _, encoder = encode(frames, crf=crf)
        assert encoder.p_frame is not None
        lmbda = 0.0009 * (0.4 / 0.0009) ** ((63 - crf) / 63)
        worth = lmbda * block_errors(frames[1], encoder.p_frame.warped)
        cost = 8 * len(encoder.p_frame.motion[0]) + 0.3 * np.log1p(worth / 0.3).sum() * 16 * 16
        costs[searched] = costs.get(searched, 0.0) + float(np.log2(cost))
    assert costs[True] < costs[False]


def test_a_picture_that_stands_still_costs_no_residual() -> None:
    still = moving(1)[0]
    frames = [Frame(still.y, still.u, still.v, VIDEO, pts=k, duration=1, time_base=Fraction(1, 25)) for k in range(4)]
    packets, _, _ = encode(frames)
    for packet in packets[1:]:
        lengths = {entry.kind: entry.length for entry in parse_packet(packet.data).entries}
        assert lengths[SubstreamKind.RESIDUAL] == 0


def costs_of(coded: list[float], warp: list[float], mended: list[float], nothing: list[float]) -> CellCosts:
    return CellCosts(*(np.array(values, np.float32) for values in (coded, warp, mended, nothing)))


def test_cells_are_skipped_where_no_symbols_cost_less() -> None:
    costs = costs_of([70, 70, 70, 70], [45, 125, 125, 125], [90, 60, 125, 125], [40, 120, 120, 120])
    assert skipped_cells(costs, GROUPS).tolist() == [True, True, False, False]
    without = np.array([True, True, False, True])
    mended = mended_cells(costs, without, np.zeros(4, np.bool_), GROUPS)
    assert mended.tolist() == [False, True, False, False]


def test_a_group_is_skipped_whole_where_an_empty_string_saves_more() -> None:
    costs = costs_of([60, 60, 220, 60], [62, 62, 408, 62], [61, 59, 410, 70], [54, 54, 400, 54])
    assert skipped_cells(costs, GROUPS).tolist() == [True, True, False, False]
    without, empty = np.array([True, True, False, True]), np.array([True, True, False, True])
    assert not mended_cells(costs, without, empty, GROUPS).any()  # 54 + 54 against 61 + 59
    assert mended_cells(costs, without, ~empty, GROUPS).tolist() == [True, True, False, False]


def test_finer_flow_is_bilinear() -> None:
    flow = torch.randn(1, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    for factor in (2, 4):
        torch.testing.assert_close(finer_flow(flow, factor), upsample_flow(flow, factor))


def test_bits_of_symbols_rise_as_their_differences_say() -> None:
    residual = torch.linspace(-4, 4, 81, dtype=torch.float64)
    scale, index = torch.tensor(0.7, dtype=torch.float64), torch.ones(81)
    _, rising = symbol_bits(residual, scale, index)
    step = 1e-5
    above, below = (symbol_bits(residual + s, scale, index)[0] for s in (step, -step))
    torch.testing.assert_close(rising, (above - below) / (2 * step), atol=1e-4, rtol=1e-4)
