"""Draws what a stream says about a picture: boxes, groups of cells, and where the bytes of the frame went."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ffmpeg_bridge.flow_video import rgb_to_yuv420
from ffmpeg_bridge.object_writer import class_label
from ffmpeg_bridge.rgb import RgbConverter, upright
from ssvc_codec.bitstream import CELL_LOG2, ClassTable, SceneObject
from ssvc_codec.frame import Color, Frame, VideoFormat

__all__ = ["Overlay", "Part", "image_bytes", "rotate_box", "track_color"]

Rgb = tuple[int, int, int]

_MIN_WIDTH = 640  # smaller pictures are enlarged, else their labels cover them
_LEGEND_ROWS: Final = 3
_TINT = 0.18
_BLACK, _WHITE, _GREY = (18, 18, 18), (235, 235, 235), (128, 128, 128)
_BT709 = Color(primaries=1, transfer=1, matrix=1, chroma_location=2)
_GOLDEN = 0.618033988749895  # steps of the golden ratio keep hues apart, however many there are


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of one part of a frame."""

    label: str
    n_bytes: int
    track_id: int | None = None  # gives the colour; None: grey
    shade: float = 1.0  # 0 black to 1: parts of one group are told apart by it


def track_color(track_id: int) -> Rgb:
    """One colour for a track in all frames. A group has that of its lowest track id."""
    red, green, blue = colorsys.hsv_to_rgb(track_id * _GOLDEN % 1.0, 0.75, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def rotate_box(box: tuple[int, int, int, int], rotation: int, *, width: int, height: int) -> tuple[int, int, int, int]:
    """A box x, y, width, height of a picture width x height, after rotation by 0, 90, 180 or 270 counter-clockwise."""
    x, y, w, h = box
    match rotation:
        case 90:
            return y, width - x - w, h, w
        case 180:
            return width - x - w, height - y - h, w, h
        case 270:
            return height - y - h, x, h, w
    return box


def image_bytes(rgb: NDArray[np.uint8], suffix: str) -> bytes:
    """An image file of Pillow's. suffix: such as ".png". Raises ValueError for one that Pillow does not write."""
    kind = Image.registered_extensions().get(suffix.lower())
    if kind not in Image.SAVE:
        raise ValueError(f"{suffix or 'no suffix'} is no kind of picture that can be written; .png is one")
    data = io.BytesIO()
    Image.fromarray(rgb).save(data, kind)
    return data.getvalue()


class Overlay:
    """Pictures of one format with what belongs to them, upright, and a panel of bytes below. All have one size."""

    def __init__(self, video: VideoFormat) -> None:
        self._video = video
        self._rgb = RgbConverter()
        shown = (video.height, video.width) if video.rotation % 180 else (video.width, video.height)
        self._scale = -(-_MIN_WIDTH // shown[0])
        width, self._panel_top = shown[0] * self._scale, shown[1] * self._scale
        self._font_size = max(12, min(width, 2 * self._panel_top) // 70)
        self._font = ImageFont.load_default(self._font_size)
        self._line = round(1.5 * self._font.getbbox("Ag#")[3])
        height = self._panel_top + (_LEGEND_ROWS + 2) * self._line + self._line // 2
        self.width, self.height = width + width % 2, height + height % 2

    def draw(
        self,
        frame: Frame,
        objects: Sequence[SceneObject],
        groups: NDArray[np.integer],
        *,
        classes: ClassTable,
        title: str,
        parts: Sequence[Part],
    ) -> NDArray[np.uint8]:
        """(height, width, 3) uint8.

        objects: whose boxes are drawn. groups: (rows, columns) of gop.groups.group_map for the frame; those of
        no object drawn stay as they are. title: over the panel. parts: of the frame, in order.
        """
        tinted = self._with_groups(self._rgb.convert(frame), objects, groups)
        picture = upright(tinted, self._video.rotation).repeat(self._scale, 0).repeat(self._scale, 1)
        canvas = np.full((self.height, self.width, 3), _BLACK, np.uint8)
        canvas[: picture.shape[0], : picture.shape[1]] = picture
        image = Image.fromarray(canvas)
        draw = ImageDraw.Draw(image)
        for item in sorted(objects, key=lambda item: -item.width * item.height):
            self._draw_box(draw, item, classes)
        self._draw_panel(draw, title, parts)
        return np.asarray(image)

    def to_frame(self, rgb: NDArray[np.uint8], like: Frame) -> Frame:
        """A drawn picture as a frame of a video, BT.709, at the time of another."""
        y, u, v = rgb_to_yuv420(rgb)
        video = VideoFormat(self.width, self.height, color=_BT709)
        return replace(like, y=y, u=u, v=v, format=video)

    def _with_groups(
        self, rgb: NDArray[np.uint8], objects: Sequence[SceneObject], groups: NDArray[np.integer]
    ) -> NDArray[np.uint8]:
        """Cells of groups tinted, the border of each group in full colour."""
        colors = np.zeros((int(groups.max()) + 1, 3), np.float32)
        is_drawn = np.zeros(len(colors), bool)
        for item in sorted(objects, key=lambda item: -item.track_id):  # the lowest comes last
            group = groups[item.y >> CELL_LOG2, item.x >> CELL_LOG2]
            colors[group], is_drawn[group] = track_color(item.track_id), True
        size = rgb.shape[:2]
        of_pixel = groups.repeat(1 << CELL_LOG2, 0).repeat(1 << CELL_LOG2, 1)[: size[0], : size[1]]
        weight = np.where(is_drawn[of_pixel], np.float32(_TINT), np.float32(0))
        weight[_is_border(of_pixel) & is_drawn[of_pixel]] = 1
        mixed = rgb + weight[..., None] * (colors[of_pixel] - rgb)
        return np.rint(mixed).astype(np.uint8)

    def _draw_box(self, draw: ImageDraw.ImageDraw, item: SceneObject, classes: ClassTable) -> None:
        box = (item.x, item.y, item.width, item.height)
        turned = rotate_box(box, self._video.rotation, width=self._video.width, height=self._video.height)
        x, y, width, height = (value * self._scale for value in turned)
        color = track_color(item.track_id)
        thickness = max(2, self._font_size // 7)
        draw.rectangle((x, y, x + width - 1, y + height - 1), outline=color, width=thickness)
        words = f"{class_label(classes, item.class_id)} #{item.track_id} {item.score / 255:.2f}"
        label_width = draw.textlength(words, self._font) + self._font_size // 2
        left = max(0, min(x, self.width - label_width))
        top = y - self._line if y >= self._line else y
        draw.rectangle((left, top, left + label_width, top + self._line - 1), fill=color)
        draw.text((left + self._font_size // 4, top + self._line / 2), words, fill=_BLACK, font=self._font, anchor="lm")

    def _draw_panel(self, draw: ImageDraw.ImageDraw, title: str, parts: Sequence[Part]) -> None:
        """A line of text, a bar of all bytes, and what its colours mean."""
        top, line, margin = self._panel_top, self._line, self._line // 2
        draw.rectangle((0, top, self.width, self.height), fill=_BLACK)
        draw.text((margin, top + 0.6 * line), title, fill=_WHITE, font=self._font, anchor="lm")
        total = max(sum(part.n_bytes for part in parts), 1)
        ends = np.cumsum([0, *(part.n_bytes for part in parts)]) * (self.width - 2 * margin) / total
        edges = np.rint(margin + ends).astype(int).tolist()
        for part, left, right in zip(parts, edges[:-1], edges[1:], strict=True):
            if right > left:
                draw.rectangle((left, top + line, right - 1, top + 1.7 * line), fill=_color(part))
        x, row = margin, 0
        for index, part in enumerate(parts):
            words = f"{part.label} {part.n_bytes}"
            rest = f"and {len(parts) - index} more {sum(part.n_bytes for part in parts[index:])}"
            needed = draw.textlength(words, self._font) + 2 * line
            is_last_row = row == _LEGEND_ROWS - 1
            reserved = draw.textlength(rest, self._font) if is_last_row and index < len(parts) - 1 else 0
            if x + needed + reserved > self.width and x > margin:
                if is_last_row:
                    draw.text((x, self._row_center(row)), rest, fill=_WHITE, font=self._font, anchor="lm")
                    return
                x, row = margin, row + 1
            center = self._row_center(row)
            draw.rectangle((x, center - line // 4, x + line // 2, center + line // 4), fill=_color(part))
            draw.text((x + 0.8 * line, center), words, fill=_WHITE, font=self._font, anchor="lm")
            x += needed

    def _row_center(self, row: int) -> float:
        return self._panel_top + (row + 2.4) * self._line


def _color(part: Part) -> Rgb:
    red, green, blue = _GREY if part.track_id is None else track_color(part.track_id)
    return round(red * part.shade), round(green * part.shade), round(blue * part.shade)


def _is_border(groups: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels (H, W) beside one of another group, or at the edge of the picture."""
    framed = np.pad(groups.astype(np.int32), 1, constant_values=-1)
    center = framed[1:-1, 1:-1]
    neighbours = (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:])
    return np.logical_or.reduce([neighbour != center for neighbour in neighbours])
