"""How well whole fields are told from cut-out cells; `--write` stores the weights that this fits.

    python benchmarks/field_pictures.py --cells FOLDER [FOLDER ...] --fields FOLDER [FOLDER ...] [--write]

Cells are the pictures below a folder, one folder per laboratory. Fields are whole pictures, windows of them, and
mosaics of cells. Prints how many of each folder are flagged: by the stored weights, and by weights fitted without it.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression

from hemacell.data.images import read_rgb, to_square
from hemacell.data.walk import walk
from hemacell.fields import field_picture

_MOST_CELLS = 1_000  # of one laboratory
_WINDOWS = 12  # of each field, of at least this share of its shorter side
_LEAST_WINDOW = 0.53
_MOSAICS, _ROWS = 60, 4
_LEAST_EVIDENCE = 2.5  # in squares: 0.5 % of false alarms over the laboratories together
_LEAST_EVIDENCE_WIDE = 0.0
_WIDE_FILE = 640, 480
_MODEL = Path(field_picture.__file__).with_suffix(".json")
Rows = dict[str, np.ndarray]


def main() -> None:
    """Measure, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", nargs="+", type=Path, required=True)
    parser.add_argument("--fields", nargs="+", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="store the weights that are fitted to all folders")
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    pictures = {f"cells {folder}": _cells(folder, rng) for folder in asked.cells}
    mosaics = {f"mosaics of {name}": _mosaics(some, rng) for name, some in pictures.items()}
    for folder in asked.fields:
        whole = [np.asarray(image) for image in _read(folder)]
        pictures[f"fields {folder}"] = [_square(field) for field in whole]
        pictures[f"windows of {folder}"] = [window for field in whole for window in _windows(field, rng)]
    pictures |= mosaics
    started = time.process_time()
    found = {name: [field_picture.measurements(picture) for picture in some] for name, some in pictures.items()}
    milliseconds = (time.process_time() - started) / sum(map(len, pictures.values())) * 1000
    names = list(next(iter(found.values()))[0])
    rows = {name: np.array([[each[key] for key in names] for each in some]) for name, some in found.items()}
    if asked.write:
        _write(names, *_fitted(rows))
        field_picture._model.cache_clear()
    for name, some in rows.items():
        others = {other: values for other, values in rows.items() if other.split()[-1] != name.split()[-1]}
        center, weights, bias = _fitted(others)
        stored = [
            float(np.mean([field_picture.looks_like_field(each, file_size=size) for each in pictures[name]]))
            for size in (None, _WIDE_FILE)
        ]
        without = [
            ((some - center) @ weights + bias > least).mean() for least in (_LEAST_EVIDENCE, _LEAST_EVIDENCE_WIDE)
        ]
        print(f"{name}: {len(some)} pictures, as fields {_shares(stored)}; fitted without them {_shares(without)}")
    print(f"{milliseconds:.1f} ms of one core per picture, the nucleus included")


def _fitted(rows: Rows) -> tuple[np.ndarray, np.ndarray, float]:
    """What is subtracted from each measurement, its weight, and the bias; every folder counts alike."""
    is_field = {name: not name.startswith("cells") for name in rows}
    values = np.concatenate(list(rows.values()))
    target = np.concatenate([np.full(len(some), is_field[name]) for name, some in rows.items()])
    folders = {kind: sum(is_field[name] == kind for name in rows) for kind in (False, True)}
    shares = [np.full(len(some), 2000 / len(some) / folders[is_field[name]]) for name, some in rows.items()]
    center, spread = values.mean(0), values.std(0)
    model = LogisticRegression(max_iter=5000).fit((values - center) / spread, target, np.concatenate(shares))
    return center, model.coef_[0] / spread, float(model.intercept_[0])


def _shares(shares: Sequence[float]) -> str:
    return f"{shares[0]:.1%} (of wide files {shares[1]:.1%})"


def _write(names: list[str], center: np.ndarray, weights: np.ndarray, bias: float) -> None:
    content = {
        "least_evidence": round(_LEAST_EVIDENCE - bias, 4),
        "least_evidence_wide": round(_LEAST_EVIDENCE_WIDE - bias, 4),
        "weights": {
            name: [round(float(c), 5), round(float(w), 5)] for name, c, w in zip(names, center, weights, strict=True)
        },
    }
    _MODEL.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _read(folder: Path, most: int = 10**9, rng: np.random.Generator | None = None) -> list[Image.Image]:
    paths = walk(folder).images
    chosen = sorted(rng.permutation(len(paths))[:most]) if rng else range(len(paths))
    return [read_rgb(folder / paths[number]) for number in chosen]


def _cells(folder: Path, rng: np.random.Generator) -> list[np.ndarray]:
    return [_square(np.asarray(image)) for image in _read(folder, _MOST_CELLS, rng)]


def _square(picture: np.ndarray) -> np.ndarray:
    return to_square(Image.fromarray(picture), field_picture.SIDE)


def _windows(field: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    shorter = min(field.shape[:2])
    windows = []
    for _ in range(_WINDOWS if shorter > field_picture.LARGE else 2):
        side = rng.integers(round(_LEAST_WINDOW * shorter) if shorter > field_picture.LARGE else 0.8 * shorter, shorter)
        top, left = (rng.integers(0, length - side + 1) for length in field.shape[:2])
        windows.append(_square(field[top : top + side, left : left + side]))
    return windows


def _mosaics(cells: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Windows of fields that are laid of cells."""
    result = []
    for _ in range(_MOSAICS):
        chosen = [cells[number] for number in rng.integers(0, len(cells), _ROWS**2)]
        whole = np.concatenate([np.concatenate(chosen[row * _ROWS :][:_ROWS], axis=1) for row in range(_ROWS)])
        side = int(rng.uniform(1.5, 3.5) * field_picture.SIDE)
        top, left = rng.integers(0, len(whole) - side, 2)
        result.append(_square(whole[top : top + side, left : left + side]))
    return result


if __name__ == "__main__":
    main()
