"""Runs of a grid -> `Comparison`: scores, paired differences, label efficiency, and what to watch out for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hemacell.core.errors import UserError
from hemacell.encoders.registry import controls_of
from hemacell.evaluation.comparison.checks import check_images, check_intervals, check_predictions, check_runs
from hemacell.evaluation.comparison.folds import pool_folds
from hemacell.evaluation.comparison.grid import Grid, build_grid, predictions_of
from hemacell.evaluation.comparison.hypothesis_tests import holm, mcnemar_p, permutation_p, t_interval
from hemacell.evaluation.comparison.label_efficiency import label_efficiency_ratio
from hemacell.evaluation.comparison.records import (
    MAIN_METRIC,
    Comparison,
    ControlShare,
    Difference,
    LabelEfficiency,
    MajorityBaseline,
    RunRecord,
    Score,
)
from hemacell.evaluation.comparison.resampling import (
    MatchedPredictions,
    image_weights,
    match_predictions,
    mean_over_draws,
    percentile_interval,
    resampled_metrics,
)
from hemacell.evaluation.groups import number_of_groups
from hemacell.evaluation.laboratories import TEST
from hemacell.evaluation.metrics import CONFUSION_METRICS, confusion_metrics


def compare(
    runs: Sequence[RunRecord],
    baseline: str = "none",
    split: str = TEST,
    controls: Mapping[str, str] | None = None,
    resamples: int = 2000,
    permutations: int = 5000,
    seed: int = 0,
) -> Comparison:
    """What a grid of runs says about its arms.

    Every arm is compared with the baseline on the draws that both have, and on the images that all runs predicted. Runs
    of cross-validation are pooled first (`comparison.folds`). Where the groups of the images are known, intervals and
    tests are over groups (`evaluation.groups`).

    Args:
        runs: finished runs, in the order of the study.
        baseline: the arm that others are compared with; the first arm where no run has it.
        split: which images: `test`, or `external/<name>` for another laboratory's (`grid.splits_of`).
        controls: arm -> its control, of the same size and without the pretraining; by default as the registry of
            encoders has it.
        resamples: of the crossed bootstrap.
        permutations: of each permutation test.
        seed: of both; equal arguments give equal results.

    Raises:
        UserError: no runs, no predictions on `split`, different classes, no image in common, an image with two labels.
    """
    if not runs:
        raise UserError("no finished run to compare; wait for the study's runs to finish, or name other runs")
    single, warnings = build_grid(runs, baseline, split)
    grid = pool_folds(single) if split == TEST else single
    found = [predictions_of(run, split) for run in grid.runs]
    predictions = match_predictions(found, [run.run_id for run in grid.runs])
    tables = predictions.confusion()
    points = confusion_metrics(tables, predictions.classes)
    weights = image_weights(len(predictions.labels), resamples, seed, predictions.groups)
    results = _Results(grid, predictions, points, resampled_metrics(predictions, weights), permutations, seed)
    made = Comparison(
        split=split,
        classes=predictions.classes,
        images=len(predictions.labels),
        groups=number_of_groups(predictions.groups),
        folds=max(run.folds for run in grid.runs),
        arms=grid.arms,
        amounts=grid.amounts,
        labels=grid.labels,
        val_images=max(run.val_images for run in grid.runs),
        baseline=grid.baseline,
        scores=_scores(results, split),
        differences=_differences(results),
        label_efficiency=_label_efficiency(results),
        control_shares=_control_shares(results, controls_of(grid.arms) if controls is None else controls),
        majority_baseline=_majority_baseline(predictions),
        confusion={place: tables[rows].sum(0) for place, rows in grid.rows.items()},
        warnings=(),
    )
    warnings += check_images(predictions) + check_predictions(grid, predictions.classes, tables)
    warnings += check_intervals(made) + check_runs(single)
    return replace(made, warnings=tuple(warnings))


@dataclass(frozen=True)
class _Results:
    """What all statistics are computed from; R runs, B resamples."""

    grid: Grid
    predictions: MatchedPredictions
    points: dict[str, NDArray[np.float64]]  # metric -> [R]
    replicates: dict[str, NDArray[np.float64]]  # metric -> [R, B]
    permutations: int
    seed: int

    def mean(self, rows: list[int]) -> NDArray[np.float64]:
        """The crossed bootstrap of the main metric's mean over draws, [B]."""
        return mean_over_draws(self.replicates[MAIN_METRIC][rows], self.seed)


def _scores(results: _Results, split: str) -> tuple[Score, ...]:
    scores = []
    prefix = f"{split}/"
    for arm, amount, rows in results.grid.conditions():
        runs = [results.grid.runs[row] for row in rows]
        logged = (key.removeprefix(prefix) for run in runs for key in run.metrics if key.startswith(prefix))
        for metric in dict.fromkeys([*results.points, *logged]):
            # from the predictions where possible, since images that some run lacks do not count
            counted = results.points.get(metric)
            values = [
                float(counted[row]) if counted is not None else run.metrics.get(prefix + metric, np.nan)
                for row, run in zip(rows, runs, strict=True)
            ]
            kept = [i for i, value in enumerate(values) if np.isfinite(value)]
            if not kept:
                continue
            values = [values[i] for i in kept]
            interval = t_interval(values)
            if interval is None and counted is not None:
                interval = percentile_interval(results.replicates[metric][rows[kept[0]]])
            low, high = interval or (None, None)
            scores.append(
                Score(
                    arm=arm,
                    amount=amount,
                    metric=metric,
                    n=len(values),
                    mean=float(np.mean(values)),
                    sd=float(np.std(values, ddof=1)) if len(values) > 1 else None,
                    low=low,
                    high=high,
                    spread=results.grid.spread([rows[i] for i in kept]),
                    values=tuple(values),
                    draws=tuple(runs[i].draw for i in kept),
                )
            )
    return tuple(scores)


def _difference(results: _Results, arm: str, other: str, amount: str, metric: str = MAIN_METRIC) -> Difference | None:
    """Arm minus other; None where they have no draw in common."""
    pairs = results.grid.paired(amount, arm, other)
    if not pairs:
        return None
    a, b = pairs
    values = results.points[metric][a] - results.points[metric][b]
    replicates = results.replicates[metric]
    low, high = percentile_interval(mean_over_draws(replicates[a] - replicates[b], results.seed))
    t_low, t_high = t_interval(values.tolist()) or (None, None)
    p: float | None = None
    per_draw: tuple[float, ...] = ()
    if metric == MAIN_METRIC:
        matched = results.predictions
        labels, predicted, groups = matched.labels, matched.predicted, matched.groups
        classes = len(matched.classes)
        p = permutation_p(labels, predicted[a], predicted[b], classes, results.permutations, results.seed, groups)
        per_draw = tuple(mcnemar_p(labels, predicted[i], predicted[j], groups) for i, j in zip(a, b, strict=True))
    return Difference(
        arm=arm,
        baseline=other,
        amount=amount,
        metric=metric,
        n=len(values),
        mean=float(values.mean()),
        low=low,
        high=high,
        t_low=t_low,
        t_high=t_high,
        values=tuple(values.tolist()),
        draws=tuple(results.grid.runs[row].draw for row in a),
        spread=results.grid.spread(a),
        p=p,
        mcnemar=per_draw,
    )


def _corrected(differences: Iterable[Difference | None]) -> list[Difference]:
    """Those of one arm that exist, with Holm's correction over the amounts."""
    found = [difference for difference in differences if difference is not None]
    p = [difference.p for difference in found if difference.p is not None]
    if len(p) < len(found):
        return found
    return [replace(difference, p_holm=value) for difference, value in zip(found, holm(p), strict=True)]


def _differences(results: _Results) -> tuple[Difference, ...]:
    grid, classes = results.grid, results.predictions.classes
    # F1 of a class without an image is undefined, or 0 where it is predicted
    of_classes = [f"f1/{classes[index]}" for index in np.unique(results.predictions.labels)]
    return tuple(
        difference
        for arm in grid.arms[1:]
        for metric in (*CONFUSION_METRICS, *of_classes)
        for difference in _corrected(_difference(results, arm, grid.baseline, a, metric) for a in grid.amounts)
    )


def _label_efficiency(results: _Results) -> tuple[LabelEfficiency, ...]:
    grid = results.grid
    macro_f1 = results.points[MAIN_METRIC]
    # amounts that come to equally many labels are one point of a curve
    curve = {
        _labels(grid, rows): rows
        for rows in (grid.rows.get((grid.baseline, amount)) for amount in reversed(grid.amounts))
        if rows
    }
    labels = sorted(curve)
    means = [float(macro_f1[curve[count]].mean()) for count in labels]
    replicates = np.stack([results.mean(curve[count]) for count in labels], axis=1)
    return tuple(
        label_efficiency_ratio(
            arm,
            grid.baseline,
            amount,
            _labels(grid, rows),
            float(macro_f1[rows].mean()),
            labels,
            means,
            results.mean(rows),
            replicates,
        )
        for arm, amount, rows in grid.conditions()
        if arm != grid.baseline
    )


def _labels(grid: Grid, rows: Sequence[int]) -> float:
    return float(np.mean([grid.runs[row].labels for row in rows]))


def _control_shares(results: _Results, controls: Mapping[str, str]) -> tuple[ControlShare, ...]:
    grid = results.grid
    shares = []
    for arm in grid.arms[1:]:
        control = controls.get(arm)
        # a control that is the baseline has its differences already
        if control not in grid.arms[1:] or control == arm:
            continue
        for beyond in _corrected(_difference(results, arm, control, amount) for amount in grid.amounts):
            share, low, high = _share(results, arm, control, beyond.amount)
            shares.append(ControlShare(arm, control, beyond.amount, beyond, share, low, high))
    return tuple(shares)


def _share(results: _Results, arm: str, control: str, amount: str) -> tuple[float | None, float | None, float | None]:
    """(control - baseline) / (arm - baseline) with its interval; three None where the denominator may be 0."""
    triples = results.grid.paired(amount, arm, control, results.grid.baseline)
    if not triples:
        return None, None, None
    a, c, b = triples
    values, points = results.replicates[MAIN_METRIC], results.points[MAIN_METRIC]
    gain = mean_over_draws(values[a] - values[b], results.seed)
    if percentile_interval(gain)[0] <= 0:
        return None, None, None
    of_control = mean_over_draws(values[c] - values[b], results.seed)
    # of the resamples, less than 2.5 % have no gain, and so no share
    ratio = np.divide(of_control, gain, out=np.full(gain.shape, np.nan), where=gain > 0)
    return float((points[c] - points[b]).mean() / (points[a] - points[b]).mean()), *percentile_interval(ratio)


def _majority_baseline(predictions: MatchedPredictions) -> MajorityBaseline:
    label = int(np.bincount(predictions.labels).argmax())
    always = replace(predictions, predicted=np.full((1, len(predictions.labels)), label))
    metrics = confusion_metrics(always.confusion()[0], predictions.classes)
    return MajorityBaseline(predictions.classes[label], {name: float(metrics[name]) for name in CONFUSION_METRICS})
