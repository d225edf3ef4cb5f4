"""Joins the codec to files and pipes through FFmpeg: the only package that imports PyAV."""

from ffmpeg_bridge.reader import SsvReader, VideoReader, open_ssv, open_video
from ffmpeg_bridge.writer import SsvWriter, VideoWriter

__all__ = ["SsvReader", "SsvWriter", "VideoReader", "VideoWriter", "open_ssv", "open_video"]
