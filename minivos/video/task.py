"""What is asked of a network: one video, the masks that it is given, those that it is scored by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from minivos.errors import InputError
from minivos.video.clip import Clip
from minivos.video.mask_files import check_size, read_mask
from minivos.video.masks import is_object


@dataclass(frozen=True)
class Listed:
    """An object as the meta.json of YouTube-VOS lists it."""

    frames: Sequence[str]  # names of the frames on which it is annotated, in time order
    category: str = ""  # where the list has none


@dataclass(frozen=True)
class Task:
    """One video to be segmented.

    `frames` and `masks` may be read from files when they are asked for, one at a time, so that a
    video never has to fit into memory. Without `listed` the rules are those of DAVIS: the first
    mask is given, and its objects are scored on all frames but the first and the last. With it they
    are those of YouTube-VOS: an object is given where it first shows, and scored on the frames
    listed after that.
    """

    name: str
    size: tuple[int, int]  # (H,W)
    frame_names: Sequence[str]
    frames: Iterable[np.ndarray]  # uint8 (H,W,3), from the first on at each iteration
    masks: Mapping[int, np.ndarray]  # frame number -> labels uint8 (H,W)
    listed: Mapping[int, Listed] | None = None  # object id -> where it is annotated

    @classmethod
    def of(cls, clip: Clip) -> Task:
        """The task that a clip in memory poses, by the rules of DAVIS."""
        height, width = clip.frames.shape[1:3]
        return cls(clip.name, (height, width), clip.frame_names, clip.frames, clip.masks)

    def given(self, t: int, known: Collection[int]) -> np.ndarray | None:
        """The mask (H,W) that comes with frame t, if one does; objects `known` before are left out.

        Raises InputError for a mask file that cannot be read.
        """
        if self.listed is None:
            return self.masks[t] if t == min(self.masks, default=None) else None
        if t not in self.masks or self.listed.keys() <= set(known):
            return None
        mask = self.masks[t]
        new = [k for k in self.listed if k not in known and (mask == k).any()]
        return np.where(np.isin(mask, new), mask, 0).astype(np.uint8) if new else None

    @cached_property
    def ids(self) -> frozenset[int]:
        """The objects that are given, in any frame."""
        if self.listed is not None:
            return frozenset(self.listed)
        if not self.masks:
            return frozenset()
        first = self.masks[min(self.masks)]
        return frozenset(int(k) for k in np.unique(first[is_object(first)]))

    @cached_property
    def wanted(self) -> list[str]:
        """Names of the frames whose labels are asked for."""
        if self.listed is None:
            return list(self.frame_names)
        asked = {name for each in self.listed.values() for name in each.frames}
        return [name for name in self.frame_names if name in asked]

    @cached_property
    def scored(self) -> dict[int, list[int]]:
        """The numbers of the frames on which each object is scored; nothing without the truth.

        Raises InputError when some frames of a clip of DAVIS lack their mask, and others do not.
        """
        if self.listed is not None:
            number = {name: t for t, name in enumerate(self.frame_names)}
            later = {k: [number[n] for n in each.frames[1:]] for k, each in self.listed.items()}
            known = all(t in self.masks for times in later.values() for t in times)
            return {k: times for k, times in later.items() if times} if known else {}
        length = len(self.frame_names)
        if len(self.masks) == 1 or length < 3:
            return {}
        if len(self.masks) < length:
            raise InputError(
                f"clip {self.name} has masks of {len(self.masks)} of its {length} frames; "
                "expected one of the first frame, or one of each: unpack the annotations again"
            )
        return {k: list(range(1, length - 1)) for k in range(1, max(self.ids, default=0) + 1)}

    def scored_on(self, t: int, known: Collection[int]) -> list[int]:
        """The objects that are scored on frame t, when `known` were given before it.

        Of YouTube-VOS no other object is scored: it may be listed before it shows.
        """
        objects = [k for k, times in self._times.items() if t in times]
        return objects if self.listed is None else [k for k in objects if k in known]

    @cached_property
    def _times(self) -> dict[int, frozenset[int]]:
        return {k: frozenset(times) for k, times in self.scored.items()}


class MaskFiles(Mapping[int, np.ndarray]):
    """Masks by the number of their frame, each read when it is asked for.

    `merged`: all objects count as object 1. Raises InputError, when asked, for a file that is
    damaged or not of `size` (H,W).
    """

    def __init__(
        self, files: Mapping[int, Path], size: tuple[int, int], merged: bool = False
    ) -> None:
        self.files, self.size, self.merged = files, size, merged

    def __getitem__(self, t: int) -> np.ndarray:
        labels = read_mask(self.files[t])
        check_size(labels, self.size, self.files[t])
        return merge_objects(labels) if self.merged else labels

    def __contains__(self, t: object) -> bool:
        return t in self.files

    def __iter__(self) -> Iterator[int]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def merge_objects(labels: np.ndarray) -> np.ndarray:
    """All objects of the labels as object 1, void where it was."""
    return np.where(is_object(labels), 1, labels).astype(np.uint8)
