"""The crossed bootstrap: test images (or groups of them) and draws of training images, resampled with replacement.

Two things vary where a study is repeated: which images are tested, and which are trained on. The bootstrap resamples
both, independently of each other; it overestimates the variance a little rather than leaving out either (Owen 2007,
"The pigeonhole bootstrap", Annals of Applied Statistics 1). A resampled image counts equally often for every arm, draw
and amount, and a resampled draw for every arm of every amount (draws are nested): differences stay paired. Of n draws
it sees only (n - 1) / n of the variance, and knows no Student's t: with few, its interval is too narrow, which is why
the t interval over draws is reported as well. Where the patients or slides of the images are known, whole groups are
drawn in place of images (`evaluation.groups`).

Only counts of (label, predicted class) matter to these scores, so a resample is a vector of image weights, and all
confusion matrices of a run are one matrix product.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemacell.core.errors import UserError
from hemacell.evaluation.groups import group_numbers, group_weights
from hemacell.evaluation.intervals import LEVEL
from hemacell.evaluation.metrics import confusion_counts, confusion_metrics
from hemacell.evaluation.predictions import Predictions

_FLOATS_AT_ONCE = 8_000_000  # of one temporary array: 32 MB


@dataclass(frozen=True)
class MatchedPredictions:
    """What R runs predicted for the same N images."""

    classes: tuple[str, ...]
    labels: NDArray[np.int64]  # [N]
    predicted: NDArray[np.int64]  # [R, N]
    left_out: int  # images that some run lacks
    groups: tuple[str, ...] = ()  # [N], patient or slide of each image; empty where none is known

    def confusion(self) -> NDArray[np.int64]:
        """Counts [R, C, C], rows labelled, columns predicted."""
        return confusion_counts(self.labels, self.predicted, len(self.classes))


def match_predictions(predictions: Sequence[Predictions], run_ids: Sequence[str]) -> MatchedPredictions:
    """The images that all runs predicted, in one order, which does not depend on that of the runs.

    An image is known by the sha256 of its file. A file that lies in a test set twice is two images: the first of one
    run is matched with the first of the other, the second with the second.

    Args:
        predictions: of R >= 1 runs, on one split.
        run_ids: R, for errors.

    Raises:
        UserError: other classes, an image with two labels, or no image in common.
    """
    first = predictions[0]
    for run_id, other in zip(run_ids, predictions, strict=True):
        if other.classes != first.classes:
            raise UserError(
                f"runs with the same classes expected, found {', '.join(first.classes)} in {run_ids[0]} "
                f"and {', '.join(other.classes)} in {run_id}; compare runs of one data set"
            )
    rows: list[dict[tuple[str, int, int], int]] = []
    known: dict[str, set[int]] = {}
    owner: dict[str, str] = {}
    for i, (run_id, each) in enumerate(zip(run_ids, predictions, strict=True)):
        if i and each.sha256 == first.sha256 and np.array_equal(each.labels, first.labels):  # nearly always
            rows.append(rows[0])
            continue
        rows.append(_rows(each))
        labels: dict[str, set[int]] = {}
        for digest, label, _ in rows[-1]:
            labels.setdefault(digest, set()).add(label)
        for digest, found in labels.items():
            if found != known.setdefault(digest, found):
                a, b = (" and ".join(first.classes[y] for y in sorted(ys)) for ys in (known[digest], found))
                raise UserError(
                    f"one label an image expected, found {a} in {owner[digest]} and {b} in {run_id} for the image "
                    f"with sha256 {digest[:12]}; compare runs of one data set"
                )
            owner.setdefault(digest, run_id)
    # equal tables are the same object
    distinct = list({id(table): table for table in rows}.values())
    common = set(distinct[0]).intersection(*distinct[1:])
    everything = set(distinct[0]).union(*distinct[1:])
    if not common:
        raise UserError(
            f"the runs have no {first.split} image in common, so they cannot be compared; choose runs of one data set"
        )
    order = sorted(common)
    index = {id(table): np.array([table[key] for key in order]) for table in distinct}
    predicted = [each.predicted[index[id(table)]] for each, table in zip(predictions, rows, strict=True)]
    labels_in_order = np.array([label for _, label, _ in order], dtype=np.int64)
    grouped = next((i for i, each in enumerate(predictions) if each.groups), None)
    groups = () if grouped is None else tuple(predictions[grouped].groups[rows[grouped][key]] for key in order)
    left_out = len(everything) - len(common)
    return MatchedPredictions(first.classes, labels_in_order, np.stack(predicted), left_out, groups)


def _rows(predictions: Predictions) -> dict[tuple[str, int, int], int]:
    """(sha256, label, how many of these came before) -> row."""
    seen: Counter[tuple[str, int]] = Counter()
    rows = {}
    for row, key in enumerate(zip(predictions.sha256, predictions.labels.tolist(), strict=True)):
        rows[(*key, seen[key])] = row
        seen[key] += 1
    return rows


def image_weights(images: int, resamples: int, seed: int, groups: Sequence[str] = ()) -> NDArray[np.uint16]:
    """How often each image counts when N are drawn with replacement, or G groups where these are known: [B, N]."""
    return group_weights(group_numbers(groups), images, resamples, np.random.default_rng([seed, 0]))


def draw_weights(draws: int, resamples: int, seed: int) -> NDArray[np.float64]:
    """The weight of each draw in a mean over n that are drawn with replacement: [B, n], rows sum to 1.

    Depends on nothing but these numbers: arms and amounts with equally many draws share their resamples.
    """
    return np.random.default_rng([seed, 1]).multinomial(draws, np.full(draws, 1 / draws), resamples) / draws


def resampled_metrics(matched: MatchedPredictions, weights: NDArray) -> dict[str, NDArray[np.float64]]:
    """`confusion_metrics` of each run on each resample of the images.

    Args:
        matched: of R runs for N images.
        weights: [B, N] >= 0, how often an image counts; integers below 2^24 in sum.

    Returns:
        Each metric [R, B]; NaN where a resample leaves it undefined.
    """
    c, (runs, images) = len(matched.classes), matched.predicted.shape
    # Images with the same label and the same predictions count as one with the sum of their weights.
    table = np.vstack([matched.labels, matched.predicted]).astype(np.uint8 if c <= 256 else np.int64)
    kinds, kind = np.unique(table, axis=1, return_inverse=True)
    kind = kind.reshape(-1)
    by_kind = np.argsort(kind, kind="stable")
    starts = np.searchsorted(kind[by_kind], np.arange(kinds.shape[1]))
    resamples = len(weights)
    summed = np.empty((resamples, kinds.shape[1]), dtype=np.float32)  # exact: integers below 2^24
    rows = max(1, _FLOATS_AT_ONCE // images)
    for start in range(0, resamples, rows):
        part = weights[start : start + rows, by_kind].astype(np.float32)
        summed[start : start + rows] = np.add.reduceat(part, starts, axis=1)

    labels, predicted = kinds[0], kinds[1:]
    metrics: dict[str, list[NDArray]] = {}
    at_once = max(1, _FLOATS_AT_ONCE // max(resamples * c * c, kinds.shape[1] * c))
    for start in range(0, runs, at_once):
        part = predicted[start : start + at_once]
        counts = np.zeros((len(part), resamples, c, c), dtype=np.float32)
        for label in range(c):
            chosen = np.flatnonzero(labels == label)
            # [kinds of this label, runs x classes]: one product gives a row of all confusion matrices
            one_hot = (part[:, chosen, None] == np.arange(c)).astype(np.float32).transpose(1, 0, 2)
            product = summed[:, chosen] @ one_hot.reshape(len(chosen), len(part) * c)
            counts[:, :, label] = product.reshape(resamples, len(part), c).transpose(1, 0, 2)
        for name, values in confusion_metrics(counts, matched.classes).items():
            metrics.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in metrics.items()}


def mean_over_draws(values: NDArray, seed: int) -> NDArray[np.float64]:
    """Resampled means over resampled draws: the crossed bootstrap, from values of resampled images.

    Args:
        values: [n, B], a metric or a difference of n draws on B resamples of the images.
        seed: of the resampled draws.

    Returns:
        [B]; NaN where a draw that was chosen has no value.
    """
    draws, resamples = values.shape
    weights = draw_weights(draws, resamples, seed).T
    # a draw that was not chosen does not count, even where it is NaN
    return np.asarray(np.where(weights > 0, values, 0.0) * weights).sum(0) if draws > 1 else values[0]


def percentile_interval(replicates: NDArray) -> tuple[float, float]:
    """The 95 % percentile interval (Efron and Tibshirani 1993, chapter 13) of replicates [B]; NaN are left out.

    Raises:
        ValueError: all are NaN.
    """
    finite = replicates[~np.isnan(replicates)]
    if not len(finite):
        raise ValueError("no replicate has a value")
    low, high = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
