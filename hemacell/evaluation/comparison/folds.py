"""Runs of cross-validation -> one run for each arm and amount, whose predictions are those of all folds.

In every fold other images are tested, so that runs of different folds share none. The scores are those of all
predictions together, each image tested once by a classifier that had not learnt from it: the mean of scores of small
folds would be biased, as the F1 of a class with a handful of images is (Forman and Scholz 2010, "Apples-to-apples in
cross-validation studies", SIGKDD Explorations 12). AUROC is the mean over the folds: it ranks probabilities, and those
of different classifiers are not on one scale.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hemacell.evaluation.comparison.grid import Grid, whole
from hemacell.evaluation.comparison.records import RunRecord
from hemacell.evaluation.metrics import classification_metrics
from hemacell.evaluation.predictions import Predictions

_OF_ONE_CLASSIFIER = ("auroc",)


def pool_folds(grid: Grid) -> Grid:
    """The grid with one run in place of the folds of an arm at an amount (and a seed of the study); others stay."""
    folds: dict[tuple[str, str, int], list[RunRecord]] = defaultdict(list)
    runs: list[RunRecord] = []
    for run in grid.runs:
        if whole(run.settings.get("folds", "")):
            # a study gives draw k its own seed + k
            folds[run.arm, run.amount, run.seed - run.draw].append(run)
        else:
            runs.append(run)
    if not folds:
        return grid
    runs += [_pooled(each, seed) for (*_, seed), each in folds.items()]
    rows: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, run in enumerate(runs):
        rows[run.arm, run.amount].append(row)
    for found in rows.values():
        found.sort(key=lambda row: (runs[row].draw, runs[row].seed))
    return replace(grid, runs=tuple(runs), rows=dict(rows))


def _pooled(runs: Sequence[RunRecord], seed: int) -> RunRecord:
    first = runs[0]
    together = _together([run.predictions for run in runs])
    scores = classification_metrics(together.labels, together.probabilities, together.classes)
    for name in _OF_ONE_CLASSIFIER:
        known = [run.metrics[f"test/{name}"] for run in runs if f"test/{name}" in run.metrics]
        scores |= {name: float(np.mean(known))} if known else {}
    return replace(
        first,
        draw=seed,
        seed=seed,
        labels=round(float(np.mean([run.labels for run in runs]))),
        predictions=together,
        external={},
        metrics={f"test/{name}": value for name, value in scores.items()},
        folds=len(runs),
    )


def _together(predictions: Sequence[Predictions]) -> Predictions:
    first = predictions[0]
    grouped = any(each.groups for each in predictions)
    return Predictions(
        first.classes,
        first.split,
        tuple(name for each in predictions for name in each.images),
        tuple(digest for each in predictions for digest in each.sha256),
        np.concatenate([each.labels for each in predictions]),
        np.concatenate([each.probabilities for each in predictions]),
        tuple(group for each in predictions for group in each.groups or each.sha256) if grouped else (),
    )
