"""Find every white cell of a field of a stained blood smear.

The field is measured once at a small size, in which a red cell has 24 pixels: the ruler (`scale`), the stain over the
glass (`stain`), nuclei and which of their parts belong together (`nuclei`). What is a white cell is then a matter of
two numbers: the size of the nucleus in red cells, and how dark it is over red cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from hemacell.fields.nuclei import Nucleus, find_nuclei
from hemacell.fields.reasons import CUT_OFF, DIRT, NO_WHITE_CELL, PLATELET, SMUDGE, TOUCHES
from hemacell.fields.scale import CELL_TO_RED_CELL, red_cell_diameter, resized
from hemacell.fields.stain import Stain, stain_of

_RED_CELL = 24.0  # pixels of the small picture
_SCORE = 1.4  # least darkness of a nucleus times its diameter, both in those of red cells
_LARGE = 1.2  # a nucleus of more than this diameter has no better score; lengths are in red cells' diameters
_LEAST_DIAMETER = 0.55  # of the nucleus of a white cell
_LEAST_CUT_DIAMETER = 0.45  # of what is seen of one at the border
_LONGEST = 2.3  # of a nucleus; longer ones are clumps
_PLATELET = 0.18, 0.5  # diameters
_LEAST_LEVEL = 1.2  # darkness over that of red cells, of platelets and dirt
_SMUDGE = 1.25, 0.88, 0.6, 0.2  # least diameter, solidity and darkness of a pale one, and the most blue
_DIRT_BLUE = 0.42  # blue density over red and green: dirt is black, nuclei let blue light pass
_TOUCHING = 0.12  # gap between the boxes' inscribed ellipses
_CUT = 0.06  # of a box's side beyond the border
_ROUND = 0.91  # solidity of a nucleus that fills its cell
_FILLS, _HULL = 1.22, 1.4  # diameter of a cell over that of such a nucleus, and of the hull of another
_EVEN = 0.5  # how much the sides of a box are evened: cells are rounder than their nuclei

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class FoundCell:
    """Something found in a field. Places are pixels of the field, from its upper left corner."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 of the whole cell, within the field."""
    center: tuple[float, float]
    """x, y of the middle of its nucleus."""
    score: float
    """How sure it is a white cell: 0 or more; 1 is just accepted."""
    why: str = ""
    """One of `reasons.REASONS`; '' for a usual cell."""

    @property
    def is_white_cell(self) -> bool:
        """Whether it counts as one; touching, cut-off and smudge cells do."""
        return self.why not in NO_WHITE_CELL


def find_cells(field: Pictures, cell_diameter: float | None = None) -> list[FoundCell]:
    """Find the white cells of a field, and what may be taken for one.

    Args:
        field: uint8 [H, W, 3], RGB.
        cell_diameter: of a usual white cell in pixels of the field, such as the median over the fields of a slide (see
            `typical_cell_diameter`); None measures it in this field.

    Returns:
        The cells, best score first; platelets and dirt among them (`FoundCell.is_white_cell`).
    """
    red_cell = red_cell_diameter(field) if cell_diameter is None else cell_diameter / CELL_TO_RED_CELL
    shrink = max(1.0, red_cell / _RED_CELL)
    unit = red_cell / shrink
    stain = stain_of(resized(field, shrink))
    size = np.array([field.shape[1], field.shape[0]]) / shrink
    found, boxes = [], []
    for nucleus in find_nuclei(stain.chromatin, unit, stain.least_chromatin):
        box = _box(nucleus)
        cut = _is_cut(box, size)
        why = _kind(nucleus, unit, stain, cut)
        if why is not None:
            inside = np.clip(box, 0, np.tile(size, 2)) * shrink
            center = nucleus.hull.mean(0) * shrink
            score = _score(nucleus, unit, stain) / _SCORE
            found.append(FoundCell(_floats(inside), _floats(center), score, why or (CUT_OFF if cut else "")))
            boxes.append(box / unit)
    return sorted(_with_touching(found, boxes), key=lambda cell: -cell.score)


def typical_cell_diameter(fields: Sequence[Pictures]) -> float:
    """The diameter of a usual white cell in the fields of one slide or microscope, in their pixels."""
    return CELL_TO_RED_CELL * float(np.median([red_cell_diameter(field) for field in fields]))


def _kind(nucleus: Nucleus, unit: float, stain: Stain, cut: bool) -> str | None:
    """'' for a white cell, a reason, or None for what is nothing to tell of."""
    diameter, level = nucleus.diameter / unit, nucleus.level / stain.red_cells
    if nucleus.length > _LONGEST * unit:
        return None
    blue = _blue(nucleus, stain)
    if level >= _LEAST_LEVEL and blue > _DIRT_BLUE:
        return DIRT
    if diameter >= (_LEAST_CUT_DIAMETER if cut else _LEAST_DIAMETER) and _score(nucleus, unit, stain) >= _SCORE:
        return ""
    least_diameter, least_solidity, least_level, most_blue = _SMUDGE
    if diameter >= least_diameter and nucleus.solidity >= least_solidity and level >= least_level and blue < most_blue:
        return SMUDGE
    least, most = _PLATELET
    return PLATELET if least <= diameter < most and level >= _LEAST_LEVEL and nucleus.solidity > _ROUND - 0.1 else None


def _score(nucleus: Nucleus, unit: float, stain: Stain) -> float:
    return float(nucleus.level / stain.red_cells * min(nucleus.diameter / unit, _LARGE))


def _blue(nucleus: Nucleus, stain: Stain) -> float:
    red, green, blue = np.median(stain.density_of(nucleus.pixels), axis=0)
    return float(blue / max(red + green, 1e-3))


def _box(nucleus: Nucleus) -> NDArray[np.float64]:
    """x0, y0, x1, y1 of the cell around a nucleus."""
    low, high = nucleus.hull.min(0), nucleus.hull.max(0)
    fills = len(nucleus.parts) == 1 and nucleus.solidity > _ROUND
    sides = (1 - _EVEN) * (high - low) + _EVEN * (high - low).mean()
    half = sides / 2 * (_FILLS if fills else _HULL)
    return np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half])


def _is_cut(box: NDArray[np.float64], size: NDArray[np.float64]) -> bool:
    beyond = np.concatenate([-box[:2], box[2:] - size])
    return bool((beyond > _CUT * np.tile(box[2:] - box[:2], 2)).any())


def _with_touching(found: Sequence[FoundCell], boxes: Sequence[NDArray[np.float64]]) -> list[FoundCell]:
    """The cells, with a reason for usual ones that touch another white cell; boxes in red cells' diameters."""
    cells = [at for at, cell in enumerate(found) if cell.is_white_cell]
    if len(cells) < 2:
        return list(found)
    middles = np.array([(boxes[at][:2] + boxes[at][2:]) / 2 for at in cells])
    radii = np.array([(boxes[at][2:] - boxes[at][:2]).mean() / 2 for at in cells])
    touching = {
        cells[at]
        for pair in cKDTree(middles).query_pairs(2 * radii.max() + _TOUCHING)
        if np.hypot(*(middles[pair[0]] - middles[pair[1]])) < radii[list(pair)].sum() + _TOUCHING
        for at in pair
    }
    return [replace(cell, why=cell.why or TOUCHES) if at in touching else cell for at, cell in enumerate(found)]


def _floats(values: NDArray[np.float64]) -> tuple:
    return tuple(float(value) for value in values)
