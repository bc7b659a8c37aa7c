"""Colours for many objects: each as far as can be from all before it, for colour-blind viewers too.

The distance is Euclid's in Oklab (Ottosson 2020), the smallest of three: as most people see the two
colours, and, counted double, as people without red or without green cones do (Machado, Oliveira and
Fernandes 2009, severity 1).
"""

import numpy as np

LEVELS = 12  # of red, green and blue, among which colours are sought
LIGHTNESS = 0.4, 0.93  # in Oklab, so that outlines in black and white stay visible
BLACK_AND_WHITE = np.array([(0, 0, 0), (255, 255, 255)])
NO_RED_CONES = np.array(
    [(0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216)]
    + [(-0.003882, -0.048116, 1.051998)]
)
NO_GREEN_CONES = np.array(
    [(0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413)]
    + [(-0.011820, 0.042940, 0.968881)]
)
TO_CONES = np.array(
    [(0.4122214708, 0.5363325363, 0.0514459929), (0.2119034982, 0.6806995451, 0.1073969566)]
    + [(0.0883024619, 0.2817188376, 0.6299787005)]
)
TO_OKLAB = np.array(
    [(0.2104542553, 0.7936177850, -0.0040720468), (1.9779984951, -2.4285922050, 0.4505937099)]
    + [(0.0259040371, 0.7827717662, -0.8086757660)]
)


def further_colours(known: np.ndarray, count: int) -> np.ndarray:
    """So many colours more, uint8 (count,3), beside the known ones (N,3) in 0..255."""
    levels = np.linspace(0, 255, LEVELS).round()
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    lightness = oklab(linear(grid))[:, 0]
    free = grid[(lightness > LIGHTNESS[0]) & (lightness < LIGHTNESS[1])]
    taken = np.concatenate([known, BLACK_AND_WHITE])
    seen_free, seen_taken = appearance(free), appearance(taken)
    nearest = np.full(len(free), np.inf)
    for colour in seen_taken:
        nearest = np.minimum(nearest, distance(seen_free, colour))
    chosen = []
    for _ in range(count):
        best = int(nearest.argmax())
        chosen.append(free[best])
        nearest = np.minimum(nearest, distance(seen_free, seen_free[best]))
    return np.array(chosen, dtype=np.uint8)


def appearance(colours: np.ndarray) -> np.ndarray:
    """How three kinds of viewers see colours (N,3) in 0..255: (N,3 viewers,3) in Oklab."""
    light = linear(colours)
    red_blind, green_blind = light @ NO_RED_CONES.T, light @ NO_GREEN_CONES.T
    return np.stack([oklab(light), 2 * oklab(red_blind), 2 * oklab(green_blind)], axis=1)


def distance(colours: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distance (N) of appearances (N,3,3) from another (3,3), to those who see it smallest."""
    return np.linalg.norm(colours - other, axis=-1).min(axis=-1)


def linear(colours: np.ndarray) -> np.ndarray:
    """Light in 0..1 of sRGB values in 0..255."""
    share = colours / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def oklab(light: np.ndarray) -> np.ndarray:
    """Lightness and two hues (N,3) of linear sRGB (N,3)."""
    return np.cbrt(light.clip(0, 1) @ TO_CONES.T) @ TO_OKLAB.T
