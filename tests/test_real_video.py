"""benchmarks/real_video.py: scores as elsewhere, nothing measured twice, what changed measured anew; on tiny clips."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data_trees import davis2017, moving, write_clip, write_list
from minivos.evaluation.evaluate import evaluate_model, score_samples
from minivos.models import create_model, save_weights
from minivos.video.clip import Clip

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "real_video.py"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script, with data_samples of two clips in the working directory, and the clips it hands to networks."""
    spec = importlib.util.spec_from_file_location("real_video", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pictures, labels = moving(3)
    samples = tmp_path / "data_samples"
    for split in ("val", "scenarios"):
        write_clip(samples, f"480p/of_{split}", pictures, dict(enumerate(labels)))
        write_list(samples / "ImageSets" / "2017" / f"{split}.txt", [f"of_{split}"])
    Clip(pictures, dict(enumerate(labels)), "mine").save(tmp_path / "mine")
    davis2017(tmp_path / "davis", frames=3)
    monkeypatch.chdir(tmp_path)
    for name, value in {"SIZE": (96, 128), "TIMED": 1, "ROUNDS": 1}.items():
        monkeypatch.setattr(module, name, value)
    module.measured = []

    def noted(model, clips, **settings):
        module.measured += [clip.name for clip in clips]
        return evaluate_model(model, clips, **settings)

    monkeypatch.setattr(module, "evaluate_model", noted)
    return module


def run(script, *words: str) -> dict:
    """What stands in the file after a run of hst_mini, on all kinds of clips."""
    script.measured.clear()
    data = ["--davis", "davis:val", "--clips", "mine"]
    script.main(["--networks", "hst_mini", *data, "--out", "now.json", *words])
    return json.loads(Path("now.json").read_text())


def test_scores_are_those_of_the_package_and_measured_once(script, capsys):
    pictures, labels = (each.repeat(5, axis=1).repeat(5, axis=2) for each in moving(3))  # so contours are refined
    Clip(pictures, dict(enumerate(labels)), "mine").save("mine", overwrite=True)
    rows = run(script)
    assert script.measured == ["of_val", "of_scenarios", "dogs", "mine"]
    row = rows["hst_mini"]
    model = create_model("hst_mini", weights="shipped")
    assert script.mean_score(row, ["val/of_val"]) == pytest.approx(score_samples(model)["val"]["J&F"], abs=2e-4)
    mine = evaluate_model(model, [Clip.load("mine")], refine=True)
    assert script.mean_score(row, ["mine/mine"]) == pytest.approx(mine.mean, abs=2e-4)
    assert len(row["scores"]["mine/mine"]["J, F"]) == 2
    assert len(row["scores"]["DAVIS val/dogs"]["J, F"]) == 1  # its two objects count as one
    assert row["fps"] > 0 and row["side"] == 128 and row["terms"] == "free" and row["minutes"] == 264
    assert Path("now.md").read_text().strip() == capsys.readouterr().out.strip()

    run(script)
    assert script.measured == []


def test_other_weights_and_other_clips_are_measured_anew(script):
    run(script)
    masks = Clip.load("mine").masks
    Clip(np.zeros((3, *masks[0].shape, 3), np.uint8), masks, "mine").save("mine", overwrite=True)
    torch.manual_seed(0)
    save_weights(create_model("hst_mini"), "mine.safetensors")
    rows = run(script, "--weights", "hst_mini=mine.safetensors")
    assert script.measured == ["of_val", "of_scenarios", "dogs", "mine", "mine"]  # the last by both networks
    other = rows["hst_mini (mine.safetensors)"]
    assert other["terms"] == "not stated" and rows["hst_mini"]["terms"] == "free"
    save_weights(create_model("hst_mini"), "mine.safetensors")
    run(script, "--weights", "hst_mini=mine.safetensors")
    assert script.measured == ["of_val", "of_scenarios", "dogs", "mine"]


def test_a_run_that_breaks_keeps_what_it_has_and_goes_on(script, monkeypatch):
    noted = script.evaluate_model

    def until_davis(model, clips, **settings):
        if clips[0].name == "dogs":
            raise KeyboardInterrupt
        return noted(model, clips, **settings)

    monkeypatch.setattr(script, "evaluate_model", until_davis)
    with pytest.raises(KeyboardInterrupt):
        run(script)
    monkeypatch.setattr(script, "evaluate_model", noted)
    run(script)
    assert script.measured == ["dogs", "mine"]


def test_earlier_figures_stand_in_brackets(script, capsys):
    rows = run(script)
    score = script.mean_score(rows["hst_mini"], ["val/of_val"])
    rows["hst_mini"]["scores"] = {"val/of_val": {"of": "", "J, F": [[0.25, 0.5], [0.0, 0.25]]}}
    Path("then.json").write_text(json.dumps(rows))
    run(script, "--before", "then.json")
    assert f"| hst_mini | {score:.3f} (0.250) |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["--weights", "aot_mini"], ["--davis", "davis"], ["--clips", "nowhere"], ["--clips", "mine", "mine"]]
)
def test_clumsy_words_are_answered(script, words):
    with pytest.raises(SystemExit, match="expected"):
        script.main(["--networks", "hst_mini", *words])
