"""Softmax attention, its recorder and the position embedding."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minivos.errors import InputError
from minivos.nn.attention import attend, join_heads, sine_position, split_heads
from minivos.nn.recording import AttentionMap, at_frame, explicit_attention, record, record_attention


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def queries_keys_values(height: int = 2, width: int = 3, frames: int = 2) -> tuple[torch.Tensor, ...]:
    cells = height * width
    return vectors(2, 4, cells, 8), vectors(2, 4, frames * cells, 8, seed=1), vectors(2, 4, frames * cells, 5, seed=2)


NAME = "block1/long_term"
PLACE = NAME, (2, 2, 3), (0, 7)  # name, key grid, key frames


def test_attention_is_the_weighted_mean_of_the_values():
    q, k, v = queries_keys_values()
    scores = [[sum(q[1, 2, i] * k[1, 2, j]).item() / math.sqrt(8) for j in range(12)] for i in range(6)]
    weights = [[math.exp(s) / sum(map(math.exp, row)) for s in row] for row in scores]
    by_hand = torch.tensor(weights) @ v[1, 2]
    assert torch.allclose(attend(q, k, v, *PLACE)[1, 2], by_hand, atol=1e-5)


@pytest.mark.parametrize("values", [3, 8, 13, 16, 40])  # channels; keys have 8
def test_fused_and_explicit_attention_agree(values):
    q, k, _ = queries_keys_values()
    v = torch.randn(2, 4, 12, values)
    fused = attend(q, k, v, *PLACE)
    with explicit_attention():
        explicit = attend(q, k, v, *PLACE)
    assert fused.shape == explicit.shape == (2, 4, 6, values)
    assert torch.allclose(fused, explicit, atol=1e-5)


def test_a_recorded_map_knows_its_geometry_and_frames():
    q, k, v = queries_keys_values()
    with record_attention() as maps, at_frame(9):
        out = attend(q.requires_grad_(), k, v, *PLACE)
    (found,) = maps
    assert (found.name, found.query_grid, found.key_grid) == ("block1/long_term", (2, 3), (2, 2, 3))
    assert (found.key_frames, found.query_frame, found.index) == ((0, 7), 9, None)
    assert found.weights.shape == (2, 4, 6, 12) and not found.weights.requires_grad
    assert torch.allclose(found.weights.sum(-1), torch.ones(2, 4, 6), atol=1e-6)
    assert torch.allclose(found.weights @ v, out, atol=1e-5)
    assert "block1/long_term" in repr(found) and "frame 9 looks at [0, 7]" in repr(found)


def test_keys_without_frame_numbers_are_of_the_frame_itself():
    with record_attention() as maps:
        with at_frame(4):
            record(lambda rows: (torch.ones(1, 1, 1, 1), None), "self", (1, 1, 1))
        record(lambda rows: (torch.ones(1, 1, 1, 1), None), "self", (1, 1, 1))
    assert [(m.query_frame, m.key_frames) for m in maps] == [(4, (4,)), (-1, (-1,))]


def test_nothing_is_recorded_outside_the_block():
    q, k, v = queries_keys_values()
    attend(q, k, v, *PLACE)
    with record_attention() as maps:
        attend(q, k, v, *PLACE)
    attend(q, k, v, *PLACE)
    assert len(maps) == 1


def test_an_inner_recording_ends_without_ending_the_outer_one():
    q, k, v = queries_keys_values()
    with record_attention() as outer:
        with record_attention() as inner:
            attend(q, k, v, *PLACE)
        attend(q, k, v, *PLACE)
    assert (len(outer), len(inner)) == (1, 1)


def test_only_the_names_asked_for_are_kept():
    q, k, v = queries_keys_values()
    with record_attention(only="*/self") as maps:
        for name in ("block1/self", "block1/long_term", "block2/self"):
            attend(q, k, v, name, (2, 2, 3), (0, 1))
    assert [m.name for m in maps] == ["block1/self", "block2/self"]


def test_who_takes_the_maps_gets_each_at_once_and_nothing_is_kept():
    q, k, v = queries_keys_values()
    taken = []
    with record_attention(only="*/self", take=taken.append) as maps:
        for name in ("block1/self", "block1/long_term", "block2/self"):
            attend(q, k, v, name, (2, 2, 3), (0, 1))
            assert taken[-1].name == name or name == "block1/long_term"
    assert [m.name for m in taken] == ["block1/self", "block2/self"] and not maps
    assert maps.names_met == {"block1/self", "block1/long_term", "block2/self"}
    with record_attention(take=taken.append):  # whoever takes sees for himself that nothing came
        pass


def test_heads_that_are_objects_become_maps_of_their_own():
    q, k, v = queries_keys_values()
    with record_attention() as maps:
        attend(q, k, v, *PLACE)
        attend(q, k, v, *PLACE, by_object=True)
    whole, *parts = maps
    assert whole.object is None and [part.object for part in parts] == list(range(1, q.shape[1] + 1))
    assert torch.equal(torch.cat([part.weights for part in parts], dim=1), whole.weights)


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor that anything computes has."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        if isinstance(answer, torch.Tensor):
            self.numbers = max(self.numbers, answer.numel())
        return answer


def test_only_the_rows_of_the_queries_asked_for_are_built():
    q, k, v = vectors(1, 2, 30 * 40, 8), vectors(1, 2, 30 * 40, 8, seed=1), vectors(1, 2, 30 * 40, 8, seed=2)
    plain = attend(q, k, v, NAME, (1, 30, 40))
    with record_attention(queries=[(29, 39), (8, 11)]) as maps, Largest() as found:
        assert torch.equal(attend(q, k, v, NAME, (1, 30, 40)), plain)
    assert maps[0].weights.shape == (1, 2, 2, 1200) and found.numbers <= q.numel()
    assert torch.allclose(maps[0].look_from(8, 11).flatten(1), (q[0] @ k[0].mT / 8**0.5).softmax(-1)[:, 8 * 40 + 11])


@pytest.mark.parametrize("wrong", [[(30, 0)], [(0, 40)], [(-1, 0)], [(0, 0), (30, 40)], [5], (8, 11), [(1, 2, 3)]])
def test_queries_that_are_no_cells_of_the_grid_are_refused(wrong):
    q = vectors(1, 1, 30 * 40, 8)
    with (
        pytest.raises(InputError, match="expected cells .y, x. of a grid of 30 x 40 cells"),
        record_attention(queries=wrong),
    ):
        attend(q, q, q, NAME, (1, 30, 40))


def test_recording_nothing_is_an_error_that_says_why():
    q, k, v = queries_keys_values()
    with pytest.raises(RuntimeError, match="none ran in the block and its thread"), record_attention():
        pass
    with (
        pytest.raises(RuntimeError, match=r"'typo' was recorded; names met: \['block1/long_term'\]"),
        record_attention(only="typo"),
    ):
        attend(q, k, v, *PLACE)


def test_an_exception_inside_the_block_comes_through():
    with pytest.raises(ZeroDivisionError), record_attention():
        raise ZeroDivisionError
    record(lambda rows: pytest.fail("nobody records"), NAME, (1, 1, 1))


def test_find_takes_the_last_map_of_a_name_and_frame():
    with record_attention() as maps:
        for now in (0, 1, 2):
            weights = torch.full((1, 1, 1, 1), float(now))
            with at_frame(now):
                record(lambda rows, weights=weights: (weights, None), "block1/self", (1, 1, 1))
    assert maps.find("*/self").query_frame == 2 and maps.find("block1/self", frame=0).weights.item() == 0
    with pytest.raises(KeyError, match=r"no map 'long' of frame 1.*\('block1/self', 0\)"):
        maps.find("long", frame=1)


def full_map() -> AttentionMap:
    weights = vectors(2, 4, 6, 12).softmax(-1)
    return AttentionMap("full", weights, (2, 3), (2, 2, 3), (0, 7), 9)


def window_map() -> AttentionMap:
    """One row of three cells; each looks at itself and its two neighbours, which the outer ones lack."""
    index = torch.tensor([[-1, 0, 1], [0, 1, 2], [1, 2, -1]])
    weights = torch.tensor([[0.0, 0.75, 0.25], [0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    return AttentionMap("window", weights[None, None], (1, 3), (1, 1, 3), (4,), 5, index)


def test_a_sparse_map_unfolds_to_all_cells():
    dense = torch.tensor([[0.75, 0.25, 0.0], [0.1, 0.2, 0.7], [0.0, 0.5, 0.5]])
    assert torch.equal(window_map().dense()[0, 0], dense)
    assert torch.equal(full_map().dense(), full_map().weights)


@pytest.mark.parametrize("make", [full_map, window_map])
def test_looking_from_and_looking_back_are_rows_and_columns_of_the_dense_weights(make):
    a_map = make()
    (height, width), (frames, h, w) = a_map.query_grid, a_map.key_grid
    batch = len(a_map.weights) - 1
    dense = a_map.dense()[batch].unflatten(1, (height, width)).unflatten(3, (frames, h, w))  # (heads, H, W, T, h, w)
    for y in range(height):
        for x in range(width):
            seen = a_map.look_from(y, x, batch)
            assert torch.equal(seen, dense[:, y, x])
            assert torch.allclose(seen.sum(dim=(1, 2, 3)), torch.ones(len(seen)))


def test_cells_and_frames_that_are_not_there_are_refused():
    for cell in ((2, 0), (0, 3), (-1, 0)):
        with pytest.raises(InputError, match="a grid of 2 x 3 cells"):
            full_map().look_from(*cell)


def test_heads_are_split_and_joined_without_a_trace():
    x = vectors(2, 5, 12)
    assert torch.equal(split_heads(x, 3)[1, 2], x[1, :, 8:])
    assert torch.equal(join_heads(split_heads(x, 3)), x)


def test_sine_position_has_the_closed_form():
    height, width, channels = 3, 5, 8
    embedding = sine_position((height, width), channels)
    assert embedding.shape == (1, height * width, channels)
    for y in range(height):
        for x in range(width):
            angles = (2 * math.pi * y / (height - 1), 2 * math.pi * x / (width - 1))
            for half, angle in enumerate(angles):
                wanted = [math.sin(angle), math.cos(angle), math.sin(angle / 100), math.cos(angle / 100)]
                found = embedding[0, y * width + x, 4 * half : 4 * half + 4]
                assert torch.allclose(found, torch.tensor(wanted), atol=1e-5)


def test_sine_position_of_a_single_cell_is_finite():
    assert sine_position((1, 1), 8)[0, 0].tolist() == [0, 1] * 4
