"""Training at scale: batches in parts, half precision, compiled parts, and what cannot fit or be."""

from dataclasses import replace

import pytest
import torch

from minivos.errors import InputError
from minivos.training.checks import check_memory, name_memory
from minivos.training.loop import train
from minivos.training.processes import join_processes, rank_and_world
from minivos.training.recipe import RECIPES, Recipe, find_recipe
from tiny import squares, tiny_aot

RECIPE = Recipe(steps=2, batch=4, frames=3, side=32, objects=2, pool=3)


def network():
    return tiny_aot(layers=1, shuffle_identities=False)  # without chance, which differs from part to part


def trained(recipe: Recipe = RECIPE, **options):
    result = network()
    return result, train(result, recipe, make_clip=squares, device="cpu", **options)


@pytest.fixture(scope="module")
def plain():
    return trained()


# ---------------------------------------------------------------------------------------------------------- the batch
@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_trains_as_the_whole_batch_does(parts, plain):
    (ours, history), (whole, whole_history) = trained(accumulate=parts), plain
    for row, wanted in zip(history, whole_history, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
        assert row["J"] == pytest.approx(wanted["J"], abs=0.1)  # a mean over parts, not over objects
    gradients = {name: weight.grad for name, weight in whole.named_parameters()}
    for name, weight in ours.named_parameters():
        assert torch.allclose(weight.grad, gradients[name], atol=1e-5), name


def test_parts_see_few_clips_at_once(monkeypatch):
    seen = []
    result = network()
    encode = result.encode
    result.encode = lambda frame: seen.append(len(frame)) or encode(frame)
    train(result, replace(RECIPE, steps=1), make_clip=squares, device="cpu", accumulate=4)
    assert set(seen) == {1} and len(seen) == 4 * RECIPE.frames


# ---------------------------------------------------------------------------------------------------------- the speed
def test_bfloat16_agrees_with_float32(plain):
    half, history = trained(precision="bfloat16")
    for row, wanted in zip(history, plain[1], strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=0.02) and row["loss"] != wanted["loss"]
    assert {weight.dtype for weight in half.parameters()} == {torch.float32}


def test_the_cpu_computes_in_float32_unless_told_otherwise(plain):
    assert [row["loss"] for row in trained(precision="float32")[1]] == [row["loss"] for row in plain[1]]


def test_compiled_parts_train_as_before(plain, monkeypatch):
    compiled = []

    def compile_parts(result):  # as in `speed`, with the backend that needs no C++ compiler
        result.encoder.compile(backend="eager")
        compiled.append(result)

    monkeypatch.setattr("minivos.training.loop.compile_parts", compile_parts)
    ours, history = trained(compiled=True)
    assert compiled == [ours]
    assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in plain[1]], rel=1e-5)
    assert ours.state_dict().keys() == plain[0].state_dict().keys()


def test_training_takes_the_device_that_is_found(monkeypatch):
    asked = []
    monkeypatch.setattr("minivos.training.loop.pick_device", lambda name: asked.append(name) or torch.device("cpu"))
    train(network(), replace(RECIPE, steps=1, batch=1), make_clip=squares)
    assert asked == ["auto"]


# ------------------------------------------------------------------------------------------------------ what can't be
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 3}, "A batch of 4 does not divide among 3 parts in each of 1 processes"),
        ({"accumulate": 0}, "got accumulate=0; expected a whole number, 1 or more"),
        ({"precision": "half"}, "got precision='half'; expected one of auto, float32, bfloat16"),
        ({"workers": 10**9}, "got workers=1000000000; expected 0 to"),
        ({"workers": -1}, "got workers=-1; expected 0 to"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        trained(**options)


@pytest.mark.parametrize("field", ["side", "pool", "frames", "batch", "clip_side"])
def test_what_cannot_fit_is_refused_with_the_memory_it_takes(field):
    with pytest.raises(InputError, match=r"got .*whose pictures alone take [\d,]+ GiB; expected at most the \d+ GiB"):
        trained(replace(RECIPE, **{field: 10**9}))


def test_the_recipes_of_the_papers_fit():
    for recipe in RECIPES.values():
        check_memory(recipe, recipe.batch)


def test_memory_that_runs_out_in_a_step_is_named():
    for error in (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ):
        with pytest.raises(InputError, match="no memory is left for 4 clips .* accumulate"), name_memory(RECIPE):
            raise error
    with pytest.raises(RuntimeError, match="of its own"), name_memory(RECIPE):
        raise RuntimeError("an error of its own")


def test_settings_that_are_too_large_are_refused():
    for setting, message in {
        "seed=1180591620717411303424": "must be below 2\\*\\*32",
        "minutes=inf": "minutes=inf must be finite",
        "encoder_rate=inf": "encoder_rate=inf must be finite",
        "side=inf": "expected a whole number",
        "minutes=nan": "got minutes=nan",
        "side=1" + 5000 * "0": "expected a whole number",
    }.items():
        with pytest.raises(InputError, match=message):
            find_recipe("small", [setting])


def test_old_names_of_recipes_work():
    assert find_recipe("stills") == RECIPES["aot_stills"] and find_recipe("video") == RECIPES["aot_video"]


@pytest.mark.parametrize(
    ("rank", "world"), [("0", None), (None, "2"), ("first", "2"), ("2", "2"), ("-1", "2"), ("0", "0"), ("0", "many")]
)
def test_an_environment_that_torchrun_did_not_make_is_named(rank, world, monkeypatch):
    for name, value in {"RANK": rank, "WORLD_SIZE": world}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    for ask in (rank_and_world, lambda: join_processes(torch.device("cpu")), trained):
        with pytest.raises(InputError, match=f"got RANK={rank or ''} WORLD_SIZE={world or ''} in the environment"):
            ask()


def test_processes_that_were_not_joined_are_named(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert rank_and_world() == (0, 1)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="got WORLD_SIZE=2 without a process group"):
        trained()
    with pytest.raises(InputError, match="cannot join the 2 processes of WORLD_SIZE"):
        join_processes(torch.device("cpu"))
