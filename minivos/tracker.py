"""Networks -> masks: follow objects through a video, one frame at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minivos.errors import InputError
from minivos.nn.memory import Memory, Schedule
from minivos.nn.network import VOSNetwork
from minivos.nn.objects import merge_groups
from minivos.nn.recording import at_frame
from minivos.saved_tracks import load_track, save_track
from minivos.speed import at_precision, check_room, check_tracker, compile_parts
from minivos.video.frame_tensors import to_network
from minivos.video.mask_files import check_mask
from minivos.video.mask_tensors import expected_j, highest, one_hot, resize, warn_of_lost
from minivos.video.masks import check_picture, is_object, redraw

Reads = list[tuple[Tensor, Any]]  # logits and seen, of each group
STATE = "schedule", "side", "precision", "groups", "size", "time", "confidence", "last_seen"


@dataclass
class Group:
    """Up to `max_objects` objects that share one memory."""

    ids: list[int]
    memory: Memory


class Tracker:
    """Segments the objects of a video frame by frame, with bounded memory.

    Objects are those of the masks given so far. More of them than the network can tell apart are
    tracked in groups, each with a memory of its own, and merged by soft aggregation.

    Attributes, beside the arguments:
        time: number of the next frame; the first is 0.
        size: (H, W) of the frames in pixels, (0, 0) before the first.
        ids: the objects that are followed, 1 to 254 each.
        confidence: {id: J to expect of its newest mask, in [0, 1]}; 1 if given, 0 if not seen.
        last_seen: {id: number of the newest frame that shows it}; lost objects stay behind.
        groups: the objects that share a memory, each with `ids` and `memory`.

    Args:
        model: the network; it is put into evaluation mode and stays on its device.
        schedule: which frames the memory keeps; None: the network's own. The L variants of AOT keep
            up to 10,000, some 10 MB each at 480p; `Schedule(every=5, at_most=32)` bounds them.
        side: short side in pixels at which frames are processed; None: the network's own.
        precision: "float32", or "bfloat16": autocast, for GPUs.
        compiled: translate the network's encoders and decoders, see `speed.compile_parts`.
    """

    def __init__(
        self, model: VOSNetwork, schedule: Schedule | None = None, side: int | None = None,
        precision: str = "float32", compiled: bool = False,
    ) -> None:  # fmt: skip
        check_tracker(model, schedule, side)
        self.device = next(model.parameters()).device
        self.at_precision = at_precision(precision, self.device)
        self.model = model.eval()
        if compiled:
            compile_parts(model)
        self.schedule, self.side, self.precision = schedule, side, precision
        self.groups: list[Group] = []
        self.size = (0, 0)
        self.time = 0
        self.confidence: dict[int, float] = {}
        self.last_seen: dict[int, int] = {}

    @property
    def ids(self) -> list[int]:
        """The ids of all objects that are being tracked."""
        return [i for group in self.groups for i in group.ids if i]

    def remove(self, ids: int | Iterable[int]) -> None:
        """Follow this object, or these, no longer: what was theirs becomes background.

        Their places in the memory stay taken. InputError for ids that are not followed.
        """
        gone = {ids} if isinstance(ids, int) else set(ids)
        if unknown := gone - set(self.ids):
            raise InputError(f"got ids {sorted(unknown)}; expected some of {self.ids}.")
        for group in self.groups:
            group.ids = [0 if i in gone else i for i in group.ids]
        self.groups = [group for group in self.groups if any(group.ids)]

    def save(self, path: str | Path) -> None:
        """Write all but the network to a file, from which `restore` goes on exactly."""
        save_track(path, self.model, {name: getattr(self, name) for name in STATE})

    @classmethod
    def restore(cls, model: VOSNetwork, path: str | Path, compiled: bool = False) -> Tracker:
        """The tracker that `save` wrote; InputError for another network or kind of file."""
        state = load_track(path, model, STATE, Group)
        tracker = cls(model, state["schedule"], state["side"], state["precision"], compiled)
        vars(tracker).update(state)
        return tracker

    @torch.inference_mode()
    def step(self, frame: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Take in the next frame, uint8 (H, W, 3) RGB, and return its labels, uint8 (H, W).

        `mask`, uint8 (H, W), gives or corrects objects: its non-zero pixels win over the
        prediction. Where the prediction has a given object elsewhere it becomes background. Void
        pixels (255) are left to the prediction. Raises InputError for a frame of another size or
        kind, for a mask of another size or without objects, and for a first frame without mask.
        """
        mask = self._check(frame, mask)
        with at_frame(self.time), self.at_precision:
            seen = self.model.encode(to_network(frame, self.model, self.side))
            labels, reads = self._predict(seen)
            if mask is not None:
                labels = redraw(labels, mask)
                self._admit(np.unique(mask[is_object(mask)]).tolist())
            self._memorize(seen, reads, labels, given=mask is not None)
        self.last_seen |= {i: self.time for i in self.ids if (labels == i).any()}
        self.time += 1
        return labels

    def _predict(self, seen: Any) -> tuple[np.ndarray, Reads]:
        """Labels (H, W) from all groups, and what each group read: logits and seen."""
        if not self.groups:
            return np.zeros(self.size, np.uint8), []
        for group in self.groups:
            group.memory.now = self.time
        reads = [self.model.read(seen, group.memory) for group in self.groups]
        aligned = self.model.sizing.align_corners
        scores = [resize(logits.float(), self.size, aligned) for logits, _ in reads]
        chances = [part.softmax(dim=1) for part in scores]
        if len(scores) > 1:  # AOT Eq. 1, a pass per group where the equation has one per object
            scores = chances = [merge_groups(chances)]  # (1, 1+K, H, W)
        best = highest(scores[0])
        ids = [i for group in self.groups for i in group.ids]
        expected = expected_j(chances[0], best)
        self.confidence = {i: j for i, j in zip(ids, expected, strict=True) if i}
        return np.array([0, *ids], np.uint8)[best[0].cpu().numpy()], reads

    def _admit(self, ids: list[int]) -> None:
        """Give new objects a place in a group; what is given is certain."""
        room = self.model.max_objects or 255
        self.confidence |= dict.fromkeys(ids, 1.0)
        for new in sorted(set(ids) - set(self.ids)):
            if not self.groups or len(self.groups[-1].ids) == room:
                self.groups.append(Group([], self.model.new_memory(self.schedule)))
            self.groups[-1].ids.append(new)

    def _memorize(self, seen: Any, reads: Reads, labels: np.ndarray, given: bool) -> None:
        """Let every group remember this frame, as a reference where masks were given."""
        working = self.model.sizing(self.size, self.side)
        for i, group in enumerate(self.groups):
            if self.model.soft_masks and not given:
                masks = resize(reads[i][0].float().softmax(dim=1), working)
            else:
                masks = self._masks_of(group, labels, working, given)
            entry = self.model.memorize(seen if given else reads[i][1], masks)
            group.memory.add(entry, self.time, reference=given)

    def _masks_of(
        self, group: Group, labels: np.ndarray, working: tuple[int, int], given: bool
    ) -> Tensor:
        """The labels of a group's objects as masks (1, 1+K, h, w), at the network's size."""
        renumber = torch.zeros(256, dtype=torch.long)
        renumber[group.ids] = torch.arange(1, len(group.ids) + 1)
        renumber[0] = 0  # the id of those that were removed
        small = resize(torch.from_numpy(labels)[None].to(self.device), working)
        own = renumber.to(self.device)[small.long()]
        if given:
            warn_of_lost(self.time, group.ids, labels, own)
        return one_hot(own, len(group.ids))

    def _check(self, frame: np.ndarray, mask: np.ndarray | None) -> np.ndarray | None:
        """The mask as labels uint8 (H, W), if both are what `step` takes; InputError otherwise."""
        height, width = size = check_picture(frame).shape[:2]
        if self.time == 0:
            check_room(self.model.sizing(size, self.side), self.device)
            self.size = (height, width)
        if size != self.size:
            raise InputError(f"got frame {self.time} of {size}; expected {self.size} as before")
        if mask is None and self.time == 0:
            raise InputError("The first frame needs a mask of the objects: step(frame, mask).")
        return None if mask is None else check_mask(mask, size)
