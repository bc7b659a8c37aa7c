"""What runs on the CPU runs on a GPU too, with the same results; skipped where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import minivos
from device_checks import CHECKS, GPU_CHECKS
from minivos.aot import KeysValues, ShortTermAttention
from minivos.sst import object_affinity, sparse_attention
from minivos.synthetic.clips import render
from minivos.training.loop import train
from minivos.training.recipe import Recipe
from tiny import unfolded_window

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch):
    """TF32 would round the inputs of convolutions to 10 bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize(("grid", "window"), [((5, 6), 3), ((4, 3), 5), ((1, 2), 5), ((9, 16), 15), ((31, 54), 15)])
def test_both_forms_of_short_term_attention_agree_in_outputs_and_gradients(grid, window):
    torch.manual_seed(0)
    attention = ShortTermAttention(width=8, heads=2, window=window).cuda()
    torch.nn.init.normal_(attention.relative_value)
    inputs = [torch.randn(2, grid[0] * grid[1], 8, device="cuda", requires_grad=True) for _ in range(3)]
    q, k, v = inputs
    previous, wanted = KeysValues(k, v, (1, *grid)), [*inputs, *attention.parameters()]
    fast = attention(q, previous)
    slow = unfolded_window(attention, q, previous)
    assert torch.allclose(fast, slow, atol=1e-5)
    direction = torch.randn_like(fast)
    for one, other in zip(*(torch.autograd.grad(out, wanted, direction) for out in (fast, slow)), strict=True):
        assert torch.allclose(one, other, atol=1e-5 * max(1, other.abs().max().item()))


@pytest.mark.parametrize(("pattern", "h"), [("dense", None), ("grid", None), ("local", 3), ("strided", 3)])
def test_sparse_attention_and_affinity_are_those_of_the_cpu(pattern, h):
    chance = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 8, 4, 9, 11, generator=chance)
    labels = torch.randint(0, 3, (2, 4, 9, 11), generator=chance)
    found = sparse_attention(q.cuda(), k.cuda(), v.cuda(), pattern, h)
    assert torch.allclose(found.cpu(), sparse_attention(q, k, v, pattern, h), atol=1e-5)
    affinity = object_affinity(q.cuda(), k.cuda(), labels.cuda(), 3, pattern, h)
    assert torch.allclose(affinity.cpu(), object_affinity(q, k, labels, 3, pattern, h), atol=1e-5)


@pytest.mark.parametrize(("check", "name"), CHECKS + GPU_CHECKS, ids=lambda x: getattr(x, "__name__", x))
def test_what_notebooks_do(check: Callable, name: str, tmp_path: Path) -> None:
    check(minivos.pick_device(), name, tmp_path)


@pytest.mark.parametrize("name", [name for name in minivos.list_models() if name.endswith("_mini")])
def test_a_network_trains_and_tracks(name):
    torch.manual_seed(0)
    network, rendered = minivos.create_model(name), render(0, frames=4, size=(64, 64))
    clip = minivos.Clip(rendered.frames, {0: rendered.masks[0]})
    on_cpu = minivos.propagate(network, clip)
    on_gpu = minivos.propagate(network.cuda(), clip)
    assert (on_cpu == on_gpu).mean() > 0.99
    log = train(network, Recipe(steps=2, batch=2, frames=3, side=64, pool=2), device="cuda")
    assert all(0 < row["loss"] < 10 for row in log)
