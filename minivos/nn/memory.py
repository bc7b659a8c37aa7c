"""What is kept of past frames: entries, the memory that holds them, the schedule that decides."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from minivos.errors import InputError, check_rules, check_settings

log = logging.getLogger(__name__)


@dataclass
class Entry:
    """What is kept of one frame; networks subclass it. The memory stamps it when it takes it in."""

    size: tuple[int, int, int]  # B, H, W of the frame
    frame: int = field(default=-1, init=False)  # frame number
    reference: bool = field(default=False, init=False)  # its masks were given, not predicted
    steady: bool = field(default=False, init=False)  # only `at_most` may take it out


EntryT = TypeVar("EntryT", bound=Entry)


class Memory(Generic[EntryT]):
    """The entries of past frames that a schedule has kept.

    kept      entries in time order
    recent    the entries of the frames before, newest last; none if the schedule asks for none
    previous  the newest of them, or None
    now       the number of the frame that reads; `add` sets it to that of the frame after the
              newest, Tracker and training set it before they read
    """

    def __init__(self, schedule: Schedule) -> None:
        if not isinstance(schedule, Schedule):
            raise InputError(f"got schedule={schedule!r}; expected a Schedule: network.schedule.")
        self.schedule = schedule
        self.kept: list[EntryT] = []
        self.recent: list[EntryT] = []
        self.now = 0
        self._last_steady: int | None = None  # number of the newest steady frame
        self._candidates: list[EntryT] = []  # from which `spread` chooses: ...
        self._step = 1  # ... one in so many frames

    @property
    def previous(self) -> EntryT | None:
        """The entry of the frame before."""
        return self.recent[-1] if self.recent else None

    def add(self, entry: EntryT, frame: int, reference: bool = False) -> None:
        """Take in the entry of frame number `frame`; `reference`: its masks were given."""
        if not isinstance(entry, Entry):
            kind = type(entry).__name__
            raise InputError(f"got a {kind} as entry; expected what network.memorize returns.")
        schedule, last = self.schedule, self._last_steady
        since = schedule.every if last is None else frame - last  # none kept yet: due
        due = 0 < schedule.every <= since or frame in schedule.these
        entry.frame, entry.reference = frame, reference
        entry.steady = due or (reference and schedule.first)
        if entry.steady:
            self._last_steady = frame
        if schedule.previous:
            earlier = [e for e in self.recent if e.frame != frame]
            self.recent = [*earlier, entry][-schedule.previous :]
        self.kept = self._spread(entry) if schedule.spread else self._keep(entry)
        while len(self.kept) > schedule.at_most:
            self._drop_one()
        self.now = frame + 1

    def _keep(self, entry: EntryT) -> list[EntryT]:
        """The kept entries with the new one, and without those whose time has passed."""
        schedule = self.schedule
        kept = [e for e in self.kept if e.frame != entry.frame]  # a corrected frame is replaced
        kept.append(entry)
        oldest_new = len(kept) - schedule.last
        return [e for i, e in enumerate(kept) if e.steady or i >= oldest_new]

    def _drop_one(self) -> None:
        """Take out the oldest prediction, if not the newest entry; else a reference, and say so."""
        given = [entry.reference and self.schedule.first for entry in self.kept]
        place = 1 if all(given[:-1]) else given.index(False)
        gone = self.kept.pop(place)
        if given[place]:
            self._candidates = [entry for entry in self._candidates if entry is not gone]
            log.warning(f"The mask given of frame {gone.frame} is forgotten: raise at_most.")

    def _spread(self, entry: EntryT) -> list[EntryT]:
        """The entries nearest to evenly spaced times, the newest included, and the references.

        They are chosen among all frames as long as these fit (`hold`): exactly the evenly spaced
        ones. From then on among every second frame, then every fourth, and so on.
        """
        schedule = self.schedule
        past = [e for e in self._candidates if e.frame != entry.frame]
        start = past[0].frame if past else entry.frame
        given = {e.frame for e in (*past, entry) if e.reference and schedule.first}

        def in_step(entries: list[EntryT]) -> list[EntryT]:
            return [e for e in entries if e.frame in given or (e.frame - start) % self._step == 0]

        if len(in_step(past)) >= schedule.hold:
            self._step *= 2
        past = [*in_step(past), entry]
        while len(past) > schedule.hold:  # more references than it may hold
            past.pop(1)
        self._candidates = past
        times = torch.linspace(start, entry.frame, schedule.spread, dtype=torch.float64).round()
        nearest = [min(past, key=lambda e: abs(e.frame - time)).frame for time in times.tolist()]
        return [e for e in past if e.frame in given.union(nearest)]

    def entries(self) -> list[EntryT]:
        """All that can be read, each frame once, in time order."""
        by_frame = {entry.frame: entry for entry in (*self.kept, *self.recent)}
        return [by_frame[frame] for frame in sorted(by_frame)]

    def __len__(self) -> int:
        return len(self.entries())


@dataclass(frozen=True)
class Schedule:
    """Which past frames the memory keeps."""

    first: bool = True  # keep the frames whose masks were given, the references
    previous: int = 1  # hold so many of the frames before as well, in `memory.recent`; 0: none
    every: int = 0  # keep a frame when so many have passed since the last kept one; 0: never
    last: int = 0  # keep the newest n frames; 0: none
    these: tuple[int, ...] = ()  # keep the frames with these numbers
    spread: int = 0  # instead, n frames spread evenly over the past, and `first`; 0: as above
    hold: int = 128  # frames that `spread` chooses from; a longer past is thinned out to fit
    at_most: int = 32  # keep no more, `previous` apart; the oldest prediction goes, then references

    def __post_init__(self) -> None:
        check_settings(self, {"previous": 0, "every": 0, "last": 0, "spread": 0})
        chosen = bool(self.every or self.last or self.these)
        numbers = all(isinstance(frame, int) and frame >= 0 for frame in self.these)
        something, room = self.first or self.previous or chosen, min(self.at_most, self.hold)
        fits, alone = room >= self.spread, not (self.spread and chosen)
        check_rules({
            f"these={self.these} must be frame numbers, 0 or more": numbers,
            f"{self} keeps nothing: use `first` or another field": bool(something or self.spread),
            f"at_most and hold, {room} here, must not be below spread={self.spread}": fits,
            f"spread={self.spread} chooses by itself: no `every`, `last`, `these`": alone,
        })  # fmt: skip
