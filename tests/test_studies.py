"""A study's quick form runs every step of it, takes up a table that was cut short, and its arithmetic is right."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

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
    assert header == "network,stages,seed,steps,J&F" and len(rows) == 4 * study.QUICK.seeds
    assert "both - stills" in printed and "sitvos_mini, 2 seeds" in printed

    path.write_text("\n".join([header, *rows[:-1]]) + "\n")  # killed before the last run
    runs, run = [], study.run
    monkeypatch.setattr(study, "run", lambda *given: runs.append(given[:3]) or run(*given))
    study.main(["--quick", "--out", str(path)])
    assert runs == [("sitvos_mini", "both", 1)] and path.read_text() == written
    assert capsys.readouterr().out == printed


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


def test_two_stages_means_and_intervals():
    study = load("two_stages")
    assert study.interval(np.array([1.0, 2.0, 3.0])) == "  2.0 +-  2.5"  # 4.303 / sqrt(3)
    rows = [
        {"network": "x", "stages": stages, "seed": seed, "steps": "1", "J&F": f"{score}"}
        for seed in "01"
        for stages, score in zip(study.STAGES, (0.1, 0.2, 0.3, 0.4), strict=True)
    ]
    assert len(study.scores_of(rows, "x")["both"]) == 2
    assert study.scores_of(rows[:-1], "x")["both"] == pytest.approx([40])  # a seed counts once it is whole


def test_the_stored_table_holds_the_seeds_that_the_notebooks_read():
    study = load("two_stages")
    rows = study.read_table(study.TABLE)
    assert len(study.scores_of(rows, "sitvos_mini")["both"]) == study.Size().seeds
    assert len(study.scores_of(rows, "hst_mini")["both"]) >= 2
    assert {row["steps"] for row in rows} == {str(study.Size().steps)}
