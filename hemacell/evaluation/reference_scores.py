"""Scores on a folder of images beside the classifier's own test scores: is this what it learnt from?

The interval is the percentile bootstrap over images. Drawing N images with replacement is drawing the cells of the
confusion matrix from a multinomial distribution, so that a million images cost no more than a hundred. The own score is
an estimate too; here it is taken as it stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemacell.evaluation.checks import checked_probabilities
from hemacell.evaluation.comparison.resampling import percentile_interval
from hemacell.evaluation.intervals import LEVEL
from hemacell.evaluation.metrics import CONFUSION_METRICS, classification_metrics, confusion_metrics

#: With fewer images the bootstrap's interval is too narrow.
FEW_IMAGES = 30
#: With fewer images no drop is told by it.
TOO_FEW_IMAGES = 10


@dataclass(frozen=True)
class MetricComparison:
    """One score on the folder, and what the classifier had on its own test images."""

    metric: str
    here: float
    low: float
    """Ends of the interval of `here`."""
    high: float
    images: int
    """Number of images that it is a score of: of one class, those with its label."""
    own: float | None = None
    """None where it is not known."""

    @property
    def difference(self) -> float | None:
        """Here minus own."""
        return None if self.own is None else self.here - self.own

    @property
    def below_reference(self) -> bool:
        """Whether the whole interval lies below the own score; False where too few images can tell."""
        return self.own is not None and self.high < self.own and self.images >= TOO_FEW_IMAGES


def compare_with_reference(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    own: Mapping[str, float],
    resamples: int = 2000,
    seed: int = 0,
) -> list[MetricComparison]:
    """Score answers, with intervals, beside the classifier's own test scores.

    Args:
        labels: int [N], indices into `classes`.
        probabilities: float [N, C] in 0..1, rows summing to 1.
        classes: C names.
        own: scores by the names of `classification_metrics`; those that are missing stay None.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        `macro_f1`, `accuracy`, `balanced_accuracy`, and `f1/<Class>` of each class that has an image: of another one
        there is nothing to compare.

    Raises:
        ValueError: labels or probabilities that are none (see `checks`).
    """
    y, p = checked_probabilities(labels, probabilities, len(classes))
    c = len(classes)
    counts = np.bincount(y * c + p.argmax(1), minlength=c * c)
    here = classification_metrics(y, p, classes)
    resampled = confusion_metrics(resampled_confusions(counts, resamples, seed).reshape(-1, c, c), classes)
    support = np.bincount(y, minlength=c).tolist()
    images = dict.fromkeys(CONFUSION_METRICS, len(y))
    images |= {f"f1/{name}": n for name, n in zip(classes, support, strict=True) if n}
    rows = []
    for metric, n in images.items():
        low, high = percentile_interval(resampled[metric])
        rows.append(MetricComparison(metric, here[metric], low, high, n, own.get(metric)))
    return rows


def resampled_confusions(counts: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """Confusion matrices of N images drawn with replacement: [resamples, cells] from the cells of one, [cells]."""
    images = int(counts.sum())
    return np.random.default_rng([seed, 3]).multinomial(images, counts / images, resamples)


def drop_in_words(rows: Sequence[MetricComparison]) -> str:
    """One line where scores lie below the own ones by more than the choice of images explains, else ''."""
    below = [row for row in rows if row.below_reference]
    if not below:
        return ""

    def importance(row: MetricComparison) -> tuple[int, float]:
        overall = list(CONFUSION_METRICS)
        return overall.index(row.metric) if row.metric in overall else len(overall), row.difference or 0.0

    first, *others = sorted(below, key=importance)
    also = f"; also lower: {', '.join(row.metric for row in others)}" if others else ""
    return (
        f"a drop of {-(first.difference or 0.0):.3f} in {first.metric} ({first.here:.3f} here, {LEVEL:.0%} interval "
        f"{first.low:.3f} to {first.high:.3f}; {first.own:.3f} on its own test images): this folder is not like what "
        f"it learnt from{also}"
    )


def cautions(labels: ArrayLike, rows: Sequence[MetricComparison], classes: Sequence[str]) -> list[str]:
    """What a reader of the table must know, a line each."""
    y = np.asarray(labels)
    lines = []
    if missing := [name for index, name in enumerate(classes) if not (y == index).any()]:
        lines.append(
            f"no image of {', '.join(missing)}: balanced_accuracy is a mean over the other classes, and macro_f1 over "
            "those that occur or are answered, so that they compare only roughly with the own ones"
        )
    few = [f"{name} ({n})" for index, name in enumerate(classes) if 0 < (n := int((y == index).sum())) < FEW_IMAGES]
    if few:
        lines.append(
            f"fewer than {FEW_IMAGES} images of {', '.join(few)}: the intervals are too narrow there, and of fewer "
            f"than {TOO_FEW_IMAGES} say nothing"
        )
    if perfect := [row.metric for row in rows if row.low == row.high == 1]:
        lines.append(f"no mistake in {', '.join(perfect)}: the bootstrap sees no spread there, which is not certainty")
    return lines


def _cells(row: MetricComparison) -> tuple[str, ...]:
    own, difference = ("-" if value is None else value for value in (row.own, row.difference))
    return (
        row.metric,
        f"{row.here:.3f}",
        f"[{row.low:.3f}, {row.high:.3f}]",
        own if isinstance(own, str) else f"{own:.3f}",
        difference if isinstance(difference, str) else f"{difference:+.3f}",
        "below" if row.below_reference else "",
    )


_HEAD = ("metric", "here", f"{LEVEL:.0%} interval", "own test", "difference", "")


def text_table(rows: Sequence[MetricComparison]) -> str:
    """The rows for the screen."""
    table = [_HEAD, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if column in (0, 5) else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def markdown(rows: Sequence[MetricComparison], facts: Mapping[str, str], warnings: Sequence[str]) -> str:
    """The rows as a page: facts (label -> text), table, warnings."""
    lines = ["# Scores beside the classifier's own test scores", ""]
    lines += [f"- {label}: {text}" for label, text in facts.items()]
    lines += ["", f"| {' | '.join(_HEAD)} |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    lines += ["", f"`below`: the whole interval lies below the own test score, of {TOO_FEW_IMAGES} images or more."]
    if warnings:
        lines += ["", *(f"- warning: {line}" for line in warnings)]
    return "\n".join(lines) + "\n"


def as_records(rows: Sequence[MetricComparison]) -> list[dict[str, Any]]:
    """The rows as JSON can hold them."""
    return [asdict(row) | {"difference": row.difference, "below_reference": row.below_reference} for row in rows]
