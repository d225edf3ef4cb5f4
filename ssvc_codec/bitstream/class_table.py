"""Table 3 and annex A: what class ids mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final, Self

from ssvc_codec.bitstream.byte_io import ByteReader, ByteWriter
from ssvc_codec.bitstream.limits import MAX_OBJECTS, check_limit

__all__ = ["COCO_80", "NO_CLASSES", "ClassTable", "ClassTableId"]


class ClassTableId(IntEnum):
    """Flags bits 6-7 of the sequence header."""

    NONE = 0
    COCO_80 = 1
    INLINE = 2


@dataclass(frozen=True, slots=True)
class ClassTable:
    """Names of class ids. Only an inline table has its names in the stream."""

    table_id: ClassTableId
    names: tuple[tuple[int, str], ...] = ()  # (class id, name), ids ascending

    def __post_init__(self) -> None:
        check_limit("classes", len(self.names), MAX_OBJECTS)
        if (not self.names) != (self.table_id is ClassTableId.NONE):
            raise ValueError(f"class table {self.table_id} with {len(self.names)} names")
        ids = [class_id for class_id, _ in self.names]
        if any(not 0 <= class_id <= 0xFFFF for class_id in ids) or any(b <= a for a, b in pairwise(ids)):
            raise ValueError("class ids must be ascending and in 0..65535")
        for class_id, name in self.names:
            if not 1 <= len(name.encode()) <= 64 or any(_is_control(character) for character in name):
                raise ValueError(f"name of class {class_id} is not 1..64 bytes without control characters")

    def __contains__(self, class_id: int) -> bool:
        return self.table_id is ClassTableId.NONE or self.name_of(class_id) is not None

    def name_of(self, class_id: int) -> str | None:
        """Name of a class; None where the table has none."""
        return dict(self.names).get(class_id)

    def write(self, w: ByteWriter) -> None:
        """Table 3. Writes nothing unless the table is inline."""
        if self.table_id is not ClassTableId.INLINE:
            return
        w.varint(len(self.names))
        for class_id, name in self.names:
            encoded = name.encode()
            w.varint(class_id)
            w.uint(len(encoded), 1)
            w.raw(encoded)

    @classmethod
    def read(cls, r: ByteReader, table_id: ClassTableId) -> Self:
        """Table 3. Reads nothing unless the table is inline."""
        if table_id is not ClassTableId.INLINE:
            return cls(table_id, COCO_80.names if table_id is ClassTableId.COCO_80 else ())
        with r.structure("inline class table", "2"):
            n_classes = check_limit("classes", r.varint(), MAX_OBJECTS)
            names = tuple((r.varint(), r.raw(r.uint(1)).decode()) for _ in range(n_classes))
            return cls(table_id, names)


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


NO_CLASSES: Final = ClassTable(ClassTableId.NONE)
COCO_80: Final = ClassTable(
    ClassTableId.COCO_80,
    (
        (0, "person"),
        (1, "bicycle"),
        (2, "car"),
        (3, "motorcycle"),
        (4, "airplane"),
        (5, "bus"),
        (6, "train"),
        (7, "truck"),
        (8, "boat"),
        (9, "traffic light"),
        (10, "fire hydrant"),
        (11, "stop sign"),
        (12, "parking meter"),
        (13, "bench"),
        (14, "bird"),
        (15, "cat"),
        (16, "dog"),
        (17, "horse"),
        (18, "sheep"),
        (19, "cow"),
        (20, "elephant"),
        (21, "bear"),
        (22, "zebra"),
        (23, "giraffe"),
        (24, "backpack"),
        (25, "umbrella"),
        (26, "handbag"),
        (27, "tie"),
        (28, "suitcase"),
        (29, "frisbee"),
        (30, "skis"),
        (31, "snowboard"),
        (32, "sports ball"),
        (33, "kite"),
        (34, "baseball bat"),
        (35, "baseball glove"),
        (36, "skateboard"),
        (37, "surfboard"),
        (38, "tennis racket"),
        (39, "bottle"),
        (40, "wine glass"),
        (41, "cup"),
        (42, "fork"),
        (43, "knife"),
        (44, "spoon"),
        (45, "bowl"),
        (46, "banana"),
        (47, "apple"),
        (48, "sandwich"),
        (49, "orange"),
        (50, "broccoli"),
        (51, "carrot"),
        (52, "hot dog"),
        (53, "pizza"),
        (54, "donut"),
        (55, "cake"),
        (56, "chair"),
        (57, "couch"),
        (58, "potted plant"),
        (59, "bed"),
        (60, "dining table"),
        (61, "toilet"),
        (62, "tv"),
        (63, "laptop"),
        (64, "mouse"),
        (65, "remote"),
        (66, "keyboard"),
        (67, "cell phone"),
        (68, "microwave"),
        (69, "oven"),
        (70, "toaster"),
        (71, "sink"),
        (72, "refrigerator"),
        (73, "book"),
        (74, "clock"),
        (75, "vase"),
        (76, "scissors"),
        (77, "teddy bear"),
        (78, "hair drier"),
        (79, "toothbrush"),
    ),
)
