"""The memory that a process has held."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from minivos.evaluation.cost import peak_memory


def grow(*sizes: int) -> list[float]:
    """How much the peak grows, in MiB, while so many MiB are held, one after the other."""
    grown = []
    for mib in sizes:
        before = peak_memory()
        held = np.ones(mib * 2**20, np.uint8)
        del held
        grown.append(peak_memory() - before)
    return grown


def test_a_new_process_counts_what_it_held_itself_and_not_what_its_parent_held():
    held = np.ones(500 * 2**20, np.uint8)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        large, small = pool.submit(grow, 200, 100).result()
    assert held.all() and 150 < large < 260 and small < 60  # the smaller one fits below the peak
