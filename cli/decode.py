"""`ssvc decode`: an .ssv file becomes a video that any player shows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from ssvc_codec.errors import MediaError

from .decode_crops import CropOutput, CropSink
from .decode_flow import FlowDecoder, FlowOutput, FlowSink
from .decode_video import DecodeJob, LazyVideoSink, report_damage
from .exit_codes import with_exit_code
from .interrupt import StopRequest
from .options import Device, Frames, Overwrite, Quiet, Start, Threads, Verbose
from .output import check_output
from .progress import Progress
from .selecting import Background, BackgroundOnly, Every, Exclude, KeyframesOnly, Objects, make_selection

__all__ = ["decode", "parse_codec_options"]


def parse_codec_options(items: list[str]) -> dict[str, str]:
    """`["crf=18,preset=slow", "tune=film"]` as a dict. Raises typer.BadParameter."""
    options: dict[str, str] = {}
    for pair in (pair for item in items for pair in item.split(",") if pair):
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"{pair!r} is not of the form key=value", param_hint="--vcodec-opts")
        options[key] = value
    return options


def check_modes(
    target: str | None,
    *,
    flow_only: bool,
    header_only: bool,
    annotations: str | None,
    crops: str | None,
    format: str | None,
    acodec: str | None,
) -> None:
    """Refuses outputs that exclude one another. Raises typer.BadParameter."""
    if flow_only + header_only + (crops is not None) > 1:
        raise typer.BadParameter("--flow-only, --header-only and --crops exclude one another")
    if flow_only or header_only or crops is not None:
        for is_given, name in ((format is not None, "--format"), (acodec is not None, "--acodec")):
            if is_given:
                raise typer.BadParameter("it is for decoded pictures", param_hint=name)
    if annotations is not None and not header_only:
        raise typer.BadParameter("it goes with --header-only", param_hint="--annotations")
    if crops is not None and target is not None:
        raise typer.BadParameter(f"crops go into their folder: there is nothing for {target}", param_hint="--crops")
    if crops is None and target is None and not header_only:
        raise typer.BadParameter("it is missing", param_hint="OUT")


@with_exit_code
def decode(
    source: Annotated[str, typer.Argument(metavar="IN", help="An .ssv file; - reads stdin.")],
    target: Annotated[
        str | None, typer.Argument(metavar="OUT", help="The video; its extension chooses the container.")
    ] = None,
    *,
    objects: Objects = None,
    exclude: Exclude = None,
    background: Background = None,
    background_only: BackgroundOnly = False,
    fill: Annotated[
        Literal["gray", "black", "blur", "hold"], typer.Option(help="What is shown where nothing was decoded.")
    ] = "gray",
    keyframes_only: KeyframesOnly = False,
    every: Every = 1,
    header_only: Annotated[
        bool, typer.Option("--header-only", help="Write which objects are where; no network runs.")
    ] = False,
    annotations: Annotated[
        Literal["jsonl", "coco", "coco-results", "mot", "csv"] | None,
        typer.Option(help="Form of --header-only, if the extension of OUT does not say."),
    ] = None,
    crops: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Write every object as pictures of its own, instead of OUT.")
    ] = None,
    crops_format: Annotated[Literal["png", "mp4"], typer.Option(help="Pictures, or a clip of each track.")] = "png",
    crops_padding: Annotated[
        float, typer.Option(min=0, metavar="SHARE", help="Added to a crop on each side, as a share of the box.")
    ] = 0.0,
    format: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--format",
            metavar="NAME",
            help="Container, instead of what OUT says: mkv, nut, y4m, rawvideo, mp4, ... as ffmpeg names them.",
        ),
    ] = None,
    frames: Frames = None,
    start: Start = None,
    vcodec: Annotated[str | None, typer.Option(metavar="NAME", help="ffmpeg's name of the video encoder.")] = None,
    vcodec_opts: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Options for it: repeat, or separate by commas.")
    ] = None,
    acodec: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Encoder of sound; default: copied if OUT can hold it, else converted."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Weights that are not installed; the file names its own.")
    ] = None,
    flow_only: Annotated[
        bool, typer.Option("--flow-only", help="Write the optical flow; nothing else is decoded.")
    ] = False,
    flow_scale: Annotated[
        Literal["1", "2", "4", "8"] | None,
        typer.Option(help="Pixels for each vector of the flow, each way; default 1."),
    ] = None,
    flow_max: Annotated[
        float | None,
        typer.Option(min=0.001, metavar="PIXELS", help="Motion with full colour; default: longer side / 64."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first damaged frame.")] = False,
    threads: Threads = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Decode an .ssv file into a video.

    Sound, subtitles, chapters and the like are copied. OUT - is stdout: Matroska with raw frames (FFV1 for 10 bit),
    live, for `ffmpeg -i -`. A damaged frame shows the frame
    before it (mid grey where there is none), is counted, and makes the exit code 3.

    With --objects, --exclude, --no-background or --background-only, only what is asked for is read and
    decoded. With --header-only OUT is .jsonl, .json (COCO), .txt (MOT) or .csv. With --flow-only it is a folder of
    .flo files (no extension), .zip or .tar of them, .npz, or a video in the usual colours. Damaged frames then
    have no flow.
    """
    codec_options = parse_codec_options(vcodec_opts or [])
    if not flow_only and (flow_scale or flow_max):
        raise typer.BadParameter("it goes with --flow-only", param_hint="--flow-scale" if flow_scale else "--flow-max")
    check_modes(
        target,
        flow_only=flow_only,
        header_only=header_only,
        annotations=annotations,
        crops=crops,
        format=format,
        acodec=acodec,
    )
    select = make_selection(objects, exclude, background, background_only=background_only)
    if header_only:
        from .decode_headers import decode_headers

        return decode_headers(
            source,
            target or "-",
            kind=annotations,
            select=select,
            keyframes_only=keyframes_only,
            every=every,
            start=start,
            frames=frames,
            strict=strict,
            overwrite=overwrite,
            quiet=quiet,
        )
    cutter = None
    if crops is not None:
        cutter = CropOutput(crops, crops_format, crops_padding, overwrite)
        cutter.check()
    else:
        check_output(target or "-", source=source, overwrite=overwrite)
    output = FlowOutput(target or "-", int(flow_scale or 1), flow_max, overwrite, vcodec, codec_options)
    if flow_only:
        output.check()
    from ffmpeg_bridge.reader import open_ssv
    from ssvc_codec.editing import GopFilter

    progress = Progress(quiet=quiet)
    with (
        StopRequest(ends_stdin=source == "-") as stop,
        open_ssv(source, start_seconds=start, max_frames=frames) as reader,
    ):
        how: dict[str, Any] = {"model": model, "device": device, "threads": threads, "conceal": not strict}
        how["select"] = select
        if flow_only:
            decoder = FlowDecoder(reader.sequence_header, scale=output.scale, **how)
            sink = FlowSink(output, reader, decoder)
        else:
            from .concealment import ConcealingDecoder

            decoder = ConcealingDecoder(reader.sequence_header, fill=fill, **how)
            if cutter is not None:
                sink = CropSink(cutter, reader, decoder, select=select)
            else:
                sink = LazyVideoSink(
                    target or "-", reader, vcodec=vcodec, vcodec_options=codec_options, acodec=acodec, container=format
                )
        wanted = GopFilter(keyframes_only, every)
        job = DecodeJob(decoder, sink, progress, stop, wanted, is_trimmed=reader.is_trimmed)
        try:
            job.run(iter(reader))
            if not decoder.n_decoded:
                cut = "is cut off before the end of" if reader.truncated else "holds no packet of"
                raise job.damage or decoder.first_error or MediaError(f"{source} {cut} its first frame")
            sink.close()
        except BaseException:
            sink.abort()
            raise
        progress.add_notes(reader.notes)
        if reader.truncated and not stop.is_set and job.damage is None:
            job.damage = MediaError("the file is truncated or damaged")
    progress.finish()
    if stop.is_set:
        return stop.exit_code
    return report_damage(source, job, decoder, outcome="have no flow" if flow_only else "are concealed")
