"""The built-in sample: blood cells and tissue drawn from a seed, in the layout of the real data.

Nothing here is a photograph, and no score on it is a result. It exists so that every job can be tried and tested
without data: five kinds of cell that differ as the real ones do (shape of the nucleus, granules, size), lymph
node with and without tumour, kidney tubules; with another stain, size, turn and focus in every picture.

Shapes are signed distances in pixels, turned into coverage by a soft step, which anti-aliases them.
"""

import json
import os
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from hemacell.core.files import atomic_folder, disk_error
from hemacell.data.class_names import CAMELYON_CLASSES, CLASSES
from hemacell.data.sources.base import WBC_FOLDER
from hemacell.data.sources.course import CAMELYON_FOLDER, PRCC_FOLDER

RECIPE = 1  # raise it whenever the same seed would draw other pictures
MARKER = "hemacell-sample.json"
CELL_SIZE = PATCH_SIZE = 96
TILE_SIZE = 128
Counts = dict[str, tuple[int, ...]]
# Images a class, in the shares of the real data: basophils and lymphocytes are rare.
CELLS: Counts = {"train": (36, 90, 36, 42, 96), "val": (9, 22, 9, 11, 24), "test": (12, 30, 12, 15, 31)}
PATCHES: Counts = {"train": (80, 80), "val": (20, 20), "test": (20, 20)}
PATIENTS, TILES_EACH = 15, 4
MASKED = 0.3  # share of images with a mask

Rng = np.random.Generator


def make_sample(folder: Path, seed: int = 0) -> Path:
    """Draw the sample into a folder (made if missing) and return it; the same seed gives the same bytes.

    300 / 75 / 100 cells at 96 px, 160 / 40 / 40 patches at 96 px (train / val / test), 60 tiles of 15 patients at
    128 px, masks for about 30 % of cells and patches. Takes some seconds.
    """
    folder = Path(folder)
    for split, numbers in CELLS.items():
        for label, number in zip(CLASSES, numbers, strict=True):
            _labelled(folder / WBC_FOLDER, split, label, number, _cell, seed)
    for split, numbers in PATCHES.items():
        for label, number in zip(CAMELYON_CLASSES, numbers, strict=True):
            _labelled(folder / CAMELYON_FOLDER, split, label, number, _patch, seed)
    tiles = folder / PRCC_FOLDER
    tiles.mkdir(parents=True, exist_ok=True)
    for patient in range(PATIENTS):
        _kidney_tiles(tiles, patient, seed)
    (folder / MARKER).write_text(json.dumps({"recipe": RECIPE, "seed": seed}) + "\n")
    return folder


def sample_folder(cache: Path, seed: int = 0) -> Path:
    """The sample in the cache, drawn there if it is missing. Two processes may ask at once.

    Raises:
        UserError: the cache cannot be written.
    """
    folder = Path(cache) / f"sample-{RECIPE}-{seed}"
    if is_sample(folder):
        return folder
    try:
        with atomic_folder(folder, is_sample) as temporary:
            make_sample(temporary, seed)
    except OSError as error:
        raise disk_error(error, f"cannot draw the built-in sample into {folder}") from error
    return folder


def is_sample(folder: Path) -> bool:
    """Whether a folder holds a drawn sample, complete (the marker is written last)."""
    return (Path(folder) / MARKER).is_file()


def lies_in_sample(folder: Path) -> bool:
    """Whether a folder is a drawn sample or lies inside one; links are followed."""
    real = Path(os.path.realpath(folder))
    # os.path returns False where Path raises: a name that is too long, a folder that may not be entered
    return any(os.path.isfile(each / MARKER) for each in (real, *real.parents))


def _labelled(part: Path, split: str, label: str, number: int, draw: Callable, seed: int) -> None:
    (part / split / "data" / label).mkdir(parents=True, exist_ok=True)
    (part / split / "mask" / label).mkdir(parents=True, exist_ok=True)
    for index in range(number):
        # A separate generator for each picture, so that none depends on how many were drawn before.
        rng = np.random.default_rng([seed, RECIPE, *f"{part.name}/{split}/{label}/{index}".encode()])
        pixels, mask = draw(rng, label)
        name = f"{label[:3].lower()}_{split}_{index:03d}.png"
        _save(pixels, part / split / "data" / label / name)
        if index / number < MASKED:
            _save(mask, part / split / "mask" / label / name)


def _save(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(pixels).save(path, compress_level=1)


# --- shapes


@lru_cache(maxsize=8)
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixels' centres, float32 [size, size]."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    return x, y


def _cover(distance: np.ndarray, soft: float = 1.2) -> np.ndarray:
    """Coverage 0..1 from a signed distance in pixels (positive inside)."""
    return np.clip(distance / soft + 0.5, 0, 1)


def _blobs(
    rng: Rng, x: np.ndarray, y: np.ndarray, radius: np.ndarray, rough: float, aspect: np.ndarray, turn: np.ndarray
) -> np.ndarray:
    """Signed distances to n wobbly ellipses, about.

    Args:
        x, y: places relative to the middles, [n, h, w] or broadcast to it.
        radius, aspect, turn: of each, [n].
        rough: deviation of the radius, as a share of it.

    Returns:
        float32 [n, h, w], positive inside.
    """
    cos, sin = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
    stretch = np.sqrt(aspect)[:, None, None]
    along = ((x * cos + y * sin) / stretch).astype(np.float32)
    across = ((y * cos - x * sin) * stretch).astype(np.float32)
    far = np.hypot(along, across)
    # Waves of the outline: cos(k * angle + phase) for k = 2, 3, 5, by powers of a unit vector, which need no arctan.
    unit = (along + 1j * across) / np.maximum(far, 1e-3)
    second = unit * unit
    third = second * unit
    edge = np.float32(1)
    for count, power in ((2, second), (3, third), (5, second * third)):
        wave = rough * rng.normal(size=len(radius)) / count**0.5 * np.exp(1j * rng.uniform(0, 6.3, len(radius)))
        edge = edge + (power * wave.astype(np.complex64)[:, None, None]).real
    return radius.astype(np.float32)[:, None, None] * edge - far


def _blob(
    rng: Rng,
    grid: tuple[np.ndarray, np.ndarray],
    middle: np.ndarray | tuple[float, float],
    radius: float,
    rough: float = 0.05,
    aspect: float = 1.0,
    turn: float = 0.0,
) -> np.ndarray:
    """Signed distance to one wobbly ellipse at the places of a grid, float32 [h, w]."""
    x, y = grid
    x, y = x[None] - np.float32(middle[0]), y[None] - np.float32(middle[1])
    return _blobs(rng, x, y, np.array([radius]), rough, np.array([aspect]), np.array([turn]))[0]


def _capsule(size: int, start: np.ndarray, end: np.ndarray, radius: float) -> np.ndarray:
    """Signed distance to a thick line."""
    x, y = _grid(size)
    step = end - start
    share = np.clip(((x - start[0]) * step[0] + (y - start[1]) * step[1]) / max(float(step @ step), 1e-6), 0, 1)
    return radius - np.hypot(x - start[0] - share * step[0], y - start[1] - share * step[1])


def _window(size: int, x0: float, y0: float, reach: float) -> tuple[slice, slice]:
    """Where around a place something of this reach is to be drawn (nowhere, if the place is far outside)."""
    rows, columns = (slice(max(0, int(at - reach)), max(0, int(at + reach) + 1)) for at in (y0, x0))
    return rows, columns


def _blob_in(
    rng: Rng, size: int, part: tuple[slice, slice], x0: float, y0: float, radius: float, rough: float, aspect: float
) -> np.ndarray:
    """Signed distance, in a window only, to a wobbly ellipse that is turned at random."""
    x, y = _grid(size)
    return _blob(rng, (x[part], y[part]), (x0, y0), radius, rough, aspect, rng.uniform(0, 3.1))


@lru_cache(maxsize=8)
def _frequency(size: int) -> np.ndarray:
    """Squared spatial frequency of each term of `rfft2`, in squared cycles a pixel."""
    return (np.fft.fftfreq(size)[:, None] ** 2 + np.fft.rfftfreq(size)[None, :] ** 2).astype(np.float32)


def _noise(rng: Rng, size: int, scale: float) -> np.ndarray:
    """Smooth noise, mean 0 and deviation 1; `scale` is the size of its grains in pixels."""
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    field = np.fft.irfft2(spectrum * np.exp(-0.5 * (np.pi * scale) ** 2 * _frequency(size)), s=(size, size))
    return ((field - field.mean()) / (field.std() + 1e-9)).astype(np.float32)


def _paint(canvas: np.ndarray, cover: np.ndarray, colour: np.ndarray | tuple, strength: float = 1.0) -> None:
    """Lay a colour, [3] or [H, W, 3], over the canvas [H, W, 3] where it covers."""
    canvas += (cover * strength)[..., None] * (np.asarray(colour, np.float32) - canvas)


def _textured(rng: Rng, size: int, colour: tuple | np.ndarray, contrast: float, scale: float) -> np.ndarray:
    """A colour with light and dark grains, [size, size, 3]."""
    return np.asarray(colour, np.float32) + contrast * _noise(rng, size, scale)[..., None]


def _granules(
    canvas: np.ndarray, rng: Rng, room: np.ndarray, number: int, radius: float, colour: tuple, strength: float = 0.8
) -> None:
    """Round grains at random places where `room` [H, W] is true; all in one pass."""
    size, reach = len(canvas), int(radius * 1.3 + 2)
    places = np.flatnonzero(room)
    if len(places) == 0:
        return
    y0, x0 = np.divmod(rng.choice(places, number), size)
    shift = rng.uniform(-0.5, 0.5, (2, number, 1, 1))
    steps = np.arange(-reach, reach + 1)
    distance = np.hypot(steps[None, :, None] - shift[0], steps[None, None, :] - shift[1])
    cover = _cover(radius * rng.uniform(0.7, 1.3, (number, 1, 1)) - distance)
    # A margin, so that grains at the border need no case of their own.
    field = np.zeros((size + 2 * reach, size + 2 * reach))
    rows = (y0[:, None] + reach + steps)[:, :, None]
    columns = (x0[:, None] + reach + steps)[:, None, :]
    np.maximum.at(field, (rows, columns), cover)
    shades = _textured(rng, size, colour, 8, 2)
    _paint(canvas, field[reach:-reach, reach:-reach], shades, strength)


def _finish(canvas: np.ndarray, rng: Rng, stain: float = 0.12, focus: float = 0.9) -> np.ndarray:
    """Focus, stain (the optical density of each channel), brightness and noise; uint8 [H, W, 3]."""
    sharp = Image.fromarray(np.clip(canvas, 1, 255).astype(np.uint8))
    blurred = np.asarray(sharp.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, focus))), np.float32)
    strength = np.exp(rng.normal(0, stain)) * np.exp(rng.normal(0, stain / 2, 3))
    # exp(-strength * density) is a power of the transmitted light.
    lit = 255 * (np.maximum(blurred, 1) / 255) ** strength.astype(np.float32) * np.float32(rng.uniform(0.94, 1.03))
    noise = rng.standard_normal(lit.shape, dtype=np.float32) * np.float32(rng.uniform(1.5, 4))
    return np.clip(lit + noise, 0, 255).round().astype(np.uint8)


# --- blood


class _Cell(NamedTuple):
    """The signed distances of what is drawn of one cell."""

    body: np.ndarray
    nucleus: np.ndarray


def _smear(rng: Rng, size: int) -> np.ndarray:
    """Background with red cells and platelets."""
    creamy = rng.random() < 0.75
    colour = np.array((252, 230, 204) if creamy else (224, 223, 236), np.float32) + rng.normal(0, 4, 3)
    x, y = _grid(size)
    # Light that falls off to one side.
    canvas = (colour + ((x * rng.normal() + y * rng.normal()) / size * 4)[..., None]).astype(np.float32)
    red = np.array((205, 166, 155) if creamy else (186, 168, 184), np.float32) + rng.normal(0, 5, 3)
    for _ in range(rng.integers(6, 14)):
        turn, far = rng.uniform(0, 6.3), rng.uniform(0.36, 0.7) * size
        x0, y0 = size / 2 + far * np.cos(turn), size / 2 + far * np.sin(turn)
        radius = rng.normal(9.5, 0.8)
        part = _window(size, x0, y0, radius * 1.5)
        distance = _blob_in(rng, size, part, x0, y0, radius, 0.04, rng.uniform(1, 1.25))
        _paint(canvas[part], _cover(distance), red, 0.85)
        _paint(canvas[part], _cover(distance - radius * rng.uniform(0.5, 0.75), 4), colour, rng.uniform(0.2, 0.7))
    for _ in range(rng.poisson(0.8)):
        x0, y0 = rng.uniform(0, size, 2)
        part = _window(size, x0, y0, 5)
        platelet = _blob_in(rng, size, part, x0, y0, rng.uniform(1.2, 2.4), 0.1, 1.0)
        _paint(canvas[part], _cover(platelet), (120, 70, 140), 0.8)
    return canvas


def _place(rng: Rng, size: int) -> tuple[np.ndarray, float]:
    """Middle of the cell and its scale."""
    return size / 2 + rng.normal(0, 2.5, 2), rng.uniform(0.85, 1.15)


def _outline(rng: Rng, size: int, middle: np.ndarray, radius: float, rough: float, aspect: float) -> np.ndarray:
    """Signed distance to a cell's body or round nucleus, stretched by up to `aspect` and turned at random."""
    return _blob(rng, _grid(size), middle, radius, rough, rng.uniform(1, aspect), rng.uniform(0, 3.1))


def _lobes(
    rng: Rng, size: int, middle: np.ndarray, number: int, spread: float, radius: float, bend: float
) -> np.ndarray:
    """Signed distance to a nucleus of lobes on an arc, joined by thin bridges."""
    turn = rng.uniform(0, 6.3)
    angles = turn + (np.arange(number) - (number - 1) / 2) * bend + rng.normal(0, 0.12, number)
    places = [middle + spread * np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
    parts = [_outline(rng, size, place, radius * rng.uniform(0.85, 1.15), 0.08, 1.3) for place in places]
    parts += [_capsule(size, start, end, rng.uniform(1.0, 2.0)) for start, end in pairwise(places)]
    return np.maximum.reduce(parts)


def _cell(rng: Rng, label: str) -> tuple[np.ndarray, np.ndarray]:
    """A white blood cell: uint8 [S, S, 3] and its mask [S, S] (255 nucleus, 128 cytoplasm, 0 outside)."""
    canvas = _smear(rng, CELL_SIZE)
    cell = _KINDS[label](canvas, rng)
    mask = np.where(cell.body > 0, 128, 0)
    mask[(cell.nucleus > 0) & (cell.body > -1)] = 255
    return _finish(canvas, rng), mask.astype(np.uint8)


def _body(canvas: np.ndarray, rng: Rng, distance: np.ndarray, colour: tuple, contrast: float) -> None:
    _paint(canvas, _cover(distance), _textured(rng, len(canvas), colour, contrast, 3.0), 0.95)
    # A faint dark outline, as where the membrane is seen from the side.
    _paint(canvas, _cover(1.2 - np.abs(distance), 1.5), np.asarray(colour) * 0.8, 0.35)


def _chromatin(
    canvas: np.ndarray, rng: Rng, distance: np.ndarray, colour: tuple, contrast: float, scale: float
) -> None:
    _paint(canvas, _cover(distance), _textured(rng, len(canvas), colour, contrast, scale), 0.97)


def _basophil(canvas: np.ndarray, rng: Rng) -> _Cell:
    size, (middle, scale) = len(canvas), _place(rng, len(canvas))
    body = _outline(rng, size, middle, rng.normal(16.5, 1) * scale, 0.05, 1.15)
    nucleus = _lobes(rng, size, middle, int(rng.integers(2, 4)), 5.0 * scale, 7.0 * scale, 2.0)
    nucleus = np.minimum(nucleus, body - 1)
    _body(canvas, rng, body, (190, 160, 195), 6)
    _chromatin(canvas, rng, nucleus, (110, 75, 150), 8, 2.5)
    # Large dark granules, over the nucleus too: the mark of a basophil.
    _granules(canvas, rng, body > 1, int(rng.integers(45, 110)), 1.5 * scale, (62, 34, 104), 0.85)
    return _Cell(body, nucleus)


def _eosinophil(canvas: np.ndarray, rng: Rng) -> _Cell:
    size, (middle, scale) = len(canvas), _place(rng, len(canvas))
    body = _outline(rng, size, middle, rng.normal(18, 1.2) * scale, 0.05, 1.2)
    lobes = 2 if rng.random() < 0.8 else 3
    nucleus = _lobes(rng, size, middle, lobes, 7.0 * scale, 6.6 * scale, rng.uniform(1.5, 2.3))
    nucleus = np.minimum(nucleus, body - 1)
    _body(canvas, rng, body, (224, 178, 172), 6)
    orange = (212 + rng.normal(0, 8), 122 + rng.normal(0, 8), 104 + rng.normal(0, 8))
    _granules(canvas, rng, (body > 1) & (nucleus < 0), int(rng.integers(70, 170)), 1.5 * scale, orange, 0.75)
    _chromatin(canvas, rng, nucleus, (84, 62, 136), 10, 2.5)
    return _Cell(body, nucleus)


def _lymphocyte(canvas: np.ndarray, rng: Rng) -> _Cell:
    size, (middle, scale) = len(canvas), _place(rng, len(canvas))
    # Small as a rule; a large one has a wider rim and comes near the monocytes.
    radius = (rng.normal(12.0, 0.8) if rng.random() < 0.8 else rng.normal(15.0, 0.8)) * scale
    body = _outline(rng, size, middle, radius, 0.05, 1.25)
    shift = rng.normal(0, 0.8, 2)
    rim = rng.uniform(0.72, 0.92)
    nucleus = _outline(rng, size, middle + shift, radius * rim, 0.04, 1.15)
    nucleus = np.minimum(nucleus, body - 0.5)
    _body(canvas, rng, body, (158, 166, 208), 5)
    _chromatin(canvas, rng, nucleus, (72, 50, 124), 10, 3.5)
    return _Cell(body, nucleus)


def _monocyte(canvas: np.ndarray, rng: Rng) -> _Cell:
    size, (middle, scale) = len(canvas), _place(rng, len(canvas))
    body = _outline(rng, size, middle, rng.normal(21, 1.5) * scale, 0.09, 1.25)
    turn = rng.uniform(0, 6.3)
    way = np.array([np.cos(turn), np.sin(turn)])
    bean = _blob(rng, _grid(size), middle, 13.5 * scale, 0.06, rng.uniform(1.1, 1.4), turn + np.pi / 2)
    notch = _blob(rng, _grid(size), middle + way * rng.uniform(10, 14) * scale, rng.uniform(5, 8) * scale, 0.08)
    nucleus = np.minimum(np.minimum(bean, -notch), body - 1)
    _body(canvas, rng, body, (168, 160, 194), 7)
    for _ in range(rng.integers(1, 7)):  # vacuoles
        place = middle + rng.normal(0, 10, 2) * scale
        _paint(canvas, _cover(np.minimum(rng.uniform(1.0, 2.2) - _far(size, place), body - 1)), (224, 216, 228), 0.7)
    _chromatin(canvas, rng, nucleus, (112, 78, 148), 14, 2.5)
    return _Cell(body, nucleus)


def _neutrophil(canvas: np.ndarray, rng: Rng) -> _Cell:
    size, (middle, scale) = len(canvas), _place(rng, len(canvas))
    body = _outline(rng, size, middle, rng.normal(18, 1.2) * scale, 0.06, 1.2)
    number = int(rng.choice([2, 3, 4, 5], p=[0.12, 0.38, 0.35, 0.15]))
    nucleus = _lobes(rng, size, middle, number, rng.uniform(6.5, 9) * scale, 4.6 * scale, rng.uniform(0.9, 1.25))
    nucleus = np.minimum(nucleus, body - 1)
    _body(canvas, rng, body, (228, 203, 206), 5)
    _granules(canvas, rng, (body > 1) & (nucleus < 0), int(rng.integers(40, 110)), 0.75, (188, 138, 166), 0.6)
    _chromatin(canvas, rng, nucleus, (78, 56, 130), 10, 2.5)
    return _Cell(body, nucleus)


def _far(size: int, place: np.ndarray) -> np.ndarray:
    x, y = _grid(size)
    return np.hypot(x - place[0], y - place[1])


_KINDS = {
    "Basophil": _basophil,
    "Eosinophil": _eosinophil,
    "Lymphocyte": _lymphocyte,
    "Monocyte": _monocyte,
    "Neutrophil": _neutrophil,
}


# --- tissue


def _scatter(rng: Rng, size: int, spacing: float, shake: float) -> np.ndarray:
    """Points of a shaken grid, in random order, [N, 2]."""
    steps = np.arange(-spacing, size + spacing, spacing)
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    return rng.permutation(points + rng.uniform(0, spacing, 2) + rng.normal(0, shake * spacing, points.shape))


def _nuclei(
    canvas: np.ndarray,
    rng: Rng,
    places: np.ndarray,
    radius: np.ndarray,
    colour: np.ndarray,
    rough: float,
    pale: np.ndarray,
) -> None:
    """Tissue nuclei with a dark rim, one over the other.

    Args:
        canvas: float [S, S, 3], changed in place.
        places: middles, [n, 2]; those outside are passed over.
        radius: in pixels, [n].
        colour: of the dark rim, [3].
        rough: how irregular the outlines are.
        pale: 0..1, [n], how far the inside is cleared (vesicular nuclei).
    """
    size = len(canvas)
    seen = ((places > -radius[:, None]) & (places < size + radius[:, None])).all(axis=1)
    places, radius, pale = places[seen], radius[seen], pale[seen]
    if len(places) == 0:
        return
    reach = int(radius.max() * 1.5 + 2)
    steps = np.arange(-reach, reach + 1, dtype=np.float32)
    corner = np.round(places).astype(int) - reach
    shift = (np.round(places) - places).astype(np.float32)
    aspect, turn = rng.uniform(1, 1.1 + 5 * rough, len(places)), rng.uniform(0, 3.1, len(places))
    x = steps[None, None, :] + shift[:, 0, None, None]
    y = steps[None, :, None] + shift[:, 1, None, None]
    distance = _blobs(rng, x, y, radius, rough, aspect, turn)
    rim = 0.92 * _cover(distance)
    clear = pale.astype(np.float32)[:, None, None] * _cover(distance - 1.6, 2)
    shades = colour.astype(np.float32) + rng.normal(0, 10, (len(places), 1)).astype(np.float32)
    light = np.array((225, 195, 230), np.float32)
    inner = shades + pale.astype(np.float32)[:, None] * (light - shades)
    # A margin, so that nuclei at the border need no case of their own.
    margin = 2 * reach
    wide = np.pad(canvas, ((margin, margin), (margin, margin), (0, 0)))
    for number, (left, top) in enumerate(corner + margin):
        view = wide[top : top + len(steps), left : left + len(steps)]
        _paint(view, rim[number], shades[number])
        _paint(view, clear[number], inner[number])
    inside = wide[margin:-margin, margin:-margin]
    chromatin = rng.standard_normal((size, size, 1), dtype=np.float32) * 9
    canvas[:] = inside + chromatin * (np.abs(inside - canvas).sum(axis=-1, keepdims=True) > 30)


def _patch(rng: Rng, label: str) -> tuple[np.ndarray, np.ndarray]:
    """A lymph-node patch: uint8 [S, S, 3] and its mask (255 the region that the label speaks of, 0 elsewhere)."""
    size = PATCH_SIZE
    tone = np.array((222, 168, 205), np.float32) + rng.normal(0, 10, 3).astype(np.float32)
    canvas = tone + (14 * _noise(rng, size, rng.uniform(4, 9)) + 8 * _noise(rng, size, 2))[..., None]
    ink = np.array((92, 56, 130)) + rng.normal(0, 12, 3)
    middle = size / 2 + rng.normal(0, 6, 2)
    region = _blob(rng, _grid(size), middle, rng.uniform(30, 75), 0.15, rng.uniform(1, 1.6))
    tumour = label == "tumor"
    if tumour:
        _paint(canvas, _cover(region, 5), tone + np.array((6, 4, 6)), 0.6)
    # Lymphocytes: small, round, dense. Among them some large pale cells, in healthy tissue too.
    small = rng.uniform(3.2, 4.4)
    places = _scatter(rng, size, small * rng.uniform(2.3, 3.0), 0.18)
    places = places[rng.random(len(places)) < rng.uniform(0.65, 0.97)]
    if tumour:
        places = places[_at(region, places) <= 0]
    large = rng.random(len(places)) < rng.uniform(0, 0.12)
    radius = small * np.where(large, 1.6, 1.0) * rng.uniform(0.85, 1.15, len(places))
    _nuclei(canvas, rng, places, radius, ink, 0.05, np.where(large, 0.5, rng.uniform(0, 0.25, len(places))))
    if tumour:
        size_of = rng.uniform(4.8, 8.0)
        places = _scatter(rng, size, size_of * rng.uniform(1.9, 2.4), 0.25)
        places = places[_at(region, places) > 0]
        radius = size_of * np.exp(rng.normal(0, 0.2, len(places)))
        _nuclei(canvas, rng, places, radius, ink + rng.normal(18, 12), 0.12, rng.uniform(0.2, 0.7, len(places)))
        nucleoli = places[rng.random(len(places)) < 0.6]
        _nuclei(canvas, rng, nucleoli, np.full(len(nucleoli), 1.3), ink * 0.7, 0.05, np.zeros(len(nucleoli)))
    return _finish(canvas, rng, stain=0.22, focus=1.0), np.where(region > 0, 255, 0).astype(np.uint8)


def _at(field: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values [n] of a field at places [n, 2], those outside taken at the border."""
    nearest = np.clip(np.round(places).astype(int), 0, len(field) - 1)
    return field[nearest[:, 1], nearest[:, 0]]


def _kidney_tiles(folder: Path, patient: int, seed: int) -> None:
    """The tiles of one patient, who has a tone and a way of growing of their own."""
    own = np.random.default_rng([seed, RECIPE, *f"patient/{patient}".encode()])
    tone = np.array((228, 160, 186), np.float32) + own.normal(0, 12, 3)
    ink = np.array((96, 62, 132), np.float32) + own.normal(0, 12, 3)
    radius = own.uniform(14, 24)
    for tile in range(TILES_EACH):
        rng = np.random.default_rng([seed, RECIPE, *f"patient/{patient}/{tile}".encode()])
        pixels = _kidney(rng, tone, ink, radius)
        x, y = tile % 2 * TILE_SIZE, tile // 2 * TILE_SIZE
        _save(pixels, folder / f"TCGA-SA-{patient + 1:04d}_{x}_{y}.png")


def _kidney(rng: Rng, tone: np.ndarray, ink: np.ndarray, radius: float) -> np.ndarray:
    """Tubules: lumens, their pink walls and the ring of nuclei in these, on a fibrous ground."""
    size = TILE_SIZE
    fibres = _noise(rng, size, 3) + np.sin(_grid(size)[0] * 0.25 + 3 * _noise(rng, size, 16))
    canvas = (tone + np.array((10, 20, 14)) + 7 * fibres[..., None]).astype(np.float32)
    places = _scatter(rng, size, radius, 0.3)
    _nuclei(canvas, rng, places, rng.uniform(1.6, 2.6, len(places)), ink, 0.2, np.zeros(len(places)))
    wall = _textured(rng, size, tone - np.array((4, 22, 12)), 6, 2)
    rings = []
    for x0, y0 in _scatter(rng, size, radius * 2.25, 0.07):
        outer = radius * rng.uniform(0.85, 1.1)
        aspect, turn = rng.uniform(1, 1.5), rng.uniform(0, 3.1)
        part = _window(size, x0, y0, outer * 1.6)
        x, y = (axis[part] for axis in _grid(size))
        distance = _blob(rng, (x, y), (x0, y0), outer, 0.06, aspect, turn)
        _paint(canvas[part], _cover(distance), wall[part], 0.9)
        _paint(canvas[part], _cover(distance - outer * rng.uniform(0.5, 0.75), 2.5), (243, 236, 241), 0.9)
        number = int(outer * rng.uniform(0.45, 0.7))
        angle = rng.uniform(0, 6.3) + np.arange(number) * 2 * np.pi / number
        far = outer * rng.normal(0.76, 0.05, number)
        along, across = far * np.cos(angle) * aspect**0.5, far * np.sin(angle) / aspect**0.5
        nuclei_x = x0 + along * np.cos(turn) - across * np.sin(turn)
        nuclei_y = y0 + along * np.sin(turn) + across * np.cos(turn)
        rings.append(np.stack([nuclei_x, nuclei_y], axis=1))
    nuclei = np.concatenate(rings)
    _nuclei(canvas, rng, nuclei, rng.normal(2.9, 0.3, len(nuclei)), ink, 0.06, rng.uniform(0, 0.4, len(nuclei)))
    return _finish(canvas, rng, stain=0.1, focus=0.8)
