"""Following objects through a video: sizes, ids, new and corrected objects, groups, bounded memory, bad input."""

import gc
import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from minivos import create_model
from minivos.errors import InputError
from minivos.models import pick_device
from minivos.nn.memory import Schedule
from minivos.nn.objects import soft_aggregate
from minivos.nn.recording import record_attention
from minivos.propagation import propagate, track
from minivos.synthetic.clips import render
from minivos.tracker import Tracker
from minivos.video.clip import Clip
from minivos.video.datasets import DavisDataset, samples_root
from minivos.video.frame_tensors import to_network
from minivos.video.mask_tensors import resize
from minivos.video.metrics import region_similarity
from tiny import EveryFrameCounts, squares, tiny_aot


def repeater(max_objects: int = 5) -> EveryFrameCounts:
    return EveryFrameCounts(max_objects, Schedule())


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (41, 30), (5, 3), (7, 50), (1, 1)])
def test_frames_of_any_size_are_answered_at_their_size(size):
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[: (size[0] + 1) // 2] = 1
    tracker = Tracker(tiny_aot())
    assert np.array_equal(tracker.step(frame, mask), mask)
    labels = tracker.step(frame)
    assert labels.shape == size and labels.dtype == np.uint8 and set(np.unique(labels)) <= {0, 1}


def test_frames_are_brought_to_multiples_of_the_stride_near_the_side_asked_for():
    network, sizes = tiny_aot(), []
    network.encoder.register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    for side, size in ((None, (60, 100)), (48, (60, 100)), (48, (100, 60)), (8, (37, 40))):
        Tracker(network, side=side).step(np.zeros((*size, 3), np.uint8), np.ones(size, np.uint8))
    assert sizes == [(32, 56), (48, 80), (80, 48), (8, 8)]


def test_ids_need_not_follow_one_another():
    pictures, labels = squares(frames=4, ids=(3, 7, 200))
    tracker = Tracker(repeater())
    assert np.array_equal(tracker.step(pictures[0], labels[0]), labels[0])
    assert tracker.ids == [3, 7, 200]
    found = tracker.step(pictures[1])
    assert set(np.unique(found)) == {0, 3, 7, 200} and (found == labels[0]).mean() > 0.9


def test_an_object_may_come_in_mid_video():
    pictures, labels = squares(frames=4, size=(32, 40), ids=(4,))
    late = np.zeros_like(labels[0])
    late[24:, 32:] = 2
    tracker = Tracker(repeater())
    tracker.step(pictures[0], labels[0])
    before = tracker.step(pictures[1])
    merged = tracker.step(pictures[2], late)
    assert tracker.ids == [4, 2]
    assert np.array_equal(merged, np.where(late > 0, late, before))  # the old object goes on
    assert set(np.unique(tracker.step(pictures[3]))) == {0, 2, 4}


def test_a_correction_moves_an_object_and_leaves_void_to_the_prediction():
    pictures, _ = squares(frames=3)
    first, correction = np.zeros((2, 40, 48), np.uint8)
    first[:20, :24], first[20:, 24:] = 1, 2
    correction[:20, 24:] = 1  # object 1 is elsewhere now
    correction[:4] = 255
    tracker = Tracker(repeater())
    tracker.step(pictures[0], first)
    before = tracker.step(pictures[1])
    corrected = tracker.step(pictures[2], correction)
    assert tracker.ids == [1, 2]
    assert (corrected[4:20, 24:] == 1).all() and (corrected[4:, :24] != 1).all()
    assert np.array_equal(corrected == 2, (before == 2) & (correction != 1))
    assert np.array_equal(corrected[:4], before[:4])


def test_given_masks_make_references_and_predictions_do_not():
    pictures, labels = squares(frames=4)
    network = tiny_aot(every=1)
    tracker = Tracker(network)
    for t in range(4):
        tracker.step(pictures[t], labels[t] if t in (0, 2) else None)
    kept = tracker.groups[0].memory.kept
    assert [(entry.frame, entry.reference) for entry in kept] == [(0, True), (1, False), (2, True), (3, False)]


def tiles(objects: int) -> np.ndarray:
    """Labels 1..objects side by side, 16 x (4 * objects)."""
    return np.repeat(np.arange(1, objects + 1, dtype=np.uint8), 4)[None].repeat(16, axis=0)


def test_thirteen_objects_go_in_groups_and_each_frame_is_encoded_once():
    mask = tiles(13)
    mask[:3] = 0
    frame = np.zeros((*mask.shape, 3), np.uint8)
    network = repeater(max_objects=5)
    tracker = Tracker(network)
    tracker.step(frame, mask)
    assert [group.ids for group in tracker.groups] == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13]]
    for _ in range(4):
        found = tracker.step(frame)
    assert network.calls == {"encode": 5, "read": 3 * 4, "memorize": 3 * 5}
    assert (found == mask).mean() > 0.9 and set(np.unique(found)) == set(range(14))


def test_groups_of_one_object_are_a_pass_per_object_merged_by_soft_aggregation():
    pictures, labels = squares(frames=2, ids=(1, 2, 3))
    network = tiny_aot(identities=1)
    found = list(track(network, pictures, {0: labels[0]}))[1]

    def probability(object_id: int) -> torch.Tensor:
        tracker = Tracker(network)
        tracker.step(pictures[0], (labels[0] == object_id).astype(np.uint8))
        seen = network.encode(to_network(pictures[1], network))
        logits, _ = network.read(seen, tracker.groups[0].memory)
        return resize(logits, labels[0].shape).softmax(dim=1)[:, 1:]

    with torch.inference_mode():
        merged = soft_aggregate(torch.cat([probability(object_id) for object_id in (1, 2, 3)], dim=1))
    assert np.array_equal(found, merged.max(dim=1).indices[0].numpy()) and set(np.unique(found)) == {0, 1, 2, 3}


def test_a_network_in_half_precision_is_refused():
    with pytest.raises(InputError, match=r"float16.*model.float\(\).*precision='bfloat16'"):
        Tracker(tiny_aot().half())


def test_groups_with_the_real_network_answer_for_every_object_and_fill_up():
    mask = tiles(7)
    frame = np.random.default_rng(0).integers(0, 256, (*mask.shape, 3)).astype(np.uint8)
    tracker = Tracker(tiny_aot())
    tracker.step(frame, np.where(mask < 7, mask, 0))
    assert tracker.step(frame).shape == mask.shape
    tracker.step(frame, np.where(mask == 7, mask, 0))
    assert [group.ids for group in tracker.groups] == [[1, 2, 3, 4, 5], [6, 7]]


def test_memory_does_not_grow_with_the_video():
    pictures, labels = squares(frames=2, size=(16, 16))
    tracker = Tracker(tiny_aot(layers=1), schedule=Schedule(every=2, at_most=4), side=16)
    tracker.step(pictures[0], labels[0])
    held = []
    for t in range(1, 60):
        tracker.step(pictures[t % 2])
        if t in (19, 59):
            gc.collect()
            tensors = sum(issubclass(type(x), torch.Tensor) for x in gc.get_objects())
            held.append((tensors, len(tracker.groups[0].memory)))
    assert held[0] == held[1] and held[0][1] <= 5


def test_one_frame_at_a_time_equals_propagate_and_needs_no_more_than_that_frame():
    pictures, labels = squares(frames=5)
    network = tiny_aot()
    tracker = Tracker(network)
    by_steps = [tracker.step(frame, labels[0] if t == 0 else None) for t, frame in enumerate(pictures)]
    whole = propagate(network, Clip(pictures, {0: labels[0], 3: labels[3]}))
    assert whole.dtype == np.uint8 and np.array_equal(whole, np.stack(by_steps))
    taken = []
    answers = track(network, (taken.append(t) or frame for t, frame in enumerate(pictures)), {0: labels[0]})
    for t, found in enumerate(answers):
        assert taken == list(range(t + 1)) and np.array_equal(found, whole[t])


def test_frames_before_the_first_mask_are_background():
    pictures, labels = squares(frames=4)
    found = propagate(tiny_aot(), Clip(pictures, {2: labels[2]}))
    assert not found[:2].any() and np.array_equal(found[2], labels[2])
    assert np.array_equal(found[2:], propagate(tiny_aot(), Clip(pictures[2:], {0: labels[2]})))


def without_object_2(*times: int) -> EveryFrameCounts:
    """A network that repeats the first masks, but for object 2 so many frames after them."""
    network = EveryFrameCounts(5, Schedule(previous=0))
    read = network.read

    def forgetful(seen, memory):
        logits, seen = read(seen, memory)
        if memory.now in times:
            logits = logits.clone()
            logits[:, 2] = -20
        return logits, seen

    network.read = forgetful
    return network


def test_an_object_that_is_lost_is_named_once_with_the_frame_it_was_last_seen_in(caplog):
    pictures, labels = squares(frames=7)
    given = {1: labels[1]}
    list(track(without_object_2(2, 5), pictures, given))
    assert [record.message for record in caplog.records] == ["Object 2 is not seen after frame 5"]
    assert caplog.records[0].levelno == logging.WARNING
    caplog.clear()
    list(track(without_object_2(3, 4), pictures, given))  # hidden for a while
    list(track(without_object_2(4, 5), pictures, given | {6: labels[6]}))  # given back
    list(track(repeater(), pictures, given))
    assert not caplog.text


def test_attention_inside_a_step_knows_its_frame():
    pictures, labels = squares(frames=3)
    tracker = Tracker(tiny_aot())
    tracker.step(pictures[0], labels[0])
    tracker.step(pictures[1])
    with record_attention("block1/*_term") as maps:
        tracker.step(pictures[2])
    assert [(m.name, m.query_frame, m.key_frames) for m in maps] == [
        ("block1/long_term", 2, (0,)),
        ("block1/short_term", 2, (1,)),
    ]
    height, width = maps[0].query_grid
    assert maps[0].look_from(0, 0).shape == (2, 1, height, width)


FRAME, MASK = np.zeros((16, 24, 3), np.uint8), np.ones((16, 24), np.uint8)


def test_the_first_frame_needs_a_mask():
    with pytest.raises(InputError, match="The first frame needs a mask"):
        Tracker(repeater()).step(FRAME)


@pytest.mark.parametrize("frame", [FRAME[..., 0], FRAME[..., :2], FRAME.astype(np.float32), FRAME[None]])
def test_frames_of_another_kind_are_refused(frame):
    with pytest.raises(InputError, match=r"got .* as the frame; expected uint8 \(H,W,3\) RGB"):
        Tracker(repeater()).step(frame, MASK)


@pytest.mark.parametrize(
    "mask",
    [MASK[:-1], np.zeros_like(MASK), np.full_like(MASK, 255), 300 * MASK.astype(np.int64), MASK[None]],
    ids=["size", "no object", "void", "large ids", "dimensions"],
)
@pytest.mark.parametrize("started", [False, True])
def test_masks_that_say_nothing_or_do_not_fit_are_refused_and_change_nothing(mask, started):
    tracker = Tracker(repeater())
    if started:
        tracker.step(FRAME, MASK)
    with pytest.raises(InputError):
        tracker.step(FRAME, mask)
    assert tracker.time == started and tracker.ids == [1] * started
    assert np.array_equal(tracker.step(FRAME, MASK), MASK)


def test_a_frame_of_another_size_than_before_is_refused():
    tracker = Tracker(repeater())
    tracker.step(FRAME, MASK)
    with pytest.raises(InputError, match=r"got frame 1 of \(16, 20\); expected \(16, 24\) as before"):
        tracker.step(FRAME[:, :20])
    assert np.array_equal(tracker.step(FRAME), MASK)


def test_arguments_of_another_kind_are_refused():
    for wrong in ({"schedule": 5}, {"schedule": Schedule}, {"side": "96"}, {"side": 9.5}, {"model": "aot_mini"}):
        with pytest.raises(InputError, match="got"):
            Tracker(**{"model": repeater()} | wrong)
    for frame, mask in ((FRAME.tolist(), MASK), (FRAME, torch.from_numpy(MASK))):
        with pytest.raises(InputError, match="got (list as the frame|Tensor as the mask); expected a NumPy array"):
            Tracker(repeater()).step(frame, mask)
    with pytest.raises(InputError, match=r"got a SyntheticClip; expected Clip\(video.frames"):
        propagate(repeater(), render(0, frames=2, size=(32, 32)))


def test_an_object_lost_at_the_working_size_is_named(caplog):
    mask = MASK.copy()
    mask[3, 3] = 7
    Tracker(repeater(), side=8).step(FRAME, mask)
    assert "Frame 0: object 7 is too small to be seen at 8 x 16 pixels" in caplog.text
    caplog.clear()
    Tracker(repeater(), side=64).step(FRAME, mask)
    assert not caplog.text


def test_a_side_below_one_patch_and_a_clip_without_masks_are_refused():
    with pytest.raises(InputError, match="got side=True; expected a whole number of pixels"):
        Tracker(repeater(), side=True)
    assert Tracker(repeater(), side=np.int64(64)).side == 64
    with pytest.raises(InputError, match="got side=4; expected 8 or more, a cell of the network"):
        Tracker(repeater(), side=4)
    with pytest.raises(InputError, match="The clip lonely has no mask"):
        propagate(repeater(), Clip(FRAME[None], name="lonely"))


def test_devices_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="got device 'abacus'; expected cuda, cuda:1, mps or cpu"):
        pick_device("abacus")
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(InputError, match=f"got device '{name}', but this machine has cpu"):
            pick_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("auto") == torch.device("cuda") and pick_device("cuda:0").index == 0
    with pytest.raises(InputError, match="got device 'cuda:1', but GPUs here end at cuda:0"):
        pick_device("cuda:1")


def test_masks_of_frames_that_the_video_lacks_are_refused():
    with pytest.raises(InputError, match=r"frames \[7\], which the video lacks"):
        list(track(repeater(), [FRAME, FRAME], {0: MASK, 7: MASK}))
    for name in ("0", -1, 0.5):
        with pytest.raises(InputError, match=r"got masks of frames \[.*\]; expected whole numbers"):
            list(track(repeater(), [FRAME], {name: MASK}))
    with pytest.raises(InputError, match="got masks as list; expected {frame number: mask}"):
        list(track(repeater(), [FRAME], [MASK]))


def test_a_frame_that_cannot_be_written_to_is_taken_without_a_warning():
    frames, labels = squares(frames=2, size=(32, 48))
    tracker = Tracker(tiny_aot())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for t, frame in enumerate(frames):
            frame.flags.writeable = labels.flags.writeable = False  # as np.asarray(pillow_image) is
            tracker.step(frame, labels[0] if t == 0 else None)


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (Image.new("RGB", (24, 16)), r'np.asarray\(picture.convert\("RGB"\)\)'),
        (torch.zeros(3, 16, 24), r"tensor.cpu\(\).numpy\(\)"),
        (FRAME.tolist(), r"np.array\(frame\)"),
    ],
    ids=["Pillow", "tensor", "list"],
)
def test_pictures_and_tensors_as_frames_or_masks_are_told_how_to_become_arrays(value, remedy):
    with pytest.raises(InputError, match=f"as the frame; expected a NumPy array, .*: {remedy}"):
        Tracker(repeater()).step(value, MASK)
    with pytest.raises(InputError, match=r"as the mask; expected a NumPy array, whole numbers \(H,W\): "):
        Tracker(repeater()).step(FRAME, value)


def test_a_mask_of_0_and_255_is_object_1_as_a_picture_of_black_and_white_is(caplog):
    mask = MASK.copy()
    mask[:, :12] = 0
    for white_on_black in (255 * mask, 255 * mask.astype(np.int64), 255.0 * mask):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            assert np.array_equal(Tracker(repeater()).step(FRAME, white_on_black), mask)
        assert "the mask has no values but 0 and 255: it is taken as white on black, object 1" in caplog.text


def test_whole_numbers_of_any_type_are_labels_and_others_are_not():
    for kind in (bool, np.int64, np.uint16, np.float32):
        assert np.array_equal(Tracker(repeater()).step(FRAME, MASK.astype(kind)), MASK)
    for wrong in (0.5 * MASK, np.nan * MASK):
        with pytest.raises(InputError, match="expected whole numbers of shape .*: cut probabilities, as in mask > 0.5"):
            Tracker(repeater()).step(FRAME, wrong)


def test_removed_objects_become_background_and_can_come_back():
    pictures, labels = squares(frames=6, ids=(3, 7, 9))
    tracker = Tracker(tiny_aot(identities=2))
    tracker.step(pictures[0], labels[0])
    with pytest.raises(InputError, match=r"got ids \[4\]; expected some of \[3, 7, 9\]"):
        tracker.remove([3, 4])
    assert tracker.ids == [3, 7, 9]
    tracker.remove(3)
    found = tracker.step(pictures[1])
    assert set(np.unique(found)) == {0, 7, 9} == {0, *tracker.confidence} and tracker.ids == [7, 9]
    tracker.remove([9])
    assert len(tracker.groups) == 1 and set(np.unique(tracker.step(pictures[2]))) == {0, 7}
    again = np.where(labels[3] == 3, 3, 0)
    tracker.step(pictures[3], again)
    assert tracker.ids == [7, 3] and 3 in tracker.step(pictures[4])
    tracker.remove([7, 3])
    assert not tracker.step(pictures[5]).any() and tracker.ids == []


@pytest.mark.parametrize("soft", [False, True])
def test_a_removed_object_is_left_out_of_what_is_memorized_of_the_others(soft):
    pictures, labels = squares(frames=3)
    network, seen = repeater(), []
    network.soft_masks = soft
    memorize = network.memorize
    network.memorize = lambda *given: seen.append(given[1]) or memorize(*given)
    tracker = Tracker(network)
    tracker.step(pictures[0], labels[0])
    tracker.remove([1])
    found = tracker.step(pictures[1])
    assert ((found == 2) == (labels[0] == 2)).mean() > 0.95 and set(np.unique(found)) == {0, 2}
    assert seen[-1].shape[1] == 3 and (seen[-1][:, 2] > 0.5).sum() > 0.9 * seen[0][:, 2].sum()
    assert soft or not seen[-1][:, 1].any()


def test_confidence_is_what_j_is_to_be_expected_and_last_seen_says_who_is_lost():
    pictures, labels = squares(frames=4)
    network = repeater()
    tracker = Tracker(network)
    tracker.step(pictures[0], labels[0])
    assert tracker.confidence == {1: 1.0, 2: 1.0} and tracker.last_seen == {1: 0, 2: 0}
    tracker.step(pictures[1])
    assert all(0.9 < value < 1 for value in tracker.confidence.values())
    read = network.read
    network.read = lambda seen, memory: (
        torch.stack([torch.zeros(40, 48), torch.linspace(-2, 3, 48).expand(40, 48), torch.full((40, 48), -9.0)])[None],
        read(seen, memory)[1],
    )
    found = tracker.step(pictures[2])
    chance = torch.linspace(-2, 3, 48).sigmoid().expand(40, 48).numpy()
    expected = chance[found == 1].sum() / ((found == 1).sum() + chance[found != 1].sum())
    assert tracker.confidence[1] == pytest.approx(expected, abs=1e-3) and 0.5 < expected < 0.9
    assert tracker.confidence[2] == 0 and tracker.last_seen == {1: 2, 2: 1}


def test_trackers_that_take_turns_or_run_in_threads_answer_as_each_alone():
    clips = [squares(number, frames=5) for number in range(3)]
    network = tiny_aot()

    def alone(number: int) -> list[np.ndarray]:
        pictures, labels = clips[number]
        return list(track(network, pictures, {0: labels[0], 3: labels[3]}))

    wanted = [alone(number) for number in range(3)]
    trackers = [Tracker(network) for _ in clips]
    for t in range(5):
        for tracker, (pictures, labels), answers in zip(trackers, clips, wanted, strict=True):
            assert np.array_equal(tracker.step(pictures[t], labels[t] if t in (0, 3) else None), answers[t])
    with ThreadPoolExecutor(3) as threads:
        assert np.array_equal(list(threads.map(alone, range(3))), wanted)


@pytest.mark.parametrize("scenario", ["plain", "crossing_lookalikes"])
def test_bfloat16_is_within_a_hundredth_of_j_on_sample_clips(scenario):
    clip = next(clip for clip in DavisDataset(samples_root(), split="scenarios") if clip.name == scenario)
    network, scores = create_model("aot_mini", "shipped"), {}
    for precision in ("float32", "bfloat16"):
        found = np.stack(list(track(network, clip.frames[:8], {0: clip.masks[0]}, precision=precision)))
        truth = np.stack([clip.masks[t] for t in range(8)])
        ids = [i for i in np.unique(truth[0]) if i not in (0, 255)]
        scores[precision] = np.mean([region_similarity(truth == i, found == i)[1:].mean() for i in ids])
        assert next(network.parameters()).dtype == torch.float32
    assert scores["float32"] > 0.5 and abs(scores["float32"] - scores["bfloat16"]) < 0.01, scores
    assert scores["float32"] != scores["bfloat16"]  # it was not float32 in both
    with pytest.raises(InputError, match="got precision='half'; expected float32 or bfloat16"):
        Tracker(network, precision="half")


def test_a_side_that_no_memory_holds_is_refused_by_its_size():
    tracker = Tracker(repeater(), side=10**9)
    with pytest.raises(InputError, match=r"frames of 1500000000x1000000000 pixels need [\d,]+ GiB of memory or more"):
        tracker.step(FRAME, MASK)
