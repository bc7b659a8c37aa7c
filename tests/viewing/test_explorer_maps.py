"""Pooled and coded maps say what the maps say: held against the definition, on maps of any size."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minivos.errors import InputError
from minivos.nn.recording import AttentionMap
from minivos.viewing.explorer_maps import LEVELS, Pack, decode, encode, factor_for, pool, pooled_grid, unpack, with_mean

GRIDS = st.tuples(st.integers(1, 7), st.integers(1, 7))
FACTORS = st.integers(1, 4)


@st.composite
def maps(draw, indexed: bool | None = None) -> AttentionMap:
    """A map of any grid, any number of frames and heads; with an index, some cells of it twice, some outside."""
    grid, key_grid = draw(GRIDS), (draw(st.integers(1, 3)), *draw(GRIDS))
    heads, seed = draw(st.integers(1, 3)), draw(st.integers(0, 2**16))
    rng = torch.Generator().manual_seed(seed)
    queries, keys = np.prod(grid), int(np.prod(key_grid))
    index, columns = None, keys
    if draw(st.booleans()) if indexed is None else indexed:
        columns = draw(st.integers(1, 6))
        index = torch.randint(-1, keys, (queries, columns), generator=rng)
        index[:, 0] = index[:, 0].clamp(min=0)  # each query sees something
    scores = 4 * torch.randn(1, heads, queries, columns, generator=rng)
    if index is not None:
        scores = scores.masked_fill(index < 0, -torch.inf)
    return AttentionMap("look", scores.softmax(-1), grid, key_grid, tuple(range(key_grid[0])), 5, index)


def pooled_by_definition(look: AttentionMap, query: int, key: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (heads, blocks, key blocks) and which of these a block sees, cell by cell."""
    (rows, columns), (frames, height, width) = look.query_grid, look.key_grid
    grid, key_grid = pooled_grid(look.query_grid, query), pooled_grid((height, width), key)
    weights = look.dense()[0].unflatten(2, look.key_grid).unflatten(1, look.query_grid).double().numpy()
    sums = np.zeros((len(weights), *grid, frames, *key_grid))
    sees, cells = np.zeros(sums.shape[1:], bool), np.zeros(grid)
    for y, x in product(range(rows), range(columns)):
        cells[y // query, x // query] += 1
        seen = np.ones(frames * height * width, bool)
        if look.index is not None:
            near = look.index[y * columns + x].numpy()
            seen = np.isin(np.arange(len(seen)), near[near >= 0])
        for (t, i, j), visible in zip(np.ndindex(frames, height, width), seen, strict=True):
            place = y // query, x // query, t, i // key, j // key
            sums[(slice(None), *place)] += weights[:, y, x, t, i, j]
            sees[place] |= visible
    means = sums / cells[:, :, None, None, None]
    return means.reshape(len(means), cells.size, -1), sees.reshape(cells.size, -1)


@settings(deadline=None, max_examples=60)
@given(look=maps(), query=FACTORS, key=FACTORS)
def test_a_pooled_map_is_what_its_definition_says(look, query, key):
    small = pool(look, query, key)
    weights, sees = pooled_by_definition(look, query, key)
    assert small.query_grid == pooled_grid(look.query_grid, query)
    assert small.key_grid == (look.key_grid[0], *pooled_grid(look.key_grid[1:], key))
    assert (small.key_frames, small.query_frame, small.name) == (look.key_frames, look.query_frame, look.name)
    np.testing.assert_allclose(small.dense()[0].numpy(), weights, atol=1e-6)
    np.testing.assert_allclose(small.weights.sum(-1).numpy(), 1, atol=1e-5)
    if look.index is not None:
        for row, of_row in zip(small.index.tolist(), sees, strict=True):
            visible = np.flatnonzero(of_row).tolist()
            assert row == visible + [-1] * (len(row) - len(visible))


@settings(deadline=None, max_examples=60)
@given(look=maps())
def test_weights_come_back_up_to_half_a_level(look):
    weights = look.weights[0]
    levels, largest = encode(weights)
    assert levels.dtype == np.uint8 and largest.dtype == np.float32 and levels.max() == LEVELS
    shares = [(part / weights.amax(-1, keepdim=True)).sqrt() for part in (weights, decode(levels, largest))]
    assert (shares[0] - shares[1]).abs().max() <= 1 / (2 * LEVELS) + 1e-6


def test_rows_without_any_weight_come_back_as_they_are():
    weights = torch.zeros(2, 3, 4)
    assert torch.equal(decode(*encode(weights)), weights)


@settings(deadline=None, max_examples=30)
@given(look=maps(), query=FACTORS, key=FACTORS)
def test_the_first_head_is_the_mean_of_the_heads(look, query, key):
    heads = look.weights.shape[1]
    several, alone = with_mean(look), with_mean(look, heads=False)
    assert several.weights.shape[1] == (heads + 1 if heads > 1 else 1) and alone.weights.shape[1] == 1
    torch.testing.assert_close(several.weights[:, 0], look.weights.mean(1))
    torch.testing.assert_close(several.weights[:, :1], alone.weights)
    if heads > 1:
        assert torch.equal(several.weights[:, 1:], look.weights)
    before, after = with_mean(pool(look, query, key)).weights, pool(with_mean(look), query, key).weights
    torch.testing.assert_close(before, after)


@given(grid=st.tuples(st.integers(1, 200), st.integers(1, 200)), most=GRIDS)
def test_the_factor_is_the_least_that_is_enough(grid, most):
    factor = factor_for(grid, most)
    assert np.prod(pooled_grid(grid, factor)) <= np.prod(most)
    assert factor == 1 or np.prod(pooled_grid(grid, factor - 1)) > np.prod(most)


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6), seed=st.integers(0, 9))
def test_every_array_comes_out_of_a_pack_from_an_aligned_place(sizes, seed):
    rng, pack = np.random.default_rng(seed), Pack()
    kinds = [np.uint8, np.float32, np.int32, np.int16]
    arrays = [rng.integers(0, 99, size).astype(kinds[i % 4]) for i, size in enumerate(sizes)]
    places = [pack.add(array) for array in arrays]
    text = pack.text()
    for array, (offset, count) in zip(arrays, places, strict=True):
        assert offset % 4 == 0
        np.testing.assert_array_equal(unpack(text, [offset, count], array.dtype), array)


@pytest.mark.parametrize("factors", [(0, 1), (1, 0), (-2, 1)])
def test_factors_below_one_are_refused(factors):
    look = AttentionMap("look", torch.full((1, 1, 4, 4), 0.25), (2, 2), (1, 2, 2), (0,), 1)
    with pytest.raises(InputError, match="expected 1 or more"):
        pool(look, *factors)


def test_a_map_of_some_queries_is_not_pooled():
    look = AttentionMap("look", torch.full((1, 1, 1, 4), 0.25), (2, 2), (1, 2, 2), (0,), 1, queries=((0, 1),))
    with pytest.raises(InputError, match="without `queries`"):
        pool(look, 2, 2)
