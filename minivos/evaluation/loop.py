"""The one loop that lets a network follow the objects of a video, times it and scores it.

`minivos benchmark`, the demo, the shoot-out and the scores after a training all go through it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from minivos.errors import InputError
from minivos.nn.network import VOSNetwork
from minivos.tracker import Tracker
from minivos.video.contours import refine_contours
from minivos.video.metrics import ObjectScore, collect_scores, score_frame
from minivos.video.task import Task

Keep = Callable[[str, np.ndarray], None]  # takes the name of a frame and its labels (H,W)
T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What a network made of one video."""

    name: str
    scores: list[ObjectScore]  # none where there is no truth
    frames: int  # that were timed: those after the first given mask
    seconds: float  # that network and contours took for them, without files and scores

    @property
    def fps(self) -> float:
        """Frames per second of the network alone; nan where no frame was timed."""
        return self.frames / self.seconds if self.seconds else np.nan


def run_task(
    model: VOSNetwork, task: Task, keep: Keep | None = None, workers: int = 0, **settings: Any
) -> Outcome:
    """Let a network follow the objects of a task; only a few frames are held at a time.

    `keep` gets the labels of every frame. `workers` threads read frames ahead, keep and score
    behind the network's back; then `keep` is not called in the order of time. `settings` go to
    `timed_steps` and `Tracker`. Raises InputError, with the name of the clip, as `Tracker.step` and
    `Task` do.
    """
    jobs: deque[Future] = deque()
    scores, times = [], []

    def finish(
        t: int, labels: np.ndarray, known: Collection[int]
    ) -> dict[int, tuple[float, float]]:
        if keep:
            keep(task.frame_names[t], labels)
        ids = task.scored_on(t, known)
        return score_frame(task.masks[t], labels, ids) if ids else {}

    try:
        with helpers(workers) as pool:
            steps = timed_steps(model, task, pool, **settings)
            for t, (labels, known, seconds) in enumerate(steps):
                times.append(seconds)
                jobs.append(pool.submit(finish, t, labels, known))
                if len(jobs) > workers:
                    scores.append(jobs.popleft().result())
            scores += [job.result() for job in jobs]
    except InputError as error:
        raise InputError(f"{task.name}: {error}") from error
    timed = [seconds for seconds in times if seconds is not None][1:]
    return Outcome(task.name, collect_scores(scores), len(timed), sum(timed))


def timed_steps(
    model: VOSNetwork, task: Task, pool: Executor, refine: bool = False, **settings: Any
) -> Iterator[tuple[np.ndarray, list[int], float | None]]:
    """Of each frame of a task: labels (H,W), the objects that were known, the network's seconds.

    Frames before the first mask are background, without the network. `refine` the contours of masks
    that are not given, see `video.contours`.
    """
    tracker = Tracker(model, **settings)
    working = model.sizing(task.size, tracker.side)
    for t, frame in enumerate(read_ahead(task.frames, pool)):
        known = tracker.ids
        mask = task.given(t, known)
        if mask is None and not known:
            yield np.zeros(task.size, np.uint8), known, None
            continue
        began = time.perf_counter()
        labels = tracker.step(frame, mask)
        if refine and mask is None:
            labels = refine_contours(frame, labels, working)
        yield labels, known, time.perf_counter() - began
    if not tracker.ids:
        raise InputError("no mask says which objects to follow; unpack the annotations again")


def read_ahead(items: Iterable[T], pool: Executor) -> Iterator[T]:
    """The items, of which the next is fetched by the pool while one is in use."""
    source = iter(items)
    coming = pool.submit(next, source, None)
    while (item := coming.result()) is not None:
        coming = pool.submit(next, source, None)
        yield item


def helpers(workers: int) -> Executor:
    """So many threads that work in the background; 0: what is submitted is done at once."""
    return ThreadPoolExecutor(workers) if workers else AtOnce()


class AtOnce(Executor):
    """Does what is submitted before it goes on."""

    def submit(self, work: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """The result of the work, which is done; its errors are raised here."""
        done: Future = Future()
        done.set_result(work(*args, **kwargs))
        return done
