"""Zip files for servers: their layout, and every mistake that the check must find."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minivos.errors import InputError
from minivos.video.clip import Clip
from minivos.video.mask_files import encode_mask, read_mask
from minivos.video.submission import check_submission, pack_submission, write_submission


def clips() -> list[Clip]:
    """Two clips of 3 and 2 frames, of which the first mask is given, with objects 1 and 3."""
    made = []
    for name, frames in (("cat", 3), ("dog", 2)):
        mask = np.zeros((8, 10), np.uint8)
        mask[:3], mask[5:, :2] = 1, 3
        pictures = np.zeros((frames, 8, 10, 3), np.uint8)
        made.append(Clip(pictures, {0: mask}, name, frame_names=[f"{5 * t:05}" for t in range(frames)]))
    return made


def answers() -> dict[str, np.ndarray]:
    return {clip.name: np.stack([np.roll(clip.masks[0], t, axis=1) for t in range(len(clip))]) for clip in clips()}


@pytest.mark.parametrize(("layout", "prefix"), [("davis", ""), ("youtube_vos", "Annotations/")])
def test_the_zip_holds_a_palette_png_for_each_frame(layout, prefix, tmp_path):
    write_submission(tmp_path / "masks.zip", clips(), answers(), layout)
    with zipfile.ZipFile(tmp_path / "masks.zip") as file:
        names = ["cat/00000.png", "cat/00005.png", "cat/00010.png", "dog/00000.png", "dog/00005.png"]
        assert file.namelist() == [prefix + name for name in names]
        file.extract(prefix + "cat/00010.png", tmp_path)
    assert (read_mask(tmp_path / prefix / "cat/00010.png") == answers()["cat"][2]).all()
    assert Image.open(tmp_path / prefix / "cat/00010.png").mode == "P"


def grey(size: tuple[int, int], mode: str, tmp_path: Path, kind: str = "PNG") -> bytes:
    Image.new(mode, size).save(tmp_path / "picture", format=kind)
    return (tmp_path / "picture").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files, _: files.pop("cat/00005.png"), "cat/00005.png is missing"),
        (lambda files, _: files.update({"cat/00007.png": b""}), "cat/00007.png does not belong there"),
        (lambda files, _: files.update({"all/" + k: files.pop(k) for k in list(files)}), "is missing.*and 5 more"),
        (lambda files, _: files.update({"dog/00000.png": b"PNG"}), "dog/00000.png is no whole picture"),
        (lambda files, at: files.update({"dog/00000.png": grey((10, 8), "RGB", at)}), "PNG of mode RGB"),
        (lambda files, at: files.update({"dog/00000.png": grey((10, 8), "L", at, "JPEG")}), "JPEG of mode L"),
        (lambda files, at: files.update({"dog/00000.png": grey((5, 4), "L", at)}), r"\(4, 5\) pixels.*\(8, 10\)"),
        (
            lambda files, _: files.update({"dog/00000.png": encode_mask(np.full((8, 10), 2, np.uint8))}),
            r"objects \[2\], which no given mask has",
        ),
        (
            lambda files, _: files.update({"dog/00000.png": encode_mask(np.full((8, 10), 255, np.uint8))}),
            r"objects \[255\]",
        ),
    ],
)
def test_every_mistake_is_found(change, message, tmp_path):
    write_submission(tmp_path / "good.zip", clips(), answers(), "davis")
    with zipfile.ZipFile(tmp_path / "good.zip") as file:
        files = {name: file.read(name) for name in file.namelist()}
    change(files, tmp_path)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    with pytest.raises(InputError, match=message):
        check_submission(tmp_path / "bad.zip", clips(), "davis")


def test_answers_that_do_not_fit_leave_no_file(tmp_path):
    lacking, short = answers(), answers()
    del lacking["dog"]
    short["dog"] = short["dog"][:1]
    strange = answers() | {"dog": np.full((2, 8, 10), 9, np.uint8)}
    for wrong, layout, message in (
        (lacking, "davis", r"got answers for \['cat'\]; expected one for each of the clips \['cat', 'dog'\]"),
        (short, "davis", r"dog: got labels of shape \(1, 8, 10\); expected \(2, 8, 10\)"),
        (strange, "davis", r"[^.]masks\.zip is not what the server expects: .*objects \[9\]"),
        (answers(), "mose", "got layout='mose'; expected one of davis, youtube_vos"),
    ):
        with pytest.raises(InputError, match=message):
            write_submission(tmp_path / "masks.zip", clips(), wrong, layout)
    assert not list(tmp_path.iterdir())


def test_a_damaged_zip_gives_a_clear_error_or_is_as_good_as_new(tmp_path):
    write_submission(path := tmp_path / "masks.zip", clips(), answers(), "davis")
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            check_submission(path, clips(), "davis")
        except InputError:
            refused += 1
    assert refused > len(whole) // 10


@pytest.mark.parametrize("name", ["../cat", "..", "/cat", "a/b", "a\\b", ""])
def test_names_that_lead_out_of_the_zip_are_refused(name, tmp_path):
    (clip, _), labels = clips(), answers()["cat"]
    clip.name = name
    with pytest.raises(InputError, match="not a path"):
        write_submission(tmp_path / "masks.zip", [clip], {name: labels}, "davis")
    assert not list(tmp_path.iterdir())


def test_a_mask_that_would_fill_the_memory_is_not_unpacked(tmp_path):
    write_submission(tmp_path / "good.zip", clips(), answers(), "davis")
    with zipfile.ZipFile(tmp_path / "good.zip") as file:
        files = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, bytes(64 * 2**20) if name == "dog/00000.png" else content)
    tracemalloc.start()
    with pytest.raises(InputError, match="dog/00000.png would unpack to 67,108,864 bytes, too many"):
        check_submission(tmp_path / "bomb.zip", clips(), "davis")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**20


def test_a_picture_of_another_size_is_not_decoded(tmp_path):
    write_submission(tmp_path / "good.zip", clips(), answers(), "davis")
    with zipfile.ZipFile(tmp_path / "good.zip") as file:
        files = {name: file.read(name) for name in file.namelist()}
    files["dog/00000.png"] = grey((4000, 4000), "L", tmp_path)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    with pytest.raises(InputError, match=r"\(4000, 4000\) pixels; expected \(8, 10\)"):
        check_submission(tmp_path / "bomb.zip", clips(), "davis")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_refused(tmp_path):
    write_submission(tmp_path / "masks.zip", clips(), answers(), "davis")
    with zipfile.ZipFile(tmp_path / "masks.zip", "a") as file:
        file.writestr("dog/00000.png", file.read("dog/00000.png"))
    with pytest.raises(InputError, match="1 names are there twice"):
        check_submission(tmp_path / "masks.zip", clips(), "davis")


def test_mask_files_are_packed_as_they_are(tmp_path):
    for name, masks in answers().items():
        (tmp_path / "masks" / name).mkdir(parents=True)
        for t, labels in enumerate(masks):
            (tmp_path / "masks" / name / f"{5 * t:05}.png").write_bytes(encode_mask(labels))
    pack_submission(tmp_path / "packed.zip", tmp_path / "masks", clips(), "youtube_vos")
    write_submission(tmp_path / "written.zip", clips(), answers(), "youtube_vos")
    packed, written = (zipfile.ZipFile(tmp_path / f"{kind}.zip") for kind in ("packed", "written"))
    with packed, written:
        assert {n: packed.read(n) for n in packed.namelist()} == {n: written.read(n) for n in written.namelist()}
    (tmp_path / "masks/dog/00005.png").unlink()
    with pytest.raises(InputError, match=r"there is no .*00005\.png \(1 masks lack\)"):
        pack_submission(tmp_path / "other.zip", tmp_path / "masks", clips(), "davis")
    assert not (tmp_path / "other.zip").exists()


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "masks.zip").write_bytes(b"PK not really")
    with pytest.raises(InputError, match="no whole zip file"):
        check_submission(tmp_path / "masks.zip", clips(), "davis")
