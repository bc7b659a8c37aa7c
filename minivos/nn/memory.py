"""What is kept of past frames: entries, the memory that holds them, and the schedule that
decides which.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from minivos.errors import InputError, check_rules, check_settings


@dataclass
class Entry:
    """What is kept of one frame; networks subclass it. The memory stamps it when it takes it in."""

    frame: int = field(default=-1, init=False)  # frame number
    reference: bool = field(default=False, init=False)  # its masks were given, not predicted
    steady: bool = field(default=False, init=False)  # stays until `at_most` is reached


@dataclass(frozen=True)
class Schedule:
    """Which past frames the memory keeps."""

    first: bool = True  # keep the frames whose masks were given, the references
    previous: bool = True  # hold the previous frame as well, in `memory.previous`
    every: int = 0  # keep a frame when this many have passed since the last one was kept; 0: never
    last: int = 0  # keep the newest n frames; 0: none
    these: tuple[int, ...] = ()  # keep the frames with these numbers
    spread: int = (
        0  # read n frames spread evenly over the past, its ends included, and `first`; 0: as above
    )
    at_most: int = (
        32  # keep no more than this many, `previous` apart; the oldest but the first reference goes
    )

    def __post_init__(self) -> None:
        check_settings(self, every=0, last=0, spread=0, at_most=1)
        others = bool(self.every or self.last or self.these)
        check_rules({
            f"{self} keeps nothing: use `first`, `previous`, `every`, `last`, `these` or `spread`": (
                self.first or self.previous or self.spread > 0 or others
            ),
            f"these={self.these} must be frame numbers, 0 or more": all(
                isinstance(frame, int) and frame >= 0 for frame in self.these
            ),
            f"at_most={self.at_most} must not be below spread={self.spread}": self.at_most >= self.spread,
            f"spread={self.spread} chooses by itself: leave out `every`, `last` and `these`": not (
                self.spread and others
            ),
        })  # fmt: skip


class Memory:
    """The entries of past frames that a schedule has kept.

    kept      entries in time order
    previous  the entry of the frame before, None where the schedule does not ask for it

    Raises InputError for what is no schedule.
    """

    def __init__(self, schedule: Schedule) -> None:
        if not isinstance(schedule, Schedule):
            raise InputError(
                f"schedule={schedule!r} came; give a Schedule, such as network.schedule."
            )
        self.schedule = schedule
        self.kept: list[Entry] = []
        self.previous: Entry | None = None
        self._last_steady: int | None = None  # number of the newest steady frame
        self._candidates: list[Entry] = []  # of which `spread` chooses; ...
        self._step = 1  # ... one in so many frames

    def add(self, entry: Entry, frame: int, reference: bool = False) -> None:
        """Take in the entry of frame number `frame`; `reference`: its masks were given, not
        predicted.

        Raises InputError for what `memorize` has not given.
        """
        if not isinstance(entry, Entry):
            raise InputError(
                f"a {type(entry).__name__} came as entry; give what network.memorize(seen, masks) returns"
            )
        schedule, since = self.schedule, self._last_steady
        due = (
            schedule.every > 0
            and (since is None or frame - since >= schedule.every)
            or frame in schedule.these
        )
        entry.frame, entry.reference, entry.steady = (
            frame,
            reference,
            due or (reference and schedule.first),
        )
        if entry.steady:
            self._last_steady = frame
        if schedule.previous:
            self.previous = entry
        if schedule.spread:
            self.kept = self._spread(entry)
            return
        kept = [e for e in self.kept if e.frame != frame] + [
            entry
        ]  # a corrected frame replaces itself
        oldest_new = len(kept) - schedule.last
        kept = [e for i, e in enumerate(kept) if e.steady or i >= oldest_new]
        while len(kept) > schedule.at_most:
            kept.pop(1 if schedule.first and kept[0].reference else 0)
        self.kept = kept

    def _spread(self, entry: Entry) -> list[Entry]:
        """The entries nearest to evenly spaced times, the newest included.

        Chosen among all frames, then, to stay within `at_most`, among every second, every fourth
        and so on.
        """
        schedule, start = (
            self.schedule,
            self._candidates[0].frame if self._candidates else entry.frame,
        )

        def given(e: Entry) -> bool:
            return e.reference and schedule.first

        def due(past: list[Entry]) -> list[Entry]:
            return [
                e
                for e in past
                if e.frame != entry.frame and (given(e) or (e.frame - start) % self._step == 0)
            ]

        if len(past := due(self._candidates)) >= schedule.at_most:
            self._step *= 2
        past = [*due(past), entry]
        while len(past) > schedule.at_most:  # more references than it may hold
            past.pop(1)
        self._candidates = past
        times = (
            torch.linspace(start, entry.frame, schedule.spread, dtype=torch.float64)
            .round()
            .tolist()
        )
        chosen = {min(range(len(past)), key=lambda i: abs(past[i].frame - time)) for time in times}
        return [e for i, e in enumerate(past) if i in chosen or given(e)]

    def entries(self) -> list[Entry]:
        """All that can be read, each frame once, in time order."""
        found = {entry.frame: entry for entry in (*self.kept, self.previous) if entry}
        return [found[frame] for frame in sorted(found)]

    def __len__(self) -> int:
        return len(self.entries())
