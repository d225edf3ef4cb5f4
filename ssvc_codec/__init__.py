"""SSVC: a learned video codec whose bitstream keeps objects, background, motion and residual apart.

    encoder = Encoder(format, time_base=Fraction(1, 25), crf=28)
    packets = encoder.send(frame)       # Frame -> list of Packet
    packets += encoder.flush()

    decoder = Decoder(encoder.sequence_header)
    frames = decoder.send(packet)       # Packet -> list of Frame

    people = Decoder(encoder.sequence_header, select=Selection(objects=("person",), background=False))

Names load on first use, so `import ssvc_codec` costs neither torch nor numpy. Files, containers and sound
belong to ffmpeg_bridge.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssvc_codec.bitstream import SceneObject
    from ssvc_codec.decoder import Decoder
    from ssvc_codec.encoder import Encoder
    from ssvc_codec.errors import (
        BitstreamError,
        ChecksumError,
        LimitError,
        MediaError,
        ModelError,
        SsvcError,
        TruncatedError,
    )
    from ssvc_codec.flow import FlowField
    from ssvc_codec.frame import Color, Frame, VideoFormat
    from ssvc_codec.packet import Packet
    from ssvc_codec.selection import Selection

    __version__: str

__all__ = [
    "BitstreamError",
    "ChecksumError",
    "Color",
    "Decoder",
    "Encoder",
    "FlowField",
    "Frame",
    "LimitError",
    "MediaError",
    "ModelError",
    "Packet",
    "SceneObject",
    "Selection",
    "SsvcError",
    "TruncatedError",
    "VideoFormat",
    "__version__",
]

_HOME_OF_NAME = {
    "Color": "frame",
    "Decoder": "decoder",
    "Encoder": "encoder",
    "FlowField": "flow",
    "Frame": "frame",
    "Packet": "packet",
    "SceneObject": "bitstream",
    "Selection": "selection",
    "VideoFormat": "frame",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__version__":
        value: object = metadata.version("ssvc")
    else:
        value = getattr(import_module(f"{__name__}.{_HOME_OF_NAME.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
