"""Boxes with short labels on a copy of a field."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MOST_SIDE = 4000
"""Longer side in pixels of a drawn copy; a slide is made smaller."""

# Okabe and Ito (2008), for all common kinds of colour blindness, without what is pale or close to stained cells.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#E69F00", "#56B4E9", "#CC79A7")
_REASON = "#6B6B6B"
_USUAL = 0.75  # quantile of the sides of the boxes without a reason
_LINE = 0.03  # of a usual box's shorter side, and so is the text's height
_TEXT = 0.2
_LEAST_TEXT, _MOST_TEXT = 10, 48  # pixels
_LEAST_LABELLED = 20  # pixels of a box's width
_OVERHANG = 1.3  # a label's width over its box's


class DrawnBox(NamedTuple):
    """One box to draw."""

    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in pixels of the field."""
    label: str = ""
    """Its class; shortened where it is wider than the box."""
    why: str = ""
    """Why it is no usual cell: drawn in grey, with this in place of a label where there is none and it has room."""


def shrunk(field: Image.Image) -> tuple[Image.Image, float]:
    """A field as large as it is drawn at most, and its scale, 1 or less: of a slide only the small copy is held."""
    scale = min(1.0, MOST_SIDE / max(field.size))
    if scale == 1:
        return field, scale
    size = max(1, round(field.width * scale)), max(1, round(field.height * scale))
    return field.resize(size, Image.Resampling.BOX), scale


def draw_boxes(field: NDArray[np.uint8], boxes: Sequence[DrawnBox], classes: Sequence[str] = ()) -> Image.Image:
    """Draw boxes on a copy of a field, a colour for each class, grey for those with a reason.

    Args:
        field: uint8 [H, W, 3].
        boxes: to draw; later ones over earlier ones.
        classes: in the order of their colours, so that all fields have the same; others follow in alphabetical order.

    Returns:
        An image of the field's size, or with a longer side of `MOST_SIDE` where that is less.
    """
    scale = min(1.0, MOST_SIDE / max(field.shape[:2]))
    size = max(1, round(field.shape[1] * scale)), max(1, round(field.shape[0] * scale))
    image = Image.fromarray(field)  # a copy
    if scale < 1:
        image = image.resize(size, Image.Resampling.BOX)
    if not boxes:
        return image
    order = [*classes, *sorted({box.label for box in boxes} - set(classes))]
    colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(order)}
    cells = [box for box, _, why in boxes if not why] or [box for box, *_ in boxes]
    usual = float(np.quantile([min(x1 - x0, y1 - y0) * scale for x0, y0, x1, y1 in cells], _USUAL))
    line = max(1, round(_LINE * usual))
    font = _font(int(np.clip(_TEXT * usual, _LEAST_TEXT, _MOST_TEXT)))
    draw = ImageDraw.Draw(image)
    for drawn in boxes:
        corners = [side * scale for side in drawn.box]
        _frame(draw, corners, _REASON if drawn.why else colours[drawn.label], line)
    for drawn in boxes:  # over all frames
        corners = [side * scale for side in drawn.box]
        if corners[2] - corners[0] < _LEAST_LABELLED:
            continue
        if drawn.label:
            _text(draw, corners, drawn.label, _REASON if drawn.why else colours[drawn.label], font, size)
        elif drawn.why and font.getlength(drawn.why) <= _OVERHANG * (corners[2] - corners[0]):  # a part says nothing
            _text(draw, corners, drawn.why, _REASON, font, size)
    return image


def _frame(draw: ImageDraw.ImageDraw, corners: Sequence[float], colour: str, line: int) -> None:
    """A frame with a white one around it, which shows on any ground."""
    left, top = corners[:2]
    right, bottom = max(corners[2], left + 1), max(corners[3], top + 1)
    halo = max(1, line // 2)
    draw.rectangle((left - halo, top - halo, right + halo, bottom + halo), outline="white", width=line + 2 * halo)
    draw.rectangle((left, top, right, bottom), outline=colour, width=line)


def _text(
    draw: ImageDraw.ImageDraw,
    corners: Sequence[float],
    text: str,
    colour: str,
    font: ImageFont.FreeTypeFont,
    size: tuple[int, int],
) -> None:
    """The longest form of a label that is about as wide as its box, above it, or in it at the upper border."""
    room = _OVERHANG * (corners[2] - corners[0])
    shown = next((form for form in (text, text.split()[0], text[:3]) if font.getlength(form) <= room), text[:1])
    x0, y0, x1, y1 = font.getbbox(shown)
    width, height = x1 - x0 + 4, y1 - y0 + 4
    left = min(max(corners[0], 0), max(0, size[0] - width))
    top = corners[1] - height if corners[1] >= height else corners[1]
    draw.rectangle((left, top, left + width, top + height), fill=colour)
    draw.text((left + 2 - x0, top + 2 - y0), shown, fill="white", font=font)


@lru_cache(maxsize=64)
def _font(height: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: the same picture on every machine."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), height)
