"""The shoot-out: its tables, what it refuses, and the command."""

import csv
import math
import re

import pytest
from typer.testing import CliRunner

from minivos.cli import app
from minivos.errors import InputError
from minivos.evaluation import shootout
from minivos.evaluation.tables import Table, write_csv
from minivos.models import create_model, has_weights, list_models
from minivos.synthetic.clips import render
from minivos.viewing.attention_scores import score_attention

NAME = next(filter(has_weights, list_models()))
TABLE = Table("J&F", ["a", "b<c"], {"plain": [0.5, 0.123], "thin": [math.nan, 1.0]})


def test_a_table_as_text_and_as_html():
    assert TABLE.text().splitlines() == [
        "J&F           a       b<c",
        "plain      0.50      0.12",
        "thin                 1.00",
    ]
    assert "<td>0.12</td>" in TABLE.html() and "b&lt;c" in TABLE.html() and "<td></td>" in TABLE.html()


def test_csv_has_one_number_a_line(tmp_path):
    write_csv(tmp_path / "scores.csv", [TABLE])
    head, *rows = csv.reader((tmp_path / "scores.csv").open())
    assert head == ["table", "row", "column", "value"]
    assert rows[:3] == [["J&F", "plain", "a", "0.5"], ["J&F", "plain", "b<c", "0.123"], ["J&F", "thin", "a", "nan"]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "got no network; expected at least one"),
        ([NAME, NAME], "each once"),
        (["aot_t"], "aot_t has no trained weights"),
        (["aot_x"], "There is no model 'aot_x'"),
    ],
)
def test_networks_that_cannot_be_compared_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        shootout.check_names(names)


def test_attention_of_all_objects_is_one_row():
    table = shootout.attention_table({"net": create_model("hst_mini")}, "plain", seeds=(1,))
    assert list(table.rows) == ["net stage4", "net stage3", "net stage2", "net stage1"]
    assert all(0 <= share <= 1 for row in table.rows.values() for share in row)


def test_scores_of_attention_stand_beside_their_chance():
    clip, network = render(1, frames=4, size=(64, 96), scenario="plain"), create_model(NAME)
    table = shootout.score_table("where", {"a": network, "b": network}, [clip])
    scores = score_attention(network, clip)
    assert list(table.rows) == [f"{net} {score.name}" for net in "ab" for score in scores]
    for row, score in zip(table.rows.values(), 2 * scores, strict=True):
        assert row[::2] == pytest.approx(score.shares, nan_ok=True)
        assert row[1::2] == pytest.approx(score.chance, nan_ok=True)


def test_cost_grows_with_what_is_asked():
    rate, mib = shootout.cost(NAME, 64, 1, 9)
    assert rate > 0 and mib >= 0
    assert shootout.cost(NAME, 256, 1, 9)[0] < rate


def test_each_setting_is_measured_once_and_shown_in_each_of_its_rows(monkeypatch):
    class Here:  # instead of a process
        def __init__(self, *_, **__): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def submit(self, function, *given):
            asked.append(given)
            return type("Done", (), {"result": staticmethod(lambda: (sum(given[1:-1]), 1.0))})

    asked = []
    monkeypatch.setattr(shootout, "ProcessPoolExecutor", Here)
    speed, memory = shootout.cost_tables([NAME], (128, 192), (1, 3), (12, 48), "cpu")
    assert asked == [(NAME, *setting, "cpu") for setting in ((128, 3, 12), (192, 3, 12), (128, 1, 12), (128, 3, 48))]
    assert list(speed.rows) == [
        "short side 128", "short side 192", "1 object", "3 objects", "12 frames", "48 frames"
    ]  # fmt: skip
    assert speed.rows["3 objects"] == speed.rows["12 frames"] == [143] and speed.rows["48 frames"] == [179]
    assert memory.title == "MiB added at the peak"


def test_the_command_prints_and_writes_the_same_tables(monkeypatch, tmp_path):
    monkeypatch.setattr(shootout, "accuracy_tables", lambda names, device: [TABLE])
    monkeypatch.setattr(shootout, "cost_tables", lambda names, *settings, device: [])
    monkeypatch.setattr(shootout, "attention_table", lambda networks, scenario: Table(scenario, ["x"], {"r": [1.0]}))
    monkeypatch.setattr(shootout, "SMALL", {"frames": 3, "size": (64, 96)})
    run = CliRunner().invoke(app, ["shootout", "--out", str(tmp_path / "new"), "--model", NAME, "--device", "cpu"])
    assert run.exit_code == 0 and TABLE.text() in run.stdout
    page, rows = (tmp_path / "new" / name for name in ("shootout.html", "shootout.csv"))
    assert "trained for" in page.read_text() and "on cpu" in page.read_text() and TABLE.html() in page.read_text()
    assert "crossing_lookalikes,r,x,1.0" in rows.read_text()
    links = re.findall(r'<a href="([^"]+)">(\w+)</a>', page.read_text())
    assert links == [(f"explore-{name}.html", name) for name in ("plain", "crossing_lookalikes")]
    for file, _ in links:
        explorer = (tmp_path / "new" / file).read_text(encoding="utf8")
        assert f'"name": "{NAME}"' in explorer and '"points": [{' in explorer


def test_the_command_refuses_a_network_without_weights(tmp_path):
    run = CliRunner().invoke(app, ["shootout", "--out", str(tmp_path), "--model", "aot_t"])
    assert run.exit_code == 2 and "no trained weights" in run.output and not list(tmp_path.iterdir())
