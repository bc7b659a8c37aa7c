"""The attention explorer: one page on which every cell of a clip says where each layer looks.

explore     networks, a clip -> an Explorer
Explorer    the page: shown in a notebook, or written to a file that needs no internet
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minivos.errors import InputError
from minivos.models import SHIPPED, create_model, pick_device, read_facts
from minivos.nn.network import VOSNetwork
from minivos.nn.recording import AttentionMap
from minivos.synthetic.clips import SyntheticClip
from minivos.video.clip import Clip
from minivos.video.files import as_path, make_folder, whole_file
from minivos.viewing import plots
from minivos.viewing.cells import Size
from minivos.viewing.explorer_data import Book, Shelf, describe
from minivos.viewing.explorer_film import Film
from minivos.viewing.explorer_watch import Run, watch
from minivos.viewing.page import (
    ALONE,
    beside,
    check_replaceable,
    data_url,
    inside_html,
    page_around,
)
from minivos.viewing.picture import png_bytes

if TYPE_CHECKING:
    from minivos.viewing.explorer_widget import LiveExplorer

log = logging.getLogger(__name__)
PAGE_TITLE = "minivos explore"
PARTS = "numbers", "drawing", "panels", "scene", "page"  # of the script
GIVEN_HEADS = "auto", "all", "mean"
SMALL, LARGE, TOO_LARGE = 3e6, 8e6, 25e6  # bytes of a page
STYLE = ":root { color-scheme: light dark }\nbody { margin: 0 }\n"

Models = VOSNetwork | str | Sequence[VOSNetwork | str] | Mapping[str, VOSNetwork | str]


@dataclass(frozen=True, repr=False)
class Explorer:
    """A page on which every cell of a clip says where each layer looks.

    As the last value of a notebook cell it shows a picture, which is there even where no script may
    run, and below it the page.
    """

    given: dict[str, Any]  # all that the page shows
    html: str  # the page
    poster: Poster

    def save(self, path: str | Path) -> None:
        """Write the page, whole or not at all.

        InputError for a name that does not end in .html, and for a file that is no such page.
        """
        path = check_out(path)
        make_folder(path.parent)
        with whole_file(path) as part:
            part.write_text(self.html, encoding="utf-8")

    def live(self) -> LiveExplorer:
        """The page as a widget whose `cell` and `frame` are those that were clicked last.

        Needs a kernel, and the package anywidget: InputError where that is missing.
        """
        try:
            from minivos.viewing.explorer_widget import LiveExplorer
        except ModuleNotFoundError as error:
            raise InputError(
                f"got no package {error.name}; expected anywidget: pip install anywidget"
            ) from error
        return LiveExplorer(self.given)

    def __repr__(self) -> str:
        shown = sum(frame["shown"] for frame in self.given["frames"])
        maps = {network["name"]: len(network["maps"]) for network in self.given["networks"]}
        return f"Explorer({self.given['title']!r}, {shown} frames, maps: {maps})"

    def _repr_html_(self) -> str:
        picture = (
            f'<img src="{data_url("png", self.poster.png())}" alt="{escape(self.poster.alt)}">'
        )
        style = "width: 100%; height: 50rem; border: 0"
        return (
            f'{picture}\n<iframe srcdoc="{escape(self.html)}" title="{escape(PAGE_TITLE)}" '
            f'style="{style}" loading="lazy"></iframe>'
        )


@dataclass(frozen=True)
class Poster:
    """Where one cell looks, as a picture beside the page."""

    network: str
    look: AttentionMap  # of one cell
    frames: np.ndarray  # of the clip
    labels: np.ndarray  # of the frame that looks
    aligned: bool

    @property
    def alt(self) -> str:
        """The picture in words."""
        look = self.look
        (cell,) = look.queries or ()
        shares = look.look_from(*cell).mean(0).sum(dim=(1, 2)).tolist()
        parts = [
            f"{share:.0%} at frame {t}" for t, share in zip(look.key_frames, shares, strict=True)
        ]
        return (
            f"Where {self.network} looks from cell {cell} of frame {look.query_frame} by "
            f"{look.name}: {', '.join(parts)}. "
            "Where scripts may run, the page below shows every cell."
        )

    def png(self) -> bytes:
        """The picture as the content of a file."""
        (cell,) = self.look.queries or ()
        figure = plots.attention(
            self.look, cell, self.frames, mask=self.labels, align_corners=self.aligned
        )
        return png_bytes(figure)


def explore(
    models: Models,
    clip: Clip | SyntheticClip,
    out: str | Path | None = None,
    *,
    frames: int | Sequence[int] = 12,
    heads: str = "auto",
    grid: Size = (12, 22),
    only: str = "*",
    side: int | None = None,
    tours: bool = True,
) -> Explorer:
    """Let networks follow a clip, and make a page that shows where every cell of it looks.

    Args:
        models: a network, or the name of one that comes with weights, or several: a list, or
            {name: network}.
        clip: its first mask says which objects to follow; others are shown as the truth. One that
            was rendered (`minivos.synthetic`) also knows the true points.
        out: file to write the page to.
        frames: how many are shown, evenly spread over the clip, or their numbers. All others are
            followed, too, and those that memory holds are shown beside.
        heads: "all", their "mean", or "auto": the mean if the page had more than 3 MB otherwise.
        grid: maps of more cells than (H, W) has are pooled by whole factors, see `pool`.
        only: maps of this name alone, wildcards allowed.
        side: short side in pixels at which the networks work; None: their own.
        tours: with the guided tours of the papers.

    What is left out is told on the page. Raises InputError for networks without maps (or none
    called `only`), clips of one frame or without a mask, and pages above 25 MB; it then says what
    each remedy would bring.
    """
    check_asked(heads, grid, only)
    if out is not None:
        check_out(out)
    film = Film.of(clip, frames)
    networks, terms = _networks(models)
    shelf = Shelf(heads, SMALL)
    runs = {
        name: watch(name, model, film, partial(shelf.add, name), grid, only, side)
        for name, model in networks.items()
    }

    def page() -> tuple[dict[str, Any], str]:
        notes = {
            name: terms[name] + _left_out(name, film, runs[name], shelf, only) for name in runs
        }
        given = describe(film, networks, runs, shelf.book, notes)
        return given, page_of(given, tours)

    given, html = page()
    if heads == "auto" and len(html) > SMALL and shelf.drop_heads():
        given, html = page()
    _weigh(len(html), shelf.book, given)
    name = next(iter(runs))
    explorer = Explorer(given, html, _poster(name, networks[name], runs[name], film))
    if out is not None:
        explorer.save(out)
    return explorer


def check_out(path: str | Path) -> Path:
    """The path of a page; InputError unless it ends in .html and is free, or holds such a page."""
    path = as_path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"got {path} to write to; expected the name of an .html file")
    check_replaceable(path, PAGE_TITLE)
    return path


def page_of(given: Mapping[str, Any], tours: bool = True) -> str:
    """The page that shows what it is given."""
    given = with_words(given, tours)
    body = (
        f'<div class="explorer">\n{beside("explorer.html")}'
        f'<script type="application/json" class="given">{inside_html(given)}</script>\n</div>\n'
        f'<script type="module">\n{script()}</script>'
    )
    title = f"{PAGE_TITLE}: {given['title']}"
    return page_around(title, body, ALONE, STYLE + beside("explorer.css"))


def with_words(given: Mapping[str, Any], tours: bool = True) -> dict[str, Any]:
    """What the page is given, with its texts."""
    words = json.loads(beside("explorer_words.json"))
    return {**given, "words": words if tours else words | {"tours": {}}}


def script() -> str:
    """The ES module that opens explorers."""
    return "\n".join(beside(f"explorer_{part}.js") for part in PARTS)


# Checks -------------------------------------------------------------------------------------------


def check_asked(heads: object, grid: object, only: object) -> None:
    """InputError for what `explore` does not take."""
    if heads not in GIVEN_HEADS:
        raise InputError(f"got heads={heads!r}; expected one of {', '.join(GIVEN_HEADS)}")
    sides = grid if isinstance(grid, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise InputError(f"got grid={grid!r}; expected (H, W) in cells, each 1 or more")
    if not isinstance(only, str):
        raise InputError(f"got only={only!r}; expected the name of maps, such as 'block2/*'")


def _networks(models: Models) -> tuple[dict[str, VOSNetwork], dict[str, list[str]]]:
    """Networks by name, and what is to be said of each."""
    if isinstance(models, str | VOSNetwork):
        models = [models]
    if isinstance(models, Mapping):
        pairs = list(models.items())
    elif isinstance(models, Sequence):
        pairs = [(each if isinstance(each, str) else type(each).__name__, each) for each in models]
    else:
        pairs = [("", models)]
    if not pairs or len(dict(pairs)) < len(pairs):
        raise InputError(
            f"got networks called {[name for name, _ in pairs]}; expected one or more, each with a "
            "name of its own: give {name: network}"
        )
    networks: dict[str, VOSNetwork] = {}
    terms: dict[str, list[str]] = {}
    for name, each in pairs:
        terms[name] = []
        if isinstance(each, str):
            networks[name] = create_model(each, SHIPPED[0]).to(pick_device())
            of_weights = read_facts(each)["terms"]
            if of_weights != "free":
                terms[name] = [f"The weights of {each} are for {of_weights} use only."]
        elif isinstance(each, VOSNetwork):
            networks[name] = each
        else:
            kind = type(each).__name__
            raise InputError(
                f"got a {kind} as network; expected one of create_model, or the name of one"
            )
    return networks, terms


# What is left out ---------------------------------------------------------------------------------


def _left_out(name: str, film: Film, run: Run, shelf: Shelf, only: str) -> list[str]:
    """Sentences on what the page does not show of a network."""
    notes = []
    followed, (height, width) = len(run.labels), film.frames.shape[1:3]
    if len(film.shown) < followed:
        notes.append(f"Of the {followed} frames that were followed {len(film.shown)} are shown.")
    if film.size != (height, width):
        small = f"{film.size[1]}x{film.size[0]}"
        notes.append(f"Pictures have {small} pixels here, and {width}x{height} in the clip.")
    if missing := sorted(run.names_met - run.names):
        notes.append(f"Maps that are not called {only} are left out: {', '.join(missing)}.")
    memories = dict.fromkeys(each["objects"] for each in shelf.book.maps[name])
    for number, objects in enumerate(memories, start=1):
        if number > 1:
            own = ", ".join(map(str, objects))
            notes.append(f"Objects in another memory, whose maps are marked ({number}): {own}.")
    if not shelf.book.every_head and shelf.heads[name] > 1:
        notes.append(f"Of attention with up to {shelf.heads[name]} heads the mean is shown.")
    blocks = {
        (factor, grid)
        for each in shelf.book.maps[name]
        for factor, grid in zip(
            each["pooled"], (each["fullGrid"], each["fullKeyGrid"]), strict=True
        )
    }
    for factor, (rows, columns) in sorted(blocks):
        if factor > 1:
            notes.append(
                f"Of a grid of {rows} x {columns} cells, each {factor} x {factor} are one here."
            )
    return notes


def _weigh(size: int, book: Book, given: Mapping[str, Any]) -> None:
    """InputError for a page of too many bytes, a warning for one of many, with what would help."""
    if size <= LARGE:
        return
    said = f"the page has {size / 1e6:.1f} MB"
    remedies = "; ".join(_remedies(size, book, given))
    if size > TOO_LARGE:
        raise InputError(f"{said}; expected at most {TOO_LARGE / 1e6:.0f}: {remedies}")
    log.warning("%s, and may open slowly; less: %s", said, remedies)


def _remedies(size: int, book: Book, given: Mapping[str, Any]) -> list[str]:
    """What would make a page smaller, and how small."""
    of_network, of_map, of_heads = Counter[str](), Counter[str](), 0.0
    for (network, name, _, heads), cost in book.cost.items():
        of_network[network] += cost
        of_map[name] += cost
        of_heads += cost * (heads - 1) / heads
    shown, everything = sum(frame["shown"] for frame in given["frames"]), sum(of_map.values())

    def about(saved: float) -> str:
        return f"about {(size - saved) / 1e6:.1f} MB"

    remedies = []
    if of_heads:
        remedies.append(f"the mean of the heads, {about(of_heads)}")
    if len(of_network) > 1:
        name, cost = of_network.most_common(1)[0]
        remedies.append(f"no {name}, {about(cost)}")
    if shown > 2:
        remedies.append(f"{shown // 2 + 1} frames instead of {shown}, {about(everything / 2)}")
    if len(of_map) > 1:
        name, cost = of_map.most_common(1)[0]
        remedies.append(f"only='{name}' or others, of which {name} takes most, {cost / 1e6:.1f} MB")
    return [*remedies, f"a coarser grid, such as 6 x 10 cells, {about(everything * 15 / 16)}"]


def _poster(name: str, model: VOSNetwork, run: Run, film: Film) -> Poster:
    """Of the network's last step."""
    assert run.glimpse is not None
    labels = run.labels[run.glimpse.query_frame]
    return Poster(name, run.glimpse, film.frames, labels, model.sizing.align_corners)
