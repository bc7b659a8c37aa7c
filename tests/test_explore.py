"""`minivos explore`: a video and a mask become a page; clumsy hands are told what is expected."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from minivos import create_model
from minivos.cli import app
from minivos.models import save_weights
from minivos.video.frames import OverlayWriter
from minivos.video.mask_files import write_mask

SIZE = (32, 40)
QUICK = "--side", "32", "--heads", "mean"


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["explore", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def labels_of(left: int = 2) -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    labels[8:24, left : left + 12], labels[8:24, left + 16 : left + 28] = 1, 2
    return labels


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: holiday/ and holiday.mp4 of five frames; first.png, third.png, none.png, small.png."""
    monkeypatch.chdir(tmp_path)
    Path("holiday").mkdir()
    with OverlayWriter("holiday.mp4", SIZE, 10) as film:
        for t in range(5):
            picture = np.full((*SIZE, 3), 60, np.uint8)
            picture[labels_of(2 + t) > 0] = 200
            Image.fromarray(picture).save(f"holiday/{t:05}.png")
            film.write(picture, np.zeros(SIZE, np.uint8))
    for name, labels in (("first", labels_of()), ("third", labels_of(4)), ("none", 0 * labels_of())):
        write_mask(f"{name}.png", labels)
    write_mask("small.png", labels_of()[:16, :20])
    return tmp_path


def given(page: str) -> dict:
    (text,) = re.findall(r'class="given">(.*?)</script>', Path(page).read_text("utf8"))
    return json.loads(text)


@pytest.mark.parametrize("video", ["holiday", "holiday.mp4"])
def test_a_video_and_a_mask_become_a_page(clip, video):
    code, said = run(video, "--mask", "first.png", "--frames", "3", *QUICK)
    assert code == 0, said
    told = given("holiday-explore.html")
    assert [frame["number"] for frame in told["frames"] if frame["shown"]] == [0, 2, 4]
    assert (told["title"], told["objects"], told["truth"]) == ("holiday", [1, 2], None)
    assert f"Open this page in a browser, and click: {clip / 'holiday-explore.html'}" in said.replace("\n", "")
    for line in (
        f"{video}: 5 frames of 40x32 pixels",
        "aot_mini on cpu, working at 40x32 pixels",
        "Of the 5 frames that were followed 3 are shown.",
        "Of attention with up to 4 heads the mean is shown.",
    ):
        assert line in said


def test_networks_frames_and_maps_are_chosen(clip):
    words = ("--model", "sst_mini", "--model", "aot_mini", "--model", "sst_mini", "--only", "*1*", "--out", "it.html")
    code, said = run("holiday", "--mask", "first.png", *words, "--stride", "2", "--max-side", "32", *QUICK[2:])
    assert code == 0, said
    told = given("it.html")
    assert [network["name"] for network in told["networks"]] == ["sst_mini", "aot_mini"]
    names = {each["name"] for network in told["networks"] for each in network["maps"]}
    assert names == {"layer1", "block1/self", "block1/long_term", "block1/short_term"}
    assert len(told["frames"]) == 3 and told["size"] == [26, 32]


def test_later_masks_are_the_truth(clip):
    code, said = run("holiday", "--mask", "first.png", "--mask", "00002=third.png", "--frames", "3", *QUICK)
    assert code == 0, said
    assert given("holiday-explore.html")["truth"] is not None


def test_masks_that_come_with_a_folder_of_davis_are_taken(clip):
    for t in range(5):
        for kind in ("JPEGImages", "Annotations"):
            Path(f"davis/{kind}/480p/cows").mkdir(parents=True, exist_ok=True)
        Image.open(f"holiday/{t:05}.png").save(f"davis/JPEGImages/480p/cows/{t:05}.jpg")
        write_mask(f"davis/Annotations/480p/cows/{t:05}.png", labels_of(2 + t))
    folder = "davis/JPEGImages/480p/cows"
    code, said = run(folder, "--frames", "3", "--out", "own.html", *QUICK)
    assert code == 0, said
    assert given("own.html")["truth"] is not None
    code, said = run(folder, "--mask", "2=third.png", "--frames", "3", "--out", "late.html", *QUICK)
    assert code == 0, said
    assert [frame["number"] for frame in given("late.html")["frames"]] == [2, 3, 4]


def test_a_page_is_replaced_and_nothing_else(clip):
    words = ("holiday", "--mask", "first.png", "--frames", "2", "--out", "page.html", *QUICK)
    assert run(*words)[0] == 0 and run(*words)[0] == 0
    Path("page.html").write_text("<title>mine</title>")
    code, said = run(*words)
    assert code == 2 and "no page of ours" in said
    assert Path("page.html").read_text() == "<title>mine</title>"


@pytest.mark.parametrize(
    "words, said",
    [
        (("holiday",), "comes without masks; expected --mask FILE"),
        (("holiday", "--mask", "none.png"), "none.png holds no object"),
        (("holiday", "--mask", "small.png"), "small.png"),
        (("holiday", "--mask", "nowhere.png"), "nowhere.png"),
        (("nowhere", "--mask", "first.png"), "nowhere"),
        (("holiday", "--mask", "4=first.png"), "ends with frame 4"),
        (("holiday", "--mask", "first.png", "--model", "aot_huge"), "no model 'aot_huge'"),
        (("holiday", "--mask", "first.png", "--model", "aot_t"), "No trained weights come with aot_t"),
        (("holiday", "--mask", "first.png", "--only", "stage*"), "expected the name of a map of aot_mini"),
        (("holiday", "--mask", "first.png", "--heads", "few"), "auto, all, mean"),
        (("holiday", "--mask", "first.png", "--frames", "1"), "got frames=1"),
        (("holiday", "--mask", "first.png", "--out", "page.pdf"), "name of an .html file"),
        (("holiday", "--mask", "first.png", "--weights", "w.pt", "--model", "sst", "--model", "sitvos"), "one --model"),
        (("holiday", "--mask", "first.png", "--device", "abacus"), "got device 'abacus'"),
        (("holiday", "--mask", "first.png", "--side", "-3"), "got side=-3"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(clip, words, said):
    before = sorted(Path(".").rglob("*"))
    code, printed = run(*words)
    assert code == 2 and said in printed
    assert len([line for line in printed.splitlines() if line.startswith("minivos: ")]) == 1
    assert sorted(Path(".").rglob("*")) == before


def test_network_and_terms_of_weights_of_ones_own_come_from_their_json(clip):
    save_weights(create_model("sst_mini"), "mine.safetensors")
    Path("mine.json").write_text(json.dumps({"model": "sst_mini", "terms": "non-commercial"}))
    words = ("--mask", "first.png", "--weights", "mine.safetensors", "--frames", "2", "--side", "64")
    code, said = run("holiday", *words)
    assert code == 0 and "the weights of sst_mini are non-commercial" in said, said
