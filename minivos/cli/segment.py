"""`minivos segment`: the masks of a video."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from minivos.cli.options import Device, Model, Overwrite, Weights
from minivos.errors import InputError

FILMS = (".mp4", ".mov", ".avi", ".mkv", ".webm")


def segment(
    video: Annotated[Path, typer.Argument(help="a video file or a folder of JPEG or PNG frames")],
    mask: Annotated[
        Path,
        typer.Option(help="mask of the first frame: a PNG, or a folder with one PNG per object"),
    ],
    model: Model = "aot_mini",
    out: Annotated[Path, typer.Option(help="folder for masks, overlay.mp4")] = Path("out/segment"),
    weights: Weights = "shipped",
    released: Annotated[
        Path | None,
        typer.Option(help="checkpoint as the network's authors released it, instead of --weights"),
    ] = None,
    max_side: Annotated[
        int, typer.Option(help="shrink frames whose long side is longer, in pixels")
    ] = 480,
    side: Annotated[
        int, typer.Option(help="short side in pixels at which the network works; 0: its own")
    ] = 0,
    stride: Annotated[int, typer.Option(help="take every n-th frame")] = 1,
    device: Device = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Follow the objects of the first frame's mask through a video."""
    from minivos.video.clip import shrink_labels
    from minivos.video.files import prepare_output, whole_folder
    from minivos.video.frames import OverlayWriter, open_frames
    from minivos.video.mask_files import (
        check_mask,
        describe_mask,
        read_binary_masks,
        read_mask,
        write_mask,
    )

    if out.suffix.lower() in FILMS:
        raise InputError(
            f"--out {out} looks like a film; give a folder, which gets masks/ and overlay.mp4."
        )
    source = open_frames(video, max_side=max_side, stride=stride)
    read = read_binary_masks if mask.is_dir() else read_mask
    first_mask = read(mask, report=print)
    check_mask(first_mask, source.full_size, str(mask))
    first_mask = shrink_labels(first_mask, source.size)

    from tqdm import tqdm  # what takes seconds comes after what the files may lack

    from minivos.models import create_model, pick_device
    from minivos.official import load_official
    from minivos.tracker import Tracker

    network = create_model(model, None if released else weights)
    if released:
        load_official(network, released)
    tracker = Tracker(network.to(pick_device(device)), side=side or None)
    print(f"{video}: {source.size[1]}x{source.size[0]} pixels, {describe_mask(first_mask)}")
    height, width = network.sizing(source.size, tracker.side)
    print(f"{model} on {tracker.device}, working at {width}x{height} pixels")

    out = prepare_output(out, overwrite, "segment")
    masks_folder, overlay_file = out / "masks", out / "overlay.mp4"
    frames, seconds = 0, 0.0
    with (
        whole_folder(masks_folder) as part,
        OverlayWriter(overlay_file, source.size, source.fps) as overlay,
    ):
        named = zip(source, source.names, strict=False)
        for frame, name in tqdm(named, total=source.count, unit="frame", disable=None):
            began = time.perf_counter()
            labels = tracker.step(frame, first_mask if frames == 0 else None)
            seconds += time.perf_counter() - began
            frames += 1
            write_mask(part / f"{name}.png", labels)
            overlay.write(frame, labels)
    print(f"{frames} frames at {frames / seconds:.1f} frames per second (network alone)")
    print(f"{masks_folder}: {frames} palette PNGs, value = object id, 0 = background")
    print(f"{overlay_file}: the frames with the objects drawn over them")
