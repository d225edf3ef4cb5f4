"""Latents of the decoder: what pictures are made of, and what can be made of them instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ffmpeg_bridge.ssv_reader import open_ssv
from ssvc_codec.decoder import Decoder
from ssvc_codec.errors import BitstreamError
from ssvc_codec.gop.groups import group_map
from ssvc_codec.inference.planes import tensor_to_planes
from ssvc_codec.latents import Latents
from ssvc_codec.nets.intra import split_planes
from ssvc_codec.packet import Packet
from ssvc_codec.selection import Selection

from .conftest import HEIGHT, KEYINT, WIDTH, objects_of

ROWS, COLUMNS = 8, 10  # positions at 1/16 of 4 x 5 cells
PERSON = Selection(objects=("person",), background=False)


@pytest.fixture(scope="module")
def packets(first: Path) -> list[Packet]:
    with open_ssv(str(first)) as reader:
        return list(reader)


def latents_of(packet: Packet, **options: Any) -> Latents:
    (found,) = Decoder(output="latents", device="cpu", **options).send(packet)
    return found


def test_synthesis_of_the_latents_is_the_decoded_picture(packets: list[Packet]) -> None:
    """The first key frame has a person, so there are two groups."""
    decoder = Decoder(device="cpu", reduced_precision=False)
    (frame,) = decoder.send(packets[0])
    latents = latents_of(packets[0], reduced_precision=False)
    assert decoder._intra is not None
    cells = decoder._intra._maps(decoder._q, decoder._groups)
    with torch.inference_mode():
        picture = decoder._intra.net.synthesis(torch.from_numpy(latents.values)[None], *cells)
    luma = tensor_to_planes(picture, frame.format)[0].astype(int)
    inner = group_map(objects_of(0), width=WIDTH, height=HEIGHT).repeat(32, 0).repeat(32, 1)[:HEIGHT, :WIDTH] == 1
    inner[:, 60:] = inner[60:] = False  # the filter of seams changes 2 samples beside a border
    assert np.abs(luma - frame.y)[inner].max() <= 1


def test_they_have_one_position_for_16_samples(packets: list[Packet]) -> None:
    latents = latents_of(packets[0])
    assert latents.values.shape == (384, ROWS, COLUMNS)
    assert latents.values.dtype == np.float32
    assert latents.known.all()
    expected = group_map(objects_of(0), width=WIDTH, height=HEIGHT).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(latents.groups, expected)
    assert latents.of_box(4, 8, 30, 50).shape == (384, 4, 3)
    assert latents.of_box(149, 99, 1, 1).shape == (384, 1, 1)
    with pytest.raises(ValueError, match="outside"):
        latents.of_box(150, 0, 4, 4)


def test_an_object_alone_has_the_latents_it_has_among_others(packets: list[Packet]) -> None:
    whole, part = latents_of(packets[KEYINT]), latents_of(packets[KEYINT], select=PERSON)
    (person, _) = objects_of(KEYINT)
    group = whole.groups[person.y // 16, person.x // 16]
    assert np.array_equal(part.known, whole.groups == group)
    assert np.allclose(
        part.values[:, part.known], whole.values[:, part.known], atol=0.02
    )  # float sums in another order
    assert np.isnan(part.values[:, ~part.known]).all()


def test_p_packets_give_none_and_need_not_be_sent(packets: list[Packet]) -> None:
    decoder = Decoder(output="latents", device="cpu")
    sent = [decoder.send(packet) for packet in packets]
    assert [len(found) for found in sent] == [1, 0, 0, 0] * 2
    assert np.array_equal(sent[KEYINT][0].values, latents_of(packets[KEYINT]).values)
    with pytest.raises(BitstreamError):
        decoder.send(Packet(packets[0].data[:40], None, True))


def test_motion_has_latents_on_p_frames(packets: list[Packet]) -> None:
    decoder = Decoder(parts={"motion"}, output="latents", device="cpu")
    plain = Decoder(parts={"motion"}, device="cpu")
    for k, packet in enumerate(packets[:3]):
        found, flow = decoder.send(packet), plain.send(packet)
        assert len(found) == len(flow) == (k > 0)
        for latents in found:
            assert latents.values.shape == (32, ROWS, COLUMNS)
            assert latents.known.all()
            assert latents.frame_number == k
    alone = Decoder(parts={"motion"}, output="latents", select=PERSON, device="cpu")
    alone.send(packets[0])
    (latents,) = alone.send(packets[1])
    assert np.array_equal(latents.known, latents.groups == latents.groups[1, 1])
    with pytest.raises(ValueError, match="32 channels"):
        alone.reduced_picture(latents, scale=4)


@pytest.mark.parametrize("scale", [2, 4, 8, 16])
def test_a_reduced_picture_is_the_mean_of_the_linear_part(packets: list[Packet], scale: int) -> None:
    decoder = Decoder(output="latents", device="cpu")
    (latents,) = decoder.send(packets[0])
    reduced = decoder.reduced_picture(latents, scale=scale)
    assert decoder._intra is not None
    linear = decoder._intra.net.synthesis.linear
    from ssvc_codec.nets.intra import to_half

    with torch.inference_mode():
        merged = torch.nn.functional.pixel_shuffle(linear(torch.from_numpy(latents.values)[None]), 2)
        y, u, v = split_planes(to_half(merged))
        means = [torch.nn.functional.avg_pool2d(p, s) for p, s in ((y, scale), (u, scale // 2), (v, scale // 2))]
    expected = (torch.cat(means, 1)[0].numpy() + 0.5) * 255
    height, width = -(-HEIGHT // scale), -(-WIDTH // scale)
    assert reduced.values.shape == (3, height, width)
    assert np.allclose(reduced.values, expected[:, :height, :width], atol=0.01)


def test_what_was_not_decoded_is_nan_in_a_reduced_picture(packets: list[Packet]) -> None:
    decoder = Decoder(output="latents", select=PERSON, device="cpu")
    (latents,) = decoder.send(packets[0])
    reduced = decoder.reduced_picture(latents, scale=16)
    assert np.array_equal(~np.isnan(reduced.values[0]), latents.known[: -(-HEIGHT // 16), : -(-WIDTH // 16)])
    with pytest.raises(ValueError, match="scale 3"):
        decoder.reduced_picture(latents, scale=3)


def test_other_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="pictures and latents"):
        Decoder(output="sound")  # type: ignore[call-overload]
