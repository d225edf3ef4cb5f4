"""Decoded video of .ssv files over HTTP, for programs that know nothing of the codec."""

from ffmpeg_bridge.serving.server import Statistics, VideoServer

__all__ = ["Statistics", "VideoServer"]
