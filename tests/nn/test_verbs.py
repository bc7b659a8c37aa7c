"""What must hold for every small network, and for those that answer object by object, like SITVOS and HST.

These remember in `entry.present` which objects each clip has.
"""

import re

import numpy as np
import pytest
import torch

from minivos import Clip, create_model, list_models, propagate, record_attention
from minivos.errors import InputError
from minivos.models import PRESETS
from minivos.nn.memory import Memory
from minivos.nn.recording import at_frame
from minivos.nn.summary import find_tensors
from minivos.video.metrics import region_similarity
from tiny import clip_of, filled_memory, seeded, squares

MINIS = [name for name in list_models() if name.endswith("_mini")]


OBJECT_BY_OBJECT = [name for name in MINIS if "present" in PRESETS[name].network.entry_type.__dataclass_fields__]


@pytest.fixture(params=OBJECT_BY_OBJECT)
def name(request) -> str:
    return request.param


@pytest.fixture
def network(name):
    return seeded(name)


@pytest.mark.parametrize("size", [(40, 56), (33, 47), (8, 9)])
@pytest.mark.parametrize("objects", [1, 12])
@torch.no_grad()
def test_any_size_and_number_of_objects(network, size, objects):
    frames, masks = clip_of(objects, size=size)
    logits, _ = network.read(network.encode(frames[:, 0]), filled_memory(network, frames, masks))
    assert logits.shape == (1, 1 + objects, *size) and logits.isfinite().all()


@torch.no_grad()
def test_answers_do_not_depend_on_the_order_of_the_objects(network):
    frames, masks = clip_of(3)
    order = torch.tensor([0, 3, 1, 2])
    seen = network.encode(frames[:, 0])
    plain = network.read(seen, filled_memory(network, frames, masks))[0]
    mixed = network.read(seen, filled_memory(network, frames, masks[:, :, order]))[0]
    assert torch.allclose(mixed, plain[:, order], atol=1e-4)


@torch.no_grad()
def test_clips_of_a_batch_do_not_mix(network):
    frames, masks = clip_of(2)
    both = torch.cat([frames, frames.flip(1)]), torch.cat([masks, masks.flip(-1)])
    together = network.read(network.encode(both[0][:, 0]), filled_memory(network, *both))[0]
    for b in range(2):
        one = [part[b : b + 1] for part in both]
        alone = network.read(network.encode(one[0][:, 0]), filled_memory(network, *one))[0]
        assert torch.allclose(together[b], alone[0], atol=1e-4)


@torch.no_grad()
def test_a_clip_with_fewer_objects_than_others_of_its_batch_is_answered_as_if_alone(network):
    frames, masks = clip_of(2)
    fewer = torch.cat([masks[:, :, :1] + masks[:, :, 2:], masks[:, :, 1:2], 0 * masks[:, :, 2:]], dim=2)

    def after_two(frames, masks):
        memory = filled_memory(network, frames[:, :1], masks)
        logits, seen = network.read(network.encode(frames[:, 1]), memory)
        memory.add(network.memorize(seen, logits.softmax(dim=1)), 1)
        return network.read(network.encode(frames[:, 2]), memory)[0]

    together = after_two(frames.repeat(2, 1, 1, 1, 1), torch.cat([masks, fewer]))[1]
    alone = after_two(frames, fewer[:, :, :2])[0]
    assert torch.allclose(together[:2].sigmoid(), alone.sigmoid(), atol=1e-4) and (together[2] < -16).all()


@torch.no_grad()
def test_a_batch_without_any_object_is_answered(network):
    frames, masks = clip_of(1)
    nothing = torch.cat([torch.ones_like(masks[:, :, :1]), torch.zeros_like(masks[:, :, 1:])], dim=2)
    assert network.read(network.encode(frames[:, 0]), filled_memory(network, frames, nothing))[0].isfinite().all()


@torch.no_grad()
def test_an_object_that_comes_later_had_an_empty_mask_before(network):
    frames, masks = clip_of(2)
    known = masks[:, 0].clone()
    known[:, 2] = 0
    memories = Memory(network.schedule_in_training), Memory(network.schedule_in_training)
    for memory, first in zip(memories, (known[:, :2], known), strict=True):
        memory.add(network.memorize(network.encode(frames[:, 0]), first), 0, reference=True)
        memory.add(network.memorize(network.encode(frames[:, 1]), masks[:, 1]), 1, reference=True)
    seen = network.encode(frames[:, 2])
    assert torch.allclose(*(network.read(seen, memory)[0] for memory in memories), atol=1e-4)


@torch.no_grad()
def test_an_entry_with_more_objects_than_later_ones_keeps_them(network):
    frames, masks = clip_of(2, frames=2)
    gone = torch.cat([masks[:, 1, :1] + masks[:, 1, 2:], masks[:, 1, 1:2], 0 * masks[:, 1, 2:]], dim=1)
    seen, answers = network.encode(frames[:, 1]), []
    for later in (gone, gone[:, :2]):
        memory = Memory(network.schedule_in_training)
        memory.add(network.memorize(network.encode(frames[:, 0]), masks[:, 0]), 0, reference=True)
        memory.add(network.memorize(seen, later), 1, reference=True)
        answers.append(network.read(seen, memory)[0])
    assert torch.allclose(*answers, atol=1e-4)


@torch.no_grad()
def test_an_object_is_there_from_the_frame_on_where_it_is_given_though_the_frame_was_read_before(network):
    frames, masks = clip_of(3, frames=2)
    logits, seen = network.read(network.encode(frames[:, 1]), filled_memory(network, frames[:, :1], masks[:, :1, :3]))
    assert network.memorize(seen, logits.softmax(dim=1)).present.tolist() == [[True, True]]
    assert network.memorize(seen, masks[:, 1]).present.tolist() == [[True, True, True]]
    nowhere = torch.cat([logits.softmax(dim=1), torch.full_like(logits[:, :1], 1e-7)], dim=1)
    assert network.memorize(seen, nowhere).present.tolist() == [[True, True, False]]


def test_the_gradient_reaches_every_parameter(network):
    frames, masks = clip_of(2, frames=2)
    memory = filled_memory(network.train(), frames, masks)
    network.read(network.encode(frames[:, 0]), memory)[0].square().sum().backward()
    assert not [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]


def test_the_untrained_small_network_copies_masks_to_what_looks_alike(name):
    if "copy_at_start" not in PRESETS[name].config.__dataclass_fields__:
        pytest.skip("it has no start by copying")

    def mean_j(seed: int, **settings: object) -> float:
        torch.manual_seed(seed)
        pictures, masks = squares(seed, frames=3, size=(96, 96))
        found = propagate(create_model(name, **settings), Clip(pictures, {0: masks[0]}), side=96)
        return np.mean([region_similarity(masks[1:] == k, found[1:] == k).mean() for k in (1, 2)])

    assert np.mean([mean_j(seed) for seed in range(6)]) > 0.25
    assert np.mean([mean_j(seed, copy_at_start=False) for seed in range(6)]) < 0.15


@pytest.mark.parametrize("name", MINIS)
@torch.no_grad()
def test_inputs_that_do_not_fit_are_refused(name):
    network, (frames, masks) = seeded(name), clip_of(1)
    seen, one = network.encode(frames[:, 0]), masks[:, 0]
    for wrong in (one[:, :1], one[:, :, :-1], one[..., 1:], one.repeat(2, 1, 1, 1), one[0], one.long()):
        with pytest.raises(InputError, match=r"for frames of \(B, H, W\) = \(1, 40, 56\)"):
            network.memorize(seen, wrong)
    for wrong in (frames, frames[0, 0], frames[:, 0, :2], (255 * frames[:, 0]).byte(), torch.zeros(3)):
        with pytest.raises(
            InputError, match=rf"frames of shape {re.escape(str(tuple(wrong.shape)))}.*RGB \(B, 3, H, W\)"
        ):
            network.encode(wrong)
    with pytest.raises(InputError, match="memory is empty"):
        network.read(seen, Memory(network.schedule))
    for other in (frames[:, 0, :, :16, :16], frames[:, 0].repeat(2, 1, 1, 1)):
        with pytest.raises(InputError, match="resize the frame, or start anew"):
            network.read(network.encode(other), filled_memory(network, frames, masks))


@torch.no_grad()
def test_frames_that_padding_makes_alike_are_told_apart(network):
    frames, masks = clip_of(1)
    with pytest.raises(InputError, match="resize the frame, or start anew"):
        network.read(network.encode(frames[:, 0, :, 1:]), filled_memory(network, frames, masks))


@pytest.mark.parametrize("name", MINIS)
@torch.no_grad()
def test_values_and_kinds_that_are_off_are_refused(name):
    network, (frames, masks) = seeded(name), clip_of(1)
    frame, one, nan = frames[:, 0], masks[:, 0], torch.full((1, 3, 40, 56), torch.nan)
    for wrong, said in [
        (255 * frame, "divide uint8 by 255"), (nan, "values nan"), (frame.double(), r"call \.float"),
        (frame.numpy(), "as ndarray; give a tensor"),
    ]:  # fmt: skip
        with pytest.raises(InputError, match=said):
            network.encode(wrong)
    seen = network.encode(frame)
    for wrong, said in [
        (255 * one, "divide 0/255 masks"),
        (one - 1, "values -1"),
        (one.double(), r"call \.float"),
        (one.numpy(), "as ndarray"),
    ]:
        with pytest.raises(InputError, match=said):
            network.memorize(seen, wrong)
    other = seeded(next(each for each in MINIS if each != name))
    memory = filled_memory(network, frames, masks)
    for wrong, came in [
        (frame, "Tensor"),
        (None, "NoneType"),
        (other.encode(frame), r"\w+Seen"),
    ]:
        said = rf"got {came}; expected {network.seen_type.__name__}: call seen = network.encode"
        with pytest.raises(InputError, match=said):
            network.memorize(wrong, one)
        with pytest.raises(InputError, match=said):
            network.read(wrong, memory)
    with pytest.raises(InputError, match="got a list as memory"):
        network.read(seen, [])
    with pytest.raises(InputError, match=r"The memory holds \w+Entry, but \w+ reads \w+Entry"):
        network.read(seen, filled_memory(other, frames, masks))


@pytest.mark.parametrize("name", MINIS)
@torch.no_grad()
def test_an_object_that_the_last_frame_lacks_is_still_answered(name):
    network, (frames, masks) = seeded(name), clip_of(2)
    memory = filled_memory(network, frames[:, :1], masks[:, :1])
    memory.add(network.memorize(network.encode(frames[:, 1]), masks[:, 1, :2]), 1, reference=True)
    assert network.read(network.encode(frames[:, 2]), memory)[0].shape[1] == 3


@pytest.mark.parametrize(
    ("name", "nearest"), [("aot_mini", "(40, 56)"), ("sst_mini", "(40, 56)"), ("aot_t", "(33, 49)")]
)
def test_frames_that_are_no_whole_cells_are_refused(name, nearest):
    with pytest.raises(InputError, match=re.escape(f"resize them to {nearest}")):
        seeded(name).encode(torch.rand(1, 3, 38, 55))


def tensors(value: object) -> list[torch.Tensor]:
    return [tensor for _, tensor in find_tensors(value)]


@pytest.mark.parametrize("name", MINIS)
@torch.no_grad()
def test_verbs_are_functions_of_their_arguments(name):
    """Whoever records them, and whatever frame the recorder thinks is being processed."""
    network, (frames, masks) = seeded(name), clip_of(2)
    memory, new = filled_memory(network, frames, masks), frames[:, 0].flip(-1)

    def call() -> dict[str, list[torch.Tensor]]:
        seen = network.encode(new)
        logits, read = network.read(seen, memory)
        return {
            "encode": tensors({"": seen}),
            "read": [logits, *tensors({"": read})],
            "memorize": tensors({"": network.memorize(seen, masks[:, 1])}),
            "memorize what was read": tensors({"": network.memorize(read, masks[:, 1])}),
        }

    plain = call()
    with at_frame(57):
        elsewhere = call()
    with at_frame(3), record_attention():
        recorded = call()
    for verb, answer in plain.items():
        assert len(answer) == len(elsewhere[verb]) == len(recorded[verb]) > 0
        assert all(map(torch.equal, answer, elsewhere[verb])), verb
        assert all(map(torch.equal, answer, recorded[verb])), verb


@pytest.mark.parametrize("name", MINIS)
@torch.no_grad()
def test_the_weights_of_some_queries_are_those_rows_of_all_and_change_no_answer(name):
    network, (frames, masks), queries = seeded(name), clip_of(2, frames=2), [(1, 2), (0, 0)]
    memory, seen = filled_memory(network, frames, masks), network.encode(frames[:, 1])
    plain = network.read(seen, memory)[0]
    with record_attention() as whole:
        network.read(seen, memory)
    with record_attention(queries=queries) as some:
        assert torch.equal(network.read(seen, memory)[0], plain)
    assert [look.name for look in some] == [look.name for look in whole] and len(some) > 0
    for few, all_of_it in zip(some, whole, strict=True):
        assert few.weights.shape[2] == 2 < all_of_it.weights.shape[2] and few.queries == tuple(queries)
        for cell in queries:
            assert torch.allclose(few.look_from(*cell), all_of_it.look_from(*cell), atol=1e-6), few
        with pytest.raises(InputError, match=r"got \[\(0, 1\)\]; expected .*recorded \[\(1, 2\), \(0, 0\)\]"):
            few.look_from(0, 1)


@pytest.mark.parametrize("name", MINIS)
@torch.no_grad()
def test_recorded_maps_are_of_the_frame_that_reads(name):
    network, (frames, masks) = seeded(name), clip_of(1)
    memory = filled_memory(network, frames, masks)
    memory.now = 11
    with record_attention() as maps:
        network.read(network.encode(frames[:, 0]), memory)
    newest = [look for look in maps if 11 in (look.query_frame, *look.key_frames)]
    assert newest and {look.query_frame for look in newest} <= {0, 1, 2, 11}
    assert maps[-1].query_frame == 11
