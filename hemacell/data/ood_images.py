"""Pictures made from cells that are no longer cells, which a classifier must flag and not classify.

Each kind is a function of decoded pictures and of a generator, so that the same pictures come back on every machine.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from hemacell.core.random import seed_of

Pictures = NDArray[np.uint8]

_BLUR = 0.04  # spread of the Gaussian, in sides of the picture: a nucleus is still seen, its texture is not
_HUES = (0.15, 0.85)  # how far a stain's colour is turned, in turns of the colour circle
_CORNER = 0.3  # side of the piece that shows no cell, in sides of the picture


def ood_images(cells: Pictures) -> dict[str, Pictures]:
    """Pictures of each kind, as many of each as there are cells.

    Args:
        cells: uint8 [N, S, S, 3], single cells in the middle of their surroundings, N > 0.

    Returns:
        `out_of_focus`, `other_stain` (another hue), `negative` (light and dark exchanged), `empty_field` (the palest
        corner of the picture, enlarged), `noise` and `photograph` (pieces of scikit-learn's two photographs), each
        uint8 [N, S, S, 3].
    """
    return {name: make(cells, np.random.default_rng(seed_of("foreign", name))) for name, make in _KINDS.items()}


def _out_of_focus(cells: Pictures, rng: np.random.Generator) -> Pictures:
    blur = ImageFilter.GaussianBlur(_BLUR * cells.shape[1])
    return np.stack([np.asarray(Image.fromarray(cell).filter(blur)) for cell in cells])


def _other_stain(cells: Pictures, rng: np.random.Generator) -> Pictures:
    turned = []
    for cell in cells:
        hsv = np.array(Image.fromarray(cell).convert("HSV"))
        hsv[..., 0] += np.uint8(round(256 * rng.uniform(*_HUES)))  # uint8 wraps, and so does the colour circle
        turned.append(np.asarray(Image.fromarray(hsv, "HSV").convert("RGB")))
    return np.stack(turned)


def _negative(cells: Pictures, rng: np.random.Generator) -> Pictures:
    return 255 - cells


def _empty_field(cells: Pictures, rng: np.random.Generator) -> Pictures:
    side = cells.shape[1]
    piece = max(1, round(_CORNER * side))
    ends = (slice(piece), slice(-piece, None))
    fields = []
    for cell in cells:
        palest = max((cell[rows, columns] for rows in ends for columns in ends), key=np.mean)
        fields.append(_resized(palest, side))
    return np.stack(fields)


def _noise(cells: Pictures, rng: np.random.Generator) -> Pictures:
    return rng.integers(0, 256, cells.shape, dtype=np.uint8)


def _photograph(cells: Pictures, rng: np.random.Generator) -> Pictures:
    from sklearn.datasets import load_sample_images  # a temple and a flower, 640 x 427 pixels; read from the package

    photographs = load_sample_images().images
    pieces = []
    for number in range(len(cells)):
        whole = photographs[number % len(photographs)]
        side = int(rng.integers(80, min(whole.shape[:2])))
        top, left = (int(rng.integers(0, length - side + 1)) for length in whole.shape[:2])
        pieces.append(_resized(whole[top : top + side, left : left + side], cells.shape[1]))
    return np.stack(pieces)


def _resized(picture: Pictures, side: int) -> Pictures:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))


_KINDS: dict[str, Callable[[Pictures, np.random.Generator], Pictures]] = {
    "out_of_focus": _out_of_focus,
    "other_stain": _other_stain,
    "negative": _negative,
    "empty_field": _empty_field,
    "noise": _noise,
    "photograph": _photograph,
}
