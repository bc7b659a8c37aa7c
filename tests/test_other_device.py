"""Nothing mixes tensors of two devices or reads a GPU's memory in place: on a device that stands in for a GPU."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

import other_device
from device_checks import CHECKS
from minivos import record_attention
from minivos.nn.attention import attend


@pytest.fixture(scope="module")
def device() -> torch.device:
    return other_device.install()


@pytest.fixture(scope="module")
def fresh_process() -> Iterator[ProcessPoolExecutor]:
    """Where nothing has been trained yet: the first way back fixes which devices torch can train on."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize(("check", "name"), CHECKS, ids=lambda x: getattr(x, "__name__", x))
def test_a_network_off_the_cpu(fresh_process: ProcessPoolExecutor, check: Callable, name: str, tmp_path: Path) -> None:
    assert fresh_process.submit(operations_of, check, name, tmp_path).result() > 100


def operations_of(check: Callable, name: str, folder: Path) -> int:
    """How many operations a check does on the device."""
    torch.set_num_threads(1)
    device, before = other_device.install(), other_device.operations.total()
    check(device, name, folder)
    return other_device.operations.total() - before


def test_the_device_refuses_what_a_gpu_refuses(device: torch.device) -> None:
    here, there = torch.ones(3), torch.ones(3, device=device)
    for mix in (lambda: here + there, lambda: torch.cat([there, here]), lambda: there[0] * here, lambda: here @ there):
        with pytest.raises(RuntimeError, match="two devices"):
            mix()
    with pytest.raises((TypeError, RuntimeError), match="numpy"):
        there.numpy()


def test_the_device_allows_what_a_gpu_allows(device: torch.device) -> None:
    there = torch.arange(3.0, device=device)
    assert torch.equal((there * torch.tensor(2.0)).cpu(), torch.tensor([0.0, 2, 4]))
    assert there[torch.tensor([2])].item() == 2 and there.tolist() == [0, 1, 2]
    there.copy_(torch.ones(3))
    assert there.sum().item() == 3


def test_recorded_maps_come_to_the_cpu(device: torch.device) -> None:
    q = torch.rand(1, 1, 4, 2, device=device)
    with record_attention() as maps:
        attend(q, q, q, "own")
    assert maps[0].weights.device.type == "cpu"
