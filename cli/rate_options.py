"""The options of `ssvc encode` that say how large, or how good, the video becomes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from ssvc_codec.frame import Frame, VideoFormat
    from ssvc_codec.gop.quality_control import QualityControl
    from ssvc_codec.gop.rate_control import RateControl
    from ssvc_codec.gop.two_pass import FirstPass

__all__ = [
    "Bitrate",
    "Bufsize",
    "Crf",
    "Maxrate",
    "RateOptions",
    "TargetMsSsim",
    "TargetPsnr",
    "TargetSize",
    "TwoPass",
    "parse_rate",
    "parse_size",
]

DEFAULT_CRF: Final = 28.0
MS_SSIM_EVERY: Final = 3  # frames from one measurement to the next: one takes as long as coding a P frame
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)(?P<prefix>[kKMG]i?)?(?P<bytes>B)?")
_PREFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def parse_rate(text: str) -> float:
    """Bits of `800000`, `500k`, `1.5M`, `64Ki` or, with B for bytes, `100kB`: ffmpeg's numbers. ValueError else."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or not float(match["number"]):
        raise ValueError(f"{text!r} is no rate above 0: write 500k, 1.5M or 800000")
    prefix = (match["prefix"] or "").replace("K", "k")
    return float(match["number"]) * _PREFIXES[prefix] * (8 if match["bytes"] else 1)


def parse_size(text: str) -> float:
    """Bytes of `10M`, `700k`, `1.5Gi` or `5MB`: ffmpeg's numbers. ValueError else."""
    try:
        return parse_rate(text.strip().removesuffix("B"))
    except ValueError as error:
        raise ValueError(f"{text!r} is no size above 0: write 700k or 10M") from error


Crf = Annotated[float | None, typer.Option(min=0, max=63, show_default="28", help="Quality: 0 is best, 63 smallest.")]
Bitrate = Annotated[
    float | None,
    typer.Option(parser=parse_rate, metavar="RATE", help="Mean bits per second: 500k, 1.5M, 800000."),
]
Maxrate = Annotated[
    float | None,
    typer.Option(parser=parse_rate, metavar="RATE", help="With --bitrate: most bits per second into a buffer (VBV)."),
]
Bufsize = Annotated[
    float | None,
    typer.Option(parser=parse_rate, metavar="BITS", help="Size of that buffer; one second of --maxrate if not set."),
]
TwoPass = Annotated[
    bool, typer.Option("--two-pass", help="With --bitrate: code twice, for an even quality and a closer rate.")
]
TargetSize = Annotated[
    float | None,
    typer.Option(parser=parse_size, metavar="SIZE", help="Bytes of all video packets, in two passes: 700k, 10M."),
]
TargetPsnr = Annotated[
    float | None, typer.Option(min=10, max=70, metavar="DB", help="Mean PSNR of frames, 6:1:1 of Y, U and V.")
]
TargetMsSsim = Annotated[
    float | None,
    typer.Option(
        "--target-msssim",
        min=0.01,
        max=60,
        metavar="VALUE|DB",
        help="Mean MS-SSIM of luma: 0.98 or, from 1 on, dB (17).",
    ),
]


@dataclass(frozen=True, slots=True)
class RateOptions:
    """What the user said; None where nothing.

    bitrate, maxrate: bits per second. bufsize: bits. target_size: bytes. target_msssim: dB from 1 on.
    """

    crf: float | None
    bitrate: float | None
    maxrate: float | None
    bufsize: float | None
    two_pass: bool
    target_size: float | None
    target_psnr: float | None
    target_msssim: float | None

    def check(self, *, source: str) -> None:
        """Refuses what does not go together. Raises typer.BadParameter."""
        named = {
            "--crf": self.crf,
            "--bitrate": self.bitrate,
            "--target-size": self.target_size,
            "--target-psnr": self.target_psnr,
            "--target-msssim": self.target_msssim,
        }
        given = [name for name, value in named.items() if value is not None]
        if len(given) > 1:
            raise typer.BadParameter(f"{given[0]} and {given[1]} exclude one another", param_hint=given[1])
        for name, value in (("--maxrate", self.maxrate), ("--bufsize", self.bufsize)):
            if value is not None and self.bitrate is None:
                raise typer.BadParameter("it limits --bitrate, which is not given", param_hint=name)
        if self.maxrate is not None and self.maxrate < (self.bitrate or 0):
            raise typer.BadParameter("it is below --bitrate", param_hint="--maxrate")
        if self.two_pass and self.bitrate is None:
            raise typer.BadParameter("it needs --bitrate; --target-size has two passes anyway", param_hint="--two-pass")
        path = Path(source)
        if self.n_passes == 2 and (source == "-" or (path.exists() and not path.is_file())):
            hint = "--two-pass" if self.two_pass else "--target-size"
            raise typer.BadParameter("two passes read the input twice, which needs a file", param_hint=hint)

    @property
    def n_passes(self) -> int:
        """How often the input is coded."""
        return 2 if self.two_pass or self.target_size is not None else 1

    @property
    def fixed_crf(self) -> float | None:
        """The crf for the encoder; None where a rate control decides."""
        others = (self.bitrate, self.target_size, self.target_psnr, self.target_msssim)
        if any(value is not None for value in others):
            return None
        return DEFAULT_CRF if self.crf is None else self.crf

    @property
    def needs_seconds(self) -> bool:
        """Whether the length of the video helps, where it is known."""
        return self.bitrate is not None or self.target_size is not None

    @property
    def needs_reconstruction(self) -> bool:
        """Whether the control looks at decoded pictures."""
        return self.target_psnr is not None or self.target_msssim is not None

    def first_pass(self, *, seconds: float | None) -> FirstPass:
        """The control of the first pass. seconds: of the video, as far as known."""
        from ssvc_codec.gop.two_pass import FirstPass

        return FirstPass(self.bitrate if self.bitrate is not None else 8 * (self.target_size or 0) / (seconds or 60.0))

    def open_control(
        self, format: VideoFormat, *, seconds: float | None, first: FirstPass | None = None
    ) -> RateControl | None:
        """The control of the only or the second pass; None for --crf. seconds: of the video, None where unknown.

        Raises typer.BadParameter where the picture is too small for the measure.
        """
        if first is not None:
            from ssvc_codec.gop.two_pass import TwoPassControl

            n_bits = 8 * self.target_size if self.target_size is not None else (self.bitrate or 0) * first.seconds
            rate = n_bits / first.seconds
            return TwoPassControl(first.frames, n_bits=n_bits, maxrate=self.maxrate, bufsize=self.bufsize, bitrate=rate)
        if self.bitrate is not None:
            from ssvc_codec.gop.rate_control import BitrateControl

            return BitrateControl(self.bitrate, maxrate=self.maxrate, bufsize=self.bufsize, total_seconds=seconds)
        return self._quality_control(format) if self.needs_reconstruction else None

    def outcome(self, *, n_bits: float, seconds: float) -> list[str]:
        """What became of the rate asked for. n_bits: of all packets."""
        if self.bitrate is not None and seconds > 0:
            rate = n_bits / seconds
            change = f"{100 * (rate / self.bitrate - 1):+.1f} %"
            return [f"bit rate {rate / 1000:.1f} kbit/s, {change} against --bitrate"]
        if self.target_size is not None:
            change = f"{100 * (n_bits / 8 / self.target_size - 1):+.1f} %"
            return [f"{n_bits / 8:.0f} bytes of video, {change} against --target-size"]
        return []

    def _quality_control(self, format: VideoFormat) -> QualityControl:
        from ssvc_codec.gop.quality_control import MS_SSIM_DB, PSNR_DB, QualityControl

        if self.target_psnr is not None:
            return QualityControl(self.target_psnr, _psnr, prior=PSNR_DB)
        from ssvc_codec.evaluation.ms_ssim import MIN_SIDE, ms_ssim_db

        if min(format.width, format.height) < MIN_SIDE:
            raise typer.BadParameter(
                f"MS-SSIM needs {MIN_SIDE} samples on each side, the video is {format.width}x{format.height}",
                param_hint="--target-msssim",
            )
        target = self.target_msssim or 0.0
        return QualityControl(
            ms_ssim_db(target) if target < 1 else target, _ms_ssim, prior=MS_SSIM_DB, every=MS_SSIM_EVERY
        )


def _psnr(source: Frame, decoded: Frame) -> float:
    from ssvc_codec.evaluation.psnr import frame_psnr

    value = frame_psnr(source, decoded).yuv611
    return value if math.isfinite(value) else 100.0


def _ms_ssim(source: Frame, decoded: Frame) -> float:
    from ssvc_codec.evaluation.ms_ssim import ms_ssim, ms_ssim_db

    return ms_ssim_db(ms_ssim(source.y, decoded.y, peak=(1 << source.format.bit_depth) - 1))
