"""Sparse attention: each pattern against the definition, in values, gradients and memory; object affinity; routes."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from minivos import sst
from minivos.errors import InputError
from minivos.nn.patterns import PATTERNS
from minivos.sst import attend_sparsely, explicit_weights, find_pattern, grid_routes, strongest_links
from reference_operators import needs_reference, reference

KINDS = ("softmax", "score", "distance")
SETTINGS = [
    {"pattern": "dense"},
    {"pattern": "grid"},
    {"pattern": "grid", "scale": True},
    {"pattern": "local", "h": 2},
    {"pattern": "local", "h": 3, "temporal": "dense", "scale": True},
    {"pattern": "local", "h": 3, "local_window": "cube"},
    {"pattern": "local", "h": 2, "local_window": "cube", "temporal": "dense"},
    {"pattern": "strided", "h": 2, "scale": True},
    {"pattern": "strided", "h": 3, "temporal": "dense"},
]
SHAPES = [(3, 4, 5), (1, 5, 4), (2, 1, 7), (4, 5, 3)]  # of the grid (T, H, W); 5 and 7 are no multiples of 2 or 3


def qkv(shape, channels=4, values=3, batch=2, seed=0, dtype=torch.float64) -> list[Tensor]:
    chance = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, c, *shape, generator=chance, dtype=dtype) for c in (channels, channels, values)]


def random_labels(shape, objects=3, batch=2) -> Tensor:
    return torch.randint(-1, objects, (batch, *shape), generator=torch.Generator().manual_seed(1))


def cells_of(shape) -> list[tuple[int, int, int]]:
    return list(itertools.product(*map(range, shape)))


def by_definition(q, k, v, pattern, h=None, scale=False, **rest) -> Tensor:
    """Dense attention under a mask made of `connectivity`."""
    shape = tuple(q.shape[2:])
    cells = cells_of(shape)
    looks = {cell: set(sst.connectivity(pattern, shape, cell, h, **rest)) for cell in cells}
    mask = torch.tensor([[other in looks[cell] for other in cells] for cell in cells])
    scores = torch.einsum("bcn,bcm->bnm", q.flatten(2), k.flatten(2)) * (q.shape[1] ** -0.5 if scale else 1)
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return torch.einsum("bnm,bcm->bcn", weights, v.flatten(2)).unflatten(2, shape)


# the sets


@pytest.mark.parametrize("shape", SHAPES)
def test_grid_looks_along_three_lines_and_counts_itself_once(shape):
    for cell in cells_of(shape):
        found = sst.connectivity("grid", shape, cell)
        assert len(found) == len(set(found)) == sum(shape) - 2 and cell in found
        assert all(sum(a == b for a, b in zip(cell, other, strict=True)) >= 2 for other in found)


def test_local_and_strided_sets_by_hand():
    assert sst.connectivity("local", (1, 1, 7), (0, 0, 0), 3) == [(0, 0, x) for x in (0, 1, 2)]
    assert sst.connectivity("local", (1, 1, 7), (0, 0, 3), 3) == [(0, 0, x) for x in range(1, 6)]
    assert sst.connectivity("local", (1, 1, 9), (0, 0, 4), 4, local_window="cube") == [(0, 0, x) for x in (2, 3, 4, 5)]
    assert sst.connectivity("strided", (1, 1, 7), (0, 0, 4), 3) == [(0, 0, 1), (0, 0, 4)]
    assert sst.connectivity("strided", (3, 1, 4), (2, 0, 0), 3) == [(2, 0, 0), (2, 0, 3)]  # no earlier frame
    dense = sst.connectivity("strided", (3, 1, 4), (2, 0, 0), 3, temporal="dense")
    assert dense == [(t, 0, x) for t in range(3) for x in (0, 3)]


@needs_reference
@pytest.mark.parametrize("kwargs", SETTINGS, ids=str)
def test_the_sets_are_those_of_the_reference(kwargs):
    kwargs = {key: value for key, value in kwargs.items() if key != "scale"}
    for shape in SHAPES:
        for cell in cells_of(shape):
            assert sst.connectivity(shape=shape, cell=cell, **kwargs) == reference().connectivity(cell, shape, **kwargs)


# attention


@pytest.mark.parametrize("kwargs", SETTINGS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_dense_attention_under_a_mask(shape, kwargs):
    found, wanted = ([x.requires_grad_() for x in qkv(shape)] for _ in range(2))
    weight = torch.randn(2, 3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    fast, slow = sst.sparse_attention(*found, **kwargs), by_definition(*wanted, **kwargs)
    assert torch.allclose(fast, slow, atol=1e-10)
    (fast * weight).sum().backward()
    (slow * weight).sum().backward()
    for ours, theirs in zip(found, wanted, strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 6)] * 3), st.sampled_from(list(PATTERNS)), st.data())
def test_any_shape_and_h(shape, pattern, data):
    h = data.draw(st.integers(1, max(shape)))
    q, k, v = qkv(shape, batch=1, dtype=torch.float32)
    assert torch.allclose(sst.sparse_attention(q, k, v, pattern, h), by_definition(q, k, v, pattern, h), atol=1e-5)


@needs_reference
@pytest.mark.parametrize("kwargs", SETTINGS, ids=str)
def test_attention_and_affinity_are_those_of_the_reference(kwargs):
    for shape in SHAPES:
        q, k, v = qkv(shape)
        labels = random_labels(shape)
        wanted = [reference().sparse_attention(*(x[b].numpy() for x in (q, k, v)), **kwargs) for b in range(2)]
        assert np.allclose(sst.sparse_attention(q, k, v, **kwargs), wanted, atol=1e-9)
        for kind in ("softmax", "score"):
            given = [(q[b].numpy(), k[b].numpy(), labels[b].numpy(), 3) for b in range(2)]
            wanted = [reference().object_affinity(*args, kind=kind, **kwargs) for args in given]
            assert np.allclose(sst.object_affinity(q, k, labels, 3, kind=kind, **kwargs), wanted, atol=1e-9)


# sums of attention, and of affinity by softmax, over fixed inputs, from the reference operators
STORED = {
    "grid": (0.776795, 5.975650),
    "local": (-0.052029, 9.067022),
    "strided": (0.276532, 6.561563),
}


def waves() -> list[Tensor]:
    """q, k, v (1, 4, 3, 4, 5) without chance."""
    steps = torch.arange(240, dtype=torch.float64).view(1, 4, 3, 4, 5)
    return [torch.sin(number * steps) for number in (1.0, 2.0, 3.0)]


@pytest.mark.parametrize("pattern", STORED)
def test_stored_values(pattern):
    q, k, v = waves()
    labels = (torch.arange(60) % 3).view(1, 3, 4, 5)
    ramp = torch.linspace(0, 1, 240, dtype=torch.float64).view(1, 4, 3, 4, 5)
    attended = (sst.sparse_attention(q, k, v, pattern, 2) * ramp).sum().item()
    affinity = sst.object_affinity(q, k, labels, 3, pattern, 2).sum().item()
    assert (attended, affinity) == pytest.approx(STORED[pattern], abs=1e-5)


def test_the_named_functions_are_the_patterns():
    q, k, v = qkv((2, 4, 5))
    assert torch.equal(sst.grid_attention(q, k, v, scale=True), sst.sparse_attention(q, k, v, "grid", scale=True))
    for function, pattern in ((sst.local_attention, "local"), (sst.strided_attention, "strided")):
        found = function(q, k, v, 2, temporal="dense")
        assert torch.equal(found, sst.sparse_attention(q, k, v, pattern, 2, temporal="dense"))


@pytest.mark.parametrize("kwargs", SETTINGS, ids=str)
def test_queries_of_the_last_frames_alone_get_the_same(kwargs):
    q, k, v = qkv((4, 5, 6))
    labels = random_labels((4, 5, 6))
    pattern = find_pattern(kwargs["pattern"], **{key: x for key, x in kwargs.items() if key != "pattern"})
    for last in (1, 2):
        now = q[:, :, -last:]
        assert torch.allclose(
            attend_sparsely(now, k, v, pattern), attend_sparsely(q, k, v, pattern)[:, :, -last:], atol=1e-12
        )
        for kind in KINDS:
            whole = strongest_links(q, k, labels, 3, pattern, kind)
            assert torch.allclose(strongest_links(now, k, labels, 3, pattern, kind), whole[:, :, -last:], atol=1e-12)


@pytest.mark.parametrize("kwargs", SETTINGS, ids=str)
def test_the_weights_for_pictures_are_those_that_attention_uses(kwargs):
    q, k, v = qkv((3, 4, 5))
    pattern = find_pattern(kwargs["pattern"], **{key: x for key, x in kwargs.items() if key != "pattern"})
    weights, index = explicit_weights(q[:, :, -1:], k, pattern)
    weights = weights[:, 0]
    carried = torch.einsum("bni,bcni->bcn", weights, v.flatten(2)[:, :, index.clamp(min=0)])
    assert torch.allclose(carried.view(2, 3, 1, 4, 5), attend_sparsely(q, k, v, pattern)[:, :, -1:], atol=1e-12)
    assert (
        torch.allclose(weights.sum(-1), torch.ones(2, 20, dtype=torch.float64)) and (weights[:, index < 0] == 0).all()
    )
    rest = {key: x for key, x in kwargs.items() if key not in ("pattern", "scale")}
    for cell, row in zip(cells_of((1, 4, 5)), index.tolist(), strict=True):
        looks = sst.connectivity(kwargs["pattern"], (3, 4, 5), (2, *cell[1:]), **rest)
        assert [cells_of((3, 4, 5))[i] for i in row if i >= 0] == looks


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that anything computes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize(("pattern", "h"), [("grid", None), ("local", 4), ("strided", 4)])
def test_no_pattern_builds_a_map_of_all_pairs(pattern, h):
    shape, channels = (6, 16, 16), 8
    q, k, v = qkv(shape, channels, channels, batch=1, dtype=torch.float32)
    cells = 6 * 16 * 16
    with LargestTensor() as largest:
        sst.sparse_attention(q, k, v, pattern, h)
        sst.object_affinity(q, k, torch.zeros(1, *shape, dtype=torch.long), 2, pattern, h)
    assert largest.elements < cells**2 / 8
    if pattern == "grid":  # scores of S (T + H + W), and no gather of keys
        assert largest.elements <= cells * sum(shape)


# how far it reaches


def reached(shape, patterns, h=None, local_window="open") -> Tensor:
    """Which cells (S, S) each cell gathers from after these layers."""
    cells, total = cells_of(shape), torch.eye(len(cells_of(shape)))
    for pattern in patterns:
        looks = [set(sst.connectivity(pattern, shape, cell, h, local_window=local_window)) for cell in cells]
        total = ((torch.tensor([[float(r in seen) for r in cells] for seen in looks]) @ total) > 0).float()
    return total.bool()


def test_three_grid_layers_reach_everything_and_two_do_not():
    t, h, w = shape = (3, 4, 5)
    counts = [reached(shape, ["grid"] * layers).sum(dim=1).unique().tolist() for layers in (1, 2, 3)]
    assert counts == [[t + h + w - 2], [t * h + h * w + t * w - (t + h + w) + 1], [t * h * w]]


@pytest.mark.parametrize(("shape", "h"), [((3, 4, 5), 2), ((2, 7, 7), 3), ((4, 6, 9), 3)])
def test_local_then_strided_reaches_everything_and_strided_alone_stays_in_its_class(shape, h):
    assert reached(shape, ["local", "strided"], h).all() and reached(shape, ["strided", "local"], h).all()
    assert torch.equal(reached(shape, ["strided"] * 3, h), reached(shape, ["strided"], h))
    assert not reached((1, 9, 9), ["local", "strided"], 3, "cube").all()


# affinity


def test_affinity_is_the_strongest_link_to_an_object_s_earlier_cells():
    q, k, _ = qkv((3, 2, 2), batch=1)
    labels = random_labels((3, 2, 2), batch=1)
    found = {kind: sst.object_affinity(q, k, labels, 3, "dense", kind=kind)[0] for kind in KINDS}
    flat_q, flat_k = q[0].flatten(1).T, k[0].flatten(1).T
    scores = flat_q @ flat_k.T
    links = {"softmax": scores.softmax(dim=1), "score": scores}
    links["distance"] = 2 / (1 + torch.exp(torch.cdist(flat_q, flat_k) ** 2))
    for kind, cell in itertools.product(KINDS, range(12)):
        for number in range(3):
            earlier = [r for r in range(12) if r // 4 < cell // 4 and labels[0].flatten()[r] == number]
            wanted = max([links[kind][cell, r].item() for r in earlier] + [0.0])
            assert found[kind][number].flatten()[cell].item() == pytest.approx(wanted, abs=1e-9)


def test_grid_affinity_knows_only_the_same_place():
    q, k, _ = qkv((3, 4, 5))
    labels = torch.zeros(2, 3, 4, 5, dtype=torch.long)
    labels[:, :2, 1, 1] = 1
    found = sst.object_affinity(q, k, labels, 2, "grid")[:, 1]
    assert (found[:, 1:, 1, 1] > 0).all() and found.count_nonzero() == 4


def test_affinity_passes_gradients_to_queries_and_keys():
    q, k, _ = (x.requires_grad_() for x in qkv((3, 4, 5)))
    for pattern, kind in itertools.product(PATTERNS, KINDS):
        sst.object_affinity(q, k, random_labels((3, 4, 5)), 3, pattern, 2, kind=kind).sum().backward()
        assert all(x.grad.isfinite().all() and x.grad.count_nonzero() for x in (q, k))
        q.grad = k.grad = None


# routes


def test_a_cell_that_differs_in_all_coordinates_is_reached_by_six_routes():
    features = qkv((2, 3, 3), batch=1)[0]
    start, end = (0, 0, 0), (1, 2, 1)
    values = torch.zeros(1, 1, 2, 3, 3, dtype=torch.float64)
    values[(0, 0, *end)] = 1
    total = 0.0
    for order in itertools.permutations(range(3)):
        here, product = list(start), 1.0
        for axis in order:
            there = [*here[:axis], end[axis], *here[axis + 1 :]]
            product *= float(features[(0, slice(None), *here)] @ features[(0, slice(None), *there)])
            here = there
        total += product
    found = grid_routes(features, values)
    assert found[(0, 0, *start)].item() == pytest.approx(total)
    assert (found != 0).all() and not (grid_routes(features, values, steps=2) != 0).all()


def test_one_step_of_a_route_is_attention_without_softmax():
    features, _, values = qkv((2, 3, 4))
    found = grid_routes(features, values, steps=1)
    for cell in cells_of((2, 3, 4)):
        wanted = sum(
            (features[(slice(None), slice(None), *cell)] * features[(slice(None), slice(None), *r)]).sum(
                1, keepdim=True
            )
            * values[(slice(None), slice(None), *r)]
            for r in sst.connectivity("grid", (2, 3, 4), cell)
        )
        assert torch.allclose(found[(slice(None), slice(None), *cell)], wanted)


@pytest.mark.parametrize("kwargs", SETTINGS, ids=str)
def test_pairs_are_the_sizes_of_all_sets(kwargs):
    pattern = find_pattern(kwargs["pattern"], **{key: x for key, x in kwargs.items() if key != "pattern"})
    asked = {key: x for key, x in kwargs.items() if key != "scale"}
    sets = [sst.connectivity(shape=(3, 4, 5), cell=cell, **asked) for cell in cells_of((3, 4, 5))]
    assert pattern.pairs((3, 4, 5)) == sum(map(len, sets))


# bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pattern": "star"}, "got pattern='star'; expected one of dense, grid, local, strided"),
        ({"pattern": "local"}, "needs h"),
        ({"pattern": "local", "h": 0}, "h=0"),
        ({"pattern": "local", "h": True}, "got h=True"),
        ({"pattern": "local", "h": "3"}, "h='3'"),
        ({"pattern": "strided", "h": 6}, r"got h=6.*expected 1 to 5"),
        ({"pattern": "strided", "h": 2, "temporal": "often"}, "temporal='often'"),
        ({"pattern": "local", "h": 2, "local_window": "round"}, "local_window='round'"),
    ],
)
def test_patterns_that_do_not_exist_or_fit_are_refused(change, message):
    q, k, v = qkv((2, 4, 5))
    with pytest.raises(InputError, match=message):
        sst.sparse_attention(q, k, v, **change)
    with pytest.raises(InputError, match=message):
        sst.connectivity(shape=(2, 4, 5), cell=(0, 0, 0), **change)


def test_inputs_that_do_not_fit_together_are_refused():
    q, k, v = qkv((2, 4, 5))
    with pytest.raises(InputError, match=r"k \(2, 4, 1, 4, 5\).*expected them alike, but for the C of v"):
        sst.grid_attention(q, k[:, :, :1], v)
    with pytest.raises(
        InputError, match=r"got q as torch.float64 \(4, 2, 4, 5\); expected a float tensor \(B, C, T, H, W"
    ):
        sst.grid_attention(q[0], k[0], v[0])
    with pytest.raises(InputError, match=r"v \(2, 3, 2, 4, 3\).*expected them alike"):
        sst.local_attention(q, k, v[..., :3], 2)
    with pytest.raises(InputError, match="torch.float64 on cpu, k .* torch.float64 on meta.*expected them alike"):
        sst.grid_attention(q, k.to("meta"), v)
    with pytest.raises(InputError, match="torch.float64 on cpu, k .* torch.float32 on cpu.*expected them alike"):
        sst.grid_attention(q, k.float(), v)
    with pytest.raises(InputError, match="got v as ndarray; expected a float tensor"):
        sst.grid_attention(q, k, v.numpy())
    with pytest.raises(InputError, match="got q as torch.int64 .*; expected a float tensor"):
        sst.grid_attention(q.long(), k.long(), v.long())
    with pytest.raises(InputError, match="got steps=-1; expected a whole number, 0 or more"):
        grid_routes(q, v, -1)
    with pytest.raises(InputError, match="got 10 channels"):
        sst.sine_position_3d(torch.arange(3), 4, 5, 10)


@pytest.mark.parametrize(
    ("shape", "cell", "message"),
    [
        ((2, 4, 5), (0, 4, 0), r"of a video of \(2, 4, 5\)"),
        ((4, 5), (0, 4, 0), r"got \(4, 5\) as shape \(T, H, W\)"),
        ((2, 4, 5), (4, 0), r"got \(4, 0\) as cell \(t, y, x\)"),
        ((2, 4, 5), (0, 1.0, 0), "three whole numbers"),
    ],
)
def test_cells_that_are_not_there_are_refused(shape, cell, message):
    with pytest.raises(InputError, match=message):
        sst.connectivity("grid", shape, cell)


def test_labels_that_do_not_fit_are_refused():
    q, k, _ = qkv((2, 4, 5))
    labels = random_labels((2, 4, 5))
    with pytest.raises(InputError, match=r"labels of shape \(2, 2, 4, 4\).*\(2, 2, 4, 5\)"):
        sst.object_affinity(q, k, labels[..., :4], 3, "grid")
    with pytest.raises(InputError, match="got labels -1 to 2; expected -1 .unknown. to 1"):
        sst.object_affinity(q, k, labels, 2, "grid")
    with pytest.raises(InputError, match="got labels of type torch.float32; expected a tensor of integers"):
        sst.object_affinity(q, k, labels.float(), 3, "grid")
    with pytest.raises(InputError, match="got objects=0; expected a whole number, 1 or more"):
        sst.object_affinity(q, k, labels, 0, "grid")
    with pytest.raises(InputError, match="got kind='colour'; expected one of"):
        sst.object_affinity(q, k, labels, 3, "grid", kind="colour")
