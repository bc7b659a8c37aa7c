"""Checks of notebook 02: identities evenly apart, the identity bank, two objects exchanged."""

from typing import Any

import torch
from torch import Tensor

from minivos.aot import IdentityBank
from minivos.course.exercise import Exercise, require, require_close, require_shape
from minivos.course.transplant import CoreExercise, replace_parts
from minivos.nn.network import VOSNetwork

check_evenly_apart = Exercise(
    name="evenly_apart",
    notebook="02",
    title="Evenly apart",
    task=(
        "Write a bank of $M$ vectors of length 1, in $M$ dimensions, that are all equally far "
        "apart, and as far as can be: every cosine is $-1/(M-1)$."
    ),
    hints=(
        "Start from $M$ vectors at right angles to each other: their cosines are equal, but not "
        "yet the smallest.",
        "What do these vectors have in common? It makes all cosines larger.",
        "Take the mean of the vectors away from each of them, and mind the lengths.",
    ),
)


def cosines(vectors: Tensor) -> list[float]:
    """Of every two rows of vectors of length 1."""
    rows, columns = torch.triu_indices(len(vectors), len(vectors), offset=1)
    return (vectors[rows] * vectors[columns]).sum(dim=1).tolist()


@check_evenly_apart.property("M vectors in M dimensions: (M, M)")
def _(evenly_apart):
    require_shape(evenly_apart(4), (4, 4), given="M = 4")


@check_evenly_apart.property("every vector has length 1")
def _(evenly_apart):
    require_close(evenly_apart(4).norm(dim=1), torch.ones(4), given="M = 4: the four lengths")


@check_evenly_apart.property("two vectors point in opposite directions")
def _(evenly_apart):
    require_close(cosines(evenly_apart(2)), [-1.0], given="M = 2: the cosine")


@check_evenly_apart.property("every two of four vectors are equally far apart")
def _(evenly_apart):
    found = cosines(evenly_apart(4))
    given = "M = 4: the largest of the six cosines less the smallest"
    require_close(max(found) - min(found), 0, given)


@check_evenly_apart.property("and as far as can be")
def _(evenly_apart):
    for count, farthest in ((3, -0.5), (5, -0.25), (11, -0.1), (51, -0.02)):
        vectors = evenly_apart(count)
        given = f"M = {count}: "
        require_shape(vectors, (count, count), given=given + "the vectors")
        require_close(vectors.norm(dim=1), torch.ones(count), given=given + "the lengths")
        found = cosines(vectors)
        require_close([min(found), max(found)], [farthest] * 2, given + "least and largest cosine")


def into_aot(network: VOSNetwork, bank: type) -> VOSNetwork:
    """A copy of an AOT in which the student's class is the identity bank."""

    def build(old: IdentityBank) -> torch.nn.Module:
        return bank(old.identities, old.embed.out_channels, old.embed.stride[0])

    return replace_parts(network, IdentityBank, build)


check_identity_bank = CoreExercise(
    name="identity_bank",
    notebook="02",
    title="Identity bank",
    task=(
        "Write the identity bank, Eq. 3 a patch at a time, and the draw of identities. Then "
        "it paints the objects inside the trained network."
    ),
    network="aot_mini",
    put_in=into_aot,
    hints=(
        "forward: Y has a mask for each object, `embed` wants one for each identity. P says who "
        "has which: sum over the objects.",
        "forward: `embed` answers (B, C, rows, columns); tokens are (B, N, C), row by row. assign: "
        "first a list of identities for each clip, background's 0 in front, then `F.one_hot`.",
        "assign with shuffle: a random *order* of all identities for each clip, of which the first "
        "K are taken, repeats none. Random numbers, sorted, give one.",
    ),
)
M, WIDTH, PATCH = 3, 2, 2


def bank_of(my_bank: type, vectors: list | None = None) -> Any:
    """A small bank: identity m adds `vectors[m]` for a whole patch, a quarter of it for a pixel."""
    bank = my_bank(M, WIDTH, PATCH)
    if vectors is not None:
        with torch.no_grad():
            bank.embed.weight[:] = torch.tensor(vectors).T[:, :, None, None] / PATCH**2
            bank.embed.bias.zero_()
    return bank


def masks_of(*rows: str) -> Tensor:
    """Masks (1, 1+K, H, W) from labels, a row of digits each."""
    labels = torch.tensor([[int(digit) for digit in row] for row in rows])
    return torch.nn.functional.one_hot(labels).permute(2, 0, 1)[None].float()


def chosen(*identities: int) -> Tensor:
    """P (1, 1+K, 1+M) for the identities of background and objects."""
    return torch.eye(1 + M)[list(identities)][None]


VECTORS = [[1.0, 0], [0, 4], [8, 0], [0, -2]]  # of background and identities 1 to 3
IN_WORDS = "vectors (1, 0) of background, (0, 4), (8, 0), (0, -2) of identities 1 to 3"


@check_identity_bank.property("a token for each patch: (B, N, C)")
def _(my_bank):
    got = bank_of(my_bank)(torch.rand(5, 3, 4, 6), torch.eye(1 + M)[:3].repeat(5, 1, 1))
    require_shape(got, (5, 6, WIDTH), given="5 clips, 4 x 6 pixels, patches of 2 x 2, C = 2")


@check_identity_bank.property("background has a vector of its own")
def _(my_bank):
    got = bank_of(my_bank, VECTORS)(masks_of("00", "00"), chosen(0))
    require_close(got, [[[1.0, 0]]], given=f"one patch of background; {IN_WORDS}")


@check_identity_bank.property("an object that covers half of a patch gives half of its vector")
def _(my_bank):
    got = bank_of(my_bank, VECTORS)(masks_of("10", "10"), chosen(0, 1))
    given = f"one patch, object 1 (identity 1) covers its left column; {IN_WORDS}"
    require_close(got, [[[0.5, 2]]], given)


@check_identity_bank.property("P says which identity an object has")
def _(my_bank):
    got = bank_of(my_bank, VECTORS)(masks_of("1122", "1122"), chosen(0, 3, 2))
    given = f"two patches, objects 1 and 2, with the identities 3 and 2; {IN_WORDS}"
    require_close(got, [[[0.0, -2], [8, 0]]], given)


@check_identity_bank.property("tokens run row by row")
def _(my_bank):
    masks = masks_of("001100", "001100", "000000", "000000")
    got = bank_of(my_bank, VECTORS)(masks, chosen(0, 1))[0, :, 1]
    given = f"2 x 3 patches, object 1 in the middle of the first row (channel 2); {IN_WORDS}"
    require_close(got, [0.0, 4, 0, 0, 0, 0], given)


@check_identity_bank.property("a soft mask counts by its share")
def _(my_bank):
    soft = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    got = bank_of(my_bank, VECTORS)(soft, chosen(0, 1))
    given = f"one patch, each pixel 0.75 background and 0.25 object 1; {IN_WORDS}"
    require_close(got, [[[0.75, 1]]], given)


@check_identity_bank.property("each pixel of a patch has vectors of its own")
def _(my_bank):
    bank = bank_of(my_bank, VECTORS)
    with torch.no_grad():
        bank.embed.weight[:, 1] = torch.tensor([[[1.0, 2], [3, 4]], [[0, 0], [0, 1]]])
    got = bank(masks_of("01", "00"), chosen(0, 1))
    given = "one patch; at its upper right pixel identity 1 has (2, 0), background (0.25, 0)"
    require_close(got, [[[2.75, 0]]], given)


@check_identity_bank.property("each token has the bias of `embed`, too")
def _(my_bank):
    bank = bank_of(my_bank, VECTORS)
    with torch.no_grad():
        bank.embed.bias[:] = torch.tensor([10.0, 20])
    got = bank(masks_of("11", "11"), chosen(0, 1))
    given = f"one patch of object 1 (identity 1); the bias of embed is (10, 20); {IN_WORDS}"
    require_close(got, [[[10.0, 24]]], given)


@check_identity_bank.property("each clip of a batch has its own P")
def _(my_bank):
    masks = masks_of("11", "11").expand(2, -1, -1, -1)
    got = bank_of(my_bank, VECTORS)(masks, torch.cat([chosen(0, 1), chosen(0, 2)]))
    given = f"two clips, one patch, object 1: it has identity 1 in one, 2 in the other; {IN_WORDS}"
    require_close(got, [[[0.0, 4]], [[8, 0]]], given)


@check_identity_bank.property("assign: object k has identity k, background 0")
def _(my_bank):
    got = bank_of(my_bank).assign(1, 2, shuffle=False, device="cpu")
    given = "M = 3, one clip, two objects, shuffle=False"
    require_close(got, torch.eye(4)[None, :3], given)
    require(got.is_floating_point(), given, "floats, as masks are", str(got.dtype))


@check_identity_bank.property("assign: one identity for each object, none twice")
def _(my_bank):
    P = bank_of(my_bank).assign(50, 3, shuffle=True, device="cpu")
    given = "50 clips, three objects, three identities, shuffle=True"
    require_shape(P, (50, 4, 4), given)
    require_close(P.sum(dim=2), torch.ones(50, 4), f"{given}: sums of the rows of P")
    require_close(P.sum(dim=1), torch.ones(50, 4), f"{given}: how often each identity is taken")


@check_identity_bank.property("assign: background is never shuffled")
def _(my_bank):
    P = bank_of(my_bank).assign(50, 3, shuffle=True, device="cpu")
    given = "50 clips, shuffle=True: the entries of P that say background has identity 0"
    require_close(P[:, 0, 0], torch.ones(50), given)


@check_identity_bank.property("assign: each clip draws its own, and every identity gets its turn")
def _(my_bank):
    P = bank_of(my_bank).assign(50, 1, shuffle=True, device="cpu")
    used = P[:, 1].argmax(dim=1).unique().tolist()
    given = "50 clips with one object, shuffle=True: the identities that occur"
    require(used == [1, 2, 3], given, "[1, 2, 3]", used)


check_exchanged = Exercise(
    name="exchanged",
    notebook="02",
    title="Exchanged",
    task=(
        "Exchange objects 1 and 2 in the answer. You may not touch $Y$, $D$, the features or the "
        "weights: only the $P$ with which the answer is *decoded*. What does that say about "
        "storing $P$ with the memory?"
    ),
    hints=(
        "A row of P belongs to an object, a column to an identity. Which of them says who gets the "
        "answer?",
        "Object 1 has to get the answer of the identity with which object 2 was painted.",
        "Nothing is computed: two rows change places.",
    ),
)


def decoded(exchange: Any, *identities: int) -> list[float]:
    """Which object gets the answer, if the paint of background, object 1, 2, ... has arrived."""
    P = chosen(*identities)[0]
    logits = 5 * P  # (cells, 1+M): a cell for each identity that was painted
    got = exchange(P)
    require_shape(got, tuple(P.shape), given=f"P of K = {len(P) - 1} objects")
    return (logits @ got.T).argmax(dim=1).tolist()


@check_exchanged.property("the paint of object 1 is answered with 2, that of 2 with 1")
def _(exchange):
    given = "cells of background, object 1, object 2, painted with the identities 0, 3, 1: answers"
    require_close(decoded(exchange, 0, 3, 1), [0, 2, 1], given)


@check_exchanged.property("all others stay who they are")
def _(exchange):
    given = "cells of background and objects 1, 2, 3, painted with 0, 2, 3, 1: answers"
    require_close(decoded(exchange, 0, 2, 3, 1), [0, 2, 1, 3], given)


@check_exchanged.property("the P that handed out stays as it is")
def _(exchange):
    P = chosen(0, 3, 1)[0]
    exchange(P)
    require_close(P, chosen(0, 3, 1)[0], given="P, after the call")
