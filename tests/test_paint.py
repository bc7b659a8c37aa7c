"""`minivos paint` and `frame`: which frames and masks come onto the page, and what clumsy hands are told."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from minivos.cli import app
from minivos.errors import InputError
from minivos.video.frames import OverlayWriter, open_frames
from minivos.video.mask_files import write_mask
from minivos.viewing.page import check_replaceable, write_page
from minivos.viewing.painting_page import MOST_SIDE, FrameToPaint, write_painting_page

SIZE = (24, 32)


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def labels_of(*ids: int) -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    for i in ids:
        labels[2:9, 7 * (i % 4) : 7 * (i % 4) + 5] = i
    return labels


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: holiday/ with frames 00000 to 00003, holiday.mp4 alike, one.png, both.png, none.png."""
    monkeypatch.chdir(tmp_path)
    Path("holiday").mkdir()
    with OverlayWriter("holiday.mp4", SIZE, 10) as film:
        for t in range(4):
            picture = np.full((*SIZE, 3), 40 * t, np.uint8)
            Image.fromarray(picture).save(f"holiday/{t:05}.png")
            film.write(picture, labels_of())
    for name, ids in (("one", (1,)), ("both", (1, 2)), ("none", ())):
        write_mask(f"{name}.png", labels_of(*ids))
    return tmp_path


def given(page: str | Path) -> dict:
    """What a page was given."""
    (text,) = re.findall(r'id="given">(.*?)</script>', Path(page).read_text("utf8"))
    return json.loads(text)


def labels_in(frame: dict) -> np.ndarray:
    values, lengths = np.reshape(frame["runs"], (-1, 2)).T
    return np.repeat(values, lengths).reshape(SIZE)


@pytest.mark.parametrize("video", ["holiday", "holiday.mp4"])
def test_the_page_has_the_first_frame_and_says_where_it_is(clip: Path, video: str) -> None:
    status, printed = run("paint", video)
    assert status == 0 and str(clip / "holiday-mask.html") in printed, printed
    page = given("holiday-mask.html")
    assert page["video"] == video and page["size"] == list(SIZE)
    (frame,) = page["frames"]
    assert (frame["name"], frame["first"]) == ("00000", True) and not labels_in(frame).any()


def test_frames_and_masks_go_together(clip: Path) -> None:
    chosen = {
        ("--at", "2"): {"00002": ()},
        ("--at", "2", "--at", "00000"): {"00000": (), "00002": ()},
        ("--mask", "one.png"): {"00000": (1,)},
        ("--at", "2", "--mask", "both.png"): {"00002": (1, 2)},
        ("--at", "2", "--mask", "none.png"): {"00002": ()},  # of a frame in which all are lost
        ("--mask", "3=both.png", "--at", "1"): {"00001": (), "00003": (1, 2)},
        ("--mask", "3=both.png", "--mask", "1=one.png"): {"00001": (1,), "00003": (1, 2)},
        ("--at", "0", "--at", "3", "--mask", "one.png"): {"00000": (1,), "00003": ()},
    }
    for words, frames in chosen.items():
        assert run("paint", "holiday", *words)[0] == 0, words
        found = given("holiday-mask.html")["frames"]
        assert [frame["name"] for frame in found] == list(frames), words
        for frame in found:
            assert np.array_equal(labels_in(frame), labels_of(*frames[frame["name"]])), words
            assert frame["first"] == (frame["name"] == "00000")
    write_mask("00002.png", labels_of(3))  # called as segment calls its masks
    assert run("paint", "holiday", "--at", "2", "--mask", "00002.png")[0] == 0
    assert labels_in(given("holiday-mask.html")["frames"][0]).max() == 3


BAD_INPUTS = {
    "no video": (["paint", "none.mp4"], "none.mp4 does not exist"),
    "no such frame": (["paint", "holiday", "--at", "9"], "no frame '9'; expected one of 00000 to 00003"),
    "a word as frame": (["paint", "holiday", "--at", "last"], "no frame 'last'; expected one of 00000 to 00003"),
    "no such mask": (["paint", "holiday", "--mask", "no.png"], "there is no file no.png"),
    "a mask of another size": (["paint", "holiday", "--mask", "small.png"], "is 8x6 pixels, but 32x24 were expected"),
    "a photograph as mask": (["paint", "holiday", "--mask", "photo.png"], "photo.png has"),
    "a mask of no frame": (["paint", "holiday", "--mask", "9=one.png"], "the video has no frame '9'"),
    "two masks of a frame": (["paint", "holiday", "--mask", "0=one.png", "--mask", "both.png"], "two masks of frame"),
    "two masks of --at": (
        ["paint", "holiday", "--at", "2", "--mask", "one.png", "--mask", "both.png"],
        "got two masks of frame 00002",
    ),
    "another page": (["paint", "holiday", "--out", "mine.html"], "mine.html is no page of ours; expected a new file"),
    "another kind of page": (["paint", "holiday", "--out", "report.html"], "report.html is no page of ours"),
    "a film as page": (["paint", "holiday", "--out", "new.mp4"], "got --out new.mp4; expected the name of an .html"),
    "the video as page": (["paint", "holiday.mp4", "--out", "holiday.mp4"], "expected the name of an .html file"),
    "a folder as page": (["paint", "holiday", "--out", "folder.html"], "folder.html is no regular file"),
    "a file as folder": (["paint", "holiday", "--out", "one.png/mask.html"], "one.png"),
    "a frame of a picture": (["frame", "one.png"], "one.png is a single picture"),
    "a frame that is not there": (["frame", "holiday", "--at", "9"], "no frame '9'"),
    "a picture that is there": (["frame", "holiday", "--out", "one.png"], "expected the name of a new .png file"),
}


@pytest.mark.parametrize(("words", "said"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_bad_input_is_said_in_one_line_and_leaves_all_as_it_was(clip: Path, words: list[str], said: str) -> None:
    write_mask("small.png", np.ones((6, 8), np.uint8))
    Image.effect_noise((32, 24), 90).convert("RGB").save("photo.png")
    Path("mine.html").write_text("<title>my year</title> minivos paint")
    write_page("report.html", "minivos report", "Report", "")
    Path("folder.html").mkdir()
    before = {path: path.read_bytes() for path in clip.rglob("*") if path.is_file()}
    status, printed = run(*words)
    assert status == 2 and printed.startswith("minivos: ") and printed.count("\n") == 1 and said in printed, printed
    assert {path: path.read_bytes() for path in clip.rglob("*") if path.is_file()} == before


def test_a_page_of_ours_is_replaced_and_folders_are_made(clip: Path) -> None:
    for at in ("0", "2"):
        status, printed = run("paint", "holiday", "--at", at, "--out", "new/folder/mask.html")
        assert status == 0, printed
    assert [frame["name"] for frame in given("new/folder/mask.html")["frames"]] == ["00002"]
    assert [path.name for path in Path("new/folder").iterdir()] == ["mask.html"]
    check_replaceable(Path("new/folder/mask.html"), "minivos paint")


def test_names_that_look_like_html_stay_names(tmp_path: Path) -> None:
    name = "</script><script>alert(1)</script>&amp;"
    frame = FrameToPaint(0, name, np.zeros((*SIZE, 3), np.uint8))
    write_painting_page(tmp_path / "mask.html", name, [frame])
    assert given(tmp_path / "mask.html")["frames"][0]["name"] == name
    assert "<script>alert" not in (tmp_path / "mask.html").read_text("utf8")


def test_frames_that_browsers_cannot_draw_are_refused(tmp_path: Path) -> None:
    frame = FrameToPaint(0, "00000", np.zeros((2, MOST_SIDE + 1, 3), np.uint8))
    with pytest.raises(InputError, match="16385x2 pixels; expected at most 16,384"):
        write_painting_page(tmp_path / "mask.html", "wide.mp4", [frame])


def test_a_frame_is_written_as_it_is(clip: Path) -> None:
    status, printed = run("frame", "holiday", "--at", "2")
    assert status == 0 and "--mask 00002=FILE" in printed, printed
    with Image.open("holiday-00002.png") as picture:
        assert np.array_equal(np.asarray(picture), list(open_frames("holiday"))[2])
