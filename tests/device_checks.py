"""What notebooks and commands do with a network, on a device of choice: `test_gpu` and `test_other_device` run it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch

import minivos
from minivos.evaluation.evaluate import evaluate_model
from minivos.evaluation.report import build_cards, write_report
from minivos.evaluation.shootout import score_table
from minivos.models import load_weights, save_weights
from minivos.nn.memory import Schedule
from minivos.nn.network import VOSNetwork
from minivos.synthetic.clips import SyntheticClip, render
from minivos.training.loop import train
from minivos.training.recipe import Recipe
from minivos.viewing import identities, plots
from minivos.viewing.cells import Cells, carried_masks, equal_weights

MINIS = [name for name in minivos.list_models() if name.endswith("_mini")]


@cache
def rendered() -> SyntheticClip:
    return render(0, frames=4, size=(64, 96), objects=2)


def clip(name: str = "clip") -> minivos.Clip:
    return minivos.Clip(rendered().frames, dict(enumerate(rendered().masks)), name=name)


def network_on(device: torch.device, name: str) -> VOSNetwork:
    return minivos.create_model(name, "shipped").to(device)


def tracks_as_on_the_cpu(device: torch.device, name: str, folder: Path) -> None:
    on_cpu = minivos.propagate(minivos.create_model(name, "shipped"), clip(), side=64)
    there = minivos.propagate(network_on(device, name), clip(), side=64)
    assert (on_cpu == there).mean() > 0.99


def tracks_in_half_precision(device: torch.device, name: str, folder: Path) -> None:
    network = network_on(device, name)
    exact, half = (minivos.propagate(network, clip(), side=64, precision=p) for p in ("float32", "bfloat16"))
    assert (exact == half).mean() > 0.9


def tracks_when_compiled(device: torch.device, name: str, folder: Path) -> None:
    network = network_on(device, name)
    plain, compiled = (minivos.propagate(network, clip(), side=64, compiled=c) for c in (False, True))
    assert (plain == compiled).mean() > 0.99


def goes_on_where_it_was_saved(device: torch.device, name: str, folder: Path) -> None:
    network, frames = network_on(device, name), rendered().frames
    tracker = minivos.Tracker(network, side=64)
    tracker.step(frames[0], rendered().masks[0])
    tracker.save(folder / "tracker.pt")
    expected = [tracker.step(frame) for frame in frames[1:]]
    again = minivos.Tracker.restore(network, folder / "tracker.pt")
    assert np.array_equal(expected, [again.step(frame) for frame in frames[1:]])


def takes_objects_that_come_late(device: torch.device, name: str, folder: Path) -> None:
    mask = rendered().masks[0]
    given = {0: mask * (mask == 1), 2: mask * (mask == 2)}
    network = network_on(device, name)
    labels = list(minivos.track(network, rendered().frames, given, schedule=Schedule(every=1, at_most=2), side=64))
    assert set(np.unique(labels[2])) == {0, 1, 2}


def shows_where_it_looks(device: torch.device, name: str, folder: Path) -> None:
    network = network_on(device, name)
    with minivos.record_attention() as maps:
        labels = minivos.propagate(network, clip(), side=64)
    for look in (look for look in maps if look.query_frame == 3):
        height, width = look.query_grid
        plots.attention(look, (height // 2, width // 2), rendered().frames, mask=labels[3])
        equal_weights(look)
        cells = Cells(look.key_grid[1:], labels.shape[1:])
        covered = cells.mean(labels[list(look.key_frames), None] == np.arange(3)[:, None, None])
        assert carried_masks(look, covered).numpy().max() <= 1.01
    looks = [look for look in maps if look.query_frame == 3 and set(look.key_frames) != {3}]
    plots.object_flow(looks, rendered().frames, labels, truth=rendered().masks)
    if name == "aot_mini":
        identities.identity_similarity(network)


def is_scored(device: torch.device, name: str, folder: Path) -> None:
    network = network_on(device, name)
    assert 0 <= evaluate_model(network, [clip()], side=64).mean <= 1
    assert score_table("attention", {name: network}, [rendered()], side=64).rows


def is_reported(device: torch.device, name: str, folder: Path) -> None:
    network = network_on(device, name)
    network.sizing = network.sizing.__class__(**vars(network.sizing) | {"short_side": 64})
    write_report(folder / "report.html", build_cards({name: network}, [clip("one")], [name]), {name: "a network"})
    assert (folder / "report.html").stat().st_size > 1000


def trains(device: torch.device, name: str, folder: Path) -> None:
    torch.manual_seed(0)
    network = minivos.create_model(name)
    practice = lambda number: (rendered().frames, rendered().masks)  # noqa: E731
    recipe = Recipe(steps=1, batch=2, frames=2, side=64, pool=2)
    log = train(network, recipe, device=device, make_clip=practice, accumulate=2)
    assert 0 < log[0]["loss"] < 10 and next(network.parameters()).device.type == device.type
    plots.curve_figure(log * 2)
    save_weights(network, folder / "trained.safetensors")
    load_weights(network_on(device, name), folder / "trained.safetensors")


Check = Callable[[torch.device, str, Path], None]
OF_EACH_NETWORK: list[Check] = [tracks_as_on_the_cpu, takes_objects_that_come_late, shows_where_it_looks, trains]
OF_ONE: list[Check] = [is_scored, is_reported]
ON_A_GPU: list[Check] = [tracks_in_half_precision, tracks_when_compiled, goes_on_where_it_was_saved]
CHECKS = [(check, name) for check in OF_EACH_NETWORK for name in MINIS] + [(check, "aot_mini") for check in OF_ONE]
GPU_CHECKS = [(check, name) for check in ON_A_GPU for name in MINIS]
