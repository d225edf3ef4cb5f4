"""Pose: key points of people in pictures of which only the people are decoded (paper, 5.1.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ffmpeg_bridge.tasks.own_stream import OwnStream
from ffmpeg_bridge.tasks.people import PeopleItem, Person
from ffmpeg_bridge.tasks.pictures import rgb_of
from ffmpeg_bridge.tasks.pose_network import PoseNetwork
from ffmpeg_bridge.tasks.task import FULL, Item, Reading
from ssvc_codec.errors import MediaError
from ssvc_codec.evaluation.clip import Clip
from ssvc_codec.evaluation.keypoints import correct_keypoints, head_to_torso, keypoint_similarity
from ssvc_codec.frame import Frame
from ssvc_codec.selection import Selection
from ssvc_codec.semantics.detection import Detector

__all__ = ["PoseTask", "Reference", "crop_square"]

Reference = Literal["original", "annotations"]
PERSONS = "persons"
PCK = 0.1  # of the distance from head to hips
CROP = 1.25  # side of the crop by the longer side of the person's box
LEAST_SCORE = 0.3  # of a key point in the original that is a reference
LEAST_PERSON = 0.5  # score of a person that a detector finds in the original
LEAST_HEIGHT = 48  # luma samples of a person
BOX_AREA = 0.53  # of a person without an annotated area, by that of the box (usual with COCO)


class PoseTask:
    """People in pictures, one after the other through a network for single people."""

    name = "Pose"
    metrics = (f"PCK@{PCK}", "OKS")
    pairs = ((PERSONS, FULL), (FULL, FULL))

    def __init__(
        self,
        items: Sequence[PeopleItem],
        network: PoseNetwork,
        *,
        finder: Detector | None,
        reference: Reference = "original",
    ) -> None:
        """finder: finds people in the originals of items without boxes."""
        self.items = tuple(items)
        self._network, self._finder, self._reference = network, finder, reference
        self._known: tuple[str, list[_Wanted]] = ("", [])
        given = "what the network finds in the original" if reference == "original" else "COCO's annotations"
        self.notes = (
            f"network: {network.description}, {network.side}x{network.side}, on squares of {CROP} x the longer side of"
            " each person's box in the original, the same boxes for every codec",
            f"reference: {given}; PCK: share of key points within {PCK} x the distance from head to hips",
            f"{PERSONS}: objects of class person decoded, nothing else; what the encoder's detector missed is grey",
            f"people below {LEAST_HEIGHT} luma samples, or without head or hips in the reference, are not counted",
            "the paper has a stacked hourglass at 256x256 on COCO 2014: numbers are not comparable with its own",
        )

    def identity(self) -> list[str]:
        """Network, reference and finder."""
        finder = self._finder.description if self._finder else "none"
        return ["pose 1", self._network.description, self._reference, finder]

    def read_own(self, item: Item, clip: Clip, stream: OwnStream) -> list[Reading]:
        """People alone, and everything."""
        readings = []
        for way, select in ((PERSONS, Selection(objects=("person",), background=False)), (FULL, None)):
            pictures = stream.pictures(select=select)
            found = self._agreement(item, clip, pictures.frames)
            readings.append(Reading(way, pictures.n_bytes, pictures.seconds, found))
        return readings

    def read_pictures(self, item: Item, clip: Clip, frames: Sequence[Frame]) -> dict[str, Any]:
        """People in whole pictures."""
        return {FULL: self._agreement(item, clip, frames)}

    def score(self, found: Mapping[str, Any]) -> tuple[float, ...]:
        """PCK over all key points, OKS over all people. Raises MediaError where there is nobody."""
        people = [person for rows in found.values() for person in rows]
        if not people:
            raise MediaError("nobody was found whose pose could be compared")
        right, known, similarity = np.array(people, np.float64).T
        return float(right.sum() / known.sum()), float(similarity.mean())

    def _agreement(self, item: Item, clip: Clip, frames: Sequence[Frame | None]) -> list[tuple[int, int, float]]:
        """Of each person: key points that are right, key points known, OKS."""
        rows = []
        for wanted in self._wanted(item, clip):
            frame = frames[wanted.person.frame]
            assert frame is not None
            points = self._find(frame, wanted.person)[:, :2]
            right = correct_keypoints(points, wanted.points, wanted.known, within=PCK * wanted.scale)
            area = BOX_AREA * wanted.person.box[2] * wanted.person.box[3]
            similarity = keypoint_similarity(points, wanted.points, wanted.known, area=area)
            rows.append((right, int(wanted.known.sum()), round(similarity, 6)))
        return rows

    def _wanted(self, item: Item, clip: Clip) -> list[_Wanted]:
        """What is to be found in an item. Kept until another item comes."""
        assert isinstance(item, PeopleItem)
        if self._known[0] != item.name:
            people = self._find_people(clip) if item.people is None else item.people
            wanted = [self._reference_of(person, clip) for person in people if person.box[3] >= LEAST_HEIGHT]
            self._known = item.name, [one for one in wanted if one.scale > 0]
        return self._known[1]

    def _find_people(self, clip: Clip) -> list[Person]:
        people = []
        for number, frame in enumerate(clip.frames):
            assert self._finder is not None
            for found in self._finder.detect(frame, number) or ():
                if self._finder.classes.name_of(found.class_id) == "person" and found.score >= LEAST_PERSON:
                    people.append(Person(number, (found.x, found.y, found.width, found.height)))
        return people

    def _reference_of(self, person: Person, clip: Clip) -> _Wanted:
        if self._reference == "annotations" and person.keypoints is not None:
            points, known = person.keypoints[:, :2], person.keypoints[:, 2] > 0
        else:
            found = self._find(clip.frames[person.frame], person)
            points, known = found[:, :2], found[:, 2] >= LEAST_SCORE
        return _Wanted(person, points, known)

    def _find(self, frame: Frame, person: Person) -> NDArray[np.float64]:
        """Key points (17, 3) of a person in luma samples of the frame, and scores."""
        picture, (left, top, side) = crop_square(rgb_of(frame), person.box, side=self._network.side)
        points = self._network.find(picture)
        points[:, :2] = points[:, :2] * side + (left, top)
        return points


class _Wanted:
    """Reference of one person."""

    def __init__(self, person: Person, points: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
        self.person, self.points, self.known = person, points, known
        scale = head_to_torso(points, known)
        self.scale = 0.0 if np.isnan(scale) else scale  # pixels; 0 where it is not known


def crop_square(
    rgb: NDArray[np.uint8], box: tuple[float, float, float, float], *, side: int
) -> tuple[NDArray[np.uint8], tuple[float, float, float]]:
    """The square around a box, black beyond the picture, at side x side; and its left, top and side in the picture."""
    x, y, width, height = box
    extent = max(round(CROP * max(width, height)), 1)
    left, top = round(x + width / 2 - extent / 2), round(y + height / 2 - extent / 2)
    square = Image.fromarray(rgb).crop((left, top, left + extent, top + extent))
    return np.array(square.resize((side, side), Image.Resampling.BILINEAR)), (left, top, extent)
