"""What the explorer's page is given: the maps of all networks, coded, and all that they are about.

Book       coded maps of networks, one behind the other
Shelf      two books: with every head, as long as that is little, and with the mean of the heads
describe   films, runs and a book -> what explorer_numbers.js takes
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.video.clip import shrink_labels
from minivos.video.masks import is_object, screen_colours
from minivos.viewing.cells import Cells
from minivos.viewing.explorer_film import Film
from minivos.viewing.explorer_maps import LEVELS, Pack, Place, encode
from minivos.viewing.explorer_watch import Layer, Run

FORMAT = 1  # of the JSON; the page refuses others


class Book:
    """The coded maps of networks, in one pack, with every head or with the mean alone."""

    def __init__(self, every_head: bool) -> None:
        self.every_head = every_head
        self.pack = Pack()
        self.maps: dict[str, list[dict[str, Any]]] = {}
        self.cost = Counter[tuple[str, str, int, int]]()  # bytes: network, map, step, heads
        self._indices: dict[tuple[str, bytes], int] = {}

    def add(self, network: str, layer: Layer) -> None:
        """Put a map behind the others of its network."""
        before, maps, look = self.pack.size, self.maps.setdefault(network, []), layer.look
        levels, largest = encode(look.weights[0] if self.every_head else look.weights[0, :1])
        heads = len(levels)
        index, same = self._add_index(network, look.index, len(maps))
        maps.append(
            {
                "name": look.name,
                "kind": re.sub(r"\d+$", "", layer.name.rpartition("/")[2]),
                "object": layer.label,
                "objects": layer.objects,
                "frame": look.query_frame,
                "step": layer.step,
                "grid": look.query_grid,
                "keyGrid": look.key_grid,
                "fullGrid": layer.grid,
                "fullKeyGrid": layer.key_grid,
                "pooled": layer.factors,
                "keyFrames": look.key_frames,
                "heads": heads,
                "headNames": ["mean", *(f"head {i}" for i in range(1, heads))],
                "weights": self.pack.add(levels),
                "rowmax": self.pack.add(largest),
                "index": index,
                "same": same,
            }
        )
        self.cost[network, layer.name, layer.step, heads] += self.pack.size - before

    def _add_index(
        self, network: str, index: Tensor | None, number: int
    ) -> tuple[Place | None, int | None]:
        """Where it lies, each row as the difference to that before; or which map has the same."""
        if index is None:
            return None, None
        cells = index.numpy().astype(np.int32)
        key = network, str(cells.shape).encode() + cells.tobytes()
        if key in self._indices:
            return None, self._indices[key]
        self._indices[key] = number
        return self.pack.add(np.diff(cells, axis=0, prepend=np.zeros_like(cells[:1]))), None


class Shelf:
    """The maps of all networks: with every head, as long as that is little, and with their mean.

    `heads` is "all", "mean" or "auto", which keeps every head while the pack has at most
    `most_bytes`.
    """

    def __init__(self, heads: str, most_bytes: float) -> None:
        kinds = {"all": [True], "mean": [False], "auto": [True, False]}[heads]
        self.books = [Book(kind) for kind in kinds]
        self.most_bytes = most_bytes
        self.heads = Counter[str]()  # of each network, the most that a map of it has

    @property
    def book(self) -> Book:
        """That with the most heads."""
        return self.books[0]

    def add(self, network: str, layer: Layer) -> bool:
        """Take a map, and say whether every head of the next ones is wanted."""
        self.heads[network] = max(self.heads[network], layer.heads)
        for book in self.books:
            book.add(network, layer)
        if self.book.pack.size > self.most_bytes:
            self.drop_heads()
        return self.book.every_head

    def drop_heads(self) -> bool:
        """Keep the mean alone, if it is there beside the heads."""
        droppable = len(self.books) > 1
        self.books = self.books[-1:]
        return droppable


def describe(
    film: Film,
    models: Mapping[str, VOSNetwork],
    runs: Mapping[str, Run],
    book: Book,
    notes: Mapping[str, list[str]],
) -> dict[str, Any]:
    """All that the page shows; nothing can be added to the book afterwards."""
    looked_at = {t for maps in book.maps.values() for each in maps for t in each["keyFrames"]}
    numbers = sorted({*film.shown, *looked_at, *_looking(book)})
    truth = film.truth(numbers)
    labels = {name: _labels(film, run, numbers) for name, run in runs.items()}
    drawn = [*labels.values(), *([] if truth is None else [truth])]
    largest = max(int(each[is_object(each)].max(initial=0)) for each in drawn)
    objects = sorted({i for run in runs.values() for i in run.places})
    given: dict[str, Any] = {
        "format": FORMAT,
        "title": film.name,
        "size": film.size,
        "start": film.start,
        "frames": [
            {"number": t, "shown": t in film.shown, "picture": film.picture(t)} for t in numbers
        ],
        "colours": screen_colours()[: largest + 1].tolist(),
        "objects": objects,
        "truth": None if truth is None else book.pack.add(truth),
        "networks": [
            {
                "name": name,
                "paper": _paper(model),
                "note": notes[name],
                "alignCorners": model.sizing.align_corners,
                "labels": book.pack.add(labels[name]),
                "maps": book.maps[name],
                "identities": identities(model, objects, runs[name].places, book.maps[name]),
            }
            for name, model in models.items()
        ],
        "levels": LEVELS,
        "points": list(_points(film, models, book)) or None,
    }
    given["pack"] = book.pack.text()
    return {"key": sha256(json.dumps(given).encode()).hexdigest()[:16], **given}


def identities(
    model: VOSNetwork,
    objects: Sequence[int],
    places: Mapping[int, int],
    looks: Sequence[Mapping[str, Any]],
) -> dict[str, Any] | None:
    """How alike the identities of background and objects are, if the network has such vectors.

    The cosines of those in the bank, and for each map the products of those that its values carry;
    the network says which, by names of maps with wildcards. Objects of another memory are
    background to a map. InputError where there are fewer vectors than objects.
    """
    told = getattr(model, "identity_vectors", None)
    if told is None:
        return None
    rows = [0, *(places.get(i, 0) for i in objects)]
    vectors = {name: each.detach().float().cpu() for name, each in told().items()}
    if "bank" not in vectors or any(len(each) <= max(rows) for each in vectors.values()):
        shapes = {name: tuple(each.shape) for name, each in vectors.items()}
        raise InputError(
            f"got identity_vectors of {shapes}; expected bank and names of maps, each (1+M, C) "
            f"with M of {max(rows)} or more"
        )
    bank = torch.nn.functional.normalize(vectors.pop("bank")[rows], dim=-1)
    maps = {}
    for name, known in {look["name"]: look["objects"] for look in looks}.items():
        for pattern, each in vectors.items():
            if fnmatch(name, pattern):
                own = each[[0, *(places.get(i, 0) if i in known else 0 for i in objects)]]
                maps[name] = _rounded(own @ own.mT)
    return {"bank": _rounded(bank @ bank.mT), "maps": maps}


def _rounded(matrix: Tensor) -> list[list[float]]:
    return [[float(f"{value:.6g}") for value in row] for row in matrix.tolist()]


def _paper(model: VOSNetwork) -> str:
    """The file of the package that holds the network; nothing for one of somebody else."""
    package, _, module = type(model).__module__.rpartition(".")
    return module if package == "minivos" else ""


def _labels(film: Film, run: Run, numbers: Sequence[int]) -> np.ndarray:
    return np.stack([shrink_labels(run.labels[t], film.size) for t in numbers])


def _looking(book: Book) -> set[int]:
    return {each["frame"] for maps in book.maps.values() for each in maps}


def _points(film: Film, models: Mapping[str, VOSNetwork], book: Book) -> Iterator[dict[str, Any]]:
    """Where the cells of frames that look are in other frames, each once."""
    told: set[tuple] = set()
    for name, model in models.items():
        aligned = model.sizing.align_corners
        for each in book.maps[name]:
            (height, width), factor, frame = each["fullGrid"], each["pooled"][0], each["frame"]
            for memory in each["keyFrames"]:
                key = frame, memory, height, width, factor, aligned
                if film.rendered is None or memory == frame or key in told:
                    continue
                told.add(key)
                cells = Cells((height, width), film.rendered.masks.shape[1:], aligned, factor)
                yield {
                    "frame": frame,
                    "memory": memory,
                    "grid": each["grid"],
                    "fullGrid": (height, width),
                    "pooled": factor,
                    "alignCorners": aligned,
                    "points": book.pack.add(film.points(frame, memory, cells)),
                }
