"""10,000 frames through each small network: the memory of the process does not grow. Run by `pytest -m long`."""

import time

import psutil
import pytest

from minivos.models import create_model, list_models
from minivos.synthetic.clips import render
from minivos.tracker import Tracker

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
