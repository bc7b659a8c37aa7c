"""`minivos paint`, `minivos frame`: a page to paint masks on, or a frame for a paint program."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minivos.cli.segment import Video, say
from minivos.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from minivos.video.frames import FrameSource


def paint(
    video: Video,
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="name or number of a frame to paint on, repeatable; the first if not given"
        ),
    ] = None,
    mask: Annotated[
        list[str] | None,
        typer.Option(
            help="mask to begin with: FILE, or FRAME=FILE, which shows that frame, too; repeatable"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="the page to write; VIDEO-mask.html here if not given")
    ] = None,
) -> None:
    """Write a page to paint masks on: one file, for any browser, that needs no network."""
    from minivos.video.files import exists, make_folder
    from minivos.video.frames import open_frames
    from minivos.video.given_masks import find_frame, frame_names, read_given_masks

    source = open_frames(video)
    names = frame_names(source)
    asked = {find_frame(name, names) for name in at or []}
    given = list(mask or [])
    if len(asked) == 1:  # the frame of a mask that does not say its own
        (only,) = asked
        given = [g if "=" in g and not exists(g) else f"{names[only]}={g}" for g in given]
    masks = read_given_masks(given, source, report=say, may_be_empty=True)
    numbers = sorted(asked | set(masks)) or [0]
    out = out or Path(f"{source.name}-mask.html")
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"got --out {out}; expected the name of an .html file")

    from minivos.viewing.page import check_replaceable
    from minivos.viewing.painting_page import PAGE_TITLE, FrameToPaint, write_painting_page

    check_replaceable(out, PAGE_TITLE)
    frames = [
        FrameToPaint(t, names[t], picture, masks.get(t))
        for t, picture in _pictures(source, numbers).items()
    ]
    make_folder(out.parent)
    write_painting_page(out, str(video), frames)
    say(f"Open this page in a browser, paint, and save: {out.resolve()}")
    say("It needs no network, and says the next command: `minivos segment` with what you saved.")


def frame(
    video: Video,
    at: Annotated[str, typer.Option(help="name or number of the frame")] = "0",
    out: Annotated[
        Path | None, typer.Option(help="the PNG to write; VIDEO-FRAME.png here if not given")
    ] = None,
) -> None:
    """Write one frame as PNG, at its full size: to paint a mask on in a paint program."""
    from PIL import Image

    from minivos.video.files import exists, whole_file
    from minivos.video.frames import open_frames
    from minivos.video.given_masks import find_frame, frame_names

    source = open_frames(video)
    names = frame_names(source)
    number = find_frame(at, names)
    out = out or Path(f"{source.name}-{names[number]}.png")
    if out.suffix.lower() != ".png" or exists(out):
        raise InputError(f"got --out {out}; expected the name of a new .png file")
    picture = _pictures(source, [number])[number]
    with whole_file(out) as part:
        Image.fromarray(picture).save(part, format="PNG")
    say(f"{out}: frame {names[number]}. Paint each object in a flat colour of its own, in a layer")
    say("over it; save that layer alone, on black and of the same size, as a PNG, and give it:")
    say(f"--mask {names[number]}=FILE")


def _pictures(source: FrameSource, numbers: Collection[int]) -> dict[int, np.ndarray]:
    """The frames of these numbers, uint8 (H,W,3); InputError where the video ends before."""
    from itertools import islice

    last = max(numbers)
    found = {t: picture for t, picture in enumerate(islice(source, last + 1)) if t in numbers}
    if last not in found:
        raise InputError(f"{source.name} ends before frame {last}; choose an earlier one")
    return found
