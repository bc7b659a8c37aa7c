"""The quick form of each study runs every step of it, a table that was cut short is taken up, the arithmetic is right.

What a stored table decides is what its study was made for.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from minivos.errors import InputError
from minivos.evaluation.study import Study, clips_of, describe, draw_effects, interval, read_effects

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.py"))


def load(path: Path) -> Study:
    """The study of studies/NAME.py."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.STUDY


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_quick_form_runs_every_step(path, tmp_path, capsys):
    study, table = load(path), tmp_path / "quick.csv"
    study.main("", ["--quick", "--out", str(table)])
    effects = read_effects(table)
    assert {each.variant for each in effects} == set(study.variants)
    assert {each.case for each in effects} == set(study.cases)
    assert capsys.readouterr().out == describe(effects) + "\n"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_stored_table_decides_the_question(path):
    """Five seeds or more, all variants, and on the case that the study names first an effect beyond the noise."""
    study = load(path)
    effects = read_effects(study.table)
    assert {(each.case, each.variant) for each in effects} == {(c, v) for c in study.cases for v in study.variants}
    assert {len(each.scores) for each in effects} == {study.seeds} and study.seeds >= 5
    assert any(each.decided for each in effects if each.case == study.cases[0])


def made_up(table: Path, asked: list | None = None) -> Study:
    """A study whose variant b loses 10 points and c less than a few seeds can see."""

    def run(variant: str, seed: int, quick: bool) -> dict[str, float]:
        if asked is not None:
            asked.append((variant, seed))
        return {"hard": 0.5 + seed / 100 - {"a": 0, "b": 0.1 + seed / 1000, "c": (seed**2 - 1) / 100}[variant]}

    return Study(table, ("a", "b", "c"), ("hard",), run, seeds=3)


def test_a_study_goes_on_where_it_was_cut_short(tmp_path):
    asked: list[tuple[str, int]] = []
    study = made_up(tmp_path / "table.csv", asked)
    study.run_missing(study.table)
    whole = study.table.read_text()
    assert len(asked) == 9 and asked[:3] == [("a", 0), ("b", 0), ("c", 0)]  # a seed is whole before the next begins
    study.table.write_text("\n".join(whole.splitlines()[:-2]) + "\n")  # killed before the last two runs
    assert len(read_effects(study.table)[0].scores) == 2  # a seed counts once it is whole
    asked.clear()
    study.run_missing(study.table)
    assert asked == [("b", 2), ("c", 2)] and study.table.read_text() == whole
    asked.clear()
    study.run_missing(study.table)
    assert not asked


def test_effects_are_compared_seed_by_seed(tmp_path):
    study = made_up(tmp_path / "table.csv")
    study.run_missing(study.table)
    a, b, c = read_effects(study.table)
    assert a.scores == pytest.approx([50, 51, 52]) and b.gains == pytest.approx([-10, -10.1, -10.2])
    assert b.decided and not c.decided and b.interval == pytest.approx(interval(b.gains))
    lines = describe([a, b, c]).splitlines()
    assert lines[0] == "hard, 3 seeds: J&F in percent, gain over the first row" and lines[1].split() == ["a", "51.0"]
    assert lines[2] == "  b   40.9  -10.1 +-  0.2" and lines[3].endswith("cannot say")


def test_a_table_without_two_whole_seeds_is_refused(tmp_path):
    (tmp_path / "table.csv").write_text("case,variant,seed,J&F\nhard,a,0,0.5\n")
    for name in ("table.csv", "none.csv"):
        with pytest.raises(InputError, match=f"{name} has . whole seeds; expected 2 or more"):
            read_effects(tmp_path / name)


def test_quick_scores_do_not_get_into_the_stored_table(tmp_path, capsys):
    with pytest.raises(SystemExit):
        made_up(tmp_path / "table.csv").main("", ["--quick"])
    assert "--quick needs --out" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_means_and_intervals():
    assert interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2, 4.303 / 3**0.5), abs=1e-3)
    assert interval(np.arange(10.0)) == pytest.approx((4.5, 2.262 * (55 / 6) ** 0.5 / 10**0.5), abs=1e-3)
    for seeds in (1, 11):
        with pytest.raises(InputError, match=f"got {seeds} seeds; expected 2 to 10"):
            interval(np.ones(seeds))


def test_the_figure_has_a_panel_for_each_case_and_a_point_for_each_seed(tmp_path):
    study = made_up(tmp_path / "table.csv")
    study.run_missing(study.table)
    effects = read_effects(study.table)
    figure = draw_effects([*effects, *(type(each)("easy", each.variant, each.scores, each.gains) for each in effects)])
    hard, easy = figure.axes
    assert (hard.get_title(), easy.get_title()) == ("hard", "easy")
    points = [line.get_xdata() for line in hard.lines if line.get_marker() == "o"]
    assert [list(each) for each in points] == [list(each.gains) for each in effects[1:]]


def test_clips_of_a_seed_are_its_own():
    one, same, other = (clips_of(seed, range(2), 2, (32, 32), scenario="plain") for seed in (0, 0, 1))
    assert len(one) == 2 and (one[0].frames == same[0].frames).all() and (one[0].frames != other[0].frames).any()
    assert (one[1].frames == clips_of(0, range(1, 2), 2, (32, 32), scenario="plain")[0].frames).all()
