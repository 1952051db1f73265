"""The scores of a classifier, each declared once: what is logged, reported and compared follows from here.

A score is a function with a decorator. One that follows from the confusion matrix (`@confusion_metric`) takes many
matrices at once, so that it can be resampled: it has an interval and paired differences between the arms of a study.
One that needs the probabilities (`@probability_metric`) is only a number for each run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemacell.evaluation.calibration_error import expected_calibration_error
from hemacell.evaluation.checks import checked_probabilities

Floats = NDArray[np.float64]
Function = TypeVar("Function", bound=Callable)
Direction = Literal["higher", "lower"]


class ConfusionCounts(NamedTuple):
    """Counts of each class in confusion matrices; leading dimensions are any number of matrices."""

    hits: Floats
    """[..., C], correct predictions"""
    support: Floats
    """[..., C], labels"""
    predicted: Floats
    """[..., C], predictions"""

    @property
    def present(self) -> NDArray[np.bool_]:
        """[..., C], classes among the labels."""
        return self.support > 0

    @property
    def counted(self) -> NDArray[np.bool_]:
        """[..., C], classes among the labels or the predictions."""
        return (self.support + self.predicted) > 0


@dataclass(frozen=True)
class Metric(Generic[Function]):
    """One score of a classifier."""

    name: str
    """as logged, behind `test/` or `external/lisc/`"""
    label: str
    """in figures and tables"""
    function: Function
    direction: Direction = "higher"
    """which values are better"""
    in_study: bool = True
    """whether the report of a study shows it"""


#: Scores that follow from the confusion matrix: ConfusionCounts [..., C] -> [...].
CONFUSION_METRICS: dict[str, Metric[Callable[[ConfusionCounts], Floats]]] = {}
#: Scores that need the probabilities: int [N], float64 [N, C] -> a number, or None where the labels leave it undefined.
PROBABILITY_METRICS: dict[str, Metric[Callable[[NDArray[np.int64], Floats], float | None]]] = {}


def confusion_metric(
    name: str, label: str, direction: Direction = "higher", in_study: bool = True
) -> Callable[[Function], Function]:
    """Register a score that follows from the confusion matrix; arguments as in `Metric`."""
    return _registering(CONFUSION_METRICS, name, label, direction, in_study)


def probability_metric(
    name: str, label: str, direction: Direction = "higher", in_study: bool = True
) -> Callable[[Function], Function]:
    """Register a score that needs the probabilities; arguments as in `Metric`."""
    return _registering(PROBABILITY_METRICS, name, label, direction, in_study)


def _registering(
    metrics: dict[str, Metric], name: str, label: str, direction: Direction, in_study: bool
) -> Callable[[Function], Function]:
    if name in CONFUSION_METRICS or name in PROBABILITY_METRICS:
        raise ValueError(f"a metric named {name} exists already")

    def register(function: Function) -> Function:
        metrics[name] = Metric(name, label, function, direction, in_study)
        return function

    return register


def study_metrics() -> dict[str, Metric]:
    """The scores that a study reports, by name, in the order in which they are shown."""
    every: list[Metric] = [*CONFUSION_METRICS.values(), *PROBABILITY_METRICS.values()]
    return {each.name: each for each in every if each.in_study}


def lower_is_better(name: str) -> bool:
    """Whether smaller values of a score are better."""
    known = CONFUSION_METRICS.get(name) or PROBABILITY_METRICS.get(name)
    return known is not None and known.direction == "lower"


def metric_label(name: str) -> str:
    """A score in words: `macro-F1` for `macro_f1`, `F1 of Monocyte` for `f1/Monocyte`; else its name."""
    known = CONFUSION_METRICS.get(name) or PROBABILITY_METRICS.get(name)
    return known.label if known else name.replace("f1/", "F1 of ")


# --- the scores


@confusion_metric("macro_f1", "macro-F1")
def macro_f1(counts: ConfusionCounts) -> Floats:
    """Mean F1 over the classes that occur among the labels or the predictions."""
    both = counts.support + counts.predicted
    f1 = ratio(2 * counts.hits, both, both > 0, otherwise=0.0)
    return np.asarray(f1.sum(-1) / (both > 0).sum(-1))


@confusion_metric("accuracy", "accuracy")
def accuracy(counts: ConfusionCounts) -> Floats:
    """Share of correct predictions."""
    return np.asarray(counts.hits.sum(-1) / counts.support.sum(-1))


@confusion_metric("balanced_accuracy", "balanced accuracy")
def balanced_accuracy(counts: ConfusionCounts) -> Floats:
    """Mean recall of the classes among the labels."""
    recall = ratio(counts.hits, counts.support, counts.present, otherwise=0.0)
    return np.asarray(recall.sum(-1) / counts.present.sum(-1))


@probability_metric("auroc", "AUROC")
def auroc(labels: NDArray[np.int64], probabilities: Floats) -> float | None:
    """Mean over classes of the area under the ROC curve of one class against the rest."""
    areas = one_vs_rest_auroc(labels, probabilities)
    return float(np.mean(list(areas.values()))) if areas else None


@probability_metric("ece", "ECE", direction="lower")
def ece(labels: NDArray[np.int64], probabilities: Floats) -> float:
    """Expected calibration error (see `expected_calibration_error`)."""
    return expected_calibration_error(labels, probabilities)


@probability_metric("nll", "negative log-likelihood", direction="lower", in_study=False)
def nll(labels: NDArray[np.int64], probabilities: Floats) -> float:
    """Mean negative log-likelihood in nats."""
    from sklearn.metrics import log_loss

    return float(log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1])))


# --- all of them


def classification_metrics(labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> dict[str, float]:
    """All registered scores of a classifier, under the names that are logged behind `test/` or `external/lisc/`.

    A score that the labels leave undefined is left out; nothing is ever NaN. In particular, where a class has no
    image among the labels (another laboratory's folder may lack one):

    * `recall/<Class>` is left out, and so are the other two where the class was never predicted either;
    * `macro_f1` is the mean over the classes that occur among the labels *or* the predictions (scikit-learn's own
      rule): a class that does not exist in a folder costs nothing unless it is predicted, which counts as 0;
    * `balanced_accuracy` and `auroc` are means over the classes among the labels.

    Args:
        labels: int [N], indices into `classes`.
        probabilities: float [N, C] in 0..1, rows summing to 1.
        classes: C names, C >= 2.

    Returns:
        Every score of `CONFUSION_METRICS` and `PROBABILITY_METRICS`, `f1/<Class>`, `precision/<Class>` (0 for a class
        that was never predicted) and `recall/<Class>`.

    Raises:
        ValueError: labels or probabilities that are not valid (see `checks`).

    Examples:
        >>> scores = classification_metrics([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], ["Basophil", "Monocyte"])
        >>> round(scores["accuracy"], 3), round(scores["f1/Monocyte"], 3)
        (0.667, 0.667)
    """
    y, p = checked_probabilities(labels, probabilities, len(classes))
    counts = confusion_counts(y, p.argmax(1), len(classes))
    found: dict[str, float | None] = {name: float(value) for name, value in confusion_metrics(counts, classes).items()}
    found |= {each.name: each.function(y, p) for each in PROBABILITY_METRICS.values()}
    return {name: value for name, value in found.items() if value is not None and not np.isnan(value)}


def confusion_counts(labels: NDArray[np.int64], predicted: NDArray[np.int64], class_count: int) -> NDArray[np.int64]:
    """Confusion matrices, int64 [..., C, C] with rows labelled and columns predicted.

    Args:
        labels: int [N].
        predicted: int [..., N].
        class_count: C.
    """
    entries = labels * class_count + predicted
    flat = entries.reshape(-1, entries.shape[-1])
    counts = np.stack([np.bincount(row, minlength=class_count**2) for row in flat])
    return counts.reshape(*entries.shape[:-1], class_count, class_count)


def confusion_metrics(counts: NDArray, classes: Sequence[str]) -> dict[str, Floats]:
    """The scores that follow from the confusion matrix alone, for many matrices at once.

    Args:
        counts: [..., C, C] >= 0, rows labelled, columns predicted; each matrix with a sum above 0.
        classes: C names.

    Returns:
        Every score of `CONFUSION_METRICS`, `f1/<Class>`, `precision/<Class>` and `recall/<Class>`, each [...], in
        0..1; NaN where a score is undefined.
    """
    hits = np.einsum("...cc->...c", counts).astype(np.float64)
    of = ConfusionCounts(hits, counts.sum(-1, dtype=np.float64), counts.sum(-2, dtype=np.float64))
    metrics = {each.name: each.function(of) for each in CONFUSION_METRICS.values()}
    f1 = ratio(2 * hits, of.support + of.predicted, of.counted)
    precision = np.where(of.counted, ratio(hits, of.predicted, of.predicted > 0, otherwise=0.0), np.nan)
    recall = ratio(hits, of.support, of.present)
    for name, values in (("f1", f1), ("precision", precision), ("recall", recall)):
        metrics |= {f"{name}/{label}": values[..., i] for i, label in enumerate(classes)}
    return metrics


def ratio(a: NDArray, b: NDArray, where: NDArray, otherwise: float = np.nan) -> Floats:
    """a / b, and another value where it is not defined."""
    a, b, where = np.broadcast_arrays(a, b, where)
    return np.divide(a, b, out=np.full(a.shape, otherwise), where=where)


def one_vs_rest_auroc(labels: ArrayLike, probabilities: ArrayLike) -> dict[int, float]:
    """Area under the ROC curve of each class against the rest, by class index.

    Classes without an image among the labels, or with all of them, have no such curve and are left out.
    """
    from sklearn.metrics import roc_auc_score  # imported here, as reading logged runs does not need it

    y, p = checked_probabilities(labels, probabilities)
    present = np.unique(y)
    if len(present) < 2:
        return {}
    return {int(index): float(roc_auc_score(y == index, p[:, index])) for index in present}
