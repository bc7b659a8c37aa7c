"""10,000 frames through each small network: the memory of the process does not grow. Run by `pytest -m long`."""

import time

import numpy as np
import psutil
import pytest
from typer.testing import CliRunner

from minivos.cli import app
from minivos.models import create_model, list_models
from minivos.synthetic.clips import render
from minivos.tracker import Tracker
from minivos.video.frames import OverlayWriter
from minivos.video.mask_files import write_mask

FRAMES, REPORTS, LIMIT_MIB = 10_000, 10, 20


def there_and_back(count: int, length: int) -> list[int]:
    """Numbers 0 to length-1 and back, again and again: `count` of them."""
    round_trip = [*range(length), *range(length - 2, 0, -1)]
    return [round_trip[i % len(round_trip)] for i in range(count)]


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in list_models() if name.endswith("_mini")])
def test_memory_stays_the_same_however_long_the_video(name, capsys):
    clip = render(3, frames=100, size=(64, 96), objects=2)
    tracker, used, began = Tracker(create_model(name), side=64), {}, time.perf_counter()
    for t, shown in enumerate(there_and_back(FRAMES, len(clip.frames)), start=1):
        tracker.step(clip.frames[shown], clip.masks[0] if t == 1 else None)
        if t % (FRAMES // REPORTS) == 0:
            used[t] = psutil.Process().memory_info().rss / 2**20
            kept = len(tracker.groups[0].memory)
            with capsys.disabled():
                print(f"{name}: frame {t}, {used[t]:.0f} MiB, {kept} frames kept, {time.perf_counter() - began:.0f} s")
    first, *later = used.values()
    assert max(later) - first < LIMIT_MIB and kept <= tracker.schedule.at_most + 1


@pytest.mark.long
def test_segment_holds_3000_frames_of_full_size_in_constant_memory(tmp_path, monkeypatch, capsys):
    clip, used = render(3, frames=60, size=(480, 854), objects=3), {}
    with OverlayWriter(tmp_path / "film.mp4", (480, 854), 24) as film:
        for shown in there_and_back(3000, 60):
            film.write(clip.frames[shown], np.zeros((480, 854), np.uint8))
    write_mask(tmp_path / "first.png", clip.masks[0])
    step = Tracker.step

    def watched(self, frame, mask=None):
        if self.time % 500 == 499:
            used[self.time] = psutil.Process().memory_info().rss / 2**20
            with capsys.disabled():
                print(f"frame {self.time}: {used[self.time]:.0f} MiB")
        return step(self, frame, mask)

    monkeypatch.setattr(Tracker, "step", watched)
    words = ["segment", tmp_path / "film.mp4", "--mask", tmp_path / "first.png", "--out", tmp_path / "out"]
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    first, *later = used.values()
    assert len(list((tmp_path / "out/masks").iterdir())) == 3000 and max(later) - first < 3 * LIMIT_MIB
