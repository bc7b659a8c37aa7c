"""A finished answer takes its place in the small network with the shipped weights, and gives the same masks."""

import numpy as np
import pytest
import torch
from torch import nn

from minivos import create_model, propagate
from minivos.course.exercises import all_exercises
from minivos.course.transplant import MAY_DIFFER, CoreExercise
from minivos.course.worked import solution, stub
from minivos.errors import InputError
from minivos.synthetic.clips import render
from minivos.video.clip import Clip
from mistakes import MISTAKES, answer_in, with_mistake

CORE = {exercise.name: exercise for exercise in all_exercises() if isinstance(exercise, CoreExercise)}
each_core = pytest.mark.parametrize("name", CORE)


@pytest.fixture(scope="module")
def clip() -> Clip:
    """Four small frames with two objects, of which only the first has masks."""
    rendered = render(307, frames=4, size=(64, 96), scenario="plain", objects=2)
    return Clip(rendered.frames, {0: rendered.masks[0]})


def shipped(name: str) -> nn.Module:
    return create_model(name, weights="shipped", short_side=64).eval()


@each_core
def test_the_solution_gives_the_same_masks(name: str, clip: Clip, capsys) -> None:
    exercise, network = CORE[name], shipped(CORE[name].network)
    before = propagate(network, clip)
    mine = exercise.segment(network, answer_in(solution(name)), clip)
    assert (mine != before).sum() <= MAY_DIFFER * (before > 0).sum()
    assert all((mine == number).any(axis=(1, 2)).all() for number in (1, 2)), "both objects are followed"
    assert "with the same masks as the package's: " in capsys.readouterr().out
    assert np.array_equal(propagate(network, clip), before), "the network that was given stays as it was"


@each_core
def test_the_answer_is_what_computes(name: str, clip: Clip) -> None:
    calls = []
    answer = answer_in(solution(name))

    def counting(function):
        def counted(*args, **settings):
            calls.append(name)
            return function(*args, **settings)

        return counted

    if isinstance(answer, type):
        answer.forward = counting(answer.forward)
    else:
        answer = counting(answer)
    network = CORE[name].transplant(shipped(CORE[name].network), answer)
    propagate(network, clip)
    assert len(calls) >= len(clip) - 1


WORST = {
    "read_memory": "no root of d",
    "soft_aggregate": "background last",
    "identity_bank": "column by column",
    "short_term": "no learned scores",
    "object_affinity": "the mean, not the largest",
    "feature_interaction": "objects mixed",
    "memory_read": "the upper left cell only",
}


@each_core
def test_a_mistake_gives_other_masks(name: str, clip: Clip, capsys) -> None:
    (mistake,) = [m for m in MISTAKES[name] if m.name == WORST[name]]
    CORE[name].segment(shipped(CORE[name].network), answer_in(with_mistake(name, mistake)), clip)
    assert "with other masks than the package's: " in capsys.readouterr().out


@each_core
def test_an_open_answer_is_silent(name: str, clip: Clip, capsys) -> None:
    assert CORE[name].segment(shipped(CORE[name].network), answer_in(stub(name)), clip) is None
    assert capsys.readouterr().out.endswith("your turn\n")


@each_core
def test_nothing_yet_is_open_too(name: str, clip: Clip, capsys) -> None:
    assert CORE[name].segment(shipped(CORE[name].network), None, clip) is None
    assert capsys.readouterr().out.endswith("your turn\n")


def test_two_answers_work_together(clip: Clip) -> None:
    network = shipped("sitvos_mini")
    mine = network
    for name in ("read_memory", "soft_aggregate", "feature_interaction"):
        mine = CORE[name].transplant(mine, answer_in(solution(name)))
    whole, before = propagate(mine, clip), propagate(network, clip)
    assert (whole != before).sum() <= MAY_DIFFER * (before > 0).sum()


def test_gradients_reach_the_student_s_parameters(clip: Clip) -> None:
    network = CORE["identity_bank"].transplant(shipped("aot_mini"), answer_in(solution("identity_bank")))
    frames = torch.from_numpy(clip.frames[:2]).movedim(-1, 1) / 255
    masks = torch.rand(1, 3, 64, 96).softmax(dim=1)
    memory = network.new_memory()
    memory.add(network.memorize(network.encode(frames[:1]), masks), frame=0, reference=True)
    logits, _ = network.read(network.encode(frames[1:]), memory)
    logits.square().sum().backward()
    assert network.identity_bank.embed.weight.grad.abs().sum() > 0


def test_other_parameters_are_refused_by_name() -> None:
    source = solution("identity_bank").replace("self.embed", "self.paint")
    with pytest.raises(
        InputError, match=r"MyIdentityBank with weights paint.*; expected embed.weight \(96, 11, 8, 8\)"
    ):
        CORE["identity_bank"].transplant(shipped("aot_mini"), answer_in(source))


def test_one_layer_too_many_is_refused() -> None:
    source = solution("short_term").replace(
        "        self.project", "        self.more = nn.Linear(1, 1)\n        self.project"
    )
    with pytest.raises(InputError, match="more.weight.*expected no others"):
        CORE["short_term"].transplant(shipped("aot_mini"), answer_in(source))


@pytest.mark.parametrize(("name", "network"), [("identity_bank", "sst_mini"), ("memory_read", "aot_mini")])
def test_a_network_without_a_place_is_refused(name: str, network: str) -> None:
    with pytest.raises(InputError, match="got a network"):
        CORE[name].transplant(shipped(network), answer_in(solution(name)))


def test_affinity_of_another_kind_is_refused(clip: Clip) -> None:
    network = create_model("sst_mini", affinity="score", short_side=64)
    mine = CORE["object_affinity"].transplant(network, answer_in(solution("object_affinity")))
    with pytest.raises(InputError, match="expected those of sst_mini"):
        propagate(mine, clip)
