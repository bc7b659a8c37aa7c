"""Flip and multi-scale testing: a network that sees each frame several times."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch

from minivos import Clip, create_model
from minivos.errors import InputError
from minivos.evaluation.augmented import Augmented
from minivos.nn.memory import Schedule
from minivos.propagation import track
from minivos.synthetic.clips import render
from minivos.tracker import Tracker
from minivos.video.mask_tensors import one_hot, resize
from tiny import squares, tiny_aot


@cache
def moving(objects: int = 2, size: tuple[int, int] = (50, 71)) -> Clip:
    made = render(7, frames=4, size=size, objects=objects, difficulty=0.3)
    return Clip(made.frames, dict(enumerate(made.masks)), name="moving")


def mirrored(clip: Clip) -> Clip:
    return Clip(clip.frames[:, :, ::-1], {t: mask[:, ::-1] for t, mask in clip.masks.items()}, name="mirrored")


def follow(network, clip: Clip, given: tuple[int, ...] = (0,)) -> np.ndarray:
    return np.stack(list(track(network, clip.frames, {t: clip.masks[t] for t in given})))


def seen_by(network, clip: Clip, **views) -> list[torch.Tensor]:
    """The pictures in which an augmented network sees the first frame of a clip."""
    shown, encode = [], network.encode
    network.encode = lambda frame: shown.append(frame) or encode(frame)
    Tracker(Augmented(network, **views)).step(clip.frames[0], clip.masks[0])
    return shown


@pytest.mark.parametrize("name", ["aot_mini", "sst_mini"])
@pytest.mark.parametrize("scales", [(1,), (1.0, 1.0)])
def test_views_that_are_as_the_frame_change_nothing(name, scales):
    network = create_model(name, weights="shipped", short_side=64)
    views = Augmented(network, scales=scales, flip=False)
    given = (0, 3)
    found = follow(views, moving(), given)
    assert np.array_equal(found, follow(network, moving(), given)) and len(np.unique(found)) == 3


@pytest.mark.parametrize("feedback", ["merged", "own"])
def test_a_mirrored_clip_gives_mirrored_labels(feedback):
    network = create_model("aot_mini", weights="shipped", short_side=64)
    clip, other = moving(), mirrored(moving())
    views = Augmented(network, flip=True, feedback=feedback)
    assert np.array_equal(follow(views, clip), follow(views, other)[:, :, ::-1])
    assert not np.array_equal(follow(network, clip), follow(network, other)[:, :, ::-1])


def test_each_view_has_its_size_and_side():
    clip = moving(size=(50, 70))
    plain, turned, large, large_turned = seen_by(tiny_aot(), clip, scales=(1, 1.5))
    assert plain.shape == turned.shape == (1, 3, 32, 48)  # cells of 8 pixels
    assert large.shape == large_turned.shape == (1, 3, 48, 64)
    assert torch.allclose(turned.flip(-1), plain, atol=1e-5)
    assert torch.allclose(large_turned.flip(-1), large, atol=1e-5)
    (alone,) = seen_by(tiny_aot(), clip, scales=(0.5,), flip=False, side=64)
    assert alone.shape == (1, 3, 32, 48)


def test_the_limit_of_the_long_side_grows_with_the_scale():  # 480p: 1040 pixels hold at scale 1
    network = tiny_aot(short_side=None, longest=64)
    views = seen_by(network, moving(size=(50, 70)), scales=(1, 1.5), flip=False)
    assert [view.shape[2:] for view in views] == [(48, 64), (64, 96)]


def test_probabilities_are_averaged_at_the_size_of_the_frame():
    network, clip = tiny_aot(), moving()
    views = Augmented(network)
    frame = torch.from_numpy(clip.frames[:1]).movedim(-1, 1) / 255
    masks = one_hot(torch.from_numpy(clip.masks[0])[None].long(), 2)
    memory = views.new_memory()
    with torch.no_grad():
        memory.add(views.memorize(views.encode(frame), masks), 0, reference=True)
        logits, seen = views.read(views.encode(frame), memory)
        answers = []
        for view, part, own in zip(views.views, seen.parts, memory.parts, strict=True):
            chances = resize(network.read(part, own)[0], (50, 71)).softmax(dim=1)
            answers.append(chances.flip(-1) if view.mirrored else chances)
    assert len(answers) == 4 and torch.allclose(logits.exp(), sum(answers) / 4, atol=1e-5)
    assert not torch.allclose(answers[0], answers[1], atol=1e-3)


@pytest.mark.parametrize("feedback", ["merged", "own"])
def test_views_memorize_what_comes_out_or_each_its_own(feedback):
    network, clip, kept = tiny_aot(), moving(), []
    memorize = network.memorize
    views = Augmented(network, scales=(1, 1.5), flip=True, feedback=feedback)
    answers, read = [], views.read
    views.read = lambda seen, memory: answers.append(read(seen, memory)) or answers[-1]
    tracker = Tracker(views)
    tracker.step(clip.frames[0], clip.masks[0])
    network.memorize = lambda seen, masks: kept.append(masks) or memorize(seen, masks)
    labels = tracker.step(clip.frames[1])
    ((_, seen),) = answers
    for view, part, own, answer in zip(views.views, seen.parts, kept, seen.answers, strict=True):
        shown = answer.argmax(dim=1) if feedback == "own" else torch.from_numpy(labels)[None].long()
        shown = shown.flip(-1) if view.mirrored else shown
        assert torch.equal(own, one_hot(resize(shown, part.size[1:]), 2))
    assert len({tuple(answer.argmax(dim=1).flatten().tolist()) for answer in seen.answers}) > 1


@pytest.mark.parametrize("name", ["sitvos_mini", "hst_mini"])
def test_it_serves_every_network(name):
    network = create_model(name, weights="shipped", short_side=64)
    views, truth = Augmented(network, scales=(1, 1.3)), np.stack(list(moving().masks.values()))
    agreed = follow(views, moving(), given=(0, 2)) == truth
    assert agreed.mean() > 0.8


def test_the_parts_of_the_network_are_found_for_compiling():
    network = tiny_aot()
    views = deepcopy(Augmented(network))
    assert views.decoder is views.network.decoder and views.config == network.config
    with pytest.raises(AttributeError, match="has no attribute 'wings'"):
        views.wings  # noqa: B018
    assert not hasattr(views, "mask_encoder")
    assert len(list(views.parameters())) == len(list(network.parameters()))


def test_more_objects_than_one_memory_tells_apart_come_in_groups():
    network, (pictures, labels) = tiny_aot(identities=2), squares(frames=3, ids=(1, 2, 5))
    tracker = Tracker(Augmented(network, scales=(1,)), Schedule(every=1))
    tracker.step(pictures[0], labels[0])
    tracker.step(pictures[1])
    assert [group.ids for group in tracker.groups] == [[1, 2], [5]]
    for group in tracker.groups:
        assert [[entry.frame for entry in part.kept] for part in group.memory.parts] == [[0, 1], [0, 1]]
        assert [entry.frame for entry in group.memory.kept] == [0, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scales": ()}, r"got scales=\(\); expected numbers above 0, such as \(1.0, 1.3\)"),
        ({"scales": (0, 1)}, "got scales=.0, 1.; expected numbers above 0"),
        ({"scales": (float("nan"),)}, "got scales=.nan,.; expected numbers above 0"),
        ({"scales": (float("inf"),)}, "got scales=.inf,.; expected numbers above 0"),
        ({"scales": 1.3}, "got scales=1.3; expected numbers above 0"),
        ({"scales": "13"}, "got scales='13'; expected numbers above 0"),
        ({"side": 3}, "got side=3; expected 8 or more, a cell of the network"),
        ({"side": 64.5}, "got side=64.5; expected 8 or more"),
        ({"feedback": "both"}, "got feedback='both'; expected one of merged, own"),
    ],
)
def test_views_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Augmented(tiny_aot(), **settings)


def test_what_is_no_network_and_a_memory_of_one_view_are_refused():
    with pytest.raises(InputError, match="got 'aot_mini' as network; make one"):
        Augmented("aot_mini")
    network = tiny_aot()
    views = Augmented(network)
    with pytest.raises(InputError, match="got a memory of one view"):
        views.read(views.encode(torch.rand(1, 3, 32, 40)), network.new_memory())
