"""What weights were trained on, and what that leaves free: what stands in the JSON beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minivos.errors import InputError
from minivos.training.recipe import Recipe
from minivos.training.samples import Folders, sort_folders

NOT_STATED = "not stated"
TERMS = ("free", NOT_STATED, "non-commercial")  # what holds for a part holds for all before it
STATED = (TERMS[0], TERMS[-1])
RENDERED = "rendered clips"
IMAGENET = {"trained_on": ["ImageNet (encoder)"], "terms": "free"}  # timm: Apache-2.0 or MIT


def terms_of(
    recipe: Recipe,
    data: Folders | list[str],
    photos: Path | None = None,
    stated: str = "",
    earlier: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The facts "trained_on" and "terms" of a training.

    `stated` is what the user says of the footage: "free", "non-commercial", or nothing. `earlier`
    are the facts of weights that it begins with. Rendered clips alone are free, and what nobody
    stated is "not stated". Raises InputError for other words.
    """
    if stated and stated not in STATED:
        raise InputError(f"got terms {stated!r}; expected {' or '.join(STATED)}, or none")
    sources = footage_names(recipe, data, photos)
    known = "free" if sources == [RENDERED] else NOT_STATED
    return joined([{"trained_on": sources, "terms": known}, *earlier], stated)


def joined(parts: Iterable[Mapping[str, Any]], stated: str = "") -> dict[str, Any]:
    """The facts "trained_on" and "terms" of what is made of several parts, by the facts of each.

    The narrowest terms hold for the whole. `stated` are those of parts that nobody stated; they
    hold for the whole, too. Raises InputError for words that are no terms.
    """
    sources: list[str] = []
    terms = [stated] if stated else []
    for facts in parts:
        sources += facts.get("trained_on", ["weights of unknown origin"])
        known = facts.get("terms", NOT_STATED)
        terms.append(stated if stated and known == NOT_STATED else known)
    if unknown := [term for term in terms if term not in TERMS]:
        raise InputError(
            f"got weights whose JSON has the terms {unknown[0]!r}; expected {', '.join(TERMS)}"
        )
    return {"trained_on": [*dict.fromkeys(sources)], "terms": max(terms, key=TERMS.index)}


def footage_names(
    recipe: Recipe, data: Folders | list[str], photos: Path | None = None
) -> list[str]:
    """Names of all footage of a training, "NAME (kind)"; a folder without those around it."""
    folders = sort_folders(recipe, data)
    rendered = "synthetic" in recipe.footage or not folders
    named = [f"{last_name(each)} ({kind})" for kind in folders for each in folders[kind]]
    album = [f"{last_name(photos)} (photos)"] if photos else []
    return [RENDERED] * rendered + named + album


def last_name(path: str | Path) -> str:
    """The last part of a path, which tells nobody where it lies on this machine."""
    return Path(path).name or Path(path).resolve().name
