"""Two coded clips that differ only inside the box of one object that moves, and packets without sense for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import pytest

from ssvc_codec.bitstream import COCO_80, ObjectChanges, SceneObject, SequenceHeader, SubstreamKind, build_packet
from ssvc_codec.encoder import Encoder
from ssvc_codec.frame import Frame, VideoFormat
from ssvc_codec.gop.groups import group_map
from ssvc_codec.packet import Packet

WIDTH, HEIGHT, N_FRAMES, KEYINT = 128, 96, 10, 4
PERSON, CAR = 0, 2
PERSON_FRAMES = range(2, 6)  # comes in a P frame, is there at one I frame, goes in a P frame
TIME_BASE = Fraction(1, 25)
FORMAT = VideoFormat(width=WIDTH, height=HEIGHT)


def scene_objects(number: int) -> list[SceneObject]:
    """A car that stands still, and a person that moves by 8 samples a frame."""
    objects = [SceneObject(7, CAR, 200, 100, 70, 20, 20)]
    if number in PERSON_FRAMES:
        objects.insert(0, SceneObject(3, PERSON, 250, 4 + 8 * (number - PERSON_FRAMES[0]), 10, 24, 36))
    return objects


def scene_frame(number: int, texture: np.ndarray) -> Frame:
    """A background that drifts by a sample a frame, with the texture inside the person's box."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    luma = 120 + 50 * np.sin((columns + number) / 9.0) * np.cos(rows / 7.0)
    luma[70:90, 100:120] = 60 + 5 * (rows[70:90, 100:120] % 4)
    for item in scene_objects(number):
        if item.class_id == PERSON:
            luma[item.y : item.y + item.height, item.x : item.x + item.width] = texture
    chroma = np.full((HEIGHT // 2, WIDTH // 2), 128, np.uint8)
    return Frame(luma.round().astype(np.uint8), chroma, chroma, FORMAT, number, 1, TIME_BASE)


def coded(texture: np.ndarray) -> list[Packet]:
    encoder = Encoder(
        FORMAT, time_base=TIME_BASE, crf=18, preset="fast", keyint=KEYINT, scenecut=False, device="cpu", threads=1
    )
    return [
        packet
        for number in range(N_FRAMES)
        for packet in encoder.send(scene_frame(number, texture), objects=scene_objects(number))
    ]


@pytest.fixture(scope="session")
def stripes() -> list[Packet]:
    """The person wears stripes of black and white."""
    return coded(np.where(np.mgrid[0:36, 0:24][0] % 8 < 4, 20, 235).astype(float))


@pytest.fixture(scope="session")
def noise() -> list[Packet]:
    """The person wears noise."""
    return coded(np.random.default_rng(3).uniform(16, 235, (36, 24)))


Objects = Sequence[SceneObject]
MakePacket = Callable[..., bytes]


def _make_packet(number: int, objects: Objects, before: Objects | None = None, *, extra: int | None = None) -> bytes:
    header = SequenceHeader(FORMAT, "base", bytes(8), classes=COCO_80)
    groups = range(int(group_map(objects, width=WIDTH, height=HEIGHT).max()) + 1)
    if before is None:
        substreams = {
            (SubstreamKind.OBJECT if group else SubstreamKind.BACKGROUND, group): b"I%d" % group for group in groups
        }
    else:
        substreams = {(SubstreamKind.MOTION, group): b"M%d" % group for group in groups}
        substreams |= {(SubstreamKind.RESIDUAL, group): b"R%d" % group for group in groups}
    reserved = {} if extra is None else {(extra, 0): b"picture"}
    build = partial(build_packet, {**substreams, **reserved}, q_index=30, frame_number=number)
    if before is None:
        return build(sequence_header=header, objects=objects)
    return build(changes=ObjectChanges.between(before, objects))


@pytest.fixture(scope="session")
def make_packet() -> MakePacket:
    """A packet with payloads like M1, which no decoder could read: (frame number, objects, objects before on P)."""
    return _make_packet
