"""Scores on a folder of images against the classifier's own test scores: are these images like its training images?

The interval is the percentile bootstrap over images. Drawing N images with replacement is drawing the entries of
the confusion matrix from a multinomial distribution, so that a million images cost no more than a hundred. Where groups
are known, whole groups are drawn (`evaluation.groups`). The test score of the classifier is an estimate too; here it is
taken as exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemacell.evaluation.checks import checked_probabilities
from hemacell.evaluation.comparison.resampling import percentile_interval
from hemacell.evaluation.groups import FEW_GROUPS, group_numbers, number_of_groups
from hemacell.evaluation.intervals import LEVEL
from hemacell.evaluation.metrics import CONFUSION_METRICS, classification_metrics, confusion_metrics

#: With fewer images the bootstrap's interval is too narrow.
FEW_IMAGES = 30
#: With fewer images no drop is reported.
TOO_FEW_IMAGES = 10
_INTEGERS_AT_ONCE = 8_000_000  # of one temporary array


@dataclass(frozen=True)
class MetricComparison:
    """One score on the folder, and the score on the classifier's own test images."""

    metric: str
    value: float
    """on the folder"""
    low: float
    """limits of the interval of `value`"""
    high: float
    images: int
    """number of images behind it: for the F1 of a class, those with its label"""
    reference: float | None = None
    """on the classifier's own test images; None where it is not known"""

    @property
    def difference(self) -> float | None:
        """Value minus reference."""
        return None if self.reference is None else self.value - self.reference

    @property
    def below_reference(self) -> bool:
        """Whether the whole interval lies below the reference; False with too few images."""
        return self.reference is not None and self.high < self.reference and self.images >= TOO_FEW_IMAGES


def compare_with_reference(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    reference: Mapping[str, float],
    resamples: int = 2000,
    seed: int = 0,
    groups: Sequence[str] = (),
) -> list[MetricComparison]:
    """Scores with intervals, next to the classifier's own test scores.

    Args:
        labels: int [N], indices into `classes`.
        probabilities: float [N, C] in 0..1, rows summing to 1.
        classes: C names.
        reference: the classifier's test scores by the names of `classification_metrics`; a missing one stays None.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        groups: N, patient or slide of each image; empty where they are not known.

    Returns:
        `macro_f1`, `accuracy`, `balanced_accuracy`, and `f1/<Class>` of each class that has an image.

    Raises:
        ValueError: labels or probabilities that are not valid (see `checks`).
    """
    y, p = checked_probabilities(labels, probabilities, len(classes))
    c = len(classes)
    entries, numbers = y * c + p.argmax(1), group_numbers(groups)
    if numbers is None:
        drawn = resampled_confusions(np.bincount(entries, minlength=c * c), resamples, seed)
    else:
        of_groups = np.zeros((int(numbers.max()) + 1, c * c), dtype=np.int64)
        np.add.at(of_groups, (numbers, entries), 1)
        drawn = resampled_groups(of_groups, resamples, seed)
    scores = classification_metrics(y, p, classes)
    resampled = confusion_metrics(drawn.reshape(-1, c, c), classes)
    support = np.bincount(y, minlength=c).tolist()
    images = dict.fromkeys(CONFUSION_METRICS, len(y))
    images |= {f"f1/{name}": n for name, n in zip(classes, support, strict=True) if n}
    return [
        MetricComparison(metric, scores[metric], *percentile_interval(resampled[metric]), n, reference.get(metric))
        for metric, n in images.items()
    ]


def resampled_confusions(counts: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """Confusion matrices of N images drawn with replacement: [resamples, C * C] from one, [C * C]."""
    images = int(counts.sum())
    return np.random.default_rng([seed, 3]).multinomial(images, counts / images, resamples)


def resampled_groups(counts: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """Confusion matrices of G groups drawn with replacement: [resamples, C * C] from those of each, [G, C * C]."""
    groups = len(counts)
    rng = np.random.default_rng([seed, 3])
    at_once = max(1, _INTEGERS_AT_ONCE // groups)
    parts = [min(at_once, resamples - start) for start in range(0, resamples, at_once)]
    return np.concatenate([rng.multinomial(groups, np.full(groups, 1 / groups), part) @ counts for part in parts])


def drop_in_words(rows: Sequence[MetricComparison]) -> str:
    """One line where scores lie below the reference by more than the choice of images explains, else ''."""
    below = [row for row in rows if row.below_reference]
    if not below:
        return ""

    def importance(row: MetricComparison) -> tuple[int, float]:
        overall = list(CONFUSION_METRICS)
        return overall.index(row.metric) if row.metric in overall else len(overall), row.difference or 0.0

    first, *others = sorted(below, key=importance)
    also = f"; also lower: {', '.join(row.metric for row in others)}" if others else ""
    return (
        f"a drop of {-(first.difference or 0.0):.3f} in {first.metric} ({first.value:.3f} here, {LEVEL:.0%} interval "
        f"{first.low:.3f} to {first.high:.3f}; {first.reference:.3f} on its own test images): these images differ "
        f"from its training images{also}"
    )


def reference_checks(
    labels: ArrayLike, rows: Sequence[MetricComparison], classes: Sequence[str], groups: Sequence[str] = ()
) -> list[str]:
    """What a reader of the table should know, one line each; arguments as in `compare_with_reference`."""
    y = np.asarray(labels)
    lines = []
    if missing := [name for index, name in enumerate(classes) if not (y == index).any()]:
        lines.append(
            f"no image of {', '.join(missing)}: balanced_accuracy is a mean over the other classes, and macro_f1 over "
            "those that occur or are predicted, so they are only roughly comparable to the classifier's test scores"
        )
    few = [f"{name} ({n})" for index, name in enumerate(classes) if 0 < (n := int((y == index).sum())) < FEW_IMAGES]
    if few:
        lines.append(
            f"fewer than {FEW_IMAGES} images of {', '.join(few)}: their intervals are too narrow, and with "
            f"fewer than {TOO_FEW_IMAGES} not meaningful"
        )
    if 1 < (count := number_of_groups(groups)) < FEW_GROUPS:
        lines.append(f"the images are of {count} groups, and intervals over fewer than {FEW_GROUPS} are too narrow")
    if perfect := [row.metric for row in rows if row.low == row.high == 1]:
        lines.append(
            f"no mistake in {', '.join(perfect)}: the interval has no width there, which does not mean certainty"
        )
    return lines


def as_records(rows: Sequence[MetricComparison]) -> list[dict[str, Any]]:
    """The rows as JSON can hold them; `from_records` reads them back."""
    return [asdict(row) | {"difference": row.difference, "below_reference": row.below_reference} for row in rows]


def from_records(records: Sequence[Mapping[str, Any]]) -> list[MetricComparison]:
    """The rows from what `as_records` gave."""
    return [MetricComparison(**{each.name: row[each.name] for each in fields(MetricComparison)}) for row in records]
