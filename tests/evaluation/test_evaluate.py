"""Tables of scores: folders are paired file by file, objects are averaged as DAVIS does, files are written whole."""

import csv
import errno
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from minivos.cli import app
from minivos.errors import InputError
from minivos.evaluation.evaluate import COLUMNS, Evaluation, evaluate_folders
from minivos.video.mask_files import read_mask, write_mask


def moving_boxes(objects: int, frames: int = 6, lag: int = 0) -> np.ndarray:
    """Boxes of 10x10 that step right by one pixel, or by k pixels for object k, in lanes of their own."""
    labels = np.zeros((frames, 20 * objects, 60), np.uint8)
    for t in range(frames):
        for k in range(1, objects + 1):
            labels[t, 20 * k - 15 : 20 * k - 5, 5 + k * (t - lag) : 15 + k * (t - lag)] = k
    return labels


def write_sequence(folder: Path, labels: np.ndarray, first: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number, mask in enumerate(labels, start=first):
        write_mask(folder / f"{number:05d}.png", mask)
    return folder


@pytest.fixture
def dataset(tmp_path):
    """Two sequences: one object predicted perfectly, two objects one frame late."""
    for root, lag in (("gt", 0), ("pred", 1)):
        write_sequence(tmp_path / root / "alone", moving_boxes(1))
        write_sequence(tmp_path / root / "pair", moving_boxes(2, lag=lag))
    return tmp_path / "gt", tmp_path / "pred"


# A box of 10x10 that is k pixels off has J = (10 - k) / (10 + k).
J_MEANS = {("alone", "1"): 1, ("pair", "1"): 9 / 11, ("pair", "2"): 8 / 12}
J_MEAN = sum(J_MEANS.values()) / 3


def test_each_object_counts_once():
    evaluation = Evaluation.of(
        {
            "alone": (moving_boxes(1, frames=30), moving_boxes(1, frames=30)),
            "pair": (moving_boxes(2), moving_boxes(2, lag=1)),
        }
    )
    assert evaluation.J_statistics.mean == pytest.approx(J_MEAN)
    assert evaluation.mean == pytest.approx((J_MEAN + evaluation.F_statistics.mean) / 2)
    assert [len(objects) for objects in evaluation.scores.values()] == [1, 2]


def test_recall_and_decay_are_averaged_over_objects():
    gt = moving_boxes(2, frames=7)
    pred = gt.copy()
    pred[4:][pred[4:] == 2] = 0  # object 2 is lost: J of its five scored frames is 1 1 1 0 0
    evaluation = Evaluation.of({"lost": (gt, pred)})
    assert evaluation.J_statistics.recall == pytest.approx((1 + 3 / 5) / 2)
    assert evaluation.J_statistics.decay == pytest.approx((0 + 1) / 2)


def test_folders_of_sequences_score_like_their_arrays(dataset):
    evaluation = evaluate_folders(*dataset)
    assert {
        (name, str(score.object_id)): score.J_statistics.mean
        for name, objects in evaluation.scores.items()
        for score in objects
    } == pytest.approx(J_MEANS)
    assert evaluation.J_statistics.mean == pytest.approx(J_MEAN)


def test_one_sequence_is_enough(dataset):
    gt, pred = dataset
    evaluation = evaluate_folders(str(gt / "pair"), str(pred / "pair"))
    assert list(evaluation.scores) == ["pair"]
    assert evaluation.J_statistics.mean == pytest.approx((9 / 11 + 8 / 12) / 2)


def test_a_sequence_without_prediction_is_named(dataset):
    gt, pred = dataset
    write_sequence(gt / "never_predicted", moving_boxes(1))
    with pytest.raises(InputError, match="never_predicted is only in one of .*: complete"):
        evaluate_folders(gt, pred)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    """Frames 8 to 13 without leading zeros: 8 and 13 are not scored, whatever the order of their names."""
    gt, pred = moving_boxes(1), moving_boxes(1)
    pred[[0, -1]] = 0
    for name, labels in (("gt", gt), ("pred", pred)):
        write_sequence(tmp_path / name, labels)
        for number in range(6):
            os.rename(tmp_path / name / f"{number:05d}.png", tmp_path / name / f"{number + 8}.png")
    assert evaluate_folders(tmp_path / "gt", tmp_path / "pred").mean == 1


def test_table_and_csv_hold_every_object_and_the_mean(dataset, tmp_path):
    evaluation = evaluate_folders(*dataset)
    evaluation.write_csv(tmp_path / "scores.csv")
    evaluation.write_csv(tmp_path / "scores.csv")  # our own is replaced
    (tmp_path / "mine.csv").write_text("my table\n")
    with pytest.raises(InputError, match="mine.csv holds something else than scores"):
        evaluation.write_csv(tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "my table\n"
    with open(tmp_path / "scores.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["sequence", "object", *COLUMNS]
    expected = {**J_MEANS, ("global", ""): J_MEAN}
    assert {(row[0], row[1]): row[3] for row in rows} == {key: f"{mean:.3f}" for key, mean in expected.items()}
    table = [line.split() for line in evaluation.table().text().splitlines()]
    assert table == [[cell for cell in row if cell] for row in [header, *rows]]
    assert rows[-1][2:] == [f"{value:.3f}" for value in global_values(evaluation)]


def global_values(evaluation: Evaluation) -> list[float]:
    j, f = evaluation.J_statistics, evaluation.F_statistics
    return [evaluation.mean, j.mean, j.recall, j.decay, f.mean, f.recall, f.decay]


def test_csv_is_written_whole_or_not_at_all(dataset, tmp_path, monkeypatch):
    evaluation = evaluate_folders(*dataset)
    folder = tmp_path / "results"
    with pytest.raises(InputError, match="results"):
        evaluation.write_csv(folder / "scores.csv")
    folder.mkdir()
    (folder / "scores.csv").write_text("old")
    monkeypatch.setattr(Evaluation, "_rows", lambda self: iter([("alone", "1", (1.0,)), ("broken",)]))
    with pytest.raises(ValueError):
        evaluation.write_csv(folder / "scores.csv")
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("scores.csv", "old")]


def test_missing_extra_and_misfit_masks_are_named(dataset):
    gt, pred = dataset
    mask = pred / "pair" / "00003.png"
    write_mask(mask, np.zeros((40, 59), np.uint8))
    with pytest.raises(InputError, match=r"00003\.png is 59x40 pixels, but its truth is 60x40; .*size of the video"):
        evaluate_folders(gt, pred)
    mask.unlink()
    with pytest.raises(InputError, match=r"00003\.png is missing \(1 of 6"):
        evaluate_folders(gt, pred)
    write_mask(mask, moving_boxes(2)[3])
    write_mask(pred / "pair" / "00006.png", moving_boxes(2)[3])
    with pytest.raises(InputError, match=r"00006\.png has no ground truth"):
        evaluate_folders(gt, pred)


def test_a_refused_sequence_is_named(dataset):
    gt, pred = dataset
    write_mask(pred / "alone" / "00002.png", 2 * moving_boxes(1)[2])
    with pytest.raises(InputError, match="sequence alone: .*holds id 2"):
        evaluate_folders(gt, pred)


def test_folders_without_sequences_are_refused(dataset, tmp_path):
    gt, pred = dataset
    for nowhere in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match="holds no sequence|only in one of"):
            evaluate_folders(gt, nowhere)
    with pytest.raises(InputError, match="holds no sequence"):
        evaluate_folders(tmp_path / "nothing", pred)
    with pytest.raises(InputError, match="holds no picture"):
        evaluate_folders(gt / "pair", pred)
    with pytest.raises(InputError, match="no sequence"):
        Evaluation.of({})


# Parts of a data set


def davis(tmp_path: Path) -> tuple[Path, Path]:
    """All annotations of a data set of two sequences, and predictions of that in val."""
    gt, pred = tmp_path / "DAVIS" / "Annotations" / "480p", tmp_path / "pred"
    for name in ("alone", "pair"):
        write_sequence(gt / name, moving_boxes(2))
    write_sequence(pred / "pair", moving_boxes(2, lag=1))
    for year, names in (("2016", "alone"), ("2017", "pair")):
        (tmp_path / "DAVIS" / "ImageSets" / year).mkdir(parents=True)
        (tmp_path / "DAVIS" / "ImageSets" / year / "val.txt").write_text(names + "\n")
    return gt, pred


def test_a_split_of_all_annotations_is_scored(tmp_path):
    gt, pred = davis(tmp_path)
    with pytest.raises(InputError, match="alone is only in one of .*, or choose a split"):
        evaluate_folders(gt, pred)
    (tmp_path / "mine.txt").write_text("pair\n")
    for split in ("val", "2017/val", str(tmp_path / "mine.txt")):
        assert evaluate_folders(gt, pred, split).J_statistics.mean == pytest.approx((9 / 11 + 8 / 12) / 2)
    with pytest.raises(InputError, match="alone is only in one of"):
        evaluate_folders(gt, pred, "2016/val")
    with pytest.raises(InputError, match="there is no split 'train'; expected a text file"):
        evaluate_folders(gt, pred, "train")
    with pytest.raises(InputError, match="File name too long|there is no split"):
        evaluate_folders(gt, pred, 300 * "x")
    with pytest.raises(InputError, match="is one sequence, of which there is no split"):
        evaluate_folders(gt / "pair", pred / "pair", "val")


def test_merged_objects_count_as_one(tmp_path):
    gt, pred = davis(tmp_path)
    for mask in (pred / "pair").iterdir():  # the ids of both objects are swapped
        labels = read_mask(mask)
        write_mask(mask, np.where(labels > 0, 3 - labels, 0).astype(np.uint8))
    scores = evaluate_folders(gt, pred, "val", merged=True).scores["pair"]
    assert len(scores) == 1 and scores[0].J_statistics.mean > 0.7
    assert evaluate_folders(gt, pred, "val").J_statistics.mean == 0


def test_endings_in_capitals_are_the_same_frames(dataset):
    gt, pred = dataset
    for file in [*pred.rglob("*.png")]:
        file.rename(file.with_suffix(".PNG"))
    assert evaluate_folders(gt, pred).J_statistics.mean == pytest.approx(J_MEAN)
    assert evaluate_folders(pred / "pair", gt / "pair").mean > 0


def test_on_a_system_that_cannot_be_written_to_the_table_is_printed_and_the_remedy(dataset, monkeypatch):
    def refuse(*_, **__) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    for change in ("touch", "unlink"):  # the latter even where there is no file
        monkeypatch.setattr(Path, change, refuse)
    ended = CliRunner().invoke(app, ["eval", *map(str, dataset), "--csv", "scores.csv"])
    assert ended.exit_code == 2 and "global" in ended.output
    assert "cannot write scores.csv (Read-only file system); expected a folder that" in ended.output
