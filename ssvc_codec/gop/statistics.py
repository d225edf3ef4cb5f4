"""What coded frames cost."""

from __future__ import annotations

from dataclasses import dataclass

from ssvc_codec.bitstream.frame_header import FrameType

__all__ = ["FrameStatistics"]


@dataclass(frozen=True, slots=True)
class FrameStatistics:
    """What one frame cost."""

    pts: int | None
    frame_type: FrameType
    frame_number: int  # since the I frame
    q_index: int
    n_bytes: int  # of the packet: header, motion and residual, checksums included
    n_motion_bytes: int  # MOTION payloads; 0 for I frames
    n_residual_bytes: int  # RESIDUAL payloads, or all of an I frame's
    n_object_bytes: int = 0  # payloads of any kind in groups of objects
    n_trials: int = 1  # times the frame was coded until rate control took it

    @property
    def is_keyframe(self) -> bool:
        """An I frame."""
        return self.frame_type is FrameType.I

    @property
    def n_header_bytes(self) -> int:
        """Everything that is not payload."""
        return self.n_bytes - self.n_motion_bytes - self.n_residual_bytes

    @property
    def n_background_bytes(self) -> int:
        """Payloads of any kind in group 0."""
        return self.n_motion_bytes + self.n_residual_bytes - self.n_object_bytes
