"""Fields drawn for the tests: discs over glass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GLASS, RED_CELL, CYTOPLASM, CHROMATIN = (245, 240, 235), (225, 150, 160), (205, 195, 220), (95, 45, 140)
RED = 40
"""Diameter of a red cell in pixels."""
CELL = 1.4
"""Diameter of a white cell in red cells."""


def drawn_field(
    cells: Sequence[tuple[float, float]] = (),
    size: tuple[int, int] = (480, 640),
    lobes: Sequence[tuple[float, float]] = ((0, 0),),
    lobe: float = 0.5,
    red: float = RED,
    noise: float = 3,
    red_cells: bool = True,
) -> np.ndarray:
    """uint8 [H, W, 3]: red cells on a shaken grid, and white cells of `CELL` times their diameter.

    Args:
        cells: middles, x and y.
        size: height and width.
        lobes: places of the lobes of each nucleus, from its middle.
        lobe: radius of a lobe; as the places in diameters of a red cell.
        red: diameter of a red cell in pixels.
        noise: deviation, in grey levels.
        red_cells: whether there are any.
    """
    rng = np.random.default_rng(0)
    field = np.empty((*size, 3))
    field[:] = GLASS
    if red_cells:
        for y in np.arange(0, size[0], 1.4 * red):
            for x in np.arange(0, size[1], 1.4 * red):
                at = np.array([x, y]) + rng.normal(0, 0.15 * red, 2)
                if all(np.hypot(*(at - cell)) > 1.4 * red for cell in np.reshape(cells, (-1, 2))):
                    disc(field, at, red / 2, RED_CELL)
    for cell in cells:
        disc(field, cell, CELL / 2 * red, CYTOPLASM)
    for cell in cells:
        for place in lobes:
            disc(field, np.add(cell, np.multiply(place, red)), lobe * red, CHROMATIN)
    return (field + rng.normal(0, noise, field.shape)).clip(0, 255).astype(np.uint8)


def disc(field: np.ndarray, middle: Sequence[float] | np.ndarray, radius: float, colour: Sequence[int]) -> None:
    """Paint a disc over a field, in place."""
    x, y = middle
    top, left = max(0, int(y - radius)), max(0, int(x - radius))
    part = field[top : int(y + radius) + 2, left : int(x + radius) + 2]
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    part[np.hypot(columns + left + 0.5 - x, rows + top + 0.5 - y) < radius] = colour
