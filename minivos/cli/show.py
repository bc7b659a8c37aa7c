"""`minivos demo`, `shootout`, `models`, `doctor`: what there is to see."""

from __future__ import annotations

import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minivos.cli.options import Device, Models, Weights

if TYPE_CHECKING:
    import torch


def demo(
    out: Annotated[Path, typer.Option(help="the page to write")] = Path("out/report.html"),
    model: Models = None,
    weights: Weights = "shipped",
    device: Device = "auto",
) -> None:
    """Segment the sample clips with the shipped weights and write a page to play with.

    Beside the page lies an explorer for each clip: click a cell, and see where the networks look.
    """
    from minivos.evaluation.report import build_cards, check_pages, write_report
    from minivos.evaluation.tables import Table
    from minivos.models import create_model, has_weights, list_models, pick_device
    from minivos.video.datasets import DavisDataset, samples_root
    from minivos.video.files import make_folder

    began, where = time.perf_counter(), pick_device(device)
    out = out / "report.html" if out.is_dir() else out
    clips = list(DavisDataset(samples_root(), split="scenarios"))
    files = [out, *check_pages(out, [clip.name for clip in clips])]
    names = dict.fromkeys(model or filter(has_weights, list_models()))
    networks = {name: create_model(name, weights).to(where) for name in names}
    explored = model or [name for name in names if name.endswith("_mini")]
    make_folder(out.parent)
    cards = build_cards(networks, clips, explored)
    facts = {}
    for name, network in networks.items():
        height, width = network.sizing(cards[0].truth.shape[1:])
        facts[name] = f"{describe(name, network, weights)}; works at {width}x{height} pixels"
    write_report(out, cards, facts)
    scores = {card.name: list(card.scores.values()) for card in cards}
    speeds = {card.name: list(card.fps.values()) for card in cards}
    print(Table("J&F", list(cards[0].scores), scores).text(), end="\n\n")
    print(Table("frames per second", list(names), speeds, decimals=1).text(), end="\n\n")
    for name, said in facts.items():
        print(f"{name}: {said}")
    size = sum(file.stat().st_size for file in files) / 1e6
    print(f"{time.perf_counter() - began:.0f} seconds; {size:.1f} MB in {len(files)} files")
    print(f"Open this page in a browser: {out.resolve()}")


def shootout_command(
    out: Annotated[Path, typer.Option(help="folder for shootout.csv, shootout.html")] = Path(
        "out/shootout"
    ),
    model: Models = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="two settings of each kind instead of three")
    ] = False,
    device: Device = "auto",
) -> None:
    """Compare the small networks on the same clips: accuracy, cost, and where they look."""
    from minivos.evaluation import shootout
    from minivos.evaluation.tables import write_csv
    from minivos.models import create_model, has_weights, list_models, pick_device
    from minivos.video.files import prepare_output

    names = model or [name for name in list_models() if has_weights(name)]
    shootout.check_names(names)
    where = pick_device(device)
    prepare_output(out, overwrite=True, kind="shootout")
    networks = {name: create_model(name, "shipped").to(where) for name in names}
    most, scenarios = 2 if quick else 3, ("plain", "crossing_lookalikes")
    settings = (shootout.SIDES[:most], shootout.OBJECTS[:most], shootout.LENGTHS[:most])
    tables = [
        *shootout.accuracy_tables(names, str(where)),
        *shootout.cost_tables(names, *settings, device=str(where)),
        *(shootout.attention_table(networks, scenario) for scenario in scenarios),
    ]
    print("\n\n".join(table.text() for table in tables))
    write_csv(numbers := out / "shootout.csv", tables)
    facts = {name: describe(name, network, "shipped") for name, network in networks.items()}
    explorers = shootout.write_explorers(out, networks, scenarios)
    shootout.write_shootout(page := out / "shootout.html", tables, facts, str(where), explorers)
    print(f"\n{numbers}: every number\nOpen this page in a browser: {page.resolve()}")


def describe(name: str, network: torch.nn.Module, weights: str) -> str:
    """Size of a network and where its weights come from."""
    from minivos.models import SHIPPED, facts_of
    from minivos.nn.summary import count_parameters

    origin = f"weights {weights}"
    if weights in SHIPPED:
        facts = facts_of(name, weights)
        sources, terms = ", ".join(facts["trained_on"]), facts["terms"]
        minutes = training_minutes(facts)
        origin = f"trained for {minutes:.0f} minutes on {sources}, none of them shown ({terms})"
    return f"{count_parameters(network):,} parameters, {origin}"


def training_minutes(facts: dict[str, Any]) -> float:
    """Minutes of a training and of those whose weights it started from, or borrowed."""
    earlier = (facts[name] for name in ("start", "borrowed from") if name in facts)
    return facts.get("minutes", 0) + sum(map(training_minutes, earlier))


def models() -> None:
    """List the networks, their sizes, and what their shipped weights score."""
    import torch

    from minivos.models import PRESETS, create_model, has_weights, list_models, read_facts
    from minivos.nn.summary import count_parameters

    for name in list_models():
        preset = PRESETS[name]
        published = f"published {preset.published} M" if preset.published else ""
        with torch.device("meta"):  # sizes without numbers
            millions = count_parameters(create_model(name)) / 1e6
        print(f"{name:12} {millions:6.2f} M parameters  {published:17}  {preset.summary}")
        if has_weights(name):
            facts = read_facts(name)
            score = facts["scores"]["val"]["J&F"]
            split = "the validation split of data_samples"
            print(f"{'':12} shipped weights: J&F {score:.3f} on {split}")
            print(f"{'':12} {facts['terms']}; trained on {', '.join(facts['trained_on'])}")


def doctor() -> None:
    """Say what this machine has: versions, device, memory, video support, sample clips."""
    import av
    import psutil
    import torch

    from minivos.models import pick_device
    from minivos.video.datasets import samples_root

    print(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    for package in ("minivos", "torch", "torchvision", "timm", "numpy", "av", "jupyterlab"):
        print(f"{package:12} {_version(package)}")
    print(f"{'device':12} {pick_device()} ({torch.get_num_threads()} CPU threads)")
    if torch.cuda.is_available():
        print(f"{'GPU':12} {torch.cuda.get_device_name()}, {_free(*torch.cuda.mem_get_info())}")
    memory = psutil.virtual_memory()
    print(f"{'memory':12} {_free(memory.available, memory.total)}")
    codecs = {"read": "h264", "write": "libx264"}
    can = [verb for verb, codec in codecs.items() if codec in av.codecs_available]
    print(f"{'H.264 video':12} can {' and '.join(can) or 'neither read nor write'}")
    print(f"{'sample clips':12} {samples_root()}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # jupyterlab is optional
        return "not installed"


def _free(free: int, total: int) -> str:
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
