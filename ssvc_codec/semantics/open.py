"""The detector that a user names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ssvc_codec.errors import ModelError
from ssvc_codec.semantics.detection import Detector

__all__ = ["open_detector"]


def open_detector(
    spec: str,
    *,
    detections: str | Path | None = None,
    device: str = "auto",
    min_score: float | None = None,
    classes: Collection[str] | None = None,
    threads: int = 0,
) -> Detector | None:
    """The detector for "none" (None), "parser" (the one that ships with ssvc) or the path of an .onnx file.

    detections: a file of detections made elsewhere; spec is then not used. min_score, classes: what to report, see
    open_onnx_detector and DetectionsFile. device, threads: for networks.
    Raises ModelError, MediaError (the file of detections) and ValueError (unknown classes, min_score out of 0..1).
    """
    if detections is not None:
        from ssvc_codec.semantics.detections_file import DetectionsFile

        return DetectionsFile(detections, min_score=min_score, classes=classes)
    if spec == "none":
        return None
    if spec != "parser" and not spec.lower().endswith(".onnx"):
        raise ModelError(f"no detector {spec!r}: give none, parser or the path of an .onnx file")
    from ssvc_codec.semantics.onnx_detector import open_onnx_detector, open_parser

    if spec == "parser":
        return open_parser(device=device, min_score=min_score, classes=classes, threads=threads)
    return open_onnx_detector(spec, device=device, min_score=min_score, classes=classes, threads=threads)
