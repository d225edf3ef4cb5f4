"""Clips to samples: decoders, and what is kept from one clip to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from ..bitstream import ParsedPacket, SceneObject, SequenceHeader
from ..errors import BitstreamError
from .clips import Clip, ClipTable
from .flows import FlowReader
from .request import Request
from .sample import Boxes, Sample
from .source import OpenFile, SsvFile

if TYPE_CHECKING:
    from ..decoder import Decoder
    from ..frame import Frame
    from ..latents import Latents

__all__ = ["ClipReader"]

Output = TypeVar("Output")


@dataclass(frozen=True, slots=True)
class _KeyParts:
    """What comes from the key frame alone."""

    keyframe: Any = None
    crops: Any = None
    crop_boxes: Any = None
    latents: Any = None


class ClipReader:
    """Reads clips. Opens decoders when they are first needed; loads no torch where only boxes are asked for.

    Clips of one GoP in ascending order are decoded in one go. Not thread safe.
    """

    def __init__(
        self,
        files: Sequence[SsvFile],
        labels: Sequence[int],
        clips: ClipTable,
        request: Request,
        *,
        model: str | None,
        device: str,
    ) -> None:
        self._files, self._labels, self._clips, self._request = files, labels, clips, request
        self._model, self._device = model, device
        self._n_bytes_read = 0
        self._flows = FlowReader(files, request, model=model, device=device)
        self._forget()

    @property
    def n_bytes_read(self) -> int:
        """Of all files so far."""
        return self._n_bytes_read + self._flows.n_bytes_read

    def ahead(self, indexes: Sequence[int]) -> None:
        """Decodes at once what clips that are read next will need: faster where pictures are small.

        What is wrong with one of them, read will tell.
        """
        clips = [self._clips[index] for index in indexes]
        if "flow" in self._request.parts:
            self._flows.ahead(clips)

    def _forget(self) -> None:
        """Begins anew: after an error no decoder's state can be trusted."""
        self._pictures: Decoder[Frame] | None = None
        self._latents: Decoder[Latents] | None = None
        self._places: dict[str, tuple[int, int, int]] = {}  # by decoder: file, GoP, number of the next frame
        self._objects: tuple[SceneObject, ...] = ()
        self._frame_number = 0
        self._key: tuple[tuple[int, int], _KeyParts] | None = None

    def read(self, index: int) -> Sample[NDArray[Any]]:
        """One clip. Raises BitstreamError, LimitError, MediaError; ValueError: a selection does not fit the file."""
        clip = self._clips[index]
        file = self._files[clip.file]
        with file.open() as opened:
            try:
                return self._read(index, clip, opened)
            except BaseException:
                self._forget()
                raise
            finally:
                self._n_bytes_read += opened.n_bytes_read

    def _read(self, index: int, clip: Clip, opened: OpenFile) -> Sample[NDArray[Any]]:
        parts, file = self._request.parts, opened.file
        head = opened.head(clip.gop_start)
        if head.sequence_header is None:
            raise BitstreamError(f"{file.path}: frame {clip.gop_start} is marked as a key frame but is none")
        video = head.sequence_header.format
        if self._key is None or self._key[0] != (clip.file, clip.gop):
            self._key = (clip.file, clip.gop), self._key_parts(clip, opened, head, head.sequence_header)
        key, nothing = self._key[1], cast(Any, None)
        numbers = np.arange(clip.first, clip.first + clip.n_frames)
        return Sample(
            index=index,
            file=str(file.path),
            label=self._labels[clip.file],
            gop=clip.gop,
            frame_numbers=numbers,
            seconds=file.seconds[numbers],
            width=video.width,
            height=video.height,
            keyframe=key.keyframe,
            frames=self._frames(clip, opened) if "frames" in parts else nothing,
            flow=self._flows.read(clip) if "flow" in parts else nothing,
            boxes=self._boxes(clip, opened, head.sequence_header) if "boxes" in parts else nothing,
            crops=key.crops,
            crop_boxes=key.crop_boxes,
            latents=key.latents,
        )

    # Parts of all frames

    def _run(self, name: str, clip: Clip, step: Callable[[int], Output]) -> list[Output]:
        """What step gives for each frame of a clip; it is called from the key frame on, or from where it last was."""
        place = self._places.pop(name, None)
        begin, end = clip.gop_start, clip.first + clip.n_frames
        if place is not None and place[:2] == (clip.file, clip.gop) and place[2] <= clip.first:
            begin = place[2]
        outputs = [step(number) for number in range(begin, end)]
        self._places[name] = clip.file, clip.gop, end
        return outputs[clip.first - begin :]

    def _decode_pictures(self, clip: Clip, opened: OpenFile) -> list[Frame]:
        if self._pictures is None:
            from ..decoder import Decoder

            self._pictures = Decoder(select=self._request.selection, model=self._model, device=self._device)
        decoder = self._pictures
        return self._run("pictures", clip, lambda number: decoder.send(opened.packet(number))[0])

    def _frames(self, clip: Clip, opened: OpenFile) -> NDArray[np.uint8]:
        from .pixels import frame_pixels

        return np.stack([frame_pixels(frame, self._request.size) for frame in self._decode_pictures(clip, opened)])

    def _boxes(self, clip: Clip, opened: OpenFile, header: SequenceHeader) -> Boxes[Any]:
        def step(number: int) -> list[SceneObject]:
            parsed = opened.head(number)
            if parsed.sequence_header is None:
                parsed.header.check_follows(self._frame_number)
            self._objects = parsed.objects_after(self._objects, header)
            self._frame_number = parsed.header.frame_number
            return self._wanted(self._objects, header)

        listed = self._run("boxes", clip, step)
        return Boxes.of((k, item) for k, objects in enumerate(listed) for item in objects)

    def _wanted(self, objects: Sequence[SceneObject], header: SequenceHeader) -> list[SceneObject]:
        """Those that were asked for. Raises ValueError where there are objects, but not such classes."""
        select = self._request.selection
        if select is None or not objects:
            return list(objects)
        resolved = select.resolve(header.classes)
        return [item for item in objects if resolved.wants(item)]

    # Parts of the key frame

    def _key_parts(self, clip: Clip, opened: OpenFile, head: ParsedPacket, header: SequenceHeader) -> _KeyParts:
        request, video = self._request, header.format
        with_crops, with_picture = "crops" in request.parts, "keyframes" in request.parts
        scale = request.scale_for(video.width, video.height) if with_picture or with_crops else 1
        latents = None
        if "latents" in request.parts or scale > 1:
            latents = self._decode_latents(clip, opened)
        if not (with_crops or with_picture):
            return _KeyParts(latents=None if latents is None else latents.values)
        from .pixels import crop, frame_pixels, reduced_pixels, to_bytes

        keyframe = crops = boxes = None
        pixels: NDArray[Any]
        if scale > 1:
            assert latents is not None
            assert self._latents is not None
            pixels = reduced_pixels(self._latents.reduced_picture(latents, scale=scale), video)
            keyframe = to_bytes(pixels, request.size) if with_picture else None
        else:
            (frame,) = self._decode_pictures(clip._replace(first=clip.gop_start, n_frames=1), opened)
            pixels = frame_pixels(frame, None) if with_crops or request.size is None else np.zeros(0, np.uint8)
            if with_picture:
                keyframe = pixels if request.size is None else frame_pixels(frame, request.size)
        if with_crops:
            boxes = Boxes.of((0, item) for item in self._wanted(head.objects, header))
            shape = (0, 3, *request.crop_size)
            found = [crop(pixels, box, scale, request.crop_size) for box in boxes.xywh]
            crops = np.stack(found) if found else np.zeros(shape, np.uint8)
        kept = latents.values if latents is not None and "latents" in request.parts else None
        return _KeyParts(keyframe, crops, boxes, kept)

    def _decode_latents(self, clip: Clip, opened: OpenFile) -> Latents:
        if self._latents is None:
            from ..decoder import Decoder

            self._latents = Decoder(
                output="latents", select=self._request.selection, model=self._model, device=self._device
            )
        found = self._latents.send(opened.packet(clip.gop_start))
        if not found:
            raise BitstreamError(f"{opened.file.path}: frame {clip.gop_start} is marked as a key frame but is none")
        return found[0]
