"""A network that follows the docstring of VOSNetwork, and nothing else, works everywhere in the package."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad
from typer.testing import CliRunner

from minivos import Clip, Tracker, propagate, record_attention
from minivos.cli import app
from minivos.evaluation.evaluate import evaluate_model
from minivos.nn.attention import attend, join_heads, split_heads
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import Seen, Sizing, VOSNetwork, size_of
from minivos.training.loop import train
from minivos.training.recipe import Recipe
from minivos.video.mask_files import write_mask
from tiny import squares

PATCH, WIDTH = 8, 32


@dataclass(frozen=True)
class ToySeen(Seen):
    cells: Tensor  # (B, N, C)


@dataclass
class ToyEntry(Entry):
    cells: Tensor  # (B, N, C)
    masks: Tensor  # (B, N, 1+K)


class Toy(VOSNetwork[ToySeen, ToyEntry]):
    """Each patch takes over the masks of the patches in memory that look like it."""

    def __init__(self) -> None:
        super().__init__()
        self.sizing = Sizing(PATCH)
        self.embed = nn.Conv2d(3, WIDTH, PATCH, stride=PATCH)

    def encode(self, frame: Tensor) -> ToySeen:
        return ToySeen(size_of(frame), self.embed(self.normalise(frame)).flatten(2).mT)

    def read(self, seen: ToySeen, memory: Memory[ToyEntry]) -> tuple[Tensor, ToySeen]:
        entries = memory.entries()
        most = max(entry.masks.shape[2] for entry in entries)  # objects may come later
        _, height, width = seen.size
        q, k, v = (
            split_heads(x, 1)
            for x in (
                seen.cells,
                torch.cat([entry.cells for entry in entries], dim=1),
                torch.cat([pad(entry.masks, (0, most - entry.masks.shape[2])) for entry in entries], dim=1),
            )
        )
        grid = (len(entries), height // PATCH, width // PATCH)
        masks = join_heads(attend(q, k, v, "read", grid, tuple(entry.frame for entry in entries)))
        return masks.mT.unflatten(2, grid[1:]).clamp(min=1e-4).log(), seen

    def memorize(self, seen: ToySeen, masks: Tensor) -> ToyEntry:
        small = avg_pool2d(masks, PATCH)
        return ToyEntry(seen.size, seen.cells, small.flatten(2).mT)


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(0)
    return Toy()


@pytest.fixture
def clip() -> Clip:
    frames, labels = squares(frames=4, size=(32, 48))
    return Clip(frames, dict(enumerate(labels)), "squares")


def test_it_tracks_and_is_recorded(toy, clip):
    tracker = Tracker(toy)
    tracker.step(clip.frames[0], clip.masks[0])
    with record_attention() as maps:
        labels = tracker.step(clip.frames[1])
    assert labels.shape == (32, 48) and set(np.unique(labels)) <= {0, 1, 2}
    look = maps.find("read")
    assert (look.query_frame, look.key_frames, look.key_grid) == (1, (0,), (1, 4, 6))
    assert torch.allclose(look.weights.sum(-1), torch.ones(()))


def test_it_trains(toy):
    before = toy.embed.weight.detach().clone()
    recipe = Recipe(steps=3, batch=2, frames=3, side=32, objects=2, pool=2)
    history = train(toy, recipe, make_clip=squares)
    assert len(history) == 3 and all(np.isfinite(row["loss"]) for row in history)
    assert not torch.equal(toy.embed.weight, before)


def test_it_is_evaluated(toy, clip, tmp_path):
    for name, labels in (("true", np.stack(list(clip.masks.values()))), ("found", propagate(toy, clip))):
        (tmp_path / name).mkdir()
        for t, each in enumerate(labels):
            write_mask(tmp_path / name / f"{t:05d}.png", each)
    printed = CliRunner().invoke(app, ["eval", str(tmp_path / "true"), str(tmp_path / "found")])
    assert printed.exit_code == 0, printed.output
    score = evaluate_model(toy, [clip]).mean
    assert f"{score:8.3f}" in printed.output.splitlines()[-2]


class EveryOther(Memory[ToyEntry]):
    """A memory of its own kind: it keeps every other frame, and nothing else."""

    def add(self, entry: ToyEntry, frame: int, reference: bool = False) -> None:
        super().add(entry, frame, reference)
        self.kept = [kept for kept in self.kept if kept.frame % 2 == 0]


def test_a_network_may_bring_a_memory_of_its_own(toy, clip, monkeypatch):
    kept = Schedule(previous=0, every=1)
    monkeypatch.setattr(Toy, "new_memory", lambda network, schedule=None: EveryOther(kept))
    tracker = Tracker(toy)
    for t, frame in enumerate(clip.frames):
        tracker.step(frame, clip.masks.get(t) if t == 0 else None)
    (group,) = tracker.groups
    assert [entry.frame for entry in group.memory.entries()] == [0, 2]
    train(toy, Recipe(steps=1, batch=1, frames=3, side=32, objects=2, pool=1), make_clip=squares)
