"""Checks of notebook 01: a memory read, many objects merged into one answer, colours as keys."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minivos.course.exercise import Exercise, require, require_close, require_shape
from minivos.course.transplant import CoreExercise, replace_function, with_names
from minivos.nn.network import VOSNetwork
from minivos.nn.objects import merge_answers
from minivos.video.masks import OKABE_ITO

Answer = Callable[..., Any]


def into_attention(network: VOSNetwork, read_memory: Answer) -> VOSNetwork:
    """A copy of the network in which all dense attention is the student's."""

    def attend(q: Tensor, k: Tensor, v: Tensor, *names: object, **_: object) -> Tensor:
        return read_memory(q, k, v)

    return replace_function(network, "attend", attend)


def into_merging(network: VOSNetwork, soft_aggregate: Answer) -> VOSNetwork:
    """A copy of the network in which the student's function merges the objects."""
    merge = with_names(merge_answers, object_log_odds=partial(log_of, soft_aggregate))
    return replace_function(network, "merge_answers", merge)


def log_of(soft_aggregate: Answer, probabilities: Tensor) -> Tensor:
    """Log probabilities, which are logits, too: their softmax is what they are the log of."""
    return soft_aggregate(probabilities).log()


check_read_memory = CoreExercise(
    name="read_memory",
    notebook="01",
    title="Memory read",
    task=(
        "Write the read of a memory, for any number of axes in front. Then it reads the "
        "memory in every attention of a trained network."
    ),
    network="sitvos_mini",
    put_in=into_attention,
    hints=(
        "Scores first, one for each pair of a query and a key: which matrix product gives (..., "
        "Nq, Nk)?",
        "Each *query* shares out a weight of 1 among all keys. Over which axis runs the softmax?",
        "Scores are divided by the root of the length of a query before the softmax; then weights "
        "times values.",
    ),
)


@check_read_memory.property("one row of values for each query, whatever the axes in front")
def _(read):
    shapes = (2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 6)
    got = read(*(torch.randn(shape) for shape in shapes))
    require_shape(got, (2, 3, 5, 6), given=f"q, k and v of the shapes {shapes}")


@check_read_memory.property("a memory of one key gives its value to every query")
def _(read):
    got = read(torch.tensor([[5.0], [-2.0]]), torch.tensor([[3.0]]), torch.tensor([[7.0, 8.0]]))
    require_close(
        got, [[7.0, 8], [7, 8]], given="queries 5 and -2, one key 3 with the value (7, 8)"
    )


@check_read_memory.property("equal keys: the plain mean of their values")
def _(read):
    got = read(torch.ones(1, 2), torch.ones(4, 2), torch.tensor([[0.0], [0], [0], [8]]))
    require_close(got, [[2.0]], given="four equal keys with the values 0, 0, 0, 8")


@check_read_memory.property("scores are dot products over the root of their length")
def _(read):
    q = torch.tensor([[2.0, 0, 0, 0]])
    k = torch.tensor([[math.log(3), 0, 0, 0], [0, 0, 0, 0]])
    got = read(q, k, torch.tensor([[4.0], [0]]))
    given = "q = (2, 0, 0, 0), keys (ln 3, 0, 0, 0) and (0, 0, 0, 0) with the values 4 and 0"
    require_close(got, [[3.0]], given)


@check_read_memory.property("the weights of each query sum to 1")
def _(read):
    got = read(torch.randn(5, 4), torch.randn(7, 4), torch.ones(7, 1))
    require_close(got, torch.ones(5, 1), given="random queries and keys; every value is 1")


@check_read_memory.property("a memory has no order")
def _(read):
    q, k, v = torch.randn(5, 4), torch.randn(7, 4), torch.randn(7, 3)
    order = torch.randperm(7)
    given = "7 keys with their values, and the same in another order"
    require_close(read(q, k[order], v[order]), read(q, k, v), given)


@check_read_memory.property("large scores give no infinity")
def _(read):
    got = read(torch.tensor([[400.0]]), torch.tensor([[1.0], [0.0]]), torch.tensor([[7.0], [8.0]]))
    require_close(got, [[7.0]], given="scores 400 and 0 for the values 7 and 8")


check_soft_aggregate = CoreExercise(
    name="soft_aggregate",
    notebook="01",
    title="Soft aggregation",
    task=(
        "Merge the answers for single objects into one. Then it merges those of a trained network."
    ),
    network="sitvos_mini",
    put_in=into_merging,
    hints=(
        "Background first: the probability that none of the objects is here is a product.",
        "Odds are what a probability is for, over what it is against; you need them of background "
        "and objects alike.",
        "An exact 1 has nothing against it, and dividing by it gives no number: keep away from 0 "
        "and 1 before.",
    ),
)


def pixel(*probabilities: float) -> Tensor:
    """Probabilities of K objects at one pixel, (1, K, 1, 1)."""
    return torch.tensor(probabilities).view(1, -1, 1, 1)


@check_soft_aggregate.property("(B, K, H, W) becomes (B, 1+K, H, W)")
def _(aggregate):
    got = aggregate(torch.rand(2, 3, 4, 5))
    require_shape(got, (2, 4, 4, 5), given="two clips, three objects, 4 x 5 pixels")


@check_soft_aggregate.property("all probabilities of a pixel sum to 1")
def _(aggregate):
    got = aggregate(torch.rand(2, 3, 4, 5)).sum(dim=1)
    require_close(got, torch.ones(2, 4, 5), given="random probabilities; sums over axis 1")


@check_soft_aggregate.property("one object, undecided: background and object share")
def _(aggregate):
    require_close(aggregate(pixel(0.5)).flatten(), [0.5, 0.5], given="one object with 0.5")


@check_soft_aggregate.property("one object, rather sure: merged it is surer")
def _(aggregate):
    got = aggregate(pixel(0.8)).flatten()
    require_close(got, [1 / 17, 16 / 17], given="one object with 0.8; its odds are 4, against 1/4")


@check_soft_aggregate.property("background is none of the objects")
def _(aggregate):
    got = aggregate(pixel(0.5, 0.5)).flatten()
    require_close(got, [1 / 7, 3 / 7, 3 / 7], given="two objects with 0.5: none of them has 1/4")


@check_soft_aggregate.property("objects have no order")
def _(aggregate):
    p = torch.rand(1, 3, 2, 2)
    got, straight = aggregate(p[:, [2, 0, 1]]), aggregate(p)[:, [0, 3, 1, 2]]
    require_close(got, straight, given="three objects, and the same in another order")


@check_soft_aggregate.property("certainty gives numbers: two objects with 1 share the pixel")
def _(aggregate):
    got = aggregate(pixel(1.0, 1.0)).flatten()
    require_close(got, [0, 0.5, 0.5], given="two objects with exactly 1", within=1e-3)


@check_soft_aggregate.property("an object that is nowhere changes nothing")
def _(aggregate):
    got, alone = aggregate(pixel(0.7, 0.0)).flatten(), aggregate(pixel(0.7)).flatten()
    require_close(
        got[:2], alone, given="objects with 0.7 and 0; background and object 1", within=1e-3
    )


check_merged_logits = Exercise(
    name="merged_logits",
    notebook="01",
    title="Soft aggregation in logits",
    task=(
        "The same in logits: their softmax is the soft aggregation of $\\sigma(x)$. It has to "
        "survive $x = 80$, where $1 - p$ is zero in floating point. (What are *log odds*, "
        "$\\log \\frac{p}{1 - p}$, and what are those of $\\sigma(x)$?)"
    ),
    hints=(
        "What are the log odds of a probability that is sigmoid(x)? Try x = 0, and x = ln 4.",
        "The log of a product is a sum; `F.logsigmoid` gives each of its terms, also where the "
        "probability is 0 in floating point.",
        "For the odds of the background you need the log of one less its probability: "
        "`torch.expm1` is exact near 0.",
    ),
)


def logit(probability: float) -> float:
    """Log odds."""
    return math.log(probability / (1 - probability))


@check_merged_logits.property("(B, K, H, W) becomes (B, 1+K, H, W)")
def _(merged):
    got = merged(torch.randn(2, 3, 4, 5))
    require_shape(got, (2, 4, 4, 5), given="two clips, three objects, 4 x 5 pixels")


@check_merged_logits.property("one object: the softmax is its soft aggregation")
def _(merged):
    got = merged(pixel(logit(0.8))).softmax(dim=1).flatten()
    require_close(got, [1 / 17, 16 / 17], given="one object whose sigmoid is 0.8")


@check_merged_logits.property("two objects: background is none of them")
def _(merged):
    got = merged(pixel(0.0, 0.0)).softmax(dim=1).flatten()
    require_close(got, [1 / 7, 3 / 7, 3 / 7], given="two objects whose sigmoid is 0.5")


@check_merged_logits.property("it survives the logit 80, where 1 - p is zero")
def _(merged):
    got = merged(pixel(80.0, -80.0)).flatten()
    require(got.isfinite().all(), "two objects with the logits 80 and -80", "finite logits", got)


@check_merged_logits.property("of two sure objects the surer stays ahead, by as much as before")
def _(merged):
    _, one, other = merged(pixel(70.0, 80.0)).flatten()
    given = "two objects with the logits 70 and 80: the distance of their merged logits"
    require_close(other - one, 10, given)


@check_merged_logits.property("of two absent objects, too")
def _(merged):
    _, one, other = merged(pixel(-80.0, -70.0)).flatten()
    given = "two objects with the logits -80 and -70: the distance of their merged logits"
    require_close(other - one, 10, given)


@check_merged_logits.property("where an object surely is not, background surely is")
def _(merged):
    background, one = merged(pixel(-80.0)).flatten()
    given = "one object with the logit -80: how far background is ahead"
    require_close(background - one, 160, given, within=0.01)


check_light_proof = Exercise(
    name="light_proof",
    notebook="01",
    title="Light-proof colours",
    task=(
        "A cloud passes: the light fades to a third, and colours as keys fail. Write colours that "
        "do not depend on the light. Keep an eye on how far apart they end up, for the sharpness "
        "of the look-up was chosen for the old ones: divide the frame by *one* number, or scale "
        "what you get."
    ),
    hints=(
        "Half the light halves every number of the frame. Which number, measured in the frame, is "
        "halved with them?",
        "A frame of a batch has its own light: measure over channels and pixels, not over the "
        "batch. `keepdim=True` keeps the axes.",
        "In a black frame that number is 0; keep it away from 0 before you divide.",
    ),
)
GROUND, ORANGE, BLUE = [0.3] * 3, (OKABE_ITO[1] / 255).tolist(), (OKABE_ITO[2] / 255).tolist()


def colours_in_a_row(*colours: list[float]) -> Tensor:
    """A frame of one row of pixels, (1, 3, 1, W)."""
    return torch.tensor(colours).T[None, :, None]


@check_light_proof.property("colours (B, 3, H, W), as many as pixels")
def _(light_proof):
    got = light_proof(torch.rand(2, 3, 4, 5))
    require_shape(got, (2, 3, 4, 5), given="two frames of 4 x 5 pixels")


@check_light_proof.property("a third of the light changes nothing")
def _(light_proof):
    frame = colours_in_a_row(GROUND, ORANGE, BLUE)
    given = "a grey, an orange and a blue pixel; the same with a third of the light"
    require_close(light_proof(frame / 3), light_proof(frame), given, within=1e-3)


@check_light_proof.property("it does not matter where in the frame a colour stands")
def _(light_proof):
    colours = torch.tensor([GROUND, ORANGE, BLUE, ORANGE]).T  # (3, H W)
    order = [2, 0, 1, 3]
    frame, mixed = colours.reshape(1, 3, 2, 2), colours[:, order].reshape(1, 3, 2, 2)
    expected = light_proof(frame).flatten(2)[:, :, order]
    given = "a frame of 2 x 2 colours, and one with the same colours in another order"
    require_close(light_proof(mixed).flatten(2), expected, given, within=1e-3)


@check_light_proof.property("every frame of a batch has a light of its own")
def _(light_proof):
    frame = colours_in_a_row(GROUND, ORANGE, BLUE)
    got = light_proof(torch.cat([frame, frame / 3]))
    given = "a bright frame and the same in the shade, together in a batch"
    require_close(got[1], got[0], given, within=1e-3)


@check_light_proof.property("colours stay far enough apart for the look-up")
def _(light_proof):
    frame = torch.cat([colours_in_a_row(*[GROUND] * 10), colours_in_a_row(ORANGE, BLUE)], dim=-1)
    found = light_proof(frame)[0, :, 0, 9:].T.double()
    scores = -30 * torch.cdist(found, found).square()  # as the colour network compares them
    own = scores.softmax(dim=-1).diagonal()
    given = "ten grey pixels, an orange and a blue one: the weight of each colour on its like"
    require((own > 0.99).all(), given, "more than 0.99 each, if one pixel of each is asked", own)


@check_light_proof.property("a black frame gives numbers")
def _(light_proof):
    got = light_proof(torch.zeros(1, 3, 1, 2))
    require(got.isfinite().all(), "a frame of zeros", "finite numbers", got)
