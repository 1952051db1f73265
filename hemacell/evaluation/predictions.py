"""predictions.json: every prediction of a run on one split, so that runs can be compared image by image later.

    {"classes": ["Basophil", ...], "split": "test", "rows": [
      {"image": "WBC_100/test/data/Basophil/a.jpg", "sha256": "...", "label": "Basophil", "predicted": "Basophil",
       "probabilities": {"Basophil": 0.98, ...}}, ...]}

`image` is relative to the data folder; `sha256` is of the image file and is what runs are matched by; `group` is there
where the image's patient, slide or smear is known. One row per line.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hemacell.core.errors import UserError
from hemacell.core.files import atomic_write
from hemacell.evaluation.checks import checked_probabilities

_DIGITS = 9  # significant decimal digits that give every float32 back exactly


@dataclass(frozen=True)
class Predictions:
    """What predictions.json holds: the predictions of a classifier on labelled images, in the order of the file.

    Raises:
        ValueError: lengths that differ, an absolute name, labels or probabilities that are not valid.
    """

    classes: tuple[str, ...]
    split: str
    images: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: NDArray[np.int64]  # [N], indices into classes
    probabilities: NDArray[np.float32]  # [N, C]
    groups: tuple[str, ...] = ()  # patient, slide or smear of each image, else its sha256; empty where none is known

    def __post_init__(self) -> None:
        checked_probabilities(self.labels, self.probabilities, len(self.classes))
        if self.groups and len(self.groups) != len(self.labels):
            raise ValueError(f"{len(self.labels)} labels and {len(self.groups)} groups: expected equally many, or none")
        if not len(self.images) == len(self.sha256) == len(self.labels):
            raise ValueError(
                f"{len(self.labels)} labels, {len(self.images)} names and {len(self.sha256)} digests: "
                "expected equally many"
            )
        absolute = next((name for name in self.images if Path(name).is_absolute()), None)
        if absolute is not None:
            raise ValueError(f"names relative to the data folder expected, got {absolute}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the most probable class, [N]."""
        return self.probabilities.argmax(1)


def predictions_table(predictions: Predictions) -> dict[str, Any]:
    """The object that predictions.json holds, ready for json."""
    classes = predictions.classes
    rows = [
        {
            "image": name,
            "sha256": digest,
            **({"group": group} if group != digest else {}),
            "label": classes[label],
            "predicted": classes[predicted],
            "probabilities": {c: float(f"{v:.{_DIGITS}g}") for c, v in zip(classes, row, strict=True)},
        }
        for name, digest, group, label, predicted, row in zip(
            predictions.images,
            predictions.sha256,
            predictions.groups or predictions.sha256,
            predictions.labels.tolist(),
            predictions.predicted.tolist(),
            predictions.probabilities.tolist(),
            strict=True,
        )
    ]
    return {"classes": list(classes), "split": predictions.split, "rows": rows}


def write_predictions(path: Path, predictions: Predictions) -> Path:
    """Write `predictions_table(...)` to `path` (whole or not at all), one row per line; returns `path`."""
    table = predictions_table(predictions)
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in table["rows"])
    head = json.dumps({"classes": table["classes"], "split": table["split"]}, ensure_ascii=False)
    with atomic_write(path) as unfinished:
        unfinished.write_text(f'{head[:-1]}, "rows": [\n{rows}\n]}}\n', encoding="utf-8")
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
        read = Predictions(
            classes=classes,
            split=table["split"],
            images=tuple(row["image"] for row in rows),
            sha256=tuple(row["sha256"] for row in rows),
            labels=labels,
            probabilities=p,
            groups=_groups(rows),
        )
        stated = np.array([index[row["predicted"]] for row in rows], dtype=np.int64)
        if (stated != read.predicted).any():
            row = int(np.flatnonzero(stated != read.predicted)[0])
            raise ValueError(
                f"row {row} predicts {classes[stated[row]]}, its probabilities {classes[read.predicted[row]]}"
            )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected the predictions.json of a finished run") from None
    except KeyError as error:
        raise UserError(f"{path}: not a predictions.json of this project (nothing named {error})") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a predictions.json of this project ({error})") from error
    return read


def _groups(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """The group of every row, or of none."""
    if not any("group" in row for row in rows):
        return ()
    return tuple(row.get("group", row["sha256"]) for row in rows)
