"""Tables that scripts write: accuracy against speed by --side, which the help shows, and what training bought."""

import csv
import importlib.util
from pathlib import Path

import pytest
from typer.testing import CliRunner

import data_trees
from minivos import create_model
from minivos.cli import app
from minivos.cli.segment import SIDES
from minivos.evaluation.evaluate import evaluate_model
from minivos.video.datasets import DavisDataset

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def load(name: str):
    """The module benchmarks/NAME.py."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf8") as file:
        return list(csv.DictReader(file))


def test_the_help_of_segment_shows_every_line_of_the_table():
    shown = CliRunner().invoke(app, ["segment", "--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"}).output
    lines = [line.split() for line in shown.splitlines()]
    rows = rows_of(SIDES)
    assert rows
    for row in rows:
        assert [row["network"], row["side"], row["J&F"], row["frames per second"]] in lines
    assert f"{rows[0]['clips']} real clips of {rows[0]['lines']} lines" in " ".join(shown.split())


def test_sides_are_measured_as_segment_works(tmp_path, monkeypatch):
    script, davis = load("sides"), data_trees.davis2017(tmp_path / "davis", frames=3)
    monkeypatch.setattr(script, "SIZE", (96, 128))
    monkeypatch.setattr(script, "WARM_UP", 2)
    monkeypatch.setattr(script, "TIMED", 2)
    out = tmp_path / "sides.csv"
    script.main([f"{davis}:val", "--networks", "hst_mini", "--sides", "16", "32", "--out", str(out)])
    first, second = rows_of(out)
    assert (first["network"], first["side"], second["side"]) == ("hst_mini", "16", "32")
    clips = DavisDataset(davis, "val", year=2016)
    plain, refined = (
        evaluate_model(create_model("hst_mini", "shipped"), clips, side=16, refine=choice).mean
        for choice in (False, True)
    )
    assert float(first["J&F"]) == pytest.approx(refined, abs=5e-4) and plain != pytest.approx(refined, abs=1e-3)
    assert float(first["frames per second"]) > 0 and first["clips"] == str(len(clips))
    with pytest.raises(SystemExit, match="nowhere"):
        script.main([f"{davis}:nowhere", "--out", str(out)])


def test_a_log_is_summed_up_by_the_time_that_steps_began(tmp_path, capsys):
    log = tmp_path / "log.csv"
    log.write_text(
        "step,loss,J,learning_rate,seconds,data_seconds\n"
        "0,0.6,0.2,1e-3,40,10\n1,0.4,0.4,9e-4,40,0\n2,0.2,0.8,2e-5,20,1\n"
    )
    load("training_hours").main([str(log), "--minutes", "1"])
    printed = capsys.readouterr().out.splitlines()
    assert "| 0 to 1 | 2 | 0.500 | 0.300 | 9e-04 | 12 % |" in printed
    assert "| 1 to 2 | 1 | 0.200 | 0.800 | 2e-05 | 5 % |" in printed


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "step,loss,J,learning_rate,seconds,data_seconds\n0,x,1,1,1,1\n"])
def test_what_is_no_log_is_named(tmp_path, text):
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(SystemExit, match="log.csv, which does not read as a log"):
        load("training_hours").main([str(tmp_path / "log.csv")])
