"""The training loop: schedules, resuming after a stop and after a kill, checkpoints, several processes."""

import csv
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minivos.errors import InputError
from minivos.lab.train import Recipe, hardest_share, learning_rate, mean_j, moving_average, train, weight_groups
from minivos.nn.network import VOSNetwork
from tiny import squares, tiny_aot

TESTS = Path(__file__).parent
RECIPE = Recipe(steps=6, batch=2, frames=3, side=32, objects=2, pool=2)
MEASURED = ("step", "loss", "J", "learning_rate")


def network(**changes) -> VOSNetwork:
    return tiny_aot(layers=1, drop_path=0.2, **changes)  # dropped branches and identities are a matter of chance too


def numbers(history: list[dict[str, float]]) -> list[tuple[float, ...]]:
    return [tuple(row[name] for name in MEASURED) for row in history]


def same_weights(first: VOSNetwork, second: VOSNetwork) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums over one thread, as in the processes that the tests start, so that numbers are equal to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def uninterrupted(one_thread) -> tuple[VOSNetwork, list[dict[str, float]]]:
    trained = network()
    return trained, train(trained, RECIPE, make_clip=squares)


def test_training_moves_the_weights_and_logs_every_step(uninterrupted):
    trained, history = uninterrupted
    assert [row["step"] for row in history] == list(range(6)) and not trained.training
    assert all(row["loss"] > 0 and 0 <= row["J"] <= 1 and row["seconds"] >= row["data_seconds"] for row in history)
    assert [row["learning_rate"] for row in history] == [learning_rate(RECIPE, step / 6) for step in range(6)]
    assert not same_weights(trained, network())


def test_a_run_that_stopped_goes_on_exactly(uninterrupted, tmp_path):
    def fails_late(number: int):
        if number == 5:  # which step 4 asks for; the last checkpoint is after step 3
            raise KeyboardInterrupt
        return squares(number)

    with pytest.raises(KeyboardInterrupt):
        train(network(), RECIPE, tmp_path, make_clip=fails_late, save_every=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "log.csv"]
    resumed = network(seed=9)  # its own weights are replaced by the checkpoint's
    history = train(resumed, RECIPE, tmp_path, make_clip=squares, save_every=3)
    assert numbers(history) == numbers(uninterrupted[1])
    assert same_weights(resumed, uninterrupted[0])
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [(int(row["step"]), float(row["loss"])) for row in rows] == [(r["step"], r["loss"]) for r in history]

    finished = network(seed=9)
    assert numbers(train(finished, RECIPE, tmp_path, make_clip=fails_late)) == numbers(history)  # nothing left to do
    assert same_weights(finished, resumed)


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from test_train import RECIPE, network, squares, train

save, calls = torch.save, []

def killed_while_writing(saved, path):
    calls.append(path)
    save(saved, path)
    if len(calls) == 2:
        os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

torch.save = killed_while_writing
train(network(), RECIPE, Path(sys.argv[1]), make_clip=squares, save_every=2)
"""


def run(*command: str, **variables: str) -> subprocess.CompletedProcess:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_run_killed_while_it_writes_its_checkpoint_goes_on_exactly(uninterrupted, tmp_path):
    (tmp_path / "worker.py").write_text(KILLED)
    out = tmp_path / "out"
    killed = run(str(tmp_path / "worker.py"), str(out))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(torch.load(out / "checkpoint.pt")["history"]) == 2  # the one before is whole
    resumed = network(seed=9)
    history = train(resumed, RECIPE, out, make_clip=squares)
    assert numbers(history) == numbers(uninterrupted[1])
    assert same_weights(resumed, uninterrupted[0])


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    train(network(), replace(RECIPE, steps=1), tmp_path, make_clip=squares)
    before, untouched = (tmp_path / "checkpoint.pt").read_bytes(), network()
    with pytest.raises(InputError, match=r"made with other settings of \['seed', 'weight_decay'\]: use them"):
        train(untouched, replace(RECIPE, steps=1, seed=1, weight_decay=0.5), tmp_path, make_clip=squares)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert same_weights(untouched, network())


def test_minutes_end_a_run_with_the_step_that_exceeds_them():
    recipe = replace(RECIPE, steps=1, minutes=0.02)
    seconds = [row["seconds"] for row in train(network(), recipe, make_clip=squares)]
    assert sum(seconds[:-1]) < 1.2 <= sum(seconds)


def test_the_learning_rate_rises_then_falls():
    recipe = Recipe(learning_rate=1e-3, final_learning_rate=1e-4, warm_up=0.2)
    wanted = {0: 1e-4, 0.1: 5.5e-4, 0.2: 1e-3, 0.6: 1e-4 + 9e-4 * 0.5**0.9, 1: 1e-4}
    for progress, rate in wanted.items():
        assert learning_rate(recipe, progress) == pytest.approx(rate)
    assert learning_rate(replace(recipe, warm_up=0.0), 0) == pytest.approx(1e-3)


def test_the_share_of_hard_pixels_shrinks_over_the_first_half():
    recipe = Recipe(hardest=0.2)
    shares = [hardest_share(recipe, progress) for progress in (0, 0.25, 0.5, 0.75, 1)]
    assert shares == pytest.approx([1, 0.6, 0.2, 0.2, 0.2])


def test_the_moving_average_starts_fast():
    for count, decay in ((1, 2 / 11), (8, 0.5), (10_000, 0.99)):
        averaged, current = [torch.tensor([1.0, 5.0])], [torch.tensor([3.0, 1.0])]
        moving_average(0.99)(averaged, current, torch.tensor(count))
        wanted = decay * torch.tensor([1.0, 5.0]) + (1 - decay) * torch.tensor([3.0, 1.0])
        assert torch.allclose(averaged[0], wanted, atol=1e-6)


def test_only_matrices_and_kernels_decay():
    decays, free = weight_groups(network(), 0.03)
    assert (decays["weight_decay"], free["weight_decay"]) == (0.03, 0.0)
    assert {p.dim() > 1 for p in decays["params"]} == {True} and {p.dim() > 1 for p in free["params"]} == {False}
    assert len(decays["params"]) + len(free["params"]) == len(list(network().parameters()))


def test_mean_j_by_hand():
    truth = torch.zeros(1, 4, 1, 4)
    truth[0, 1, 0, :2] = truth[0, 2, 0, 2:] = 1
    found = torch.zeros(1, 4, 1, 4)
    found[0, 1, 0, :1] = found[0, 2, 0, 1:] = 1
    present = torch.tensor([[True, True, True, False]])
    assert mean_j(found, truth, present).item() == pytest.approx((1 / 2 + 2 / 3) / 2)


TWO_PROCESSES = """
import sys, torch, torch.distributed as dist
from test_train import GLOBAL, squares, tiny_aot, train

dist.init_process_group("gloo")
trained = tiny_aot(layers=1, shuffle_identities=False)
train(trained, GLOBAL, make_clip=squares)
if dist.get_rank() == 0:
    gradients = {name: p.grad for name, p in trained.named_parameters()}
    torch.save({"weights": trained.state_dict(), "gradients": gradients}, sys.argv[1])
dist.destroy_process_group()
"""
GLOBAL = replace(RECIPE, steps=2, batch=4)


@pytest.mark.slow
def test_two_processes_train_as_one_does_with_the_same_batch(tmp_path):
    (tmp_path / "worker.py").write_text(TWO_PROCESSES)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    done = run(*launcher, str(tmp_path / "worker.py"), str(tmp_path / "two.pt"))
    assert done.returncode == 0, done.stderr
    two = torch.load(tmp_path / "two.pt")

    one = tiny_aot(layers=1, shuffle_identities=False)
    train(one, GLOBAL, make_clip=squares)
    assert not any(torch.equal(a, b) for a, b in zip(one.parameters(), tiny_aot(layers=1).parameters(), strict=True))
    for name, weight in one.named_parameters():
        assert torch.allclose(two["gradients"][name], weight.grad, atol=1e-5), name
        if not name.endswith("self_attention.key.bias"):  # its true gradient is zero, AdamW blows up the rounding
            assert torch.allclose(two["weights"][name], weight, atol=1e-5), name


def test_a_batch_that_does_not_divide_among_the_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="A batch of 4 does not divide among 3 processes: choose a multiple"):
        train(network(), GLOBAL, make_clip=squares)
