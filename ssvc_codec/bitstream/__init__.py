"""The bitstream of docs/bitstream.md: syntax only, no entropy coding, no torch."""

from ssvc_codec.bitstream.bitmap_info import BITMAP_INFO_SIZE, FOURCC, build_codec_private, parse_codec_private
from ssvc_codec.bitstream.byte_io import ByteReader, ByteWriter
from ssvc_codec.bitstream.class_table import COCO_80, NO_CLASSES, ClassTable, ClassTableId
from ssvc_codec.bitstream.directory import Directory, DirectoryEntry, SubstreamKind
from ssvc_codec.bitstream.frame_header import MAX_Q_INDEX, FrameHeader, FrameType, GroupQOffsets
from ssvc_codec.bitstream.limits import CELL_LOG2, MAX_GROUPS, MAX_OBJECTS, check_picture_size, coded_size
from ssvc_codec.bitstream.objects import BoxChange, ObjectChanges, ObjectList, SceneObject
from ssvc_codec.bitstream.packets import ParsedPacket, build_packet, drop_substreams, parse_packet
from ssvc_codec.bitstream.sequence_header import MAGIC, VERSION, SequenceHeader

__all__ = [
    "BITMAP_INFO_SIZE",
    "CELL_LOG2",
    "COCO_80",
    "FOURCC",
    "MAGIC",
    "MAX_GROUPS",
    "MAX_OBJECTS",
    "MAX_Q_INDEX",
    "NO_CLASSES",
    "VERSION",
    "BoxChange",
    "ByteReader",
    "ByteWriter",
    "ClassTable",
    "ClassTableId",
    "Directory",
    "DirectoryEntry",
    "FrameHeader",
    "FrameType",
    "GroupQOffsets",
    "ObjectChanges",
    "ObjectList",
    "ParsedPacket",
    "SceneObject",
    "SequenceHeader",
    "SubstreamKind",
    "build_codec_private",
    "build_packet",
    "check_picture_size",
    "coded_size",
    "drop_substreams",
    "parse_codec_private",
    "parse_packet",
]
