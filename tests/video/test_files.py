"""Files and folders: natural order, and output that is whole or not there."""

import errno
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minivos.errors import InputError
from minivos.evaluation.tables import Table, write_csv
from minivos.models import save_weights
from minivos.video.clip import Clip
from minivos.video.files import (
    natural_key,
    open_picture,
    pictures_in,
    prepare_output,
    read_json,
    read_text,
    whole_file,
    whole_folder,
)
from minivos.video.frames import OverlayWriter
from minivos.video.mask_files import write_mask
from minivos.viewing.page import write_page

try:
    import resource
except ImportError:  # Windows
    resource = None


@given(st.lists(st.integers(0, 10**6), unique=True), st.sampled_from(["", "frame_", "cam2-"]))
def test_natural_order_is_the_order_of_the_numbers(numbers, prefix):
    names = [f"{prefix}{number}" for number in numbers]
    assert sorted(names, key=natural_key) == [f"{prefix}{number}" for number in sorted(numbers)]


@given(st.lists(st.text(max_size=8), max_size=8))
def test_natural_order_takes_any_name(names):
    assert sorted(sorted(names, key=natural_key, reverse=True), key=natural_key) == sorted(names, key=natural_key)


def test_two_pictures_of_one_name(tmp_path):
    for name in ("00000.png", "00001.png", "00000.jpg"):
        Image.new("RGB", (30, 20)).save(tmp_path / name)
    with pytest.raises(InputError, match="expected one picture of each name"):
        pictures_in(tmp_path)


def test_an_output_folder_is_made_and_marked(tmp_path):
    folder = tmp_path / "new" / "results"
    for _ in range(2):  # the second time it is there, but empty
        assert prepare_output(folder, overwrite=False, kind="clip") == folder
    assert (folder / ".minivos").read_text().startswith("clip\n")
    assert prepare_output(tmp_path / "film.mp4", False, "segment").is_dir()  # whatever its name
    (folder / "a.mp4").touch()
    with pytest.raises(InputError, match="already holds results; choose another output, or ask for overwriting"):
        prepare_output(folder, overwrite=False, kind="clip")
    assert prepare_output(folder, overwrite=True, kind="clip") == folder and (folder / "a.mp4").is_file()


def test_a_folder_that_others_made_is_never_written_into(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"did not write, such as notes.txt; expected a new or empty folder"):
            prepare_output(tmp_path, overwrite, "segment")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / ".minivos").touch()  # what the message says of results of an earlier version
    assert prepare_output(tmp_path, overwrite=True, kind="train") == tmp_path
    with pytest.raises(InputError, match="holds what minivos wrote as train, not as segment"):
        prepare_output(tmp_path, overwrite=True, kind="segment")


def test_places_where_no_folder_can_be(tmp_path):
    (tmp_path / "notes").touch()
    with pytest.raises(InputError, match="notes is a file; expected a folder"):
        prepare_output(tmp_path / "notes", overwrite=True, kind="train")
    for path in (tmp_path / "notes" / "below", tmp_path / ("long" * 99), tmp_path / "long" / ("long" * 99)):
        with pytest.raises(InputError, match="cannot write to"):
            prepare_output(path, overwrite=True, kind="train")
    with pytest.raises(InputError, match="got None as path; expected a text"):
        prepare_output(None, overwrite=True, kind="train")


def test_what_a_killed_run_left_is_no_result_and_goes(tmp_path):
    script = """
import os, sys
from pathlib import Path
from minivos.video.files import prepare_output, whole_file, whole_folder
out = prepare_output(sys.argv[1], False, "segment")
with whole_folder(out / "masks") as masks, whole_file(out / "overlay.mp4") as film:
    (masks / "00000.png").touch()
    os._exit(9)
"""
    subprocess.run([sys.executable, "-c", script, tmp_path / "out"], check=False)
    assert len([path for path in (tmp_path / "out").iterdir() if path.name.endswith(".part")]) == 2
    with whole_file(tmp_path / "out" / "mine") as part:  # one that is being written stays
        prepare_output(tmp_path / "out", overwrite=False, kind="segment")
        assert {path.name for path in (tmp_path / "out").iterdir()} == {".minivos", part.name}


def test_the_system_says_no_in_one_line(tmp_path):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "old.png").touch()
    for whole in (whole_file, whole_folder):
        said = r"cannot write .*masks \(No space left on device\)"
        with pytest.raises(InputError, match=said), whole(tmp_path / "masks"):
            full()
        with pytest.raises(InputError, match="cannot write .*nowhere"), whole(tmp_path / "nowhere" / "a"):
            pytest.fail("opened where nothing can be")
    assert [path.name for path in tmp_path.rglob("*")] == ["masks", "old.png"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*file \(Not a directory\)"), whole_folder(tmp_path / "file"):
        pass


@contextmanager
def a_full_disk(room: int = 3000):
    """No file may grow beyond so many bytes."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, unlimited[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


NOISE = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), dtype=np.uint8)


def write_film(path):
    with OverlayWriter(path, (64, 96), 24) as film:
        for frame in NOISE:
            film.write(frame, 0 * frame[..., 0])


def save_tensors(path):
    with whole_file(path) as part:
        torch.save(torch.zeros(10**4), part)


WRITERS = {
    "film.mp4": write_film,
    "mask.png": lambda path: write_mask(path, NOISE[0, ..., 0]),
    "clip": lambda path: Clip(NOISE).save(path),
    "weights.safetensors": lambda path: save_weights(torch.nn.Linear(99, 99), path),
    "tensors.pt": save_tensors,
    "page.html": lambda path: write_page(path, "title", "heading", "body" * 999),
    "table.csv": lambda path: write_csv(path, [Table("J", ["network"], {f"clip {n}": [0.5] for n in range(200)})]),
}


@pytest.mark.skipif(resource is None, reason="this system has no limits for files")
@pytest.mark.parametrize("name", WRITERS)
def test_whatever_is_written_a_full_disk_is_said_in_one_line_and_leaves_nothing(tmp_path, name):
    with a_full_disk(), pytest.raises(InputError, match=rf"cannot write .*{name}.* \((File too large|no room)"):
        WRITERS[name](tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*") if path.name not in ("clip", ".minivos")] == []
    WRITERS[name](tmp_path / name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is damaged"),
        (b"[1]", "it holds a list"),
        (b"3", "it holds a int"),
        (b'{"fps": Infinity}', "Infinity is no finite number"),
        (b'{"fps": NaN}', "nan is no finite number|NaN is no finite number"),
        (b'{"fps": 1e999}', "1e999 is no finite number"),
        (b'{"fps": ' + b"9" * 9999 + b"}", r"the number 9{20}\.\.\. is too large"),
        (b'{"fps": ' + b"[" * 10**5 + b"]" * 10**5 + b"}", "nested too deep"),
        ('{"fps": "schön"}'.encode("latin1"), "no text .*expected UTF-8"),
        (b"\0\1\2\377", "expected UTF-8"),
    ],
)
def test_json_that_cannot_be_used_is_named(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.json .*({said})"):
        read_json(tmp_path / "a.json", "an object")


def test_json_is_read_and_its_size_is_bounded(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"fps": 2.5, "names": ["\xc3\xb6"]}')  # with the mark of Windows
    assert read_json(tmp_path / "a.json", "an object") == {"fps": 2.5, "names": ["ö"]}
    with pytest.raises(InputError, match=r"a.json has 0 MiB; expected at most 0"):
        read_json(tmp_path / "a.json", "an object", most_bytes=10)
    with pytest.raises(InputError, match="there is no file"):
        read_json(tmp_path / "b.json", "an object")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for read in (read_text, open_picture, lambda path: pictures_in(path.parent)):
        with pytest.raises(InputError, match=r"a.png is no regular file; expected a file, no folder, pipe"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("linked", [False, True])
def test_a_whole_folder_takes_the_place_of_the_old_one_but_of_no_folder_behind_a_link(tmp_path, linked):
    old = tmp_path / "behind" if linked else tmp_path / "masks"
    old.mkdir()
    (old / "old.png").touch()
    if linked:
        (tmp_path / "masks").symlink_to(old, target_is_directory=True)
    with pytest.raises(KeyError), whole_folder(tmp_path / "masks"):
        raise KeyError("the network failed")
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["old.png"]
    with whole_folder(tmp_path / "masks") as part:
        (part / "new.png").touch()
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["new.png"]
    assert (tmp_path / "behind" / "old.png").is_file() == linked
