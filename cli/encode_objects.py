"""The options of `ssvc encode` that say where objects are and how finely they are coded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ssvc_codec.encoder import ObjectSource
    from ssvc_codec.frame import VideoFormat
    from ssvc_codec.semantics.detection import Detector

__all__ = ["ObjectOptions", "parse_object_quality"]


def parse_object_quality(text: str) -> dict[str, int]:
    """`person=+6,background=-6` as a dict. Raises typer.BadParameter."""
    offsets: dict[str, int] = {}
    for pair in (pair.strip() for pair in text.split(",") if pair.strip()):
        name, equals, number = pair.rpartition("=")
        try:
            offsets[name.strip()] = int(number)
        except ValueError:
            equals = ""
        if not (name and equals):
            raise typer.BadParameter(f"{pair!r} is not of the form class=+N", param_hint="--object-quality")
    return offsets


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """What the user said about objects."""

    detector: str
    detections: str | None
    classes: str | None
    min_score: float | None
    every: int
    quality: Mapping[str, int]
    device: str
    threads: int

    def check(self) -> None:
        """Refuses what does not go together. Raises typer.BadParameter."""
        if self.detector == "none" and self.detections is None:
            for is_given, name in (
                (self.classes is not None, "--classes"),
                (self.min_score is not None, "--min-score"),
            ):
                if is_given:
                    raise typer.BadParameter("there are no objects with --detector none", param_hint=name)

    def open_detector(self) -> Detector | None:
        """Raises MediaError, ModelError, typer.BadParameter."""
        from ssvc_codec.semantics.open import open_detector

        try:
            return open_detector(
                self.detector,
                detections=self.detections,
                device=self.device,
                min_score=self.min_score,
                classes=_names(self.classes),
                threads=self.threads,
            )
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--classes") from error

    def check_quality(self, detector: Detector | None) -> None:
        """Refuses names that are no class. Raises typer.BadParameter."""
        from ssvc_codec.bitstream import COCO_80
        from ssvc_codec.semantics.object_quality import ObjectQuality

        try:
            ObjectQuality.by_name(self.quality, detector.classes if detector else COCO_80)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--object-quality") from error

    def source(self, detector: Detector | None, format: VideoFormat) -> ObjectSource | None:
        """Follows what the detector finds through the frames of a format."""
        if detector is None:
            return None
        from ssvc_codec.semantics.tracker import Tracker

        return Tracker(detector, width=format.width, height=format.height, every=self.every)


def _names(text: str | None) -> Sequence[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
