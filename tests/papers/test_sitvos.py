"""SITVOS: its equations, where the object enters, what is computed once, and what the released network gives."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minivos import Clip, Tracker, create_model, load_official, propagate
from minivos.errors import InputError
from minivos.models import read_file
from minivos.nn.decoders import RefineDecoder
from minivos.nn.encoders import TimmEncoder, TinyMaskEncoder
from minivos.nn.memory import Memory, Schedule
from minivos.nn.recording import explicit_attention, record_attention
from minivos.sitvos import (
    SITVOS,
    Attention,
    FeatureInteraction,
    InteractiveTransformer,
    SITVOSConfig,
    Tokens,
    released_schedule,
)
from minivos.synthetic.clips import render
from reference_sitvos import inputs, labels, released_state, samples
from tiny import clip_of, filled_memory, seeded

EQUATIONS = {  # what stands at its line, and the test that holds it; see test_equations.py
    "SITVOS Eq. 1": ("attend(q", "test_attention_compares_projections_and_takes_the_mean_of_values"),
    "SITVOS Eq. 2": (
        "norm(self.last_read",
        "test_the_last_read_is_normalised_and_goes_to_the_decoder_beside_the_query",
    ),
    "SITVOS Eq. 3": ("from_query", "test_interaction_takes_in_both_directions_from_what_was_before"),
    "SITVOS Eq. 4": ("from_memory", "test_interaction_takes_in_both_directions_from_what_was_before"),
}

SMALL = SITVOSConfig(width=8, match=4, context=6, dropout=0.0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tokens(frames: int, seed: int, objects: int = 1) -> Tokens:
    return Tokens(noise(2, objects, frames, 6, 8, seed=seed), (2, 3), tuple(range(frames)))


def attention_by_hand(part: Attention, asking: Tensor, answering: Tensor, values: Tensor) -> Tensor:
    """softmax((a Wq)(b Wk)^T / sqrt(d)) v for (Na, C), (Nb, C), (Nb, C')."""
    scores = (asking @ part.query.weight.T) @ (answering @ part.key.weight.T).T / part.key.out_features**0.5
    return scores.softmax(dim=1) @ values


# the equations


@torch.no_grad()
def test_attention_compares_projections_and_takes_the_mean_of_values():
    torch.manual_seed(0)
    part, asking, answering = Attention(SMALL, "a", project_values=False), tokens(2, 1), tokens(3, 2)
    found = part(asking, answering, answering.cells)
    them = answering.cells[1].flatten(0, 2)
    for t in range(2):
        wanted = attention_by_hand(part, asking.cells[1, 0, t], them, them)
        assert torch.allclose(found[1, 0, t], wanted, atol=1e-5)


@torch.no_grad()
def test_objects_part_in_the_values_or_in_the_queries():
    torch.manual_seed(0)
    part, answering = Attention(SMALL, "a", project_values=True), tokens(3, 2)
    values = noise(2, 4, 3, 6, 8, seed=5)
    by_values = part(one := tokens(1, 1), answering, values)
    asking = tokens(1, 6, objects=4)
    by_queries = part(asking, answering, answering.cells)
    assert by_values.shape == by_queries.shape == (2, 4, 1, 6, 8)
    them = answering.cells[0].flatten(0, 2)
    for k in range(4):
        wanted = attention_by_hand(part, one.cells[0, 0, 0], them, values[0, k].flatten(0, 1) @ part.value.weight.T)
        assert torch.allclose(by_values[0, k, 0], wanted, atol=1e-5)
        wanted = attention_by_hand(part, asking.cells[0, k, 0], them, them @ part.value.weight.T)
        assert torch.allclose(by_queries[0, k, 0], wanted, atol=1e-5)


@pytest.mark.parametrize("share_norm", [True, False])
@torch.no_grad()
def test_interaction_takes_in_both_directions_from_what_was_before(share_norm):
    torch.manual_seed(0)
    part = FeatureInteraction(replace(SMALL, share_norm=share_norm))
    for norm in part.norms:
        nn.init.normal_(norm.weight)
    memory, query, marked = tokens(3, 1), tokens(1, 2), noise(2, 2, 3, 6, 8, seed=3)
    memory_out, query_out = part(memory, query, marked)
    past, now = memory.cells[1].flatten(0, 2), query.cells[1, 0, 0]
    wanted = part.norms[0](attention_by_hand(part.to_memory, past, now, now) + past)  # Eq. 3
    assert torch.allclose(memory_out.cells[1].flatten(0, 2), wanted, atol=1e-5)
    for k in range(2):  # Eq. 4
        wanted = part.norms[-1](attention_by_hand(part.to_query, now, past, marked[1, k].flatten(0, 1)) + now)
        assert torch.allclose(query_out.cells[1, k, 0], wanted, atol=1e-5)
    assert len(part.norms) == (1 if share_norm else 2)


@pytest.mark.parametrize("interaction", [True, False])
@torch.no_grad()
def test_the_last_read_is_normalised_and_goes_to_the_decoder_beside_the_query(interaction):
    torch.manual_seed(0)
    config = replace(SMALL, fim=interaction)
    part = InteractiveTransformer(config)
    memory, query, marked = tokens(3, 1), tokens(1, 2), noise(2, 2, 3, 6, 8, seed=3)
    past, now = part.memory_self(memory), part.query_self(query)
    values = marked
    if interaction:
        past, now = part.interaction(past, now, marked)
        values = past.cells.expand(-1, 2, -1, -1, -1)
    norm = part.interaction.norms[0] if interaction else part.norm
    for k in range(2):
        asks = now.cells[1, k if interaction else 0, 0]
        found = attention_by_hand(part.last_read, asks, past.cells[1].flatten(0, 2), values[1, k].flatten(0, 1))
        wanted = part.project(torch.cat([norm(found + asks), query.cells[1, 0, 0]], dim=-1))  # Eq. 2
        assert torch.allclose(part(memory, query, marked)[1, k], wanted, atol=1e-5)


@torch.no_grad()
def test_fast_and_explicit_forms_agree():
    network, (frames, masks) = seeded("sitvos_mini"), clip_of(2)
    memory = filled_memory(network, frames, masks)
    seen = network.encode(frames[:, 0])
    fast = network.read(seen, memory)[0]
    with explicit_attention():
        assert torch.allclose(network.read(seen, memory)[0], fast, atol=1e-4)


# the released network


@cache
def released_run() -> dict[str, Tensor]:
    """What the network with the released layout gives for the stored numbers' weights and inputs."""
    network = load_official(create_model("sitvos"), released_state())
    transformer, found = network.transformer, {}

    def catch(module: nn.Module, keep) -> None:
        module.register_forward_hook(lambda _, given, answer: found.update(keep(given, answer)))

    def rows(x: Tensor) -> Tensor:
        return x[0].flatten(1, 2).expand(2, -1, -1)  # (K, T*N, C)

    def volume(x: Tensor) -> Tensor:
        return rearrange(x[0], "k t (y x) c -> k c t y x", y=4).expand(2, -1, -1, -1, -1)

    catch(transformer.memory_self, lambda given, answer: {"m_sa": rows(answer.cells)})
    catch(transformer.query_self, lambda given, answer: {"q_sa": rows(answer.cells)})
    catch(
        transformer.interaction,
        lambda given, answer: {"fim_m_out": rows(answer[0].cells), "fim_q_out": rows(answer[1].cells)},
    )
    catch(transformer.project, lambda given, answer: {"t_out": rows(given[0][..., :128])})
    catch(
        transformer,
        lambda given, answer: {
            "transformer": rearrange(answer[0], "k (y x) c -> k c y x", y=4),
            "memory_keys": volume(given[0].cells),
            "memory_values": volume(given[2] / given[0].cells),
        },
    )
    upsample = nn.Upsample(scale_factor=4, mode="bilinear")
    catch(network.decoder, lambda given, answer: {"decoder": upsample(answer)})

    frames, masks = inputs()
    with torch.inference_mode():
        fine, middle, deep = network.encode(frames[:1]).features
        first = {"encoder_r4": deep[0], "encoder_r3_every8": middle[0, ::8], "encoder_r2_every8": fine[0, ::8]}
        twelfth = follow(network, frames, masks, Schedule(every=12))
        every = follow(network, frames, masks, Schedule(previous=0, every=1))
    return first | found | {"logits": every, "logits_frame3_every12": twelfth[2]}


def follow(network: SITVOS, frames: Tensor, masks: Tensor, schedule: Schedule) -> Tensor:
    """Log odds of the frames after the first, whose predicted masks go into memory as probabilities."""
    memory, answers = Memory(schedule), []
    memory.add(network.memorize(network.encode(frames[:1]), masks), 0, reference=True)
    for t in range(1, len(frames)):
        logits, seen = network.read(network.encode(frames[t : t + 1]), memory)
        memory.add(network.memorize(seen, logits.softmax(dim=1)), t)
        answers.append(logits[0])
    return torch.stack(answers)


@pytest.mark.parametrize("name", samples())
def test_every_quantity_is_the_released_one(name):
    assert samples()[name].largest_difference(released_run()[name]) < 2e-3


def test_labels_are_the_released_ones():
    logits = released_run()["logits"]
    best, second = logits.topk(2, dim=1).values.unbind(dim=1)
    differs = logits.argmax(dim=1).numpy() != labels()
    assert not (differs & ((best - second) > 1e-3).numpy()).any()


def test_the_released_layout_is_taken_whole():
    state = released_state()
    assert len(state) == 404
    buffers = r"running_mean", r"running_var", r"num_batches_tracked"
    counted = sum(v.numel() for k, v in state.items() if not k.endswith((*buffers, "Encoder.mean", "Encoder.std")))
    assert counted == 23_076_738
    network = create_model("sitvos")
    ours = sum(p.numel() for p in network.parameters())
    norms = sum(b.numel() for n, b in network.named_buffers() if n.endswith((".weight", ".bias")))
    assert ours + norms == counted


def test_checkpoints_that_do_not_fit_are_refused(tmp_path):
    network, state = create_model("sitvos"), dict(released_state())
    before = network.embed_mask.weight.clone()
    lacking = {key: value for key, value in state.items() if key != "W_K.bias"}
    for change, said in (
        (lacking, "lacks 1 of"),
        (state | {"W_Z.bias": torch.zeros(1)}, "1 unknown"),
        (state | {"W_K.bias": torch.zeros(256)}, r"embed_memory.bias has shape \(256,\)"),
        ({"W_K": 3}, "no plain state dict"),
    ):
        with pytest.raises(InputError, match=said):
            load_official(network, change)
    with pytest.raises(InputError, match="no released checkpoint for this SITVOS; there are some for aot_t.* sitvos"):
        load_official(create_model("sitvos_mini"), state)
    with pytest.raises(InputError, match="NoneType; expected the path"):
        load_official(network, None)
    with pytest.raises(InputError, match="is of another network"):
        load_official(create_model("aot_t"), state)
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(InputError, match="corrupt"):
        load_official(network, tmp_path / "cut.pth")
    with pytest.raises(InputError, match="refused"):
        torch.save({"hook": read_file}, tmp_path / "code.pth")
        load_official(network, tmp_path / "code.pth")
    assert torch.equal(network.embed_mask.weight, before)


@torch.no_grad()
def test_the_paper_to_the_letter():
    network = create_model("sitvos_paper")
    config = network.config
    assert config == SITVOSConfig.paper()
    assert (config.width, config.kernel, config.cross_values, config.skip_query) == (256, 1, True, False)
    assert len(network.transformer.interaction.norms) == 2 and network.transformer.norm is not None
    assert (network.schedule.spread, network.schedule.every, network.schedule.previous) == (7, 0, False)
    assert not [name for name in network.state_dict() if "project" in name]  # T_out goes to the decoder as it is
    assert round(sum(weight.numel() for weight in network.parameters()) / 1e6, 1) == 20.6  # the code's: 23.0
    frames, masks = clip_of(1, frames=2, size=(32, 48))
    given, last = [], []
    network.decoder.register_forward_hook(lambda _, inputs, output: given.append(inputs[0]))
    network.transformer.norm.register_forward_hook(lambda _, inputs, output: last.append(output))
    memory = filled_memory(network, frames, masks)
    assert network.read(network.encode(frames[:, 0]), memory)[0].shape == (1, 2, 32, 48)
    assert torch.equal(given[0].flatten(2).mT, last[0][0, :, 0])


# what is computed once


def test_the_backbone_sees_a_frame_once_and_objects_part_late():
    network, calls = seeded("sitvos_mini"), Counter()
    parts = {
        "backbone": network.encoder,
        "memory_self": network.transformer.memory_self,
        "query_self": network.transformer.query_self,
        "to_memory": network.transformer.interaction.to_memory,
        "to_query": network.transformer.interaction.to_query,
        "last_read": network.transformer.last_read,
    }
    maps = {}
    for name, part in parts.items():
        part.register_forward_hook(lambda _, given, answer, name=name: calls.update([name]))
    network.decoder.register_forward_hook(lambda _, given, answer: maps.update(decoder=len(given[0])))
    network.decoder.steps[-1].image.register_forward_hook(lambda _, given, answer: maps.update(skip=len(given[0])))
    clip = render(0, frames=4, size=(64, 96), objects=3)
    with record_attention() as seen:
        propagate(network, Clip(clip.frames, {0: clip.masks[0]}), side=64)
    assert calls == {"backbone": 4} | {name: 3 for name in parts if name != "backbone"}
    assert maps == {"decoder": 3, "skip": 1}
    assert all(found.weights.shape[1] == 1 for found in seen)
    shared = {"memory_self", "query_self", "memory_asks_query", "query_asks_memory"}
    about = {(found.name, found.object) for found in seen}
    assert about == {(name, None) for name in shared} | {("last_read", k) for k in (1, 2, 3)}


@torch.no_grad()
def test_the_object_enters_through_the_marked_memory_only():
    network, (frames, masks) = seeded("sitvos_mini"), clip_of(2)
    transformer, caught = network.transformer, []

    def keep(_, given, answer):
        caught.append([part.cells for part in (*given[:2], *answer)])

    transformer.interaction.register_forward_hook(keep)
    seen = network.encode(frames[:, 0])
    for given in (masks, masks.flip(-1)):
        network.read(seen, filled_memory(network, frames, given))
    for name, one, other in zip(("M_SA", "Q_SA", "M_out", "Q_out"), *caught, strict=True):
        assert torch.equal(one, other) == (name != "Q_out"), name


# behind the three verbs


@torch.no_grad()
def test_maps_know_who_looks_at_whom():
    network, (frames, masks) = seeded("sitvos_mini"), clip_of(2)
    memory, seen = filled_memory(network, frames, masks), network.encode(frames[:, 0])
    memory.now = 9
    with record_attention() as maps:
        network.read(seen, memory)
    looks = [(found.name, found.query_frame, found.key_frames) for found in maps]
    past = (0, 1, 2)
    assert sorted(looks) == sorted(
        [(name, t, keys) for t in past for name, keys in (("memory_self", past), ("memory_asks_query", (9,)))]
        + [("query_self", 9, (9,)), ("query_asks_memory", 9, past)]
        + [("last_read", 9, past)] * 2  # of either object
    )
    assert all(torch.allclose(found.weights.sum(-1), torch.ones(()), atol=1e-5) for found in maps)


def test_an_object_may_come_in_mid_video_whatever_the_memory_keeps():
    network, clip = seeded("sitvos_mini"), render(0, frames=6, size=(48, 64), objects=2)
    first, second = (np.where(clip.masks[t] == t + 1, t + 1, 0).astype(np.uint8) for t in (0, 1))
    policies = {"paper": Schedule(previous=0, spread=2), "one": Schedule(previous=0, spread=1)}
    policies |= {"first": Schedule(previous=0), "previous": Schedule(first=False), "both": Schedule()}
    for name, schedule in (policies | {"every": Schedule(every=2), "fixed": released_schedule(6, 2)}).items():
        tracker = Tracker(network, schedule, side=48)
        for frame, mask in zip(clip.frames, (first, second, *[None] * 4), strict=True):
            tracker.step(frame, mask)
        answered = {entry.present.shape[1] for entry in tracker.groups[0].memory.entries() if entry.frame > 1}
        assert tracker.ids == [1, 2] and answered <= {2}, name
        assert network.read(network.encode(torch.rand(1, 3, 48, 64)), tracker.groups[0].memory)[0].shape[1] == 3, name


@torch.no_grad()
def test_the_small_mask_encoder_starts_with_the_mask_itself():
    encoder = TinyMaskEncoder()
    encoder.start_by_copying()
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., :48] = 1
    (features,) = encoder(mask)
    assert features.shape == (1, 32, 12, 12)
    inner = features[0, 0, 2:-2]
    assert torch.allclose(inner[:, 2:5], torch.ones(8, 3), atol=1e-5) and not inner[:, 7:].any()


@torch.no_grad()
def test_the_decoder_starts_by_showing_its_first_two_channels():
    torch.manual_seed(0)
    decoder = RefineDecoder(6, (3, 5), 4)
    decoder.start_by_copying()
    shortcuts = noise(1, 3, 16, 24), noise(1, 5, 8, 12)
    x = noise(2, 6, 4, 6)
    wanted = F.interpolate(F.interpolate(x[:, :2], (8, 12), mode="bilinear"), (16, 24), mode="bilinear").relu()
    assert torch.allclose(decoder(x, shortcuts), wanted, atol=1e-5)


def test_predicted_masks_go_into_memory_as_probabilities():
    network, clip = seeded("sitvos_mini"), render(0, frames=2, size=(48, 64), objects=2)
    given, memorize = [], network.memorize
    network.memorize = lambda seen, masks: given.append(masks) or memorize(seen, masks)
    tracker = Tracker(network, side=48)
    labels = [tracker.step(clip.frames[0], clip.masks[0]), tracker.step(clip.frames[1])]
    first, second = (masks[0].numpy() for masks in given)
    assert set(np.unique(first)) == {0, 1} and np.array_equal(first.argmax(0), clip.masks[0])
    assert np.allclose(second.sum(0), 1, atol=1e-5) and 0.01 < second.max(0).min() < 0.99
    assert np.array_equal(second.argmax(0), labels[1])


def test_imagenet_weights_go_into_both_encoders(monkeypatch):
    network, loaded = create_model("sitvos"), []
    monkeypatch.setattr(TimmEncoder, "load_imagenet", lambda encoder: loaded.append(encoder))
    network.load_imagenet()
    assert loaded == [network.encoder, network.mask_encoder]


def test_fixed_numbers_of_frames():
    assert SITVOSConfig.paper().spread == 7
    assert released_schedule(70, 7).these == (0, 9, 18, 26, 35, 44, 52, 61)
    assert released_schedule(200, 40).at_most == 41
    for wrong in ((70, 0), (0, 7), (70, 2.5), ("70", 7)):
        with pytest.raises(InputError, match="expected whole numbers, 1 or more"):
            released_schedule(*wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 0}, "got width=0; expected a whole number, 2 or more"),
        ({"kernel": 2}, "kernel=2 must be odd"),
        ({"dropout": 1.0}, "dropout=1.0 must be below 1"),
        ({"dropout": "0.1"}, "got dropout='0.1'; expected a number"),
        ({"fim": "no"}, "got fim='no'; expected True or False"),
        ({"encoder": "vgg"}, "got encoder='vgg'; expected one of"),
        ({"encoder": "resnet50"}, "copy_at_start needs encoder=tiny, skip_query"),
        ({"skip_query": False}, "copy_at_start needs encoder=tiny, skip_query"),
        ({"encoder": "swin_b"}, "got encoder='swin_b'; expected one of"),
        ({"encoder": ["tiny"]}, "got encoder=.'tiny'.; expected one of"),
        ({"spread": -1}, "got spread=-1; expected a whole number, 0 or more"),
        ({"every": 3}, "every=3, spread=5: one is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        create_model("sitvos_mini", **change)
