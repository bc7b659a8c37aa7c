"""A network follows a film, and where it looks at each shown step is taken down.

watch     a network, a film -> its labels; its maps go to whom it is told
Sieve     takes the maps of one step, and pools each as soon as it is computed
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from einops import rearrange
from tqdm import tqdm

from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.nn.recording import AttentionMap, record_attention
from minivos.tracker import Tracker
from minivos.video.masks import is_object
from minivos.viewing.cells import Cells, Size, middle_of_largest_object
from minivos.viewing.explorer_film import Film
from minivos.viewing.explorer_maps import factor_for, pool, with_mean


class Layer(NamedTuple):
    """One map of the page."""

    name: str  # as the network calls it
    look: AttentionMap  # pooled, the mean of its heads first, frames numbered as in the clip
    heads: int  # of the network
    grid: Size  # of the network, before pooling
    key_grid: Size
    factors: tuple[int, int]  # of queries and keys
    step: int = 0  # number of the frame that was followed when it was computed
    label: int | None = None  # of the object that it is about
    objects: tuple[int, ...] = ()  # the labels of those in the memory that is read


@dataclass
class Run:
    """What a network did on a film."""

    # Of each frame, as the network found them, at the size of the clip
    labels: dict[int, np.ndarray] = field(default_factory=dict)
    # Of each object among those that share a memory, from 1
    places: dict[int, int] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)  # of the maps that were taken
    names_met: set[str] = field(default_factory=set)  # of all maps
    glimpse: AttentionMap | None = None  # of one cell at the last step, not pooled


def watch(
    name: str,
    model: VOSNetwork,
    film: Film,
    take: Callable[[Layer], bool],
    most: Size,
    only: str = "*",
    side: int | None = None,
) -> Run:
    """Let a network follow a film; `take` gets each map of each shown step but the first.

    It answers whether it wants every head of the next maps, or their mean alone. Grids are pooled
    to no more cells than `most` has. InputError if no map is recorded, or none called `only`.
    """
    tracker, run, wants_heads = Tracker(model, side=side), Run(), True
    for t in tqdm(range(film.start, film.shown[-1] + 1), name, unit="frame", disable=None):
        mask = film.masks[t] if t == film.start else None
        if mask is not None or t not in film.shown:
            run.labels[t] = tracker.step(film.frames[t], mask)
            continue
        groups = [list(group.ids) for group in tracker.groups]
        seen = next(found for found in reversed(run.labels.values()) if is_object(found).any())
        sieve = Sieve(most, film.start, t, wants_heads, seen, model.sizing.align_corners)
        run.labels[t] = sieve.step(tracker, film.frames[t], only)
        for layer in sieve.layers(groups):
            wants_heads = take(layer)
            run.names.add(layer.name)
        run.names_met |= sieve.names_met
        run.glimpse = sieve.glimpse(groups) or run.glimpse
    run.places = {i: place for group in tracker.groups for place, i in enumerate(group.ids, 1)}
    if not run.names_met:
        raise InputError(
            f"got {name}, which records no attention; expected a network whose attention calls "
            "`attend` or `record` (minivos.nn) when it reads a memory"
        )
    if not run.names:
        raise InputError(
            f"got only={only!r}; expected the name of a map of {name}, with wildcards if you like: "
            f"{', '.join(sorted(run.names_met))}"
        )
    return run


class Sieve:
    """Takes the maps of one step and pools each at once: whole, they would fill the memory.

    Beside them it keeps, unpooled, where the middle of the largest object of `labels` looks.
    """

    def __init__(
        self, most: Size, start: int, now: int, heads: bool, labels: np.ndarray, aligned: bool
    ) -> None:
        self.most, self.start, self.now, self.heads, self.aligned = most, start, now, heads, aligned
        self.size = labels.shape[0], labels.shape[1]
        self.label, self.pixel = middle_of_largest_object(labels)
        self.taken: list[Layer] = []
        self.from_middle: list[AttentionMap] = []
        self.names_met: set[str] = set()

    def step(self, tracker: Tracker, frame: np.ndarray, only: str) -> np.ndarray:
        """The labels of the next frame; takes the maps by which they are found."""
        with record_attention(only, take=self.take) as maps:
            labels = tracker.step(frame)
        self.names_met = maps.names_met
        return labels

    def take(self, look: AttentionMap) -> None:
        """Keep a map, pooled, its frames numbered as in the clip."""
        look = replace(
            look,
            weights=rearrange(look.weights, "b h n k -> 1 (b h) n k"),
            query_frame=self.start + look.query_frame,
            key_frames=tuple(self.start + t for t in look.key_frames),
        )
        grid, (times, height, width) = look.query_grid, look.key_grid
        self.check(look, times)
        factors = factor_for(grid, self.most), factor_for((height, width), self.most)
        heads = look.weights.shape[1]
        small = pool(look if self.heads else with_mean(look, heads=False), *factors)
        small = with_mean(small, self.heads)
        self.taken.append(Layer(look.name, small, heads, grid, (height, width), factors))

        y, x = Cells(grid, self.size, self.aligned).at(np.array(self.pixel))
        row = slice(y * grid[1] + x, y * grid[1] + x + 1)
        index = None if look.index is None else look.index[row]
        weights = look.weights[:, :, row].mean(dim=1, keepdim=True)
        cell = int(y), int(x)
        self.from_middle.append(replace(look, weights=weights, index=index, queries=(cell,)))

    def check(self, look: AttentionMap, times: int) -> None:
        """InputError for a map that does not say of which cells and frames of the clip it is."""
        numbers, grids = {look.query_frame, *look.key_frames}, (look.query_grid, look.key_grid[1:])
        tall, wide = (max(sides) for sides in zip(*grids, strict=True))
        known = numbers <= set(range(self.start, self.now + 1)) and len(look.key_frames) == times
        if not known or tall > self.size[0] or wide > self.size[1]:
            raise InputError(
                f"got a map {look.name} of frame {look.query_frame} over frames {look.key_frames}, "
                f"from {look.query_grid} cells to {look.key_grid}; expected frames of the clip up "
                f"to {self.now}, as many as there are key grids, and cells of at least a pixel: "
                "let the network give `attend` its key_grid and frames, or enlarge the clip"
            )

    def layers(self, groups: list[list[int]]) -> Iterator[Layer]:
        """The maps, with the labels of their objects; of several alike, the later have a number.

        Each of the groups of objects, which have memories of their own, makes maps of all names: of
        four alike and two groups, the first two are of the first group.
        """
        keys = [(each.name, each.look.query_frame, each.look.object) for each in self.taken]
        total, met, named = Counter(keys), Counter[tuple](), Counter[tuple]()
        for layer, key in zip(self.taken, keys, strict=True):
            name, query_frame, about = key
            group = groups[met[key] * len(groups) // total[key]]
            met[key] += 1
            label = group[about - 1] if about and about <= len(group) else None
            named[name, query_frame, label] += 1
            number = named[name, query_frame, label]
            look = replace(layer.look, name=f"{name} ({number})" if number > 1 else name)
            yield layer._replace(look=look, step=self.now, label=label, objects=tuple(group))

    def glimpse(self, groups: list[list[int]]) -> AttentionMap | None:
        """Of the looks from the middle, by this frame if there are any, the last at most others.

        Where as many are looked at, that which sees the frame whose masks were given, or all cells.
        """
        ranks = []
        for number, layer in enumerate(self.layers(groups)):
            others = len(set(layer.look.key_frames) - {self.now})
            own = layer.look.query_frame == self.now and layer.label in (None, self.label)
            given, all_cells = self.start in layer.look.key_frames, layer.look.index is None
            ranks.append((own, others, given, all_cells, number))
        return self.from_middle[max(ranks)[-1]] if ranks else None
