"""Checks of notebook 05: feature interaction, the same in turn, and what a backbone has to do."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minivos.course.exercise import Exercise, require, require_close, require_shape
from minivos.course.transplant import CoreExercise, replace_parts
from minivos.nn.network import VOSNetwork
from minivos.sitvos import FeatureInteraction, SITVOSConfig, Tokens


def into_sitvos(network: VOSNetwork, interaction: type) -> VOSNetwork:
    """A copy of a SITVOS in which memory and query meet in the student's class."""

    def build(old: FeatureInteraction) -> nn.Module:
        return interaction(old.to_memory.query.in_features, old.to_memory.query.out_features)

    return replace_parts(network, FeatureInteraction, build, call_with_tokens)


def call_with_tokens(
    mine: nn.Module, memory: Tokens, query: Tokens, marked: Tensor
) -> tuple[Tokens, Tokens]:
    """The student's class on `Tokens` (B, K, T, N, C): the frames of the memory become one axis."""
    cells = memory.cells[:, 0].flatten(1, 2), query.cells[:, 0, 0], marked.flatten(2, 3)
    memory_out, query_out = mine(*cells)
    memory_out = memory_out.view_as(memory.cells)
    query_out = query_out[:, :, None]
    return replace(memory, cells=memory_out), replace(query, cells=query_out, by_object=True)


check_feature_interaction = CoreExercise(
    name="feature_interaction",
    notebook="05",
    title="Feature interaction",
    task=(
        "Write feature interaction, Eq. 3 and 4, for all objects at once. Then memory and "
        "query of the trained network meet in it."
    ),
    network="sitvos_mini",
    put_in=into_sitvos,
    hints=(
        "Two attentions. In each, say first who asks, who answers, and what is taken: Eq. 3 takes "
        "the query's own features, Eq. 4 takes M_x.",
        "Each side keeps what it was: add it to what it took, and then comes the norm. Use M and Q "
        "as they came, in both lines.",
        "M_x has one axis more, the objects; the weights of Eq. 4 are the same for all of them, so "
        "give them an axis of length 1 there.",
    ),
)
WIDTH, MATCH = 4, 2


def small(my_interaction: type) -> Any:
    """The student's class with four channels, two of which are compared."""
    return my_interaction(WIDTH, MATCH)


def package_like(mine: nn.Module) -> FeatureInteraction:
    """The package's class with the weights of the student's."""
    package = FeatureInteraction(SITVOSConfig(width=WIDTH, match=MATCH, dropout=0.0))
    package.load_state_dict(mine.state_dict())
    return package


def normed(*cells: list[float]) -> Tensor:
    """The layer norm of cells, as a new norm has it."""
    return nn.functional.layer_norm(torch.tensor(cells), (WIDTH,))


@check_feature_interaction.property("M_out has no axis for objects, Q_out has one")
def _(my_interaction):
    given = "2 clips, 6 cells in memory, 5 in the query, 3 objects, C = 4"
    got = small(my_interaction)(torch.rand(2, 6, 4), torch.rand(2, 5, 4), torch.rand(2, 3, 6, 4))
    require(isinstance(got, tuple) and len(got) == 2, given, "two tensors", got)
    require_shape(got[0], (2, 6, 4), f"{given}: M_out")
    require_shape(got[1], (2, 3, 5, 4), f"{given}: Q_out")


@check_feature_interaction.property("M_out knows no mask")
def _(my_interaction):
    mine, M, Q, M_x = small(my_interaction), *torch.rand(2, 1, 6, 4), torch.rand(1, 3, 6, 4)
    given = "the same M and Q with two different M_x: M_out"
    require_close(mine(M, Q, -M_x)[0], mine(M, Q, M_x)[0], given)


@check_feature_interaction.property("the query keeps what it was, and adds what it takes of M_x")
def _(my_interaction):
    Q, M_x = torch.tensor([[[1.0, 2, 3, 6]]]), torch.zeros(1, 1, 2, 4)
    _, got = small(my_interaction)(torch.rand(1, 2, 4), Q, M_x)
    require_close(got[0, 0], normed([1.0, 2, 3, 6]), given="Q = (1, 2, 3, 6) and M_x = 0: Q_out")
    M_x[:] = torch.tensor([4.0, 0, 0, -4])
    _, got = small(my_interaction)(torch.rand(1, 2, 4), Q, M_x)
    given = "Q = (1, 2, 3, 6), M_x = (4, 0, 0, -4) in both cells of the memory: Q_out"
    require_close(got[0, 0], normed([5.0, 2, 3, 2]), given)


@check_feature_interaction.property("the norm has the weights that it learned")
def _(my_interaction):
    mine = small(my_interaction)
    with torch.no_grad():
        mine.norms[0].weight.fill_(2)
        mine.norms[0].bias.fill_(3)
    Q = torch.tensor([[[1.0, 2, 3, 6]]])
    _, got = mine(torch.rand(1, 2, 4), Q, torch.zeros(1, 1, 2, 4))
    given = "weight 2 and bias 3 in norms[0], Q = (1, 2, 3, 6) and M_x = 0: Q_out"
    require_close(got[0, 0], 2 * normed([1.0, 2, 3, 6]) + 3, given)


@check_feature_interaction.property("who is asked is M; M_x is what is taken")
def _(my_interaction):
    Q, M_x = torch.tensor([[[1.0, 2, 3, 6]]]), torch.zeros(1, 1, 2, 4)
    M_x[0, 0, 0] = torch.tensor([8.0, 0, 0, -8])
    _, got = small(my_interaction)(torch.ones(1, 2, 4), Q, M_x)
    given = "two cells of memory alike in M, with M_x = (8, 0, 0, -8) and 0: a half of each"
    require_close(got[0, 0], normed([5.0, 2, 3, 2]), given)


@check_feature_interaction.property("the memory keeps what it was, and adds what it takes of Q")
def _(my_interaction):
    M, Q = torch.tensor([[[1.0, 2, 3, 6]]]), torch.tensor([[[4.0, 0, 0, -4]]])
    got, _ = small(my_interaction)(M, Q, torch.rand(1, 1, 1, 4))
    given = "M = (1, 2, 3, 6) and a query of one cell, (4, 0, 0, -4): M_out"
    require_close(got[0], normed([5.0, 2, 3, 2]), given)


@check_feature_interaction.property("each object for itself, with the same weights for all")
def _(my_interaction):
    mine, M, Q, M_x = small(my_interaction), *torch.rand(2, 1, 6, 4), torch.randn(1, 3, 6, 4)
    both = mine(M, Q, M_x)[1]
    one = mine(M, Q, M_x[:, 1:2])[1]
    require_close(
        one[:, 0], both[:, 1], given="object 2 of three, and the same object alone: Q_out"
    )


@check_feature_interaction.property("a memory has no order")
def _(my_interaction):
    mine, M, Q, M_x = small(my_interaction), *torch.randn(2, 1, 6, 4), torch.randn(1, 2, 6, 4)
    order = torch.randperm(6)
    memory, query = mine(M, Q, M_x)
    turned = mine(M[:, order], Q, M_x[:, :, order])
    given = "6 cells of memory, and the same in another order"
    require_close(turned[1], query, f"{given}: Q_out")
    require_close(turned[0], memory[:, order], f"{given}: M_out")


@check_feature_interaction.property("the query asks the memory as it was before")
def _(my_interaction):
    mine, M, Q, M_x = small(my_interaction), *torch.randn(2, 1, 6, 4), torch.randn(1, 2, 6, 4)
    before = mine(M, Q, M_x)[1].detach()
    with torch.no_grad():
        mine.to_memory["query"].weight.mul_(-20)
    given = "the layers of Eq. 3 are changed: Q_out, which is Eq. 4"
    require_close(mine(M, Q, M_x)[1], before, given)


@check_feature_interaction.property("scores are divided by the root of their channels")
def _(my_interaction):
    mine = small(my_interaction)
    with torch.no_grad():
        for part in (mine.to_memory, mine.to_query):
            part["query"].weight.zero_()[0, 0] = 2**0.5
            part["key"].weight.zero_()[0, 0] = 1
    M = torch.zeros(1, 2, 4)
    M[0, 0, 0] = float(torch.tensor(3.0).log())
    Q = torch.tensor([[[1.0, 0, 0, 0]]])
    M_x = torch.zeros(1, 1, 2, 4)
    M_x[0, 0, 0, 1] = 4
    got = mine(M, Q, M_x)[1][0, 0]
    given = "q k is sqrt(2) ln 3 and 0 with d = 2; M_x (0, 4, 0, 0) and 0, Q = (1, 0, 0, 0): Q_out"
    require_close(got, normed([1.0, 3, 0, 0]), given)


@check_feature_interaction.property("with random numbers, it is what the package computes")
def _(my_interaction):
    mine = small(my_interaction)
    package = package_like(mine)
    M, Q, M_x = torch.randn(2, 1, 2, 3, 4), torch.randn(2, 1, 1, 5, 4), torch.randn(2, 3, 2, 3, 4)
    frames = Tokens(M, (1, 3), (0, 1)), Tokens(Q, (1, 5), (2,))
    right = package(*frames, M_x)
    got = call_with_tokens(mine, *frames, M_x)
    for name, own, other in zip(("M_out", "Q_out"), got, right, strict=True):
        require_close(own.cells, other.cells, given=f"2 clips, 2 frames of 3 cells: {name}")


check_interact_in_turn = Exercise(
    name="interact_in_turn",
    notebook="05",
    title="Interaction in turn",
    task=(
        "Eq. 3 and 4 with both sides *in turn*: first the memory takes from the query, then "
        "the query asks the memory *as it has become*. For which shape of `M` does the "
        "difference to the simultaneous form vanish?"
    ),
    hints=(
        "M_out is the same as before: Eq. 3 comes first, and nothing has changed yet.",
        "In the second line, who answers the query? Not M any more. What the query takes has not "
        "changed.",
        "Scores of the second line: `to_query.query` of Q with `to_query.key` of what the first "
        "line gave, over the root of their channels.",
    ),
)


def interaction_and_cells() -> tuple[FeatureInteraction, Tensor, Tensor, Tensor]:
    """A package's interaction whose weights matter, and M, Q, M_x of one object."""
    part = FeatureInteraction(SITVOSConfig(width=WIDTH, match=MATCH, dropout=0.0))
    with torch.no_grad():
        for weight in part.parameters():
            weight.normal_()
    return part.requires_grad_(False), torch.randn(6, 4), torch.randn(5, 4), torch.randn(6, 4)


def at_once(part: FeatureInteraction, M: Tensor, Q: Tensor, M_x: Tensor) -> tuple[Tensor, Tensor]:
    """The package's simultaneous form for one object."""
    memory, query = (
        Tokens(M[None, None, None], (1, len(M)), (0,)),
        Tokens(Q[None, None, None], (1, len(Q)), (1,)),
    )
    found = part(memory, query, M_x[None, None, None])
    return found[0].cells[0, 0, 0], found[1].cells[0, 0, 0]


@check_interact_in_turn.property("two tensors, as large as M and Q")
def _(in_turn):
    got = in_turn(*interaction_and_cells())
    given = "6 cells in memory, 5 in the query, 4 channels"
    require(isinstance(got, tuple) and len(got) == 2, given, "two tensors", got)
    require_shape(got[0], (6, 4), f"{given}: M_out")
    require_shape(got[1], (5, 4), f"{given}: Q_out")


@check_interact_in_turn.property("the memory takes from the query first, as before")
def _(in_turn):
    inputs = interaction_and_cells()
    given = "random numbers: M_out, compared with the simultaneous form"
    require_close(in_turn(*inputs)[0], at_once(*inputs)[0], given)


@check_interact_in_turn.property("a memory of one cell leaves nothing to choose")
def _(in_turn):
    part, M, Q, M_x = interaction_and_cells()
    one = part, M[:1], Q, M_x[:1]
    given = "one cell in memory: Q_out, compared with the simultaneous form"
    require_close(in_turn(*one)[1], at_once(*one)[1], given)


@check_interact_in_turn.property("the query takes from M_x")
def _(in_turn):
    part, M, Q, _ = interaction_and_cells()
    nothing = part, M, Q, torch.zeros_like(M)
    given = "M_x = 0: Q_out, compared with the simultaneous form"
    require_close(in_turn(*nothing)[1], at_once(*nothing)[1], given)


@check_interact_in_turn.property("the query asks the memory as it has become")
def _(in_turn):
    part, M, Q, M_x = interaction_and_cells()
    M_out, Q_out = in_turn(part, M, Q, M_x)
    with torch.no_grad():
        part.to_memory.query.weight.mul_(-20)  # the memory becomes another one
    given = "the layers of Eq. 3 are changed: how much Q_out changes"
    change = (in_turn(part, M, Q, M_x)[1] - Q_out).abs().max().item()
    require(change > 1e-3, given, "more than 0", change)
    part, M, Q, M_x = interaction_and_cells()
    M_out, Q_out = in_turn(part, M, Q, M_x)
    right = at_once(part, M_out, Q, M_x)[1]
    given = "the simultaneous form, given a memory that already is M_out: its Q_out"
    require_close(Q_out, right, given)


check_backbone_runs = Exercise(
    name="backbone_runs",
    notebook="05",
    title="Runs of a backbone",
    task=(
        "A video has $T$ frames and $K$ objects; every frame but the last is kept, and read "
        "in each frame after it. How often does a backbone run (a) in SITVOS; (b) when each "
        "frame goes through it once without a mask, and each kept frame once more for every "
        "object's mask; (c) when each frame goes through it once without a mask, and in every "
        "frame *all* kept frames anew with every object's mask, as in HST?"
    ),
    hints=(
        "Count for three frames and one object on paper first: which frames go through, when, and "
        "with what?",
        "In (b) the last frame is never kept. In (c) ask for each frame how many are kept before "
        "it: 0, 1, 2, ...",
        "In (c) you have a sum of 0, 1, 2, ... for each object. What does such a sum make in all?",
    ),
)


@check_backbone_runs.property("one frame, one object: nothing is ever kept")
def _(runs):
    require_close(runs(1, 1), [1, 1, 1], given="T = 1, K = 1")


@check_backbone_runs.property("two frames: one is kept, and seen once more for each object")
def _(runs):
    require_close(runs(2, 1), [2, 3, 3], given="T = 2, K = 1")
    require_close(runs(2, 4), [2, 6, 6], given="T = 2, K = 4")


@check_backbone_runs.property("three frames: now (b) and (c) part")
def _(runs):
    require_close(runs(3, 1), [3, 5, 6], given="T = 3, K = 1")
    require_close(runs(3, 2), [3, 7, 9], given="T = 3, K = 2")


@check_backbone_runs.property("longer videos")
def _(runs):
    require_close(runs(4, 3), [4, 13, 22], given="T = 4, K = 3")
    require_close(runs(10, 4), [10, 46, 190], given="T = 10, K = 4")
    require_close(runs(60, 7), [60, 473, 12450], given="T = 60, K = 7")
