"""Files and folders: natural order, and output that is whole or not there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minivos.errors import InputError
from minivos.video.files import natural_key, pictures_in, prepare_output, whole_folder


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


def test_prepare_output(tmp_path):
    folder = tmp_path / "new" / "results"
    assert prepare_output(folder, overwrite=False) == folder and folder.is_dir()
    assert prepare_output(folder, overwrite=False) == folder  # still empty
    (folder / "a.mp4").touch()
    assert prepare_output(tmp_path / "film.mp4", overwrite=False).is_dir()  # whatever its name
    with pytest.raises(InputError, match="already holds results"):
        prepare_output(folder, overwrite=False)
    assert prepare_output(folder, overwrite=True) == folder and (folder / "a.mp4").is_file()
    with pytest.raises(InputError, match="cannot write to"):
        prepare_output(folder / "a.mp4" / "below", overwrite=True)
    (folder / "notes").touch()
    with pytest.raises(InputError, match="notes is a file; expected a folder"):
        prepare_output(folder / "notes", overwrite=True)
    with pytest.raises(InputError, match="got None as path; expected a text"):
        prepare_output(None, overwrite=True)


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
