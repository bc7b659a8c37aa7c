"""HST: the hierarchical read against the definition, the network, what objects share, bad input."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

from minivos import Clip, create_model, propagate, record_attention
from minivos.errors import InputError
from minivos.hst import HSTConfig, memory_read
from minivos.nn.decoders import RefineDecoder
from minivos.nn.memory import Entry, Memory
from minivos.nn.swin import SwinMini
from minivos.synthetic.clips import render
from reference_operators import needs_reference, reference
from tiny import clip_of, filled_memory, seeded

EQUATIONS = {  # what stands at its line, and the test that holds it; see test_equations.py
    "HST Eq. 1, 2, 4": ("scaled_dot_product", "test_the_read_is_dense_attention_under_the_chosen_cells"),
    "HST Eq. 3, 5": ("[own, read]", "test_the_read_is_dense_attention_under_the_chosen_cells"),
}


def stages(times=2, coarse=(2, 3), batch=1, seed=0, keys=(2, 3, 4, 5), values=(3, 2, 3, 4)) -> tuple[list[Tensor], ...]:
    """Keys and values of query and memory at four stages, finest first."""
    chance = torch.Generator().manual_seed(seed)

    def noise(count: int, channels: tuple[int, ...], *more: int) -> list[Tensor]:
        sizes = [[side * 2 ** (3 - i) for side in coarse] for i in range(4)]
        return [
            torch.randn(count, c, *more, *size, generator=chance, dtype=torch.float64)
            for c, size in zip(channels, sizes, strict=True)
        ]

    return noise(batch, keys), noise(batch, values), noise(batch, keys, times), noise(batch, values, times)


def by_definition(q_keys, q_values, keys, values, k, scale=True) -> list[Tensor]:
    """Dense attention under a mask: a fine cell may look under the k best coarse cells of its own coarse cell."""
    answers, (height, width) = [], q_keys[3].shape[-2:]
    times = keys[3].shape[2]
    scores = torch.einsum("cyx,ctvw->yxtvw", q_keys[3][0], keys[3][0])
    chosen = torch.zeros(height, width, times * height * width, dtype=torch.bool)
    chosen.scatter_(-1, scores.flatten(2).topk(min(k, times * height * width)).indices, True)
    for i, (q, own, key, value) in enumerate(zip(q_keys, q_values, keys, values, strict=True)):
        f = 2 ** (3 - i)
        may = chosen.unflatten(-1, (times, height, width))
        for axis in (0, 1, 3, 4):
            may = may.repeat_interleave(f, dim=axis)
        may = may if i < 3 else torch.ones_like(may)
        scores = torch.einsum("cyx,ctvw->yxtvw", q[0], key[0]) * (q.shape[1] ** -0.5 if scale else 1)
        weights = scores.masked_fill(~may, -torch.inf).flatten(2).softmax(dim=-1).unflatten(-1, may.shape[2:])
        answers.append(torch.cat([own[0], torch.einsum("yxtvw,ctvw->cyx", weights, value[0])])[None])
    return answers


def farthest(found, wanted) -> float:
    return max((a - b).abs().max().item() for a, b in zip(found, wanted, strict=True))


# the read


@settings(max_examples=15, deadline=None)
@given(
    times=st.integers(1, 3), height=st.integers(1, 3), width=st.integers(1, 3), k=st.integers(1, 30),
    scale=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_the_read_is_dense_attention_under_the_chosen_cells(times, height, width, k, scale, seed):
    inputs = stages(times, (height, width), seed=seed)
    assert farthest(memory_read(*inputs, k, scale), by_definition(*inputs, k, scale)) < 1e-9


@needs_reference
@pytest.mark.parametrize(("k", "scale"), [(1, False), (3, True), (5, False), (None, True), (100, True)])
def test_the_read_equals_the_reference(k, scale):
    inputs = stages(seed=3)
    wanted, _ = reference().hst_memory_read(*([part[0].numpy() for part in parts] for parts in inputs), k, scale)
    assert farthest(memory_read(*inputs, k, scale), [torch.from_numpy(part)[None] for part in wanted]) < 1e-9


def test_gradients_are_those_of_dense_attention_under_a_mask():
    inputs = stages()
    leaves = [part.requires_grad_() for parts in inputs for part in parts]
    ours, wanted = (
        torch.autograd.grad(sum(part.square().sum() for part in answers), leaves)
        for answers in (memory_read(*inputs, 4), by_definition(*inputs, 4))
    )
    assert farthest(ours, wanted) < 1e-9


def test_all_cells_chosen_is_dense():
    inputs = stages(times=3)
    assert farthest(memory_read(*inputs, k=18), memory_read(*inputs, k=None)) < 1e-12
    assert farthest(memory_read(*inputs, k=2), memory_read(*inputs, k=None)) > 1e-2


@pytest.mark.parametrize("k", [3, None])
def test_chunks_change_nothing(k):
    inputs = stages(batch=2)
    wanted = memory_read(*inputs, k, chunk=1000)
    assert all(farthest(memory_read(*inputs, k, chunk=chunk), wanted) < 1e-12 for chunk in (1, 2, 5))


def test_samples_do_not_mix():
    inputs = stages(batch=3)
    together = memory_read(*inputs, 3)
    for n in range(3):
        alone = memory_read(*([part[n : n + 1] for part in parts] for parts in inputs), 3)
        assert farthest([part[n : n + 1] for part in together], alone) < 1e-12


def test_stages_that_do_not_read_give_their_query_value():
    q_keys, q_values, keys, values = inputs = stages()
    last, all_four = memory_read(*inputs, 3, reads=1), memory_read(*inputs, 3)
    assert torch.equal(last[3], all_four[3])
    for own, found in zip(q_values[:3], last, strict=False):
        assert torch.equal(found[:, : own.shape[1]], own) and not found[:, own.shape[1] :].any()


@pytest.mark.parametrize("k", [3, None])
def test_recorded_maps_bring_what_was_read(k):
    inputs = stages(times=2, batch=2)
    with record_attention() as maps:
        answers = memory_read(*inputs, k, frames=(4, 9), objects=(1, 2))
    assert {(m.name, m.object) for m in maps} == {(f"stage{i}", n) for n in (1, 2) for i in (1, 2, 3, 4)}
    for i in range(4):
        for n in (1, 2):
            found = maps.find(f"stage{i + 1}", object=n)
            assert found.key_frames == (4, 9) and torch.allclose(found.weights.sum(-1), torch.ones(()))
            assert (found.index is None) == (k is None or i == 3)  # dense
            value = inputs[3][i][n - 1].flatten(1).float()  # (C, T*H*W)
            read = (found.dense()[0, 0] @ value.T).T.view(-1, *found.query_grid)
            assert torch.allclose(read, answers[i][n - 1, -len(value) :].float(), atol=1e-4)


class Peak(torch.utils._python_dispatch.TorchDispatchMode):
    """Remembers how many bytes all tensors held that were made or looked at, at the worst time."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.bytes = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        held = [part.untyped_storage() for part in tree_leaves(answer) if isinstance(part, Tensor)]
        self.alive |= {StorageWeakRef(storage): storage.nbytes() for storage in held}
        self.alive = {storage: size for storage, size in self.alive.items() if not storage.expired()}
        self.bytes = max(self.bytes, sum(self.alive.values()))
        return answer


@pytest.mark.parametrize(("times", "batch"), [(2, 1), (6, 1), (2, 3)])
def test_a_read_holds_no_more_than_the_chunk_allows(times, batch):
    inputs = stages(times, (6, 8), batch)
    with Peak() as peak:
        memory_read(*inputs, k=3, chunk=1)
    under, float64 = 3 * 64, 8
    a_cell = 2 * 64 * under + under * (2 + 3 + 3)  # scores and weights; keys, keys as wide as values, values
    assert peak.bytes < 2 * sum(part.nbytes for parts in inputs for part in parts) + batch * a_cell * float64


def test_weights_are_built_only_for_the_stages_that_are_recorded():
    def peak(**recording: str) -> int:
        with Peak() as found, record_attention(**recording):
            memory_read(*stages(2, (4, 6)), k=3, chunk=1)
        return found.bytes

    assert peak() > 10 * peak(only="stage4")


def test_more_cells_than_there_are_is_said_once(caplog):
    inputs = stages(coarse=(1, 1))
    for _ in range(2):
        memory_read(*inputs, k=77)
    assert caplog.text.count("top_k=77") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda inputs: memory_read(*inputs, k=0), "k=0"),
        (lambda inputs: memory_read(*inputs, k=2.0), "k=2.0"),
        (lambda inputs: memory_read(*inputs, chunk=0), "chunk=0"),
        (lambda inputs: memory_read(*inputs, reads=0), "reads=0"),
        (lambda inputs: memory_read(*inputs, reads=5), "reads=5"),
        (lambda inputs: memory_read(*inputs, scale=None), "scale=None"),
        (lambda inputs: memory_read(*inputs, frames=[0, 1, 2]), "got 3 frames and 1 objects; expected T=2, B=1"),
        (lambda inputs: memory_read(*inputs, objects=[]), "got 2 frames and 0 objects"),
        (lambda inputs: memory_read(*(part[1:] for part in inputs)), "stages of query and memory"),
        (lambda inputs: memory_read(inputs[0], inputs[1], inputs[2], inputs[3][::-1]), "stage 1"),
        (lambda inputs: memory_read(inputs[0], inputs[1], inputs[2], [p[:, :, :1] for p in inputs[3]]), "stage 1"),
        (lambda inputs: memory_read(inputs[0], inputs[1], [p[:, :, 0] for p in inputs[2]], inputs[3]), "stage 1"),
        (lambda inputs: memory_read(*inputs[:2], *([p[:, :, :0] for p in part] for part in inputs[2:])), "none empty"),
        (lambda inputs: memory_read([p[:, :1] for p in inputs[0]], *inputs[1:]), "as many channels"),
        (lambda inputs: memory_read([p[..., 1:] for p in inputs[0]], *inputs[1:]), "stage 1"),
        (lambda inputs: memory_read([p.repeat(2, 1, 1, 1) for p in inputs[0]], *inputs[1:]), "stage 1"),
        (lambda inputs: memory_read([p.float() for p in inputs[0]], *inputs[1:]), "one type of float"),
        (lambda inputs: memory_read(*([p.long() for p in part] for part in inputs)), "one type of float"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        change(stages())


# the network


@torch.no_grad()
def test_the_image_features_are_computed_once_for_all_objects():
    network, clip = seeded("hst_mini"), render(0, frames=4, size=(32, 48), objects=3)
    calls = []
    network.encoder.register_forward_hook(lambda module, inputs, answer: calls.append(len(inputs[0])))
    propagate(network, Clip(clip.frames, {0: clip.masks[0]}), side=32)
    assert calls == [1, 1, 1, 1]


@torch.no_grad()
def test_the_memory_sees_the_others_only_if_asked_to():
    frames, masks = clip_of(2)
    moved = masks.clone()
    moved[:, :, 2] = masks[:, :, 2].roll(9, dims=-1)
    for others, changes in ((True, True), (False, False)):
        network = seeded("hst_mini", others=others)
        answers = []
        for each in (masks, moved):
            read = []
            hook = network.decoder.register_forward_hook(lambda module, inputs, answer, read=read: read.append(answer))
            network.read(network.encode(frames[:, 0]), filled_memory(network, frames, each))
            hook.remove()
            answers.append(read[0][0])  # of object 1
        assert torch.allclose(*answers, atol=1e-5) != changes


@torch.no_grad()
def test_a_window_of_one_frame_sees_frames_apart():
    frames, masks = clip_of(1)
    other = frames.clone()
    other[:, 1] = 0
    for window, changes in ((1, False), (4, True)):
        network, first = seeded("hst_mini", time_window=window), []
        network.memory[-1].register_forward_hook(
            lambda module, inputs, answer, first=first: first.append(answer[0][:, :, 0])
        )
        for each in (frames, other):
            network.read(network.encode(frames[:, 0]), filled_memory(network, each, masks))
        assert torch.allclose(*first, atol=1e-6) != changes


@torch.no_grad()
def test_the_decoder_starts_by_adding_up_what_each_scale_has_read():
    decoder = RefineDecoder(6, (5, 7), 4)
    decoder.start_by_copying(2, (1, 3))
    fine, middle, x = torch.rand(2, 5, 16, 24), torch.rand(2, 7, 8, 12), torch.rand(2, 6, 4, 6)
    grow = partial(F.interpolate, scale_factor=2, mode="bilinear")
    wanted = grow(grow(x[:, 2:4]) + middle[:, 3:5]) + fine[:, 1:3]
    assert torch.allclose(decoder(x, (fine, middle)), wanted, atol=1e-5)


def test_presets_have_the_paper_s_sizes():
    """Parameters of the two Swins and of all; of the Swins of HST-B the paper says 193.6 M, ours have 9 % fewer."""

    def millions(*parts) -> float:
        return round(sum(weight.numel() for part in parts for weight in part.parameters()) / 1e6, 1)

    sizes = {
        "t": (96, 7, 55.4, 66.6),
        "s": (96, 7, 98.3, 109.6),
        "b": (128, 12, 176.5, 196.5),
        "l": (192, 12, 394.6, 439.5),
    }
    with torch.device("meta"):
        networks = {letter: create_model(f"hst_{letter}") for letter in sizes}
    for letter, (width, window, in_swins, in_all) in sizes.items():
        network = networks[letter]
        assert network.encoder.channels[0] == width and network.video.stages[0][0].sides == (8, window, window)
        assert network.config.top_k == 128 and network.schedule.every == 8 and network.schedule.previous
        assert (millions(network.encoder, network.video), millions(network)) == (in_swins, in_all)
        assert network.sizing((720, 1280)) == (480, 853) and network.sizing((480, 854)) == (480, 854)
    assert sizes["b"][2] < 193.6 < sizes["b"][3] < 1.02 * 193.6
    with torch.device("meta"):  # with windows of one frame, in which the past does not meet
        assert millions(create_model("hst_b", time_window=1)) == 193.7
    for letter, times in {"t": 0.25, "s": 0.5, "l": 2}.items():  # what the paper has of them, "approximately"
        assert abs(sizes[letter][2] / 193.6 - times) < 0.04
    assert sum(p.numel() for p in create_model("hst_mini").parameters()) < 1_200_000


def test_a_long_video_fills_its_memory_and_no_more():
    network = create_model("hst_mini", memory_size=3, every=2)
    memory = Memory(network.schedule)
    for t in range(20):
        memory.add(Entry((1, 32, 32)), t, reference=t == 0)
    assert [entry.frame for entry in memory.entries()] == [0, 16, 18, 19]
    assert create_model("hst_mini").schedule.at_most == 8


@pytest.mark.parametrize(
    "change",
    [
        {"swin": "huge"}, {"top_k": 0}, {"reads": 5}, {"reads": 0}, {"chunk": 0}, {"time_window": 0}, {"key_share": 17},
        {"value_share": 9}, {"value_share": 17, "copy_at_start": False}, {"short_side": 0}, {"short_side": 96.0},
        {"others": None}, {"scale": 1}, {"copy_at_start": "no"},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        create_model("hst_mini", **change)


@pytest.mark.parametrize("change", [{"value_share": 8, "key_share": 16}, {"value_share": 16, "copy_at_start": False}])
def test_the_fewest_channels_of_keys_and_values_do(change):
    create_model("hst_mini", **change)


@pytest.mark.parametrize("swin", ["mini", "b"])
def test_a_swin_that_the_paper_does_not_have_is_refused(swin):
    with pytest.raises(InputError, match="expected one of tiny, small, base, large"):
        HSTConfig.published(swin)


def test_imagenet_weights_go_into_both_swins(monkeypatch):
    monkeypatch.setattr(SwinMini, "load_imagenet", lambda self: self.body.patch_embed.proj.weight.data.fill_(0.5))
    network = create_model("hst_mini", copy_at_start=False)
    network.load_imagenet()
    assert (network.video.patch_embed.proj.weight == 0.5).all()


def test_imagenet_weights_and_a_start_by_copying_exclude_each_other():
    network = create_model("hst_mini")
    before = network.encoder.body.patch_embed.proj.weight.clone()
    with pytest.raises(InputError, match="copy_at_start=False"):
        network.load_imagenet()
    assert torch.equal(network.encoder.body.patch_embed.proj.weight, before)
