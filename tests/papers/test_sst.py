"""SST: positions, layers, the three verbs, any number of objects, its attention recorded, bad input."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minivos.errors import InputError
from minivos.models import create_model
from minivos.nn.encoders import ResNet101
from minivos.nn.memory import Memory, Schedule
from minivos.nn.recording import record_attention
from minivos.propagation import propagate
from minivos.sst import SST, LearnedPosition, SSTConfig, SSTLayer, connectivity, sine_position_3d, sparse_attention
from minivos.synthetic.clips import render
from minivos.tracker import Tracker
from minivos.training.loop import train
from minivos.training.recipe import Recipe
from minivos.video.clip import Clip
from minivos.video.mask_tensors import one_hot
from minivos.viewing.attention_scores import score_attention
from tiny import clip_of, filled_memory, seeded, squares

EQUATIONS = {  # what stands at its line, and the test that holds it; see test_equations.py
    "SST Eq. 1": ("self.encoder(", "test_the_network_adds_positions_to_the_cells_of_the_buffer"),
    "SST Eq. 2": ("self.place(", "test_the_network_adds_positions_to_the_cells_of_the_buffer"),
    "SST Eq. 3": (
        "for layer in self.layers",
        "test_a_layer_is_attention_then_feed_forward_each_normalised_after_its_shortcut",
    ),
    "SST Eq. 4": ("for number in", "test_affinity_is_the_strongest_link_to_an_object_s_earlier_cells"),
    "SST Eq. 5, 6": ("scaled_dot_product", "test_values_and_gradients_are_those_of_dense_attention_under_a_mask"),
    "SST Eq. 7, 10": ("for _ in range(steps)", "test_a_cell_that_differs_in_all_coordinates_is_reached_by_six_routes"),
    "SST Eq. 8, 9": ("carry_along(lines", "test_one_step_of_a_route_is_attention_without_softmax"),
}

TINY = replace(SSTConfig.mini(), width=24, heads=2, feedforward=32, h=2, decoder_width=16, short_side=32)
PATTERNS = ("dense", "grid", "local", "strided", "local_strided", "strided_heads")


def tiny_sst(seed: int = 0, **changes) -> SST:
    torch.manual_seed(seed)
    return SST(replace(TINY, **changes)).eval()


def frames_and_masks(frames: int = 4, ids=(1, 2)) -> tuple[torch.Tensor, torch.Tensor]:
    pictures, labels = squares(frames=frames, size=(32, 40), ids=ids)
    masks = one_hot(torch.from_numpy(labels).long(), max(ids))
    return torch.from_numpy(pictures).movedim(-1, 1).float() / 255, masks


def remember(network: SST, frames: torch.Tensor, masks: torch.Tensor) -> Memory:
    memory = Memory(network.schedule)
    for t, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        memory.add(network.memorize(network.encode(frame[None]), mask[None]), t, reference=t == 0)
    return memory


# positions


def test_sine_positions_by_hand():
    found = sine_position_3d(torch.tensor([0, 7]), 3, 4, 12, base=100.0)
    assert found.shape == (12, 2, 3, 4)
    for axis, place in enumerate((7, 2, 3)):
        for pair, wave in enumerate((1.0, 100**0.5)):
            sine, cosine = found[4 * axis + 2 * pair : 4 * axis + 2 * pair + 2, 1, 2, 3].tolist()
            assert (sine, cosine) == pytest.approx((np.sin(place / wave), np.cos(place / wave)), abs=1e-5)


def test_positions_tell_all_cells_apart_and_compare_by_offset():
    p = sine_position_3d(torch.arange(3), 4, 5, 12)
    assert len(p.flatten(1).T.unique(dim=0)) == 60
    assert p[:, 0, 1, 1] @ p[:, 1, 2, 3] == pytest.approx((p[:, 1, 2, 0] @ p[:, 2, 3, 2]).item())


def test_learned_positions_are_sums_of_three_vectors_and_go_on_with_the_last():
    torch.manual_seed(0)
    position = LearnedPosition(6, most=4)
    found = position(torch.tensor([1, 9]), 3, 2)
    t, y, x = position.tables
    assert found.shape == (6, 2, 3, 2)
    assert torch.allclose(found[:, 0, 2, 1], t[1] + y[2] + x[1]) and torch.allclose(
        found[:, 1, 0, 0], t[3] + y[0] + x[0]
    )


def test_the_network_adds_positions_to_the_cells_of_the_buffer():
    frames, masks = frames_and_masks()
    network = tiny_sst()
    memory, seen = remember(network, frames[:3], masks[:3]), network.encode(frames[3:])
    given = []
    network.layers[0].register_forward_pre_hook(lambda _, inputs: given.extend(inputs))
    network.read(seen, memory)
    bare = torch.stack([*(entry.cells for entry in memory.kept), seen.cells], dim=1)
    times = torch.tensor([0, 1, 2, 3])
    assert torch.allclose(given[0] - bare, sine_position_3d(times, 4, 5, 24).movedim(0, -1)[None], atol=1e-5)
    assert given[3] == (0, 1, 2, 3)


def test_without_positions_the_answer_does_not_depend_on_the_frame_numbers():
    frames, masks = frames_and_masks()
    for position, same in (("none", True), ("sine", False)):
        network = tiny_sst(position=position)
        memory, answers = remember(network, frames[:3], masks[:3]), []
        for shift in (0, 5):
            for entry in memory.kept:
                entry.frame += shift * entry.frame
            answers.append(network.read(network.encode(frames[3:]), memory)[0])
        assert torch.allclose(*answers, atol=1e-5) == same


# layers and buffer


def test_a_layer_is_attention_then_feed_forward_each_normalised_after_its_shortcut():
    torch.manual_seed(0)
    layer = SSTLayer(TINY, TINY.patterns()[0], "layer1")
    x, labels = torch.randn(2, 3, 4, 5, 24), torch.zeros(2, 3, 4, 5, dtype=torch.long)
    found, affinity = layer(x, labels, 2, (0, 1, 2), last=3)
    assert affinity.shape == (2, 2, 2, 4, 5)

    heads = []
    for half in (slice(0, 12), slice(12, 24)):
        q, k, v = (part(x)[..., half].movedim(-1, 1) for part in (layer.query, layer.key, layer.value))
        heads.append(sparse_attention(q, k, v, "local", 2, temporal="dense").movedim(1, -1))
    y = F.layer_norm(x + layer.project(torch.cat(heads, dim=-1)), (24,))
    y = F.layer_norm(y + layer.feed_forward(y), (24,))
    assert torch.allclose(found, y, atol=1e-5)
    assert torch.allclose(layer(x, labels, 2, (0, 1, 2), last=1)[0], y[:, -1:], atol=1e-5)


def test_local_strided_takes_turns_and_the_others_repeat():
    names = [type(p).__name__ for p in replace(TINY, pattern="local_strided", layers=3).patterns()]
    assert names == ["Local", "Strided", "Local"]
    assert [type(p).__name__ for p in replace(TINY, pattern="grid").patterns()] == ["Grid", "Grid"]


def test_strided_heads_come_after_local_ones_in_the_same_layer():  # Sec. 3.2
    network = tiny_sst(pattern="strided_heads")
    assert [type(layer.pattern).__name__ for layer in network.layers] == 2 * ["Local", "Strided"]
    assert [hasattr(layer, "feed_forward") for layer in network.layers] == 2 * [False, True]
    torch.manual_seed(0)
    x, labels = torch.randn(2, 3, 4, 5, 24), torch.zeros(2, 3, 4, 5, dtype=torch.long)
    local = network.layers[0]
    heads = []
    for half in (slice(0, 12), slice(12, 24)):
        q, k, v = (part(x)[..., half].movedim(-1, 1) for part in (local.query, local.key, local.value))
        heads.append(sparse_attention(q, k, v, "local", 2, temporal="dense").movedim(1, -1))
    wanted = F.layer_norm(x + local.project(torch.cat(heads, dim=-1)), (24,))
    assert torch.allclose(local(x, labels, 2, (0, 1, 2), last=3)[0], wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("pattern", "layers", "reached"),
    [("local", 1, 4), ("strided", 1, 6), ("strided", 2, 6), ("local_strided", 2, 20), ("strided_heads", 1, 20)],
)
def test_one_layer_of_strided_heads_reaches_everything(monkeypatch, pattern, layers, reached):
    network = tiny_sst(pattern=pattern, layers=layers)
    frames, masks = frames_and_masks()
    memory, seen = remember(network, frames[:3], masks[:3]), network.encode(frames[3:])
    monkeypatch.setattr(network, "decode", lambda seen, context, affinity: context)
    before, _ = network.read(seen, memory)
    memory.kept[-1].cells = memory.kept[-1].cells.clone()
    memory.kept[-1].cells[0, 0, 0] += torch.randn(24, generator=torch.Generator().manual_seed(0))
    after, _ = network.read(seen, memory)
    assert (before != after).any(dim=-1).sum() == reached


@pytest.mark.parametrize(("keep_first", "kept"), [(False, [4, 5]), (True, [0, 4, 5])])
def test_the_buffer_holds_tau_frames_and_perhaps_the_first(keep_first, kept):
    frames, masks = frames_and_masks(frames=6)
    memory = remember(tiny_sst(history=2, keep_first=keep_first), frames, masks)
    assert [entry.frame for entry in memory.kept] == kept and memory.previous is None


def test_a_cell_belongs_to_the_object_that_covers_most_of_it():
    network = tiny_sst()
    masks = torch.zeros(1, 3, 16, 16)
    masks[:, 0] = 1
    masks[:, :2, :8, :5] = torch.tensor([0.0, 1.0])[:, None, None]  # 40 of the 64 pixels of the first cell
    masks[:, [0, 2], :8, 8:11] = torch.tensor([0.0, 1.0])[:, None, None]  # 24 of those of the second
    entry = network.memorize(network.encode(torch.rand(1, 3, 16, 16)), masks)
    assert entry.labels.tolist() == [[[1, 0], [0, 0]]] and entry.objects == 3


# the network


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("position", ["sine", "learned", "none"])
def test_every_pattern_and_position_trains_every_weight(pattern, position):
    frames, masks = frames_and_masks()
    network = tiny_sst(pattern=pattern, position=position).train()
    memory = remember(network, frames[:3], masks[:3])
    logits, _ = network.read(network.encode(frames[3:]), memory)
    assert logits.shape == (1, 3, 16, 20)
    logits.square().sum().backward()
    silent = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert not silent


@pytest.mark.parametrize("objects", [1, 2, 12])
def test_any_number_of_objects_and_their_order_does_not_matter(objects):
    frames, _ = frames_and_masks()
    labels = torch.arange(20).remainder(objects + 1).view(1, 4, 5).repeat(3, 1, 1)
    masks = one_hot(labels, objects).repeat_interleave(8, 2).repeat_interleave(8, 3)
    network = tiny_sst()
    order = torch.tensor([0, *(1 + torch.randperm(objects, generator=torch.Generator().manual_seed(0)))])
    with torch.no_grad():
        logits = network.read(network.encode(frames[3:]), remember(network, frames[:3], masks))[0]
        mixed = network.read(network.encode(frames[3:]), remember(network, frames[:3], masks[:, order]))[0]
    assert logits.shape[1] == objects + 1 and torch.allclose(mixed, logits[:, order], atol=1e-4)
    assert not torch.allclose(logits[:, 0], logits[:, 1], atol=1e-3)


def test_the_decoder_hears_each_objects_affinity_and_the_largest_of_the_others(monkeypatch):
    network, told = tiny_sst(), []
    monkeypatch.setattr(network.decoder, "forward", lambda x, shortcuts: told.append(x) or x[:, :1])
    affinity = torch.rand(1, 4, 3, 4, 5)
    network.decode(network.encode(torch.rand(1, 3, 32, 40)), torch.rand(1, 4, 5, 24), affinity)
    own, others = told[0][:, 48:52], told[0][:, 52:]
    assert torch.equal(own, affinity[0].movedim(1, 0))
    for number, rest in enumerate(([1, 2], [0, 2], [0, 1])):
        assert torch.equal(others[number], affinity[0][:, rest].amax(dim=1))


def test_the_decoder_hears_of_objects_by_affinity_only():
    frames, masks = frames_and_masks()
    network = tiny_sst()
    memory = remember(network, frames[:3], masks[:3])
    with torch.no_grad():
        before = network.read(network.encode(frames[3:]), memory)[0]
        for entry in memory.kept:
            entry.labels = torch.full_like(entry.labels, -1)
        after = network.read(network.encode(frames[3:]), memory)[0]
    assert torch.allclose(after[:, 0], after[:, 1], atol=1e-5) and not torch.allclose(before, after, atol=1e-3)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_its_attention_is_recorded_and_drawn_and_scored_like_any_other(pattern):
    network = tiny_sst(pattern=pattern)
    clip = render(0, frames=5, size=(96, 144))
    tracker = Tracker(network)
    tracker.step(clip.frames[0], clip.masks[0])
    tracker.step(clip.frames[1])
    with record_attention() as maps:
        tracker.step(clip.frames[2])
    assert [m.name for m in maps][:2] == ["layer1", "layer2"]
    look = maps.find("layer2")
    assert look.key_frames == (0, 1, 2) and look.query_frame == 2 and look.key_grid == (3, 4, 6)
    assert torch.allclose(look.dense().sum(-1), torch.ones(1, 2, 24), atol=1e-5)
    assert look.look_from(1, 1).shape == (2, 3, 4, 6)
    assert [score.name for score in score_attention(network, clip, side=96)] == [m.name for m in maps]


def test_recording_changes_no_answer():
    frames, masks = frames_and_masks()
    network = tiny_sst()
    memory, seen = remember(network, frames[:3], masks[:3]), network.encode(frames[3:])
    with record_attention():
        recorded = network.read(seen, memory)[0]
    assert torch.equal(recorded, network.read(seen, memory)[0])


def test_it_follows_objects_through_a_clip_of_any_size():
    pictures, labels = squares(frames=4, size=(50, 71), ids=(3, 7))
    found = propagate(tiny_sst(), Clip(frames=pictures, masks={0: labels[0]}, name="squares"))
    assert found.shape == labels.shape and set(np.unique(found)) <= {0, 3, 7}


def test_it_learns_in_the_common_loop():
    torch.manual_seed(0)
    recipe = Recipe(steps=70, batch=2, frames=3, side=32, objects=2, pool=0, learning_rate=5e-3, hardest=1.0)
    history = train(SST(TINY), recipe, make_clip=lambda number: squares(number % 2, frames=3, size=(32, 32)))
    assert history[0]["J"] < 0.2 and history[-1]["J"] > 0.4


# presets and bad input


def test_presets():
    mini, full = create_model("sst_mini"), SSTConfig()
    assert sum(p.numel() for p in mini.parameters()) < 1_500_000 and mini.config.pattern == "local"
    assert (full.encoder, full.history, full.heads, full.scale) == ("resnet101", 2, 8, False)
    assert create_model("sst_mini", pattern="grid").config.pattern == "grid"


def test_resnet_101_stays_at_stride_16():
    with torch.inference_mode():
        features = ResNet101().eval()(torch.rand(1, 3, 64, 96))
    shapes = [(256, 16, 24), (512, 8, 12), (1024, 4, 6), (2048, 4, 6)]
    assert [tuple(f.shape[1:]) for f in features] == shapes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"history": 0}, "history"),
        ({"h": 0}, "h=0"),
        ({"width": 40}, "width=40 must be a multiple of 6 and of heads=4"),
        ({"heads": 0}, "got heads=0; expected a whole number, 1 or more"),
        ({"width": 0}, "width=0"),
        ({"feedforward": 0}, "feedforward=0"),
        ({"decoder_width": 0}, "decoder_width=0"),
        ({"layers": "2"}, "layers='2'"),
        ({"history": 1.5}, "history=1.5"),
        ({"h": 2.5}, "h=2.5"),
        ({"affinity": "colour"}, "got affinity='colour'; expected one of"),
        ({"position": "map"}, "got position='map'; expected one of"),
        ({"pattern": "star"}, "got pattern='star'; expected one of dense, grid, local, strided, local_strided, str"),
        ({"pattern": "local_strided", "layers": 1}, "one layer of local_strided is local only: use 2"),
        ({"encoder": "eye"}, "got encoder='eye'; expected one of"),
        ({"decoder_width": 20}, "decoder_width"),
        ({"temporal": "often"}, "temporal"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        create_model("sst_mini", **change)


@pytest.mark.parametrize("pattern", ["local", "strided"])
def test_a_window_larger_than_the_grid_is_refused(pattern):
    frames, masks = frames_and_masks()
    network = tiny_sst(pattern=pattern, h=100)
    memory = remember(network, frames[:1], masks[:1])
    with pytest.raises(InputError, match="got h=100 for a video of"):
        network.read(network.encode(frames[1:2]), memory)


def test_patterns_without_window_do_not_mind_h():
    frames, masks = frames_and_masks()
    for pattern in ("grid", "dense"):
        network = tiny_sst(pattern=pattern, h=100)
        network.read(network.encode(frames[1:2]), remember(network, frames[:1], masks[:1]))
        assert connectivity(pattern, (2, 3, 4), (0, 0, 0), h=100) == connectivity(pattern, (2, 3, 4), (0, 0, 0))


def test_an_empty_memory_is_refused():
    network = tiny_sst()
    with pytest.raises(InputError, match="memory is empty"):
        network.read(network.encode(torch.rand(1, 3, 32, 32)), Memory(network.schedule))


@torch.no_grad()
def test_the_previous_frame_is_read_where_the_schedule_holds_it_apart():
    network, (frames, masks) = seeded("sst_mini"), clip_of(2, frames=4)
    seen = network.encode(frames[:, 0])
    apart = filled_memory(network, frames, masks, Schedule(first=False, every=2))
    kept = filled_memory(network, frames, masks, Schedule(first=False, every=2, last=1))
    assert [entry.frame for entry in apart.kept] == [0, 2] and apart.previous.frame == 3
    assert torch.equal(network.read(seen, apart)[0], network.read(seen, kept)[0])


@torch.no_grad()
def test_the_current_frame_keeps_its_number_though_the_previous_one_is_not_in_memory():
    network, (frames, masks) = seeded("sst_mini"), clip_of(2, frames=1)
    memory = filled_memory(network, frames, masks)
    memory.now = 7
    with record_attention() as maps:
        network.read(network.encode(frames[:, 0]), memory)
    assert {(look.query_frame, look.key_frames) for look in maps} == {(7, (0, 7))}
