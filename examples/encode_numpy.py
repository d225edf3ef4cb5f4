"""Encode and decode numpy pictures in memory: no file, no PyAV.

python examples/encode_numpy.py
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ssvc_codec import Decoder, Encoder, Frame, VideoFormat

TIME_BASE = Fraction(1, 25)


def draw(number: int, video_format: VideoFormat) -> Frame:
    """A bright disc that moves over a slope; planar 4:2:0, 8 bits."""
    rows, columns = np.mgrid[: video_format.height, : video_format.width]
    disc = (rows - 60) ** 2 + (columns - 40 - 8 * number) ** 2 < 30**2
    luma = np.where(disc, 200, 40 + rows // 2).astype(np.uint8)
    chroma = np.full((video_format.chroma_height, video_format.chroma_width), 128, np.uint8)
    return Frame(y=luma, u=chroma, v=chroma, format=video_format, pts=number, duration=1, time_base=TIME_BASE)


def main() -> None:
    """Encode eight frames, decode them, and print size and quality of each."""
    video_format = VideoFormat(width=208, height=120)
    frames = [draw(number, video_format) for number in range(8)]

    encoder = Encoder(video_format, time_base=TIME_BASE, crf=28)
    packets = [packet for frame in frames for packet in encoder.send(frame)] + encoder.flush()

    decoder = Decoder(encoder.sequence_header)
    pictures = [picture for packet in packets for picture in decoder.send(packet)] + decoder.flush()

    for frame, packet, picture in zip(frames, packets, pictures, strict=True):
        mse = np.mean((frame.y.astype(np.float64) - picture.y) ** 2)
        psnr = 10 * np.log10(255**2 / max(mse, 1e-9))
        print(f"frame {picture.pts}: {len(packet.data)} bytes, luma PSNR {psnr:.2f} dB")


if __name__ == "__main__":
    main()
