"""AOT: the identity bank, the attentions, the network, and the encoder and decoder that it is made of."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minivos.aot import (
    AOT,
    AOTConfig,
    FeedForward,
    IdentityBank,
    KeysValues,
    LongTermAttention,
    ShortTermAttention,
    start_near,
    start_with_orthogonal_identities,
)
from minivos.errors import InputError
from minivos.models import create_model
from minivos.nn.attention import window_index
from minivos.nn.decoders import FPNDecoder
from minivos.nn.encoders import TinyEncoder
from minivos.nn.memory import Memory
from minivos.nn.recording import at_frame, record_attention
from minivos.video.mask_tensors import one_hot
from tiny import squares, tiny_aot, unfolded_window

EQUATIONS = {  # what stands at its line, and the test that holds it; see test_equations.py
    "AOT Eq. 1": ("if len(scores) > 1", "test_groups_of_one_object_are_a_pass_per_object_merged_by_soft_aggregation"),
    "AOT Eq. 2": ("dropout(weights", "test_attention_is_the_weighted_mean_of_the_values"),
    "AOT Eq. 3": ("self.embed", "test_the_identity_embedding_is_masks_times_assignment_times_bank"),
    "AOT Eq. 4": ("self.value(content", "test_values_carry_the_identities_of_their_cells"),
    "AOT Eq. 5": ("einsum(assignment, logits", "test_read_selects_the_logits_of_the_assigned_identities"),
    "AOT Eq. 6": ("attend(q, k, v", "test_long_term_attention_reads_all_kept_frames"),
    "AOT Eq. 7": ("attend_window", "test_short_term_attention_equals_a_loop_over_cells_and_offsets"),
}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def frames_and_masks(objects: int = 2, frames: int = 3, size=(32, 40)) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames (T, 3, H, W) in [0, 1] and masks (T, 1+K, H, W)."""
    pictures, labels = squares(frames=frames, size=size, ids=range(1, objects + 1))
    return torch.from_numpy(pictures).movedim(-1, 1) / 255, one_hot(torch.from_numpy(labels), objects)


# The identity bank


def test_the_identity_embedding_is_masks_times_assignment_times_bank():
    bank = IdentityBank(identities=4, width=32, patch=2)
    torch.nn.init.normal_(bank.embed.weight)
    torch.nn.init.normal_(bank.embed.bias)
    masks = torch.rand(1, 3, 4, 6)
    assignment = torch.zeros(1, 3, 5)
    for row, identity in enumerate((0, 4, 2)):
        assignment[0, row, identity] = 1
    pixels = masks[0].reshape(3, 2, 2, 3, 2).permute(1, 3, 0, 2, 4)  # (y, x, 1+K, 2, 2), patch by patch
    for y in range(2):
        for x in range(3):
            wanted = bank.embed.bias.clone()
            for i in range(2):
                for j in range(2):
                    wanted += pixels[y, x, :, i, j] @ assignment[0] @ bank.embed.weight[:, :, i, j].T  # Y P D
            assert torch.allclose(bank(masks, assignment)[0, 3 * y + x], wanted, atol=1e-5)


def test_a_patch_that_one_object_fills_gets_its_vector_and_half_a_patch_half():
    bank = IdentityBank(identities=3, width=32, patch=4)
    start_with_orthogonal_identities(bank)
    masks = torch.zeros(1, 3, 4, 8)
    masks[0, 2, :, :4] = 1
    masks[0, 0, :, 4:6] = masks[0, 1, :, 6:] = 1
    embedding = bank(masks, bank.assign(1, 2, shuffle=False, device=masks.device))[0]
    vectors = bank.vectors()
    assert torch.allclose(embedding[0], vectors[2], atol=1e-5)
    assert torch.allclose(embedding[1], (vectors[0] + vectors[1]) / 2, atol=1e-5)
    assert torch.allclose(vectors @ vectors.T, 32 * torch.eye(4), atol=1e-4)  # orthogonal to start with


def test_assignment_without_shuffling_goes_in_order():
    assignment = IdentityBank(4, 32, 2).assign(2, 3, shuffle=False, device=torch.device("cpu"))
    assert torch.equal(assignment, torch.eye(5)[:4].expand(2, 4, 5))


def test_shuffled_assignment_gives_each_object_an_identity_of_its_own_and_spares_the_background():
    torch.manual_seed(0)
    assignment = IdentityBank(5, 32, 2).assign(200, 3, shuffle=True, device=torch.device("cpu"))
    assert assignment.shape == (200, 4, 6)
    assert (assignment.sum(2) == 1).all() and (assignment.sum(1) <= 1).all()
    assert (assignment[:, 0, 0] == 1).all()
    assert (assignment[:, 1:, 1:].sum(0) > 20).all()  # every object meets every identity; 40 each on average


def test_more_objects_than_identities_are_refused():
    with pytest.raises(InputError, match="got 6 objects; expected 5 at most: use minivos.Tracker"):
        IdentityBank(5, 32, 2).assign(1, 6, shuffle=False, device=torch.device("cpu"))


@pytest.mark.parametrize(("training", "shuffle", "shuffled"), [(True, True, 1), (False, True, 0), (True, False, 0)])
def test_identities_are_shuffled_in_training_only(training, shuffle, shuffled):
    network = tiny_aot(shuffle_identities=shuffle).train(training)
    frames, masks = frames_and_masks(frames=1)
    with torch.no_grad():
        seen = network.encode(frames)
        entries = [network.memorize(seen, masks) for _ in range(6)]
    in_order = torch.eye(6)[None, :3]
    assert any(not torch.equal(entry.assignment, in_order) for entry in entries) == shuffled


@torch.no_grad()
def test_logits_do_not_depend_on_the_order_of_the_objects():
    network, swap = tiny_aot(), torch.tensor([0, 2, 1])
    frames, masks = frames_and_masks()

    def follow(order: torch.Tensor) -> torch.Tensor:
        """Logits of the second frame, with objects and identities both in this order."""
        network.identity_bank.assign = lambda batch, objects, shuffle, device: torch.eye(6)[None, order]
        memory = Memory(network.schedule)
        memory.add(network.memorize(network.encode(frames[:1]), masks[:1, order]), 0, reference=True)
        return network.read(network.encode(frames[1:2]), memory)[0]

    in_order = follow(torch.arange(3))
    assert torch.allclose(follow(swap)[:, swap], in_order, atol=1e-5)
    assert not torch.allclose(in_order[:, swap], in_order, atol=1e-3)


# Attention


def test_long_term_attention_reads_all_kept_frames():
    torch.manual_seed(0)
    attention = LongTermAttention(width=8, heads=2)
    q, k, v = noise(1, 4, 8), noise(1, 12, 8, seed=1), noise(1, 12, 8, seed=2)
    heads = []
    for h in (slice(0, 4), slice(4, 8)):
        heads.append((q[..., h] @ k[..., h].mT / 2).softmax(-1) @ v[..., h])
    wanted = attention.project(torch.cat(heads, dim=-1))
    found = attention(q, KeysValues(k, v, (3, 2, 2), (0, 1, 2)))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_windows_of_a_second_frame_follow_those_of_the_first():
    first, both = window_index((2, 3), 3), window_index((2, 3), 3, frames=2)
    assert torch.equal(both, torch.cat([first, torch.where(first < 0, -1, first + 6)], dim=1))


def test_window_index_by_hand():
    assert window_index((2, 3), 3).tolist() == [
        [-1, -1, -1, -1, 0, 1, -1, 3, 4],
        [-1, -1, -1, 0, 1, 2, 3, 4, 5],
        [-1, -1, -1, 1, 2, -1, 4, 5, -1],
        [-1, 0, 1, -1, 3, 4, -1, -1, -1],
        [0, 1, 2, 3, 4, 5, -1, -1, -1],
        [1, 2, -1, 4, 5, -1, -1, -1, -1],
    ]


def short_term(window: int, relative: bool = True) -> ShortTermAttention:
    torch.manual_seed(0)
    attention = ShortTermAttention(width=8, heads=2, window=window, relative=relative)
    for weight in attention.parameters():
        torch.nn.init.normal_(weight)
    return attention


def queries_keys_values(grid: tuple[int, int], frames: int) -> tuple[torch.Tensor, ...]:
    """q (2, N, 8), and k and v (2, T*N, 8)."""
    cells = grid[0] * grid[1]
    return tuple(noise(2, times * cells, 8, seed=seed) for seed, times in enumerate((1, frames, frames)))


def one_cell_by_hand(attention: ShortTermAttention, q, k, v, cell: tuple[int, int], head: int) -> torch.Tensor:
    """What one cell takes from its windows: loops over frames and offsets. q (H, W, C), k, v (T, H, W, C)."""
    height, width, _ = q.shape
    r, channels = attention.window // 2, slice(4 * head, 4 * head + 4)
    query, scores, values = q[cell][channels], [], []
    kernel, bias = attention.relative_score.weight[:, :, 0, 0], attention.relative_score.bias
    for t, offset in product(range(len(k)), range(attention.window**2)):
        y, x = cell[0] + offset // attention.window - r, cell[1] + offset % attention.window - r
        if 0 <= y < height and 0 <= x < width:
            row = head * attention.window**2 + offset
            scores.append(query @ k[t, y, x, channels] / 2)
            values.append(v[t, y, x, channels])
            if attention.relative:
                scores[-1] = scores[-1] + kernel[row] @ query + bias[row]
                values[-1] = values[-1] + attention.relative_value[head, :, offset]
    return torch.stack(scores).softmax(0) @ torch.stack(values)


@pytest.mark.parametrize(
    ("grid", "window", "frames", "relative"),
    [
        ((5, 6), 3, 1, True),
        ((4, 3), 5, 1, True),
        ((1, 2), 5, 1, True),
        ((2, 1), 3, 1, True),
        ((1, 1), 7, 1, True),
        ((5, 6), 3, 2, True),
        ((3, 2), 5, 3, True),
        ((4, 3), 3, 1, False),
        ((4, 3), 3, 2, False),
    ],
)
@torch.no_grad()
def test_short_term_attention_equals_a_loop_over_cells_and_offsets(grid, window, frames, relative):
    attention = short_term(window, relative)
    q, k, v = queries_keys_values(grid, frames)
    found = attention(q, KeysValues(k, v, (frames, *grid)))
    maps = q[1].unflatten(0, grid), *(x[1].unflatten(0, (frames, *grid)) for x in (k, v))
    for y in range(grid[0]):
        for x in range(grid[1]):
            heads = [one_cell_by_hand(attention, *maps, (y, x), head) for head in range(2)]
            wanted = attention.project(torch.cat(heads))
            assert torch.allclose(found[1, y * grid[1] + x], wanted, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize(
    ("grid", "window"), [((5, 6), 3), ((4, 3), 5), ((1, 2), 5), ((1, 1), 7), ((9, 16), 15), ((17, 24), 9), ((3, 9), 5)]
)
def test_both_forms_of_short_term_attention_agree_in_outputs_and_gradients(grid, window, frames):
    attention = short_term(window)
    q, k, v = inputs = [part.requires_grad_() for part in queries_keys_values(grid, frames)]
    wanted = [*inputs, *attention.parameters()]
    previous = KeysValues(k, v, (frames, *grid))
    fast = attention(q, previous)
    slow = unfolded_window(attention, q, previous)
    assert torch.allclose(fast, slow, atol=1e-5)
    direction = noise(*fast.shape, seed=9)
    for one, other in zip(*(torch.autograd.grad(out, wanted, direction) for out in (fast, slow)), strict=True):
        assert torch.allclose(one, other, atol=1e-5 * max(1, other.abs().max().item()))


@torch.no_grad()
def test_a_frame_twice_is_as_a_frame_once_and_other_frames_are_not():
    attention, grid = short_term(window=3), (4, 5)
    q, k, v = queries_keys_values(grid, frames=2)
    once = attention(q, KeysValues(k[:, :20], v[:, :20], (1, *grid)))
    twice = attention(q, KeysValues(k[:, :20].repeat(1, 2, 1), v[:, :20].repeat(1, 2, 1), (2, *grid)))
    assert torch.allclose(once, twice, atol=1e-5)
    assert not torch.allclose(once, attention(q, KeysValues(k, v, (2, *grid))), atol=0.1)


@pytest.mark.parametrize("numbers", [(5,), (4, 5)])
@torch.no_grad()
def test_recorded_short_term_weights_reproduce_the_output(numbers):
    attention, grid, frames = short_term(window=3), (3, 4), len(numbers)
    q, k, v = queries_keys_values(grid, frames)
    with record_attention() as maps, at_frame(6):
        out = attention(q, KeysValues(k, v, (frames, *grid), numbers))
    (found,) = maps
    assert (found.key_frames, found.query_frame, found.weights.shape) == (numbers, 6, (2, 2, 12, 9 * frames))
    assert torch.equal(found.index, window_index(grid, 3, frames))
    assert (found.weights[..., found.index < 0] == 0).all()
    assert torch.allclose(found.weights.sum(-1), torch.ones(2, 2, 12), atol=1e-6)
    from_cells = found.dense() @ v.unflatten(-1, (2, 4)).transpose(1, 2)  # (B, heads, N, C/heads)
    by_offset = found.weights.unflatten(-1, (frames, 9)).sum(dim=-2)
    both = (from_cells + by_offset @ attention.relative_value.mT).transpose(1, 2).flatten(2)
    assert torch.allclose(attention.project(both), out, atol=1e-4)


@torch.no_grad()
def test_short_term_attention_starts_near():
    attention = ShortTermAttention(width=8, heads=2, window=5)
    torch.nn.init.zeros_(attention.relative_score.weight)
    start_near(attention)
    zeros = torch.zeros(1, 25, 8)
    with record_attention() as maps:
        attention(zeros, KeysValues(zeros, zeros, (1, 5, 5)))
    seen = maps[0].look_from(2, 2)[0, 0]
    assert torch.isclose(seen[2, 3] / seen[2, 2], torch.tensor(2**-1.5))
    assert torch.isclose(seen[0, 4] / seen[2, 2], torch.tensor(9**-1.5))


def test_the_feed_forward_mixes_cells_within_its_kernel_after_norm_and_gelu():
    torch.manual_seed(0)
    layer, x, grid = FeedForward(width=8, inner=32), noise(2, 12, 8), (3, 4)
    hidden = layer.norm(layer.expand(x).mT.unflatten(2, grid))
    wanted = layer.shrink(F.conv2d(F.gelu(hidden), layer.mix.weight, padding=2, groups=32).flatten(2).mT)
    assert torch.allclose(layer(x, grid), wanted, atol=1e-5)


# The network


@torch.no_grad()
def test_a_reference_frame_reads_itself():
    network = tiny_aot()
    frames, masks = frames_and_masks(frames=1)
    with record_attention("*_term") as as_reference:
        entry = network.memorize(network.encode(frames), masks)
    memory = Memory(network.schedule)
    memory.add(entry, 0, reference=True)
    memory.now = 0
    with record_attention("*_term") as as_read:
        _, seen = network.read(network.encode(frames), memory)
    for trace, kept in zip(seen.traces, entry.blocks, strict=True):
        assert torch.allclose(trace.keys, kept.keys, atol=1e-5)
    for a, b in zip(as_reference, as_read, strict=True):
        assert a.name == b.name and torch.allclose(a.weights, b.weights, atol=1e-5)
        assert a.key_frames == (a.query_frame,) and b.key_frames == (0,)
    again = network.memorize(seen, masks)
    for a, b in zip(again.blocks, entry.blocks, strict=True):
        assert torch.allclose(a.values, b.values, atol=1e-5)


@torch.no_grad()
def test_values_carry_the_identities_of_their_cells():
    block = tiny_aot().lstt.blocks[0]
    content, identity = noise(1, 4, 32), noise(1, 4, 32, seed=1)
    wanted = (content + identity) @ block.value.weight.T + block.value.bias
    assert torch.allclose(block.values_of(content, identity), wanted, atol=1e-5)


@torch.no_grad()
def test_read_selects_the_logits_of_the_assigned_identities():
    network = tiny_aot()
    frames, masks = frames_and_masks(frames=2)
    shown = []
    network.decoder.register_forward_hook(lambda module, inputs, output: shown.append(output))
    network.identity_bank.assign = lambda *_: torch.eye(6)[None, [0, 4, 2]]
    memory = Memory(network.schedule)
    memory.add(network.memorize(network.encode(frames[:1]), masks[:1]), 0, reference=True)
    logits, seen = network.read(network.encode(frames[1:]), memory)
    assert logits.shape == (1, 3, 16, 20) and shown[0].shape == (1, 6, 16, 20)
    assert torch.equal(logits, shown[0][:, [0, 4, 2]])
    assert torch.equal(network.memorize(seen, masks[1:]).assignment, torch.eye(6)[None, [0, 4, 2]])


@torch.no_grad()
def test_long_term_attention_sees_all_kept_frames_and_short_term_the_previous_one():
    network = tiny_aot(every=2)
    frames, masks = frames_and_masks(frames=6)
    memory = Memory(network.schedule)
    memory.add(network.memorize(network.encode(frames[:1]), masks[:1]), 0, reference=True)
    for t in range(1, 6):
        with record_attention() as maps, at_frame(t):
            _, seen = network.read(network.encode(frames[t : t + 1]), memory)
        memory.add(network.memorize(seen, masks[t : t + 1]), t)
    assert [m.name for m in maps] == [
        f"block{i}/{kind}" for i in (1, 2) for kind in ("self", "long_term", "short_term")
    ]
    assert [m.key_frames for m in maps] == 2 * [(5,), (0, 2, 4), (4,)]
    assert maps.find("block2/long_term").weights.shape == (1, 2, 20, 60)
    assert maps.find("block2/long_term").key_grid == (3, 4, 5)
    assert len(memory) == 4  # frames 0, 2 and 4, and the previous one


def key_frames(network: AOT, frames: int) -> dict[str, tuple[int, ...]]:
    """Whom the first block looks at in the last of so many frames, by the name of the attention."""
    pictures, masks = frames_and_masks(frames=frames)
    memory = network.new_memory()
    memory.add(network.memorize(network.encode(pictures[:1]), masks[:1]), 0, reference=True)
    for t in range(1, frames):
        with record_attention("block1/*") as maps:
            _, seen = network.read(network.encode(pictures[t : t + 1]), memory)
        memory.add(network.memorize(seen, masks[t : t + 1]), t)
    return {look.name.removeprefix("block1/"): look.key_frames for look in maps}


@torch.no_grad()
def test_short_term_attention_looks_at_as_many_previous_frames_as_there_are():  # Table 3c
    network = tiny_aot(every=4, previous_frames=3)
    for frames, previous in ((2, (0,)), (3, (0, 1)), (4, (0, 1, 2)), (7, (3, 4, 5))):
        assert key_frames(network, frames)["short_term"] == previous
    assert key_frames(network, 7)["long_term"] == (0, 4)


def test_a_window_of_zero_takes_short_term_attention_out():  # Table 3b
    network = tiny_aot(window=0, previous_frames=2)
    assert not [name for name, _ in network.named_parameters() if "short_term" in name]
    assert key_frames(network, 4) == {"self": (3,), "long_term": (0,)}
    frames, masks = frames_and_masks()
    memory = network.train().new_memory()
    memory.add(network.memorize(network.encode(frames[:1]), masks[:1]), 0, reference=True)
    logits, _ = network.read(network.encode(frames[1:2]), memory)
    logits.square().sum().backward()
    assert all(weight.grad is not None for weight in network.lstt.parameters())


@torch.no_grad()
def test_without_window_long_term_attention_starts_at_full_strength():
    strength = {window: tiny_aot(window=window).lstt.blocks[0].long_term.project.weight.trace() for window in (0, 3)}
    assert strength[0].round() == 32 and strength[3].round() == 8  # beside short-term attention: a quarter


@pytest.mark.parametrize("sine", [True, False])
@torch.no_grad()
def test_without_sine_positions_self_attention_sees_a_set(sine):  # Table 3e
    attention = tiny_aot(sine=sine).lstt.blocks[0].self_attention
    x, order = noise(1, 20, 32), torch.randperm(20, generator=torch.Generator().manual_seed(0))
    shuffled = attention(x[:, order], (4, 5))
    assert torch.allclose(shuffled, attention(x, (4, 5))[:, order], atol=1e-5) != sine


@pytest.mark.parametrize("relative", [True, False])
@torch.no_grad()
def test_without_relative_positions_all_offsets_are_alike(relative):  # Table 3e
    attention = tiny_aot(relative=relative).lstt.blocks[0].short_term
    torch.nn.init.normal_(attention.relative_value)
    zeros, v = torch.zeros(1, 20, 32), noise(1, 20, 32)
    answer = attention(zeros, KeysValues(zeros, v, (1, 4, 5)))[0].unflatten(0, (4, 5))
    mean = attention.project(v[0].unflatten(0, (4, 5))[1:4, 1:4].mean(dim=(0, 1)))
    assert torch.allclose(answer[2, 2], mean, atol=1e-5) != relative


@torch.no_grad()
def test_the_defaults_are_those_of_the_paper():
    for config in (AOTConfig(), AOTConfig.mini()):
        assert (config.previous_frames, config.sine, config.relative) == (1, True, True)
    with pytest.raises(InputError, match="window=4 must be odd, or 0"):
        replace(AOTConfig(), window=4)
    with pytest.raises(InputError, match="got previous_frames=0; expected a whole number, 1 or more"):
        replace(AOTConfig(), previous_frames=0)


@torch.no_grad()
def test_an_empty_memory_cannot_be_read():
    network = tiny_aot()
    frames, _ = frames_and_masks(frames=1)
    with pytest.raises(InputError, match="memory is empty.*memorize a frame"):
        network.read(network.encode(frames), Memory(network.schedule))


@torch.no_grad()
def test_clips_of_a_batch_do_not_mix():
    network = tiny_aot()
    frames, masks = frames_and_masks(frames=3)

    def follow(first: torch.Tensor) -> torch.Tensor:
        memory = Memory(network.schedule)
        memory.add(network.memorize(network.encode(frames[first]), masks[first]), 0, reference=True)
        return network.read(network.encode(frames[first + 1]), memory)[0]

    together = follow(torch.tensor([0, 1]))
    assert torch.allclose(together[0], follow(torch.tensor([0]))[0], atol=1e-5)
    assert torch.allclose(together[1], follow(torch.tensor([1]))[0], atol=1e-5)


def test_the_mini_preset_is_small():
    with torch.device("meta"):
        network = AOT(AOTConfig.mini())
    assert sum(weight.numel() for weight in network.parameters()) <= 1_500_000
    assert (network.sizing.stride, network.max_objects) == (8, 10)


@torch.no_grad()
def test_untrained_networks_repeat_the_mask():
    frames, masks = frames_and_masks(objects=1, frames=1, size=(96, 96))
    scores = []
    for seed in range(4):
        torch.manual_seed(seed)
        network = AOT(AOTConfig.mini()).eval()
        memory = Memory(network.schedule)
        memory.add(network.memorize(network.encode(frames), masks), 0, reference=True)
        logits, _ = network.read(network.encode(frames), memory)
        found = F.interpolate(logits, (96, 96), mode="bilinear").argmax(1) == 1
        scores.append(((found & (masks[:, 1] == 1)).sum() / (found | (masks[:, 1] == 1)).sum()).item())
    assert sum(scores) / 4 > 0.3, scores  # one draw of the weights may be unlucky


def test_the_gradient_reaches_every_parameter():
    network = tiny_aot().train()
    frames, masks = frames_and_masks(frames=3)
    memory, loss = Memory(network.schedule), 0
    memory.add(network.memorize(network.encode(frames[:1]), masks[:1]), 0, reference=True)
    for t in (1, 2):
        logits, seen = network.read(network.encode(frames[t : t + 1]), memory)
        loss = loss + F.cross_entropy(logits, F.max_pool2d(masks[t : t + 1], 2).argmax(1))
        memory.add(network.memorize(seen, masks[t : t + 1]), t)
    loss.backward()
    size = {name: 0.0 if p.grad is None else p.grad.abs().max().item() for name, p in network.named_parameters()}
    largest = max(size.values())
    unmoved = {name for name, gradient in size.items() if gradient < 1e-7 * largest}
    # softmax does not see what is added to all keys alike
    assert unmoved == {f"lstt.blocks.{i}.self_attention.key.bias" for i in range(2)}


# Encoder and decoder


def test_the_encoder_gives_three_scales_and_starts_blocks_as_the_identity():
    encoder = TinyEncoder()
    features = encoder(noise(2, 3, 32, 48))
    assert [tuple(f.shape) for f in features] == [(2, 16, 16, 24), (2, 48, 8, 12), (2, 96, 4, 6)]
    block, x = encoder.stages[0][-1], noise(1, 16, 4, 4)
    assert torch.equal(block(x), x.relu())


@pytest.mark.parametrize("size", [(8, 8), (16, 24)])
def test_the_decoder_answers_at_the_finest_scale(size):
    h, w = size
    decoder = FPNDecoder(channels_in=8, shortcuts=(16, 24, 32), width=32, channels_out=6, align_corners=False)
    features = [noise(2, c, h // s, w // s) for c, s in ((16, 2), (24, 4), (32, 8))]
    assert decoder(noise(2, 8, h // 8, w // 8), features).shape == (2, 6, h // 2, w // 2)


@torch.no_grad()
def test_a_decoder_that_starts_by_copying_shows_the_vectors_it_was_given():
    decoder = FPNDecoder(channels_in=40, shortcuts=(16, 16, 16), width=32, channels_out=6, align_corners=False)
    vectors = torch.linalg.qr(noise(32, 6))[0].T * 6
    decoder.start_by_copying(vectors)
    cells = torch.from_numpy(np.arange(16) % 6).view(4, 4)
    x = torch.cat([noise(1, 8, 4, 4), vectors[cells].permute(2, 0, 1)[None]], dim=1)
    features = [torch.zeros(1, 16, side, side) for side in (16, 8, 4)]
    shown = F.avg_pool2d(decoder(x, features), 4).argmax(1)[0]
    assert (shown == cells).float().mean() > 0.8


@pytest.mark.parametrize(
    "change, said",
    [
        ({"window": 8}, "window=8 must be odd"),
        ({"longest": -1}, "got longest=-1"),
        ({"memory_size": 0}, "got memory_size=0"),
        ({"every": -1}, "got every=-1"),
        ({"heads": 5}, "multiple of 4 and of heads=5"),
        ({"feedforward": 100}, "feedforward"),
        ({"identities": 40}, "decoder_width"),
        ({"layers": 0}, "layers"),
    ],
)
def test_sizes_that_do_not_fit_together_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        replace(AOTConfig.mini(), **change)


def test_a_variant_that_the_paper_does_not_have_is_refused():
    with pytest.raises(InputError, match="got variant='x'; expected one of t, s, b, l, r50_l, swinb_l"):
        AOTConfig.published("x")


def test_identity_vectors_are_what_values_carry_of_a_patch_that_one_object_covers():
    network = create_model("aot_mini", "shipped")
    vectors = network.identity_vectors()
    assert [*vectors] == ["bank", "block1/*_term", "block2/*_term"]
    masks = torch.zeros(1, 3, 16, 16)
    masks[:, 2] = 1  # object 2 covers all
    identity = network.identity_bank(masks, network.identity_bank.assign(1, 2, False, masks.device))
    nothing, block = torch.zeros_like(identity), network.lstt.blocks[1]
    carried = block.values_of(nothing, identity) - block.values_of(nothing, network.identity_bank.embed.bias)
    torch.testing.assert_close(carried[0, 0], vectors["block2/*_term"][2], rtol=1e-4, atol=1e-4)
