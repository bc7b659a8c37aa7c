"""Checks of notebook 07: the decoder's work, the interval of a difference, the frames of memory."""

from functools import cache
from typing import Any

import numpy as np
import torch

from minivos.course.exercise import Exercise, require, require_close
from minivos.models import create_model
from minivos.nn.memory import Entry, Memory, Schedule
from minivos.tracker import Tracker

NAMES = "aot_mini", "sst_mini", "sitvos_mini", "hst_mini"

check_decoder_work = Exercise(
    name="decoder_work",
    notebook="07",
    title="The decoder's work",
    task=(
        "On how many pictures does the decoder of each network work in one frame, for $K$ objects? "
        "(AOT has ten identities. With more objects than that, `Tracker` makes groups.)"
    ),
    hints=(
        "Read off Section 4 what 1, 3 and 10 objects cost, network by network.",
        "What stands in a map of SST that is in no map of SITVOS and HST?",
        "AOT's decoder works once for a group of up to ten objects. How many groups do 11, 20 and "
        "21 objects make?",
    ),
)


@cache
def counted(name: str, objects: int) -> int:
    """On how many pictures the decoder worked in the third frame, with random weights."""
    network = create_model(name).eval()
    labels = 1 + np.arange(64 * 96).reshape(64, 96) * objects // (64 * 96)
    frame, found = np.zeros((64, 96, 3), np.uint8), []
    tracker = Tracker(network, Schedule(), side=64)
    tracker.step(frame, labels.astype(np.uint8))
    tracker.step(frame)
    decoder = network.get_submodule("decoder")
    decoder.register_forward_hook(lambda part, given, result: found.append(len(given[0])))
    tracker.step(frame)
    return sum(found)


def require_counts(answer: Any, objects: int, names: tuple[str, ...] = NAMES) -> None:
    """PropertyFails unless the answer is what was counted, for these networks."""
    for name in names:
        given = f"{name}, K = {objects}; expected is what was counted"
        require_close(answer(name, objects), counted(name, objects), given)


@check_decoder_work.property("one object")
def _(decoder_work):
    require_counts(decoder_work, 1)


@check_decoder_work.property("SITVOS and HST: more objects, more work")
def _(decoder_work):
    require_counts(decoder_work, 3, NAMES[2:])


@check_decoder_work.property("SST: the same, and the background")
def _(decoder_work):
    require_counts(decoder_work, 3, NAMES[1:2])
    require_counts(decoder_work, 12, NAMES[1:2])


@check_decoder_work.property("AOT: one map for as many objects as it has identities")
def _(decoder_work):
    require_counts(decoder_work, 3, NAMES[:1])
    require_counts(decoder_work, 10, NAMES[:1])


@check_decoder_work.property("AOT: more objects make groups")
def _(decoder_work):
    require_counts(decoder_work, 11, NAMES[:1])
    require_counts(decoder_work, 20, NAMES[:1])
    require_counts(decoder_work, 21, NAMES[:1])


@check_decoder_work.property("only AOT has groups")
def _(decoder_work):
    require_counts(decoder_work, 12, NAMES[2:])


check_paired_interval = Exercise(
    name="paired_interval",
    notebook="07",
    title="Interval of a difference",
    task=(
        "The interval of a paired bootstrap. What becomes of it when `a` and `b` change places, "
        "and with 16 times as many clips of the same kind?"
    ),
    hints=(
        "Both networks are scored on the same draw of clips. What is the one array to draw from?",
        "A draw has as many clips as there are, with repetition: `rng.integers(n, size=n)` gives "
        "their places. Take its mean; do that `draws` times.",
        "The middle 95 % leaves out as many draws below as above: which two quantiles?",
    ),
)


def scores(clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays (clips,) of scores: hard clips are hard for both, the second is ahead by 0.1."""
    rng = np.random.default_rng(1)
    both = rng.uniform(0.2, 0.8, clips)
    return both, both + rng.normal(0.1, 0.1, clips)


@check_paired_interval.property("two numbers, the lower one first")
def _(paired_interval):
    got = paired_interval(*scores(20))
    given = "20 clips"
    require(isinstance(got, tuple | list | np.ndarray) and len(got) == 2, given, "two numbers", got)
    require(got[0] <= got[1], given, "low, then high", tuple(got))


@check_paired_interval.property("the same scores twice: from 0 to 0")
def _(paired_interval):
    a, _ = scores(20)
    require_close(paired_interval(a, a), [0, 0], given="a = b, 20 clips")


@check_paired_interval.property("the second less the first")
def _(paired_interval):
    a, _ = scores(20)
    given = "20 clips, b = a + 0.25"
    require(np.mean(paired_interval(a, a + 0.25)) > 0, given, "0.25 in the middle", "below 0")


@check_paired_interval.property("both on the same draw of clips")
def _(paired_interval):
    a, _ = scores(20)
    given = "20 clips, b = a + 0.25: the difference is the same in every clip"
    require_close(paired_interval(a, a + 0.25), [0.25, 0.25], given)


@check_paired_interval.property("clips are drawn with repetition")
def _(paired_interval):
    low, high = paired_interval(*scores(20))
    given = "20 clips, differences from -0.2 to 0.3: high - low"
    require(high - low > 0.01, given, "more than 0", high - low)


@check_paired_interval.property("it is about the mean, and holds 95 %")
def _(paired_interval):
    a, b = scores(400)
    low, high = paired_interval(a, b, 8000)
    step = np.std(b - a) / 20  # of a mean of 400
    given = "400 clips: ends, in standard deviations of the mean from the mean"
    got = [(low - np.mean(b - a)) / step, (high - np.mean(b - a)) / step]
    require_close(got, [-1.96, 1.96], given, within=0.2)


@check_paired_interval.property("16 times as many clips: a quarter as wide")
def _(paired_interval):
    a, b = scores(20)
    wide = np.diff(paired_interval(a, b, 8000))[0]
    narrow = np.diff(paired_interval(np.tile(a, 16), np.tile(b, 16), 8000))[0]
    given = "20 clips, and each of them 16 times: how many times as wide the first is"
    require_close(wide / narrow, 4, given, within=0.4)


check_frames_read = Exercise(
    name="frames_read",
    notebook="07",
    title="Frames that are read",
    task=(
        "A schedule keeps the first frame and every $n$-th, at most $m$ of these, and the previous "
        "frame besides. How many frames does a network read in frame $T$? And from which frame on "
        "does its memory grow no more?"
    ),
    hints=(
        "Write down for n = 3 which frames are kept when frames 1, 2, 3, ... 8 come, and which "
        "is the previous one.",
        "Frame T itself is not in memory yet: T - 1 is the last that can be kept.",
        "When is the previous frame one of those that are kept anyway? It is read once.",
    ),
)


def read_in_package(T: int, n: int, m: int) -> int:
    """The length of a Memory to which frames 0 to T - 1 were added."""
    memory: Memory[Entry] = Memory(Schedule(every=n, at_most=m))
    for t in range(T):
        memory.add(Entry(size=(1, 64, 96)), t, reference=t == 0)
    return len(memory)


def require_frames(answer: Any, *cases: tuple[int, int, int]) -> None:
    """PropertyFails unless the answer is the package's, case by case."""
    for T, n, m in cases:
        given = f"T = {T}, n = {n}, m = {m}; expected is the length of a Memory"
        require_close(answer(T, n, m), read_in_package(T, n, m), given)


@check_frames_read.property("frame 1 reads frame 0, once")
def _(frames_read):
    require_frames(frames_read, (1, 8, 32))


@check_frames_read.property("then the first and the previous")
def _(frames_read):
    require_frames(frames_read, (2, 8, 32), (8, 8, 32))


@check_frames_read.property("a previous frame that is kept anyway is read once")
def _(frames_read):
    require_frames(frames_read, (9, 8, 32), (5, 2, 32))


@check_frames_read.property("every n-th stays")
def _(frames_read):
    require_frames(frames_read, (10, 8, 32), (17, 8, 32), (18, 8, 32))


@check_frames_read.property("at most m stay, and the previous frame besides")
def _(frames_read):
    require_frames(frames_read, (100, 3, 8), (101, 3, 8))


@check_frames_read.property("any frame, any schedule")
def _(frames_read):
    numbers = torch.randint(1, 40, (30, 2)).tolist()
    require_frames(frames_read, *((T, 1 + n % 7, 2 + n % 5) for T, n in numbers))
