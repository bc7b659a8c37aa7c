"""A study's quick form runs every step of it, takes up a table that was cut short, and its arithmetic is right."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minivos.errors import InputError
from minivos.evaluation.evaluate import Evaluation, every_mask
from minivos.evaluation.study import draw_scores, interval, read_runs, scores_of
from minivos.video.baselines import repeat_first_mask
from minivos.video.datasets import DavisDataset, samples_root

ROOT = Path(__file__).parents[1]


def load(name: str):
    """The module studies/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "studies" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_stages_goes_on_where_it_was_cut_short(tmp_path, capsys, monkeypatch):
    study, path = load("two_stages"), tmp_path / "quick.csv"
    monkeypatch.setattr(study, "NETWORKS", ("sitvos_mini",))
    study.main(["--quick", "--out", str(path)])
    printed, written = capsys.readouterr().out, path.read_text()
    header, *rows = written.splitlines()
    assert header == "network,stages,seed,steps,pictures,clips,side,scored,J&F" and len(rows) == 4 * study.QUICK.seeds
    assert "both - stills" in printed and "sitvos_mini, 2 seeds" in printed
    clip = DavisDataset(samples_root(), "val")[0]
    still = Evaluation.of({"": (every_mask(clip), repeat_first_mask(clip))}).mean
    assert f"first mask repeated {100 * still:.1f}\n" in printed

    path.write_text("\n".join([header, *rows[:-1]]) + "\n")  # killed before the last run
    runs, run = [], study.run
    monkeypatch.setattr(study, "run", lambda *given: runs.append(given[:3]) or run(*given))
    study.main(["--quick", "--out", str(path)])
    assert runs == [("sitvos_mini", "both", 1)] and path.read_text() == written
    assert capsys.readouterr().out == printed


def test_runs_of_another_size_are_other_runs(tmp_path, capsys, monkeypatch):
    study, path = load("two_stages"), tmp_path / "table.csv"
    monkeypatch.setattr(study, "NETWORKS", ("hst_mini",))
    monkeypatch.setattr(study, "run", lambda *given: study.key(*given[:4]) | {"J&F": "0.5000"})
    study.run_missing(path, study.QUICK)
    for changed in ("steps", "pictures", "clips", "side", "scored"):
        before = len(path.read_text().splitlines())
        study.run_missing(path, replace(study.QUICK, **{changed: 3}))
        assert len(path.read_text().splitlines()) == before + 8
    runs, sizes = read_runs(path), {column: getattr(study.QUICK, column) for column in study.SIZES}
    study.print_table(runs)
    assert capsys.readouterr().out.count("hst_mini, 2 seeds") == 6
    assert all(len(values) == 2 for values in scores_of(runs, network="hst_mini", **sizes).values())


def test_both_stages_are_trained_one_after_the_other_and_share_the_steps(monkeypatch):
    study, trained = load("two_stages"), []
    monkeypatch.setattr(
        study, "train", lambda network, recipe, make_clip: trained.append((id(network), recipe.steps, recipe.pool))
    )
    for name in ("moved_stills", "rendered_video"):
        monkeypatch.setattr(study, name, lambda seed, size: None)
    size = study.Size()
    for stages in study.STAGES.values():
        study.train_in_stages("sitvos_mini", stages, 0, size)
    (_, stills, no_pool), (_, video, pool), (first, half, _), (second, other_half, _) = trained
    assert first == second and (no_pool, pool) == (0, size.clips)
    assert stills == video == half + other_half == size.steps


def test_means_intervals_and_scores_of_whole_seeds():
    assert interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2, 4.303 / 3**0.5), abs=1e-3)
    assert interval(np.arange(10.0)) == pytest.approx((4.5, 2.262 * (55 / 6) ** 0.5 / 10**0.5), abs=1e-3)
    for seeds in (1, 11):
        with pytest.raises(InputError, match=f"got {seeds} seeds; expected 2 to 10"):
            interval(np.ones(seeds))
    runs = [
        {"network": "x", "stages": stages, "seed": seed, "steps": "1", "J&F": f"{score}"}
        for seed in "01"
        for stages, score in (("none", 0.1), ("both", 0.4))
    ]
    assert scores_of(runs, network="x", steps=1)["both"] == pytest.approx([40, 40])
    assert scores_of(runs[:-1])["both"] == pytest.approx([40])  # a seed counts once it is whole
    for unclear in (runs + runs[:1], []):
        with pytest.raises(InputError, match="expected one for each seed and kind"):
            scores_of(unclear, network="x")


def test_the_figure_of_a_study_has_a_point_for_each_seed():
    scores = {"none": np.array([10.0, 12]), "both": np.array([30.0, 20])}
    ours, theirs = draw_scores(scores, {"both": 83.5}, first_mask=24).axes
    assert [bar.get_height() for bar in (*ours.patches, *theirs.patches)] == [11, 25, 83.5]
    drawn = [list(line.get_ydata()) for line in ours.lines]
    assert drawn == [[10, 12], [30, 20], [24, 24]] and "2 seeds" in ours.get_title()


def test_the_stored_table_holds_the_seeds_that_the_notebooks_read():
    study = load("two_stages")
    for network, steps, seeds in (("sitvos_mini", 600, 3), ("sitvos_mini", 100, 3), ("hst_mini", 100, 2)):
        scores = scores_of(read_runs(study.TABLE), network=network, steps=steps)
        assert list(scores) == list(study.STAGES) and len(scores["both"]) == seeds
