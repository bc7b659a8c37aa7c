"""Training samples from a rolling pool of clips."""

import numpy as np
import pytest
import torch

from minivos.training.pool import ClipPool
from tiny import squares

PLACE = {"frames": 4, "side": 32, "objects": 3}


def many_ids(number: int):
    return squares(number, frames=9, ids=(3, 7, 40, 200))


def same(a, b) -> bool:
    return torch.equal(a.frames, b.frames) and torch.equal(a.labels, b.labels)


def test_a_batch_has_the_sizes_asked_for():
    batch = ClipPool(many_ids, keep=3, seed=0).batch(0, range(5), **PLACE)
    assert batch.frames.shape == (5, 4, 3, 32, 32) and batch.frames.dtype == torch.float32
    assert batch.frames.min() >= 0 and 0.5 < batch.frames.max() <= 1
    assert batch.labels.shape == (5, 4, 32, 32) and batch.labels.dtype == torch.int64


def test_a_batch_depends_on_seed_step_and_row_alone():
    whole = ClipPool(many_ids, keep=3, seed=0).batch(4, range(4), **PLACE)
    assert same(whole, ClipPool(many_ids, keep=3, seed=0).batch(4, range(4), **PLACE))
    half = ClipPool(many_ids, keep=3, seed=0).batch(4, range(2, 4), **PLACE)
    assert torch.equal(half.frames, whole.frames[2:]) and torch.equal(half.labels, whole.labels[2:])
    assert not same(whole, ClipPool(many_ids, keep=3, seed=1).batch(4, range(4), **PLACE))
    assert not same(whole, ClipPool(many_ids, keep=3, seed=0).batch(5, range(4), **PLACE))
    assert not torch.equal(whole.frames[0], whole.frames[1])


def test_steps_differ_even_where_their_clips_do_not():
    pool = ClipPool(lambda number: many_ids(0), keep=1, seed=0)
    assert not same(pool.batch(0, range(2), **PLACE), pool.batch(1, range(2), **PLACE))


def test_jumping_to_a_step_gives_what_walking_there_gives():
    walker, jumper = (ClipPool(many_ids, keep=3, seed=0) for _ in range(2))
    for step in range(50):
        walker.batch(step, range(1), **PLACE)
    assert same(walker.batch(50, range(3), **PLACE), jumper.batch(50, range(3), **PLACE))


def test_each_step_makes_one_new_clip_and_holds_no_more_than_it_should():
    made = []
    pool = ClipPool(lambda number: made.append(number) or many_ids(number), keep=4, seed=0)
    for step in range(6):
        pool.batch(step, range(2), **PLACE)
        assert sorted(pool.clips) == list(range(step, step + 4))
    assert made == list(range(9))


def test_ids_are_renumbered_from_one_and_limited():
    pool = ClipPool(many_ids, keep=3, seed=0)
    for step in range(12):
        for labels in pool.batch(step, range(2), frames=3, side=40, objects=2).labels:
            shown = labels[0][labels[0] > 0].unique().tolist()
            assert shown in ([1], [1, 2])  # the first frame shows the objects
            assert set(labels.unique().tolist()) <= {0, *shown}


def test_pictures_and_labels_go_through_the_same_changes():
    def marked(number: int):
        """Clips whose green channel repeats the label."""
        _, labels = squares(number, ids=(1, 2))
        return np.repeat((80 * labels)[..., None], 3, axis=-1), labels

    batch = ClipPool(marked, keep=2, seed=0).batch(0, range(16), frames=3, side=32, objects=2)
    shown = (batch.frames[:, :, 1] * 255 / 80).round().long()  # labels before they were renumbered
    for before, after in zip(shown, batch.labels, strict=True):
        for id in after[after > 0].unique():
            assert len(before[after == id].unique()) == 1
        assert (after[before == 0] == 0).all()


def test_void_stays_void_and_is_no_object():
    def with_void(number: int):
        pictures, labels = squares(number, ids=(9,))
        labels[:, :20] = 255
        return pictures, labels

    labels = ClipPool(with_void, keep=3, seed=0).batch(0, range(8), **PLACE).labels
    assert (labels == 255).any() and labels.unique().tolist() == [0, 1, 255]


@pytest.mark.parametrize(("length", "frames"), [(1, 1), (2, 2), (4, 4), (9, 4)])
def test_frames_are_in_order_or_in_reverse_and_close_together(length, frames):
    def numbered(number: int):
        pictures, labels = squares(number, frames=length)
        pictures[:] = np.arange(length)[:, None, None, None]
        return pictures, labels

    gaps = set()
    batch = ClipPool(numbered, keep=1, seed=0).batch(0, range(24), frames=frames, side=16, objects=2)
    for sample in batch.frames:
        times = (sample[:, 0, 0, 0] * 255).round().int()
        steps = times.diff()
        assert (steps > 0).all() or (steps < 0).all()
        gaps |= set(steps.tolist())
    assert gaps == ({-3, -2, -1, 1, 2, 3} if length == 9 else {-1, 1} if length > 1 else set())
