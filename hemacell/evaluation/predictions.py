"""predictions.json: every answer of a run on one split, so that runs can be compared image by image later.

    {"classes": ["Basophil", ...], "split": "test", "rows": [
      {"image": "WBC_100/test/data/Basophil/a.jpg", "sha256": "...", "label": "Basophil", "predicted": "Basophil",
       "probabilities": {"Basophil": 0.98, ...}}, ...]}

`image` is relative to the data folder; `sha256` is of the image file and is what runs are matched by. One row a line.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemacell.core.errors import UserError
from hemacell.evaluation.checks import checked_probabilities

_DIGITS = 9  # significant decimal digits that give every float32 back exactly


@dataclass(frozen=True)
class Predictions:
    """What predictions.json holds. Rows are in the order of the file."""

    classes: tuple[str, ...]
    split: str
    images: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: NDArray[np.int64]  # [N], indices into classes
    probabilities: NDArray[np.float32]  # [N, C]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the most probable class, [N]."""
        return self.probabilities.argmax(1)


def predictions_table(
    images: Sequence[str],
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    sha256: Sequence[str],
    split: str = "test",
) -> dict[str, Any]:
    """The object that predictions.json holds, ready for json.

    Args:
        images: N names relative to the data folder, with forward slashes.
        labels: int [N], indices into `classes`.
        probabilities: float [N, C].
        classes: C names.
        sha256: N digests of the image files.
        split: which part of the data this is.

    Raises:
        ValueError: lengths that differ, an absolute name, labels or probabilities that are none.
    """
    y, _ = checked_probabilities(labels, probabilities, len(classes))
    p = np.asarray(probabilities, dtype=np.float32)
    if not len(images) == len(sha256) == len(y):
        raise ValueError(f"{len(y)} labels, {len(images)} names and {len(sha256)} digests: equally many expected")
    absolute = next((name for name in images if Path(name).is_absolute()), None)
    if absolute is not None:
        raise ValueError(f"names relative to the data folder expected, got {absolute}")
    rows = [
        {
            "image": str(name),
            "sha256": str(digest),
            "label": classes[label],
            "predicted": classes[int(row.argmax())],
            "probabilities": {c: float(f"{v:.{_DIGITS}g}") for c, v in zip(classes, row.tolist(), strict=True)},
        }
        for name, digest, label, row in zip(images, sha256, y, p, strict=True)
    ]
    return {"classes": list(classes), "split": split, "rows": rows}


def write_predictions(
    path: Path,
    images: Sequence[str],
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    sha256: Sequence[str],
    split: str = "test",
) -> Path:
    """Write `predictions_table(...)` to `path` (whole or not at all) and return `path`. Same arguments and errors."""
    table = predictions_table(images, labels, probabilities, classes, sha256, split)
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in table["rows"])
    head = json.dumps({"classes": table["classes"], "split": split}, ensure_ascii=False)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(f'{head[:-1]}, "rows": [\n{rows}\n]}}\n', encoding="utf-8")
    unfinished.replace(path)
    return path


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote; the probabilities are the same to the bit.

    Raises:
        UserError: the file is missing, is not such a file, or contradicts itself.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        classes = tuple(table["classes"])
        rows = table["rows"]
        index = {name: i for i, name in enumerate(classes)}
        labels = np.array([index[row["label"]] for row in rows], dtype=np.int64)
        p = np.array([[row["probabilities"][name] for name in classes] for row in rows], dtype=np.float32)
        checked_probabilities(labels, p, len(classes))
        read = Predictions(
            classes=classes,
            split=table["split"],
            images=tuple(row["image"] for row in rows),
            sha256=tuple(row["sha256"] for row in rows),
            labels=labels,
            probabilities=p,
        )
        told = np.array([index[row["predicted"]] for row in rows], dtype=np.int64)
        if (told != read.predicted).any():
            row = int(np.flatnonzero(told != read.predicted)[0])
            raise ValueError(
                f"row {row} predicts {classes[told[row]]}, its probabilities {classes[read.predicted[row]]}"
            )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected the predictions.json of a finished run") from None
    except KeyError as error:
        raise UserError(f"{path}: not a predictions.json of this project (nothing named {error})") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a predictions.json of this project ({error})") from error
    return read
