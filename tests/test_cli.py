"""The command line: what people type works, and bad input ends in one clear line, status 2 and nothing half-written."""

import json
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

import minivos
from minivos.cli import app
from minivos.cli.show import training_minutes
from minivos.errors import InputError
from minivos.models import has_weights, save_weights
from minivos.training.export import origin
from minivos.video.datasets import samples_root
from minivos.video.frames import OverlayWriter
from minivos.video.mask_files import read_mask, write_mask
from reference_weights import state_dict

SHARED_CLIPS = Path(__file__).parents[2] / "shared" / "clips"
SIZE = (36, 52)
SCORING = "minivos.evaluation.evaluate.score_samples"  # of a finished training


def run(*words: object) -> tuple[int, str]:
    """Exit status and everything printed; an exception that is no clear exit is raised here."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def square(t: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A frame with a red square that moves to the right, and its labels."""
    labels = np.zeros(size, np.uint8)
    labels[10:26, 8 + t : 24 + t] = 1
    frame = np.full((*size, 3), 90, np.uint8)
    frame[labels == 1] = (220, 40, 40)
    return frame, labels


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder with frames/, first.png (the mask of the first frame) and tiny.safetensors (untrained weights)."""
    (tmp_path / "frames").mkdir()
    for t in range(4):
        Image.fromarray(square(t)[0]).save(tmp_path / "frames" / f"{t:05}.png")
    write_mask(tmp_path / "first.png", square(0)[1])
    torch.manual_seed(0)
    save_weights(minivos.create_model("aot_mini"), tmp_path / "tiny.safetensors")
    return tmp_path


def segment(clip: Path, *more: object, video: Path | None = None, mask: Path | None = None) -> tuple[int, str]:
    return run(
        "segment", "--model", "aot_mini", video or clip / "frames", "--mask", mask or clip / "first.png",
        "--out", clip / "out", "--weights", clip / "tiny.safetensors", "--side", 32, "--device", "cpu", *more,
    )  # fmt: skip


def results(clip: Path) -> list[str]:
    """Names of everything in the output folder but the mark that it is ours."""
    return sorted(p.name for p in (clip / "out").rglob("*") if p.name != ".minivos")


def test_segment_writes_a_mask_per_frame_and_an_overlay(clip: Path) -> None:
    status, printed = segment(clip)
    assert status == 0, printed
    masks = ["00000.png", "00001.png", "00002.png", "00003.png"]
    assert results(clip) == [*masks, "confidence.csv", "masks", "overlay.mp4"]
    assert "frames per second" in printed and "1 object" in printed and "working at 48x32 pixels" in printed
    np.testing.assert_array_equal(read_mask(clip / "out/masks/00000.png"), square(0)[1])
    assert len(minivos.Clip.load(clip / "out/overlay.mp4").frames) == 4


def test_segment_shrinks_long_sides(clip: Path) -> None:
    status, printed = segment(clip, "--max-side", 26)
    assert status == 0, printed
    assert read_mask(clip / "out/masks/00003.png").shape == (18, 26)


def test_segment_reads_a_video_file(clip: Path) -> None:
    with OverlayWriter(clip / "film.mp4", SIZE, 12) as film:
        for t in range(3):
            film.write(square(t)[0], np.zeros(SIZE, np.uint8))
    status, printed = segment(clip, video=clip / "film.mp4")
    assert status == 0, printed
    assert sum(name.endswith(".png") for name in results(clip)) == 3


def test_one_frame_is_enough(clip: Path) -> None:
    for t in (1, 2, 3):
        (clip / f"frames/{t:05}.png").unlink()
    assert segment(clip)[0] == 0


def test_results_are_not_overwritten_unasked(clip: Path) -> None:
    assert segment(clip)[0] == 0
    before = (clip / "out/masks/00003.png").stat().st_mtime_ns
    status, printed = segment(clip)
    assert status == 2 and "already holds results" in printed
    assert (clip / "out/masks/00003.png").stat().st_mtime_ns == before
    assert segment(clip, "--overwrite")[0] == 0


def test_overwriting_never_costs_the_masks_of_the_clip(clip: Path) -> None:
    (clip / "masks").mkdir()
    write_mask(clip / "masks" / "00000.png", square(0)[1])
    minivos.Clip.load(clip).save(clip / "saved")
    for folder, said in ((clip, "that minivos did not write"), (clip / "saved", "wrote as clip, not as segment")):
        status, printed = segment(clip, "--overwrite", "--out", folder, video=folder)
        assert status == 2 and said in printed, printed
        assert read_mask(folder / "masks" / "00000.png").any() and len(list((folder / "masks").iterdir())) == 1


def test_results_go_into_a_folder_and_a_film_is_none(clip: Path) -> None:
    status, printed = segment(clip, "--out", clip / "film.mp4")
    assert status == 2 and "film.mp4 looks like a film; give a folder" in printed
    assert not (clip / "film.mp4").exists()


def write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


BAD_INPUT = {
    "a video that is not there": (lambda c: {"video": c / "none.mp4"}, "none.mp4"),
    "an empty video": (lambda c: write_bytes(c / "e.mp4", b"") or {"video": c / "e.mp4"}, "e.mp4"),
    "a video that is text": (lambda c: write_bytes(c / "t.mp4", b"words " * 99) or {"video": c / "t.mp4"}, "t.mp4"),
    "a folder without images": (lambda c: (c / "void").mkdir() or {"video": c / "void"}, "void"),
    "a mask that is not there": (lambda c: {"mask": c / "none.png"}, "none.png"),
    "frames of several sizes": (
        lambda c: Image.new("RGB", (20, 20)).save(c / "frames/00002.png") or {}, "00002.png"),
    "a corrupt frame": (lambda c: write_bytes(c / "frames/00003.png", b"\x89PNG\r\n") or {}, "00003.png"),
    "a mask of another size": (
        lambda c: write_mask(c / "m.png", square(0, (40, 40))[1]) or {"mask": c / "m.png"}, "40x40"),
    "a mask without object": (
        lambda c: write_mask(c / "m.png", np.zeros(SIZE, np.uint8)) or {"mask": c / "m.png"}, "no object"),
    "a mask that is all void": (
        lambda c: write_mask(c / "m.png", np.full(SIZE, 255, np.uint8)) or {"mask": c / "m.png"}, "void"),
    "a mask with ids above 255": (
        lambda c: Image.fromarray(np.full(SIZE, 300, np.uint16)).save(c / "m.png") or {"mask": c / "m.png"}, "300"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_is_named_and_nothing_is_left_half_written(clip: Path, name: str) -> None:
    prepare, named = BAD_INPUT[name]
    status, printed = segment(clip, **prepare(clip))
    assert status == 2 and printed.count("minivos: ") == 1 and named in printed, printed
    assert results(clip) == []


def test_segment_refuses_weights_it_cannot_trust(clip: Path) -> None:
    planted = clip / "planted"

    class Bomb:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(planted),)

    torch.save({"a": torch.zeros(1)}, clip / "other.pt")
    (clip / "bomb.pt").write_bytes(pickle.dumps(Bomb()))
    (clip / "cut.safetensors").write_bytes((clip / "tiny.safetensors").read_bytes()[:5000])
    for file, said in (("other.pt", "another network"), ("bomb.pt", "refused"), ("cut.safetensors", "corrupt")):
        status, printed = run(
            "segment",
            "--model",
            "aot_mini",
            clip / "frames",
            "--mask",
            clip / "first.png",
            "--out",
            clip / "out",
            "--weights",
            clip / file,
        )
        assert status == 2 and said in printed, printed
    assert not planted.exists() and results(clip) == []


def test_segment_takes_a_checkpoint_as_it_was_released(clip: Path) -> None:
    torch.save(state_dict("aot_t"), clip / "released.pth")
    status, printed = segment(clip, "--model", "aot_t", "--released", clip / "released.pth")
    assert status == 0 and "working at 49x33 pixels" in printed, printed
    network = minivos.load_official(minivos.create_model("aot_t"), state_dict("aot_t"))
    frames = np.stack([square(t)[0] for t in range(4)])
    wanted = minivos.propagate(network, minivos.Clip(frames, {0: square(0)[1]}), side=32)
    np.testing.assert_array_equal(read_mask(clip / "out/masks/00003.png"), wanted[3])

    status, printed = segment(clip, "--model", "aot_s", "--released", clip / "released.pth", "--overwrite")
    assert status == 2 and "another network" in printed


def test_unknown_model_and_missing_device_are_named(clip: Path) -> None:
    status, printed = segment(clip, "--model", "aot_huge")
    assert status == 2 and "aot_mini" in printed
    if not torch.cuda.is_available():
        status, printed = run(
            "segment", "--model", "aot_mini", clip / "frames", "--mask", clip / "first.png", "--out", clip / "out",
            "--weights", clip / "tiny.safetensors", "--device", "cuda",
        )  # fmt: skip
        assert status == 2 and "cpu" in printed
    assert results(clip) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_that_cannot_be_written_to(clip: Path) -> None:
    (clip / "out").mkdir(mode=0o500)
    status, printed = segment(clip)
    assert status == 2 and "cannot write" in printed


def test_an_output_folder_below_a_file_cannot_be_made(clip: Path) -> None:
    status, printed = segment(clip, "--out", clip / "first.png" / "out")
    assert status == 2 and "cannot write" in printed


def test_eval_prints_a_table_and_writes_csv(tmp_path: Path) -> None:
    for folder in ("gt", "pred"):
        (tmp_path / folder).mkdir()
        for t in range(5):
            write_mask(tmp_path / folder / f"{t:05}.png", square(t)[1])
    status, printed = run("eval", tmp_path / "gt", tmp_path / "pred")
    assert status == 0 and "global" in printed and "1.000" in printed
    assert (tmp_path / "pred/scores.csv").read_text().splitlines()[-1].startswith("global,,1.000")
    (tmp_path / "pred/00002.png").unlink()
    status, printed = run("eval", tmp_path / "gt", tmp_path / "pred", "--csv", tmp_path / "new.csv")
    assert status == 2 and "00002.png" in printed and not (tmp_path / "new.csv").exists()


def test_demo_shows_every_network_that_comes_with_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames, masks = zip(*(square(t, size=(72, 104)) for t in range(4)), strict=True)
    clip = minivos.Clip(np.stack(frames), dict(enumerate(masks)), name="square")
    monkeypatch.setattr("minivos.video.datasets.DavisDataset", lambda root, split: [clip])
    one, *others = filter(has_weights, minivos.list_models())
    status, printed = run("demo", "--out", tmp_path / "report.html", "--model", one, "--model", one)
    assert status == 0 and not any(name in printed for name in others), printed
    assert explored(tmp_path) == [one] and "MB in 2 files" in printed
    status, printed = run("demo", "--out", tmp_path / "new/report.html", "--device", "cpu")
    assert status == 0, printed
    page = (tmp_path / "new/report.html").read_text()
    for name in filter(has_weights, minivos.list_models()):
        assert re.search(rf"^J&F .* {name} ", printed, re.M) and re.search(
            rf"^frames per second.* {name}( |$)", printed, re.M
        )
        assert f"<dt>{name}</dt>" in page and f"<span>{name}</span>" in page
    assert explored(tmp_path / "new") == [name for name in minivos.list_models() if name.endswith("_mini")]


def explored(folder: Path) -> list[str]:
    """The networks on the explorer's page in a folder."""
    (page,) = folder.glob("explore-*.html")
    given = re.search(r'class="given">(.*?)</script>', page.read_text(encoding="utf8"), re.DOTALL)
    assert given
    return [network["name"] for network in json.loads(given[1])["networks"]]


def test_demo_replaces_no_page_of_others(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<title>my year</title>")
    status, printed = run("demo", "--out", tmp_path, "--device", "cpu")
    assert status == 2 and "report.html is no page of ours" in printed
    assert "my year" in (tmp_path / "report.html").read_text()


def test_minutes_of_a_training_add_up_over_what_it_started_from() -> None:
    facts = {"minutes": 5.0, "start": {"minutes": 2.5, "start": {"weights": "imagenet"}}}
    assert training_minutes(facts) == 7.5


def test_train_rejects_settings_it_does_not_know(tmp_path: Path) -> None:
    status, printed = run("train", "--out", tmp_path / "run", "--set", "colour=3")
    assert status == 2 and "learning_rate" in printed
    status, printed = run("train", "--out", tmp_path / "run", "--set", "batch=many")
    assert (
        status == 2 and "got --set batch=many; expected a whole number" in printed and not (tmp_path / "run").exists()
    )


def test_train_writes_weights_with_their_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SCORING, lambda network: {"val": {"J": 0.1, "F": 0.3, "J&F": 0.2}})
    small = [word for field in ("batch=1", "side=32", "frames=2", "pool=1", "objects=1") for word in ("--set", field)]
    status, printed = run("train", "--steps", 2, "--out", tmp_path, "--device", "cpu", *small)
    assert status == 0 and "0.200" in printed, printed
    assert logging.getLogger("minivos").level == logging.INFO  # lines instead of a bar where nobody watches
    facts = json.loads((tmp_path / "aot_mini.json").read_text())
    assert facts["steps"] == 2 and facts["recipe"]["side"] == 32 and len(facts["log"]) == 2
    minivos.create_model("aot_mini", tmp_path / "aot_mini.safetensors")


def test_train_by_a_recipe_of_the_paper_starts_from_weights_and_reads_data(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SCORING, lambda network: {"val": {"J": 0.1, "F": 0.3, "J&F": 0.2}})
    monkeypatch.chdir(clip)
    small = [word for field in ("batch=1", "side=33", "frames=2", "warm_up=0.9") for word in ("--set", field)]
    small += ["--steps", 1, "--device", "cpu", "--set", "final_learning_rate=0"]  # a first step of size 0
    (clip / "tiny.json").write_text(json.dumps({"minutes": 85, "log": [{"loss": 0.5}]}))
    status, printed = run("train", "--recipe", "video", "--data", samples_root(), "--start", "tiny.safetensors", *small)
    assert status == 0, printed
    facts = json.loads((clip / "runs/aot_mini-video/aot_mini.json").read_text())
    assert facts["start"] == {"weights": "tiny.safetensors", "minutes": 85}
    recipe = facts["recipe"]
    assert (recipe["footage"], recipe["side"], recipe["weight_decay"]) == ({"video": 1.0}, 32, 0.07)
    trained = load_file(clip / "runs/aot_mini-video/aot_mini.safetensors")
    begun = load_file(clip / "tiny.safetensors")
    assert all(torch.equal(trained[name], begun[name]) for name in begun)


def test_train_names_recipes_data_and_weights_that_it_cannot_use(clip: Path) -> None:
    def refused(*words: object) -> str:
        status, printed = run("train", "--out", clip / "run", "--device", "cpu", *words)
        assert status == 2 and not (clip / "run").exists(), printed
        return printed

    assert "small, laptop, gpu, mixed, aot_stills, aot_video" in refused("--recipe", "film")
    assert "got no data of video" in refused("--recipe", "video")
    assert "got steps=0; expected a whole number, 1 or more" in refused("--steps", "0", "--minutes", "0.001")
    assert "expected ImageSets/2017/train.txt" in refused("--recipe", "video", "--data", clip)
    assert "holds no stills" in refused("--recipe", "stills", "--data", clip)
    assert "choose another footage, such as --footage video" in refused("--data", clip)
    assert "none.pt" in refused("--start", clip / "none.pt")


def test_a_training_keeps_its_weights_when_scoring_fails_and_looks_for_samples_first(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise InputError("no data_samples here")

    small = [word for field in ("batch=1", "side=32", "frames=2", "pool=1", "objects=1") for word in ("--set", field)]
    words = ("train", "--steps", 1, "--out", clip / "run", "--device", "cpu", *small)
    (clip / "tiny.json").write_text("{")
    status, printed = run(*words, "--start", clip / "tiny.safetensors")
    assert status == 2 and "tiny.json is damaged" in printed and not (clip / "run").exists()
    monkeypatch.setattr(SCORING, missing)
    status, printed = run(*words)
    assert status == 2 and "no data_samples here" in printed
    minivos.create_model("aot_mini", clip / "run/aot_mini.safetensors")
    monkeypatch.setattr("minivos.video.datasets.samples_root", missing)
    shutil.rmtree(clip / "run")
    assert run(*words)[0] == 2 and not (clip / "run").exists()


def test_models_and_doctor_answer() -> None:
    status, printed = run("models")
    assert status == 0 and all(name in printed for name in minivos.list_models())
    status, printed = run("doctor")
    assert status == 0 and torch.__version__.split("+")[0] in printed and "H.264" in printed
    assert str(samples_root()) in printed


def test_doctor_says_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr("minivos.cli.show.version", lambda name: real("none such" if name == "jupyterlab" else name))
    status, printed = run("doctor")
    assert status == 0 and re.search("jupyterlab +not installed", printed) and printed.count("not installed") == 1


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_text("")
    for words in (
        ("train", "--steps", "1", "--set", "batch=1", "--device", "cpu", "--out", file),
        ("shootout", "--out", file),
        ("demo", "--out", file / "x"),
    ):
        status, printed = run(*words)
        assert status == 2 and "is a file; expected a folder" in printed, printed


def test_a_training_from_shipped_weights_knows_how_long_they_were_trained() -> None:
    facts = origin("aot_mini", "shipped")
    assert facts["weights"] == "shipped" and "log" not in facts and training_minutes(facts) > 60
    assert origin("aot_mini", "mini") == facts  # by the old name


def test_the_installed_command_fails_without_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "minivos.cli", "eval", str(tmp_path / "a"), str(tmp_path / "b")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("minivos: ") and "Traceback" not in done.stderr


@pytest.mark.skipif(not SHARED_CLIPS.exists(), reason="the real clips are not here")
@pytest.mark.parametrize(
    "name, first_mask_repeated",
    [("car-roundabout", 0.611), ("chair", None)],  # the chair, a reflection, is lost: no claim is made for it
)
def test_real_video_is_segmented(name: str, first_mask_repeated: float | None, tmp_path: Path) -> None:
    shutil.copytree(SHARED_CLIPS / name / "masks", tmp_path / "gt")
    status, printed = run(
        "segment", SHARED_CLIPS / name / "frames", "--mask", tmp_path / "gt/00000.png", "--out", tmp_path / "out"
    )
    assert status == 0, printed
    status, printed = run("eval", tmp_path / "gt", tmp_path / "out/masks")
    print(printed)
    assert status == 0  # a mask for every frame, of the right size
    if first_mask_repeated:
        assert float(printed.split("global")[1].split()[0]) > first_mask_repeated
