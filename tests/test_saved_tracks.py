"""A tracker in a file: it goes on exactly, and whatever else a file may hold is refused."""

import os
import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from minivos import create_model, list_models
from minivos.aot import AOT
from minivos.errors import InputError
from minivos.nn.memory import Schedule
from minivos.saved_tracks import fingerprint
from minivos.synthetic.clips import render
from minivos.tracker import Tracker
from tiny import TINY, squares, tiny_aot


@pytest.mark.parametrize("name", [name for name in list_models() if name.endswith("_mini")])
def test_a_restored_tracker_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    clip = render(7, frames=12, size=(64, 96), objects=3)
    first = np.where(clip.masks[0] == 3, 0, clip.masks[0])
    given = {0: first, 5: np.where(clip.masks[5] == 3, 3, 0), 8: clip.masks[8]}
    network = create_model(name, "shipped")
    tracker = Tracker(network, side=64)
    for t in range(7):
        tracker.step(clip.frames[t], given.get(t))
    tracker.save(tmp_path / "video.track")
    again = Tracker.restore(create_model(name, "shipped"), tmp_path / "video.track")
    assert (again.time, again.size, again.side, again.ids) == (7, (64, 96), 64, tracker.ids)
    for t in range(7, 12):
        if t == 10:
            tracker.remove([2])
            again.remove([2])
        labels = tracker.step(clip.frames[t], given.get(t))
        assert np.array_equal(labels, again.step(clip.frames[t], given.get(t)))
        assert tracker.confidence == again.confidence and tracker.last_seen == again.last_seen


def test_groups_settings_and_what_memories_share_come_back(tmp_path: Path) -> None:
    pictures, labels = squares(frames=4, ids=(1, 2, 3))
    network = tiny_aot(identities=2)
    tracker = Tracker(network, Schedule(every=2, at_most=5), side=40, precision="bfloat16")
    for t in range(3):
        tracker.step(pictures[t], labels[t] if t == 0 else None)
    tracker.save(tmp_path / "a")
    again = Tracker.restore(network, tmp_path / "a")
    assert [group.ids for group in again.groups] == [[1, 2], [3]] and again.precision == "bfloat16"
    memory = again.groups[0].memory
    assert memory.schedule == again.schedule == Schedule(every=2, at_most=5)
    assert memory.previous is memory.kept[-1]  # kept once, as in the tracker that was saved
    assert np.array_equal(tracker.step(pictures[3]), again.step(pictures[3]))


def test_a_file_of_another_network_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    planted = tmp_path / "planted"

    class Bomb:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(planted),)

    pictures, labels = squares(frames=2)
    network, path = tiny_aot(), tmp_path / "a.track"
    tracker = Tracker(network)
    tracker.step(pictures[0], labels[0])
    tracker.save(path)
    content = torch.load(path, weights_only=False)
    files = {
        "nothing": (None, "there is no file"),
        "empty": (b"", "is damaged or no saved tracker"),
        "cut": (path.read_bytes()[:-500], "is damaged or no saved tracker"),
        "text": (b"some words", "other things|is damaged"),
        "bomb": (pickle.dumps(Bomb()), "could run code, so it was refused"),
        "list": ([1, 2], "is no saved tracker; give what"),
        "weights": (OrderedDict(network.state_dict()), "is no saved tracker; give what"),
        "lacking": (content | {"state": {"time": 1}}, "lacks parts of a tracker"),
        "bomb inside": (content | {"state": content["state"] | {"time": Bomb()}}, "could run code"),
    }  # fmt: skip
    for name, (inside, said) in files.items():
        if isinstance(inside, bytes):
            (tmp_path / name).write_bytes(inside)
        elif inside is not None:
            torch.save(inside, tmp_path / name)
        with pytest.raises(InputError, match=said):
            Tracker.restore(network, tmp_path / name)
    assert not planted.exists()
    for other in (tiny_aot(seed=1), tiny_aot(every=3), AOT(replace(TINY, layers=1))):
        with pytest.raises(InputError, match="was saved with another network"):
            Tracker.restore(other, path)
    with pytest.raises(InputError, match="other things than a tracker of SST|another network"):
        Tracker.restore(create_model("sst_mini"), path)
    assert Tracker.restore(tiny_aot(), path).time == 1


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, labels = squares(frames=2)
    tracker = Tracker(tiny_aot())
    tracker.step(pictures[0], labels[0])
    tracker.save(tmp_path / "a.track")

    def run_out_of_space(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", run_out_of_space)
    with pytest.raises(InputError, match="No space left"):
        tracker.save(tmp_path / "a.track")
    assert [file.name for file in tmp_path.iterdir()] == ["a.track"]
    assert Tracker.restore(tiny_aot(), tmp_path / "a.track").time == 1


def test_the_fingerprint_is_of_class_settings_and_weights() -> None:
    assert fingerprint(tiny_aot()) == fingerprint(tiny_aot()) == fingerprint(tiny_aot().double().float())
    assert len({fingerprint(tiny_aot(**change)) for change in ({}, {"seed": 1}, {"every": 3}, {"layers": 1})}) == 4
