"""The memory that a process has held."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from minivos.lab.cost import peak_memory


def grow(mib: int) -> float:
    """How much the peak grows while so many MiB are held."""
    before = peak_memory()
    held = np.ones(mib * 2**20, np.uint8)
    del held
    return peak_memory() - before


def test_the_peak_stays_after_memory_was_given_back():
    assert 150 < grow(200) < 260
    assert grow(100) < 60  # which fits below the peak


def test_a_new_process_does_not_count_what_its_parent_held():
    held = np.ones(500 * 2**20, np.uint8)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert 150 < pool.submit(grow, 200).result() < 260
    assert held.all()
