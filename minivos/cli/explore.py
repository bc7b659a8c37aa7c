"""`minivos explore`: a page on which every cell of a video says where each layer looks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minivos.cli.options import Device, Released, Weights, model_for
from minivos.cli.segment import Video, say
from minivos.errors import InputError

DEFAULT = "aot_mini"

if TYPE_CHECKING:
    from minivos.video.clip import Clip


def explore(
    video: Video,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            help="FILE: mask of the first frame, or FRAME=FILE; those of later frames, and those "
            "that a folder of DAVIS comes with, are shown as the truth; repeatable"
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="model name, see `minivos models`; repeatable; if not given that of --weights, "
            f"else {DEFAULT}"
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(help="how many frames are shown, spread over the video")
    ] = 12,
    out: Annotated[
        Path | None, typer.Option(help="the page to write; VIDEO-explore.html here if not given")
    ] = None,
    heads: Annotated[
        str,
        typer.Option(help="all, their mean, or auto: the mean if the page had over 3 MB otherwise"),
    ] = "auto",
    grid: Annotated[
        tuple[int, int], typer.Option(help="rows and columns: maps of more cells are pooled")
    ] = (12, 22),
    only: Annotated[
        str, typer.Option(help="maps of this name alone, wildcards allowed, such as 'block2/*'")
    ] = "*",
    weights: Weights = "shipped",
    released: Released = None,
    side: Annotated[
        int, typer.Option(help="short side in pixels at which networks work; 0: their own")
    ] = 0,
    max_side: Annotated[
        int, typer.Option(help="shrink frames whose long side is longer, in pixels; 0: none")
    ] = 0,
    stride: Annotated[int, typer.Option(help="take every n-th frame")] = 1,
    device: Device = "auto",
) -> None:
    """Write a page to click on: where does each cell look, in every layer, through the video?"""
    names = list(dict.fromkeys(model or [model_for(weights, DEFAULT)]))
    if len(names) > 1 and (weights not in ("shipped", "mini") or released):
        raise InputError(f"got a file of weights for {', '.join(names)}; expected one --model")
    clip = read_clip(video, mask or [], max_side or None, stride)
    out = out or Path(f"{clip.name}-explore.html")

    from minivos.models import facts_of
    from minivos.official import open_network
    from minivos.viewing.explorer import check_asked, check_out
    from minivos.viewing.explorer import explore as make_page
    from minivos.viewing.explorer_film import Film

    check_out(out)
    check_asked(heads, grid, only)
    Film.of(clip, frames)  # refuses what cannot be shown before a network is loaded
    networks = {name: open_network(name, weights, released, device) for name in names}
    height, width = clip.frames.shape[1:3]
    say(f"{video}: {len(clip)} frames of {width}x{height} pixels")
    say(f"objects are those in the mask of frame {min(clip.masks)}")
    if later := len(clip.masks) - 1:
        say(f"masks of {later} later frames are shown as the truth, beside what is found")
    for name, network in networks.items():
        works = network.sizing((height, width), side or None)
        on = next(network.parameters()).device
        say(f"{name} on {on}, working at {works[1]}x{works[0]} pixels")
        terms = "free" if released else facts_of(name, weights).get("terms", "free")
        if terms != "free":
            say(f"the weights of {name} are {terms}: see `minivos models` and docs/weights.md")
    asked: dict[str, Any] = {"frames": frames, "heads": heads, "grid": grid, "only": only}
    page = make_page(networks, clip, out, **asked, side=side or None)
    for note in dict.fromkeys(note for each in page.given["networks"] for note in each["note"]):
        say(note)
    say(f"{len(page.html) / 1e6:.1f} MB, one file that needs no network")
    say(f"Open this page in a browser, and click: {out.resolve()}")


def read_clip(video: Path, asked: list[str], max_side: int | None, stride: int) -> Clip:
    """A video with the masks that were asked for, and later ones that come with it."""
    from minivos.video.clip import Clip, shrink_labels
    from minivos.video.frames import open_frames
    from minivos.video.given_masks import read_given_masks

    source = open_frames(video, max_side=max_side, stride=stride)
    given = read_given_masks(asked, source, report=say)
    clip = Clip.load(video, max_side=max_side, stride=stride)
    if not given and not clip.masks:
        raise InputError(
            f"{video} comes without masks; expected --mask FILE with the objects of its first "
            f"frame: `minivos paint {shlex.quote(str(video))}` makes a page to paint one on"
        )
    start = min(given or clip.masks)
    clip.masks = {t: labels for t, labels in clip.masks.items() if t >= start}
    clip.masks |= {t: shrink_labels(labels, source.size) for t, labels in given.items()}
    return clip
