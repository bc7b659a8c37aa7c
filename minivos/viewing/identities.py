"""How alike the identities of an AOT are: their cosines, as numbers and as a figure."""

from itertools import product
from typing import Any

import numpy as np
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from minivos.errors import InputError
from minivos.viewing.picture import Picture


def identity_similarities(model: nn.Module | Tensor) -> np.ndarray:
    """Cosine similarity in [-1,1] of every two identities of an AOT, background first: (1+M,1+M).

    Takes the vectors (1+M,C) themselves as well. Raises InputError for a network without identity
    bank.
    """
    bank: Any = getattr(model, "identity_bank", None)
    if bank is None and not isinstance(model, Tensor):
        raise InputError(
            f"{type(model).__name__} has no identity bank; expected an AOT, or its vectors (1+M,C)"
        )
    vectors = model if isinstance(model, Tensor) else bank.vectors()
    vectors = F.normalize(vectors.detach().float(), dim=1)
    return (vectors @ vectors.T).cpu().numpy()


def identity_similarity(model: nn.Module | Tensor) -> Figure:
    """The matrix of `identity_similarities` (AOT Fig. 4); its title sums up pairs of objects."""
    similarities = identity_similarities(model)
    names = ["bg", *range(1, len(similarities))]
    figure = Picture(figsize=(6.6, 5.6))
    axes = figure.subplots()
    drawn = axes.imshow(similarities, "PuOr", vmin=-1, vmax=1)  # white: at right angles
    figure.colorbar(drawn, ax=axes, label="cosine similarity", ticks=[-1, 0, 1])
    shown = range(0, len(names), 1 if len(names) <= 16 else 5)
    labels = [names[i] for i in shown]
    axes.set_xticks(shown, labels)
    axes.set_yticks(shown, labels)
    axes.tick_params(length=0, labelsize="small")
    if len(names) <= 11:
        for row, column in product(range(len(names)), repeat=2):
            value = similarities[row, column]
            style: dict[str, Any] = {"fontsize": "small", "ha": "center", "va": "center"}
            colour = "white" if abs(value) > 0.7 else "black"
            axes.text(column, row, f"{value:.2f}", color=colour, **style)
    pairs = similarities[1:, 1:][np.triu_indices(len(names) - 1, 1)]
    if pairs.size:
        mean, least, most = np.round([pairs.mean(), pairs.min(), pairs.max()], 2) + 0.0  # no -0.00
        title = f"two objects: {mean:.2f} on average, {least:.2f} to {most:.2f}"
        axes.set_title(title, fontsize="small")
    return figure
