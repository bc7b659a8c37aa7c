"""How to train: settings, the recipes of the papers, and what changes in the course of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from minivos.errors import InputError, check_rules, check_settings

FOOTAGE = ("synthetic", "video", "stills", "cutouts")  # kinds
MOTIONS = ("film", "paper")
SHARES = (
    "warm_up", "easy", "auxiliary", "feed_predictions_from", "freeze_late_from", "hardest",
    "jaccard", "gaps_grow",
)  # fmt: skip
ENDLESS = ("clip_norm", "footage", "motion")  # fields that are no finite number
OLD_NAMES = {"stills": "aot_stills", "video": "aot_video"}


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Shares are of the whole run; the paper's values are AOT's (Sec. A.1.2 and released code).
    """

    steps: int = 6000  # optimiser steps (paper: 100,000)
    minutes: float = 0.0  # stop after this long instead, `steps` being a guess; 0: after `steps`
    batch: int = 8  # clips per step, over all processes (paper: 16)
    frames: int = 4  # frames per clip, the first with its masks given (paper: 5)
    side: int = 128  # pixels of a sample (paper: 465)
    clip_side: float = 1.25  # side of a rendered clip over that of the samples cut out of it
    objects: int = 4  # at most so many per clip (paper: 10)
    learning_rate: float = 2e-3  # highest (paper: 4e-4, then 2e-4)
    final_learning_rate: float = 2e-5  # lowest (code: 1e-5 for R50-L and SwinB-L on video)
    encoder_rate: float = 1.0  # share of the others' rate that the encoder gets (paper: 0.1)
    weight_decay: float = 0.03  # (paper: 0.03, then 0.07)
    warm_up: float = 0.05  # share with rising learning rate (code: 0.05)
    easy: float = 0.2  # share over which clips grow from easy to hard
    auxiliary: float = 0.1  # share over which the loss on the given frame fades (code: 0.1, then 1)
    feed_predictions_from: float = 0.35  # the memory gets predicted masks (code: from 1, then 0.5)
    freeze_late_from: float = 1.0  # the network's `frozen_late` weights stay (code: 1, then 0.5)
    hardest: float = 0.4  # share of the pixels in the cross-entropy, second half (code: 0.15)
    jaccard: float = 0.5  # weight of the soft Jaccard; cross-entropy has the rest (paper: 0.5)
    clip_norm: float = 5.0  # of gradients (code: 5)
    longest_gap: int = 12  # between the frames of a sample from video, in frames (code: 12)
    gaps_grow: float = 0.0  # share over which it grows from 1 (code: 0)
    # Share of the samples that each kind of FOOTAGE gives (paper: stills, then video). The name of
    # a kind stands for all of it.
    footage: dict[str, float] = field(default_factory=lambda: {"synthetic": 1.0})
    motion: str = "film"  # how stills move and video changes: as things in a film, or as in a paper
    pool: int = 32  # rendered clips held ready to cut samples out of; 0: each is a finished sample
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"frames": 2, "clip_side": 1, "pool": 0, "seed": 0}
        object.__setattr__(self, "footage", as_shares(self.footage))
        check_settings(self, least, motion=MOTIONS)
        shares = {name: getattr(self, name) for name in SHARES}
        numbers = {name: value for name, value in vars(self).items() if name not in ENDLESS}
        check_rules(
            {f"{name}={value} must be finite": value != math.inf for name, value in numbers.items()}
            | {f"{name}={share} must be 0 to 1": share <= 1 for name, share in shares.items()}
            | {
                f"hardest={self.hardest} must be above 0": self.hardest > 0,
                f"objects={self.objects} must be 100 or fewer": self.objects <= 100,
                f"seed={self.seed} must be below 2**32": self.seed < 2**32,
            }
        )

    @property
    def rolling(self) -> bool:
        """Whether all samples come from a pool of clips, of which each step makes a new one."""
        return self.pool > 0 and self.footage == {"synthetic": 1}

    def clips_in(self, share: float) -> float:
        """Clips that are made in this share of the run: a batch in each step, one for a pool."""
        return share * self.steps * (1 if self.rolling else self.batch)


def as_shares(footage: str | Mapping[str, float]) -> dict[str, float]:
    """The shares of the kinds of footage, in the order of FOOTAGE; the name of a kind is all of it.

    Raises InputError for an unknown kind, and unless the shares are numbers that add up to 1.
    """
    if isinstance(footage, str):
        footage = {footage: 1.0}
    if not isinstance(footage, Mapping):
        raise InputError(
            f"got footage={footage!r}; expected shares by kind, such as "
            "{'synthetic': .4, 'video': .6}"
        )
    for kind, share in footage.items():
        if kind not in FOOTAGE:
            raise InputError(f"got footage={kind!r}; expected one of {', '.join(FOOTAGE)}.")
        number = isinstance(share, (int, float)) and not isinstance(share, bool)
        if not number or not 0 <= share <= 1:
            raise InputError(f"got {share!r} as the share of {kind}; expected a number, 0 to 1")
    if not math.isclose(total := sum(footage.values()), 1, abs_tol=1e-6):
        raise InputError(f"got shares of footage that add up to {total:.3g}; expected 1")
    return {kind: float(footage[kind]) for kind in FOOTAGE if footage.get(kind)}


# The recipes --------------------------------------------------------------------------------------

_AOT_STILLS = Recipe(
    steps=100_000, batch=16, frames=5, side=465, objects=10, learning_rate=4e-4, encoder_rate=0.1,
    feed_predictions_from=1.0, hardest=0.15, footage=as_shares("stills"), motion="paper", pool=0,
)  # fmt: skip
_AOT_VIDEO = replace(
    _AOT_STILLS, learning_rate=2e-4, weight_decay=0.07, auxiliary=1.0, feed_predictions_from=0.5,
    freeze_late_from=0.5, footage=as_shares("video"),
)  # fmt: skip

# Masks that are fed pass no gradient here; in SITVOS's released code they do on stills.
_SITVOS_STILLS = Recipe(
    steps=600_000, batch=4, frames=3, side=384, objects=5, learning_rate=1e-5,
    final_learning_rate=0.0, weight_decay=0.0, warm_up=0.0, auxiliary=0.0,
    feed_predictions_from=0.0, hardest=1.0, jaccard=0.0, clip_norm=math.inf,
    footage=as_shares("stills"), motion="paper", pool=0,
)  # fmt: skip
_SITVOS_VIDEO = replace(  # gaps grow by a frame every 3000 steps
    _SITVOS_STILLS, steps=800_000, objects=10, longest_gap=25, gaps_grow=0.09,
    footage=as_shares("video"),
)  # fmt: skip

# SST's paper names none but video; the numbers are those of its config file, where it has them. Its
# rate, 0.01, is one for SGD; ours, as all that the file leaves open, is AOT's.
_SST_VIDEO = replace(
    _AOT_VIDEO, steps=25_000, batch=8, frames=4, side=464, final_learning_rate=0.0, warm_up=0.04,
    weight_decay=1.5e-4, auxiliary=0.0, longest_gap=3,
)  # fmt: skip

# A first run: few steps, small and short clips, mild ones for longer.
_LAPTOP = Recipe(
    steps=300, frames=3, side=96, clip_side=1.0, objects=3, easy=1.0, feed_predictions_from=0.6,
    hardest=0.6,
)  # fmt: skip

# A paper trains on still pictures that move, from an encoder that knows ImageNet, then on video,
# from the weights of the first stage; SST on video only.
RECIPES = {
    "small": Recipe(),
    "laptop": _LAPTOP,  # about two minutes on 2 CPU cores
    "gpu": Recipe(steps=2000),  # meant to be about five minutes on a GPU; not measured
    "mixed": Recipe(
        side=160, footage={"synthetic": 0.3, "video": 0.35, "stills": 0.25, "cutouts": 0.1}
    ),
    "aot_stills": _AOT_STILLS,
    "aot_video": _AOT_VIDEO,
    "sst_video": _SST_VIDEO,
    "sitvos_stills": _SITVOS_STILLS,
    "sitvos_video": _SITVOS_VIDEO,
    # HST's paper gives size, frames, rate, loss and gaps, which are SITVOS's; so we take the rest.
    "hst_stills": _SITVOS_STILLS,
    "hst_video": _SITVOS_VIDEO,
}


def pick_budget(device: object) -> str:
    """The recipe for a lesson on this device: "gpu" where it is a CUDA device, else "laptop"."""
    return "gpu" if str(device).startswith("cuda") else "laptop"


def read_shares(texts: Iterable[str]) -> dict[str, float]:
    """Shares of footage as people type them, KIND=SHARE each, or one KIND for all of it.

    Raises InputError for what is none, see `as_shares`.
    """
    pairs = [text.partition("=") for text in texts]
    if [equals for _, equals, _ in pairs] == [""]:
        return as_shares(pairs[0][0])
    try:
        shares = {kind: float(share) for kind, _, share in pairs}
    except ValueError as error:
        raise InputError(
            f"got --footage {' '.join(texts)}; expected KIND=SHARE, such as synthetic=.4"
        ) from error
    if len(shares) < len(pairs):
        raise InputError(f"got --footage {' '.join(texts)}; expected each kind once")
    return as_shares(shares)


def find_recipe(name: str, settings: Iterable[str] = (), **changes: Any) -> Recipe:
    """One of RECIPES, with `changes` that are not None, and after them `settings` "field=value".

    "stills" and "video", the old names of AOT's stages, are known too. InputError for an unknown
    name or field, and for a value of another kind.
    """
    name = OLD_NAMES.get(name, name)
    if name not in RECIPES:
        raise InputError(f"There is no recipe {name!r}. Known recipes: {', '.join(RECIPES)}.")
    recipe = RECIPES[name]
    kinds: dict[str, Any] = {each.name: type(getattr(recipe, each.name)) for each in fields(recipe)}
    kinds["footage"] = str
    changes = {name: value for name, value in changes.items() if value is not None}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in kinds:
            known = ", ".join(kinds)
            raise InputError(f"The recipe has no field {key!r}. Known fields: {known}.")
        try:
            changes[key] = kinds[key](value)
        except ValueError as error:
            kind = "a whole number" if kinds[key] is int else "a number"
            raise InputError(f"got --set {setting}; expected {kind}: --set {key}=...") from error
    return replace(recipe, **changes)


# In the course of a run ---------------------------------------------------------------------------


def hardest_share(recipe: Recipe, progress: float) -> float:
    """Share of pixels in the cross-entropy: from 1 down to `hardest`, in the middle of the run."""
    return max(recipe.hardest, 1 - (1 - recipe.hardest) * progress / 0.5)


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Linear warm-up, then polynomial decay with power 0.9 (AOT Sec. A.1.2, released code)."""
    low, high = recipe.final_learning_rate, recipe.learning_rate
    if progress < recipe.warm_up:
        return low + (high - low) * progress / recipe.warm_up
    step = recipe.steps * (progress - recipe.warm_up)  # since the warm-up
    steps = recipe.steps * (1 - recipe.warm_up)
    return low + (high - low) * (1 - step / (steps + 1)) ** 0.9


def longest_gap(recipe: Recipe, number: int) -> int:
    """The longest gap between frames of sample `number`: grows from 1 in the share `gaps_grow`."""
    growing = recipe.clips_in(recipe.gaps_grow)
    if number >= growing:
        return recipe.longest_gap
    return 1 + int((recipe.longest_gap - 1) * number / growing)


def group_rate(recipe: Recipe, progress: float, group: dict) -> float:
    """The learning rate of one of the `weight_groups`."""
    if group["frozen_late"] and progress >= recipe.freeze_late_from:
        return 0.0
    low, rate = recipe.final_learning_rate, learning_rate(recipe, progress)
    return low + recipe.encoder_rate * (rate - low) if group["encoder"] else rate
