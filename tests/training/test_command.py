"""`minivos train`: weights on the way, scores or none, stops by hand, and what it refuses."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_footage import write_davis
from typer.testing import CliRunner

import data_trees
import minivos
from minivos.cli import app
from minivos.evaluation.benchmark import benchmark
from minivos.video.datasets import open_dataset
from tiny import squares

ROOT = Path(__file__).parents[2]
FIELDS = ("batch=1", "side=32", "frames=2", "pool=1", "objects=1")
SMALL = ["--device", "cpu", *(word for field in FIELDS for word in ("--set", field))]
NEVER = {"RANK", "WORLD_SIZE"}


def run(*words: object) -> tuple[int, str]:
    """Exit status and everything printed; an exception that is no clear exit is raised here."""
    result = CliRunner().invoke(app, ["train", *SMALL, *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def facts_in(out: Path) -> dict:
    return json.loads((out / "aot_mini.json").read_text())


def test_a_training_without_scores_ends_with_weights_and_grows(tmp_path, monkeypatch):
    monkeypatch.setattr("minivos.video.datasets.samples_root", pytest.fail)
    status, printed = run("--steps", 1, "--out", tmp_path, "--no-score")
    assert status == 0 and "1 steps done" in printed, printed
    assert "scores" not in facts_in(tmp_path) and facts_in(tmp_path)["steps"] == 1
    status, printed = run("--steps", 2, "--out", tmp_path, "--no-score")
    assert status == 0 and facts_in(tmp_path)["steps"] == 2, printed
    minivos.create_model("aot_mini", tmp_path / "aot_mini.safetensors")


def test_borrowed_weights_are_those_of_the_relative_and_terms_come_with_them(tmp_path):
    borrowed = "--borrow", "aot_mini", "--set", "learning_rate=1e-30", "--steps", 1, "--no-score", "--out", tmp_path
    status, printed = run("--model", "aot_lite", *borrowed, "--half")
    network, relative = minivos.create_model("aot_lite"), minivos.create_model("aot_mini", "shipped").state_dict()
    fitting = [k for k, v in network.state_dict().items() if k in relative and relative[k].shape == v.shape]
    assert status == 0 and f"{len(fitting)} of {len(network.state_dict())} tensors are those of aot_mini" in printed
    assert "tensors of aot_lite are random and training leaves them so, such as encoder.body.blocks.0" in printed
    status, printed = run("--model", "aot_lite", *borrowed, "--steps", 2)
    assert status == 0 and "random" not in printed, printed  # they are those of the checkpoint
    learned = load_file(tmp_path / "aot_lite.safetensors")
    assert max((learned[k] - relative[k]).abs().max() for k in fitting if relative[k].is_floating_point()) < 1e-2
    facts = json.loads((tmp_path / "aot_lite.json").read_text())
    assert facts["terms"] == "free" and facts["borrowed from"]["model"] == "aot_mini"


def test_scores_come_from_the_data_set_that_is_named_and_facts_before_them(tmp_path, monkeypatch):
    root = write_davis(tmp_path / "davis", {"a": squares(0, 3)}, {"b": squares(1, 3), "c": squares(2, 4)})
    (root / "ImageSets/2017/val.txt").write_text("b\nc\n")
    out, seen = tmp_path / "out", []
    from minivos.evaluation import evaluate

    real = evaluate.evaluate_tasks

    def looks_first(network, tasks):
        seen.append(facts_in(out))
        return real(network, tasks)

    monkeypatch.setattr(evaluate, "evaluate_tasks", looks_first)
    status, printed = run("--steps", 1, "--out", out, "--val", root)
    assert status == 0 and "on davis2017 val" in printed, printed
    assert seen[0]["steps"] == 1 and "scores" not in seen[0]
    scores = facts_in(out)["scores"]
    assert set(scores) == {"davis2017 val"} and 0 <= scores["davis2017 val"]["J&F"] <= 1
    assert list(facts_in(out))[-1] == "log"


@pytest.mark.parametrize(
    ("dataset", "split", "clips", "make"),
    [
        ("davis2016", "dev", None, data_trees.davis2016),
        ("youtubevos2019", "train", ["0a", "0c"], data_trees.youtube),
    ],
)
def test_scores_are_those_of_the_benchmark_on_the_same_clips(dataset, split, clips, make, tmp_path):
    root, out = make(tmp_path / "data"), tmp_path / "out"
    if split == "dev":  # any list will do
        (root / "ImageSets/480p/val.txt").rename(root / "ImageSets/480p/dev.txt")
    listed = []
    if clips:
        (tmp_path / "held_out.txt").write_text("\n".join(clips))
        listed = [tmp_path / "held_out.txt"]
    chosen = ["--val-dataset", dataset, "--val-split", split, *(["--val-videos", *listed] if listed else [])]
    status, printed = run("--steps", 1, "--out", out, "--val", root, *chosen)
    assert status == 0 and f"on {dataset} {split}" in printed, printed
    data = open_dataset(dataset, root, split)
    data.only(clips or data.names)
    network = minivos.create_model("aot_mini", out / "aot_mini.safetensors")
    summary = benchmark(data, network, tmp_path / "results", {}).summary()
    for measure, value in facts_in(out)["scores"][f"{dataset} {split}"].items():
        assert value == pytest.approx(summary[measure], abs=1e-4)


def test_data_to_score_on_that_lack_masks_are_refused_before_the_work(tmp_path):
    root = write_davis(tmp_path / "davis", {"a": squares(0, 3)}, {"b": (*squares(1, 3), {0, 1}), "c": squares(2, 3)})
    (root / "ImageSets/2017/val.txt").write_text("c\nb")
    status, printed = run("--steps", 1, "--out", tmp_path / "out", "--val", root)
    assert status == 2 and "clip b has masks of 2 of its 3 frames" in printed and not (tmp_path / "out").exists()
    status, printed = run("--steps", 1, "--out", tmp_path / "out", "--val", tmp_path)
    assert status == 2 and "expected ImageSets/2017/val.txt" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--val-split", "dev"), "add --val DATA"),
        (("--val", "", "--val-dataset", "davis"), "got dataset 'davis'; expected one of davis2016"),
        (("--val", "", "--val-split", "test-dev"), "has no masks to score test-dev by"),
        (("--val", "", "--val-videos", "names.txt"), "bears is no clip of this split"),
    ],
)
def test_a_choice_of_data_to_score_on_that_cannot_be_is_refused(words, message, tmp_path, monkeypatch):
    data_trees.davis2017(tmp_path)
    (tmp_path / "names.txt").write_text("bears")
    monkeypatch.chdir(tmp_path)
    status, printed = run("--steps", 1, "--out", "out", *(word or tmp_path for word in words))
    assert status == 2 and printed.count("minivos: ") == 1 and message in printed, printed
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seed", 2**70), "seed=1180591620717411303424 must be below 2**32"),
        (("--seed", -1), "got seed=-1; expected a whole number, 0 or more"),
        (("--minutes", "inf"), "minutes=inf must be finite"),
        (("--minutes", "nan"), "got minutes=nan; expected a number, 0 or more"),
        (("--set", "side=1000000000"), "got side=1000000000; this network takes 1040 at most"),
        (("--model", "sst_mini", "--set", "side=1000000000"), "whose pictures alone take"),
        (("--set", "pool=1000000000"), "whose pictures alone take"),
        (("--set", "batch=1000000000"), "whose pictures alone take"),
        (("--workers", 10**9), "got workers=1000000000; expected 0 to"),
        (("--accumulate", 2), "A batch of 1 does not divide among 2 parts in each of 1 processes"),
        (("--precision", "half"), "got precision='half'; expected one of"),
        (("--photos", "nowhere"), "nowhere"),
        (("--accumulate", 0), "got accumulate=0"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused_in_one_line(words, message, tmp_path):
    status, printed = run("--steps", 1, "--out", tmp_path / "out", "--no-score", *words)
    assert status == 2 and printed.count("minivos: ") == 1 and message in printed, printed
    assert not list(tmp_path.rglob("*.pt"))


@pytest.mark.parametrize(("rank", "world"), [("0", ""), ("one", "2"), ("0", "2")])
def test_an_environment_that_torchrun_did_not_make_is_refused_in_one_line(rank, world, tmp_path, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    status, printed = run("--steps", 1, "--out", tmp_path / "out", "--no-score")
    assert status == 2 and "torchrun" in printed and printed.count("\n") == 1, printed
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_others_is_refused_in_one_line(tmp_path):
    assert run("--steps", 1, "--out", tmp_path, "--no-score")[0] == 0
    torch.save([1], tmp_path / "checkpoint.pt")
    status, printed = run("--steps", 1, "--out", tmp_path, "--no-score")
    assert status == 2 and "checkpoint.pt holds a list without network" in printed


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_training_stopped_from_outside_keeps_its_steps_and_weights(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "minivos.cli", "train", *SMALL, "--out", str(out), "--no-score"]
    environment = {name: value for name, value in os.environ.items() if name not in NEVER}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    errors = (tmp_path / "errors.txt").open("w+")
    process = subprocess.Popen([*command, "--steps", "1000000"], env=environment, stderr=errors, cwd=tmp_path)
    while process.poll() is None and "step 1," not in (tmp_path / "errors.txt").read_text():
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    said = (tmp_path / "errors.txt").read_text()
    assert "stopping after this step" in said and "Traceback" not in said, said
    steps = len(torch.load(out / "checkpoint.pt")["history"])
    assert steps >= 1 and facts_in(out)["steps"] == steps
    assert re.search("the same command goes on", said)
