"""The schedule and the memory that follows it."""

from dataclasses import replace

import numpy as np
import pytest

from minivos.errors import InputError
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.nn.network import VOSNetwork
from minivos.sitvos import SITVOS, SITVOSConfig


def walk(schedule: Schedule, frames: int, references: tuple[int, ...] = (0,)) -> Memory:
    memory = Memory(schedule)
    for t in range(frames):
        memory.add(Entry((1, 8, 8)), t, reference=t in references)
    return memory


def numbers(memory: Memory) -> list[int]:
    return [entry.frame for entry in memory.kept]


@pytest.mark.parametrize(
    ("schedule", "kept", "previous"),
    [
        (Schedule(), [0], 9),
        (Schedule(previous=0), [0], None),
        (Schedule(first=False), [], 9),
        (Schedule(first=True, previous=0, every=3), [0, 3, 6, 9], None),
        (Schedule(first=False, previous=0, every=4), [0, 4, 8], None),
        (Schedule(first=False, previous=0, last=3), [7, 8, 9], None),
        (Schedule(first=True, previous=1, last=2), [0, 8, 9], 9),
        (Schedule(first=True, previous=0, every=4, last=2), [0, 4, 8, 9], None),
        (Schedule(first=True, previous=0, every=2, at_most=3), [0, 6, 8], None),
        (Schedule(first=False, previous=0, last=5, at_most=2), [8, 9], None),
        (Schedule(first=False, previous=0, these=(2, 5, 70)), [2, 5], None),
        (Schedule(previous=0, spread=1), [0], None),
        (Schedule(previous=0, spread=2), [0, 9], None),
        (Schedule(previous=0, spread=4), [0, 3, 6, 9], None),
        (Schedule(previous=0, spread=20), list(range(10)), None),
    ],
)
def test_what_ten_frames_leave_behind(schedule, kept, previous):
    memory = walk(schedule, 10)
    assert numbers(memory) == kept
    assert (memory.previous.frame if memory.previous else None) == previous


def evenly_spaced(newest: int, n: int) -> list[int]:
    return np.unique(np.linspace(0, newest, n).round().astype(int)).tolist()


@pytest.mark.parametrize("schedule", [Schedule(spread=7), Schedule(spread=5), Schedule(spread=7, hold=40)])
def test_frames_are_spread_evenly_over_the_past_as_long_as_all_frames_fit(schedule):
    memory = Memory(schedule)
    for t in range(schedule.hold):
        memory.add(Entry((1, 8, 8)), t, reference=t == 0)
        assert numbers(memory) == evenly_spaced(t, schedule.spread)
    memory.add(Entry((1, 8, 8)), schedule.hold)
    assert memory._step == 2 and len(memory._candidates) < schedule.hold


def test_frames_are_spread_as_the_paper_of_sitvos_says_in_all_videos_of_a_hundred_frames():
    assert numbers(walk(SITVOS(SITVOSConfig.paper()).schedule, 60)) == [0, 10, 20, 30, 39, 49, 59]
    assert numbers(walk(Schedule(spread=7), 104)) == evenly_spaced(103, 7)


def test_a_long_past_is_thinned_out_before_frames_are_chosen():
    memory = Memory(Schedule(previous=0, spread=5, hold=16))
    for t in range(1000):
        memory.add(Entry((1, 8, 8)), t, reference=t == 0)
        assert len(memory._candidates) <= 16 and memory._step <= max(1, t / 7)
        if t > 4:
            off = np.subtract(numbers(memory), np.linspace(0, t, 5))
            assert abs(off).max() <= (memory._step + 1) / 2


def test_what_is_held_and_what_is_read_stay_bounded_however_many_masks_are_given():
    memory = Memory(Schedule(previous=0, spread=7, hold=20, at_most=12))
    for t in range(300):
        memory.add(Entry((1, 8, 8)), t, reference=t % 3 == 0)
        assert len(memory._candidates) <= 20 and len(memory) <= 12
        assert numbers(memory)[0] == 0 and numbers(memory)[-1] == t


def test_references_in_mid_video_are_read_beside_the_frames_that_are_spread():
    schedule = Schedule(previous=0, spread=3)
    assert numbers(walk(schedule, 25, references=(0, 7))) == [0, 7, 12, 24]
    assert numbers(walk(replace(schedule, spread=1), 25, references=(0, 7))) == [0, 7]
    assert 7 not in numbers(walk(replace(schedule, first=False), 25, references=(0, 7)))


def test_entries_are_what_can_be_read_each_frame_once():
    assert [entry.frame for entry in walk(Schedule(every=3), 8).entries()] == [0, 3, 6, 7]
    assert [entry.frame for entry in walk(Schedule(every=3), 7).entries()] == [0, 3, 6]
    assert Memory(Schedule()).entries() == []


def test_references_in_mid_video_stay_and_start_the_count_anew():
    memory = walk(Schedule(every=5), 15, references=(0, 7))
    assert numbers(memory) == [0, 5, 7, 12]
    assert [entry.reference for entry in memory.kept] == [True, False, True, False]


def test_predictions_make_room_before_references_and_these_never_go_unsaid(caplog):
    schedule = Schedule(every=1, at_most=4)
    assert numbers(walk(schedule, 12, references=(0, 5, 9))) == [0, 5, 9, 11]
    assert not caplog.text
    assert numbers(walk(schedule, 12, references=(0, 2, 4, 6, 8))) == [0, 6, 8, 11]
    said = "The mask given of frame {} is forgotten: raise at_most."
    assert [record.message for record in caplog.records] == [said.format(2), said.format(4)]
    caplog.clear()
    assert numbers(walk(replace(schedule, first=False), 12, references=(0, 5, 9))) == [8, 9, 10, 11]
    spread = walk(Schedule(previous=0, spread=3, at_most=4), 30, references=tuple(range(0, 10, 2)))
    assert [e.frame for e in spread.kept if e.reference] == [0, 6, 8] and len(caplog.records) == 2


def test_the_first_reference_outlives_every_limit():
    assert numbers(walk(Schedule(at_most=3), 12, references=(0, 2, 4, 6, 8))) == [0, 6, 8]
    assert numbers(walk(Schedule(every=1, at_most=1), 5)) == [0]


@pytest.mark.parametrize(
    "schedule",
    [
        Schedule(),
        Schedule(every=1, last=8, at_most=6),
        Schedule(every=5),
        Schedule(last=4),
        Schedule(spread=7, at_most=9),
        Schedule(spread=7, hold=9),
    ],
)
def test_a_thousand_frames_do_not_grow_the_memory_beyond_its_limit(schedule):
    memory, longest = Memory(schedule), 0
    for t in range(1000):
        memory.add(Entry((1, 8, 8)), t, reference=t % 10 == 0)
        longest = max(longest, len(memory.kept))
        assert numbers(memory) == sorted(numbers(memory)) and numbers(memory)[0] == 0
    assert longest <= schedule.at_most and len(memory) <= schedule.at_most + 1


def test_a_corrected_frame_replaces_itself():
    memory = walk(Schedule(), 4)
    again = Entry((1, 8, 8))
    memory.add(again, 3, reference=True)
    memory.add(once_more := Entry((1, 8, 8)), 3, reference=True)
    assert numbers(memory) == [0, 3]
    assert memory.kept[1] is once_more is memory.previous is not again


def test_several_previous_frames_are_held_newest_last():
    memory = walk(Schedule(previous=3), 7)
    assert [entry.frame for entry in memory.recent] == [4, 5, 6]
    assert [entry.frame for entry in memory.entries()] == [0, 4, 5, 6] and memory.previous.frame == 6
    memory.add(again := Entry((1, 8, 8)), 6)
    assert [entry.frame for entry in memory.recent] == [4, 5, 6] and memory.previous is again
    assert walk(Schedule(previous=0), 7).recent == []


def test_the_length_counts_the_previous_frame_once():
    assert len(Memory(Schedule())) == 0
    assert len(walk(Schedule(), 1)) == 1  # the first frame is the previous one as well
    assert len(walk(Schedule(), 5)) == 2


def test_what_is_no_entry_or_no_schedule_is_refused():
    with pytest.raises(InputError, match="got schedule=5; expected a Schedule"):
        Memory(5)
    with pytest.raises(InputError, match="got a tuple as entry; expected what network.memorize"):
        Memory(Schedule()).add((1, 2), 0)


def test_a_schedule_that_keeps_nothing_is_refused():
    with pytest.raises(InputError, match="keeps nothing: use `first`"):
        Schedule(first=False, previous=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"every": -1}, "got every=-1; expected a whole number, 0 or more"),
        ({"last": 2.5}, "got last=2.5; expected a whole number, 0 or more"),
        ({"spread": True}, "got spread=True; expected a whole number, 0 or more"),
        ({"first": 1}, "got first=1; expected True or False"),
        ({"previous": False}, "got previous=False; expected a whole number, 0 or more"),
        ({"at_most": 0}, "got at_most=0; expected a whole number, 1 or more"),
        ({"these": 3}, "got these=3; expected a tuple"),
        ({"these": (1, -1)}, r"these=\(1, -1\) must be frame numbers"),
        ({"these": (1, 2.0)}, r"these=\(1, 2.0\) must be frame numbers"),
        ({"spread": 40}, "at_most and hold, 32 here, must not be below spread=40"),
        ({"spread": 5, "hold": 4}, "at_most and hold, 4 here, must not be below spread=5"),
        ({"spread": 5, "every": 3}, "spread=5 chooses by itself"),
        ({"spread": 5, "last": 3}, "spread=5 chooses by itself"),
        ({"spread": 5, "these": (3,)}, "spread=5 chooses by itself"),
    ],
)
def test_a_schedule_of_senseless_settings_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        Schedule(**change)


def test_the_three_verbs_are_for_subclasses_to_fill_in():
    network = VOSNetwork()
    for verb, arguments in ((network.encode, 1), (network.read, 2), (network.memorize, 2)):
        with pytest.raises(NotImplementedError):
            verb(*[None] * arguments)
