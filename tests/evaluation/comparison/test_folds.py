"""Cross-validation in a comparison: the folds of an arm are one run, and groups decide the intervals."""

from dataclasses import replace

import numpy as np
import pytest

from hemacell.evaluation.comparison.compare import compare
from hemacell.evaluation.predictions import Predictions


def part(predictions: Predictions, rows) -> Predictions:
    return Predictions(
        predictions.classes,
        predictions.split,
        tuple(predictions.images[row] for row in rows),
        tuple(predictions.sha256[row] for row in rows),
        predictions.labels[rows],
        predictions.probabilities[rows],
        tuple(predictions.groups[row] for row in rows) if predictions.groups else (),
    )


def in_folds(run, folds):
    """The run as one of each fold, on its part of the images."""
    return [
        replace(
            run,
            run_id=f"{run.run_id[:20]}{fold}",
            draw=fold,
            seed=fold,
            train_digest=f"{fold}",
            predictions=part(run.predictions, np.arange(fold, len(run.predictions), folds)),
            metrics={"test/auroc": 0.9 + fold / 100},
            settings={**run.settings, "folds": f"{folds}", "draw": f"{fold}", "seed": f"{fold}"},
        )
        for fold in range(folds)
    ]


def test_the_folds_of_an_arm_are_one_run(make_runs):
    whole = make_runs(("none", "camelyon"), ("0.1", "1.0"), draws=1, images=100)
    made = compare([fold for run in whole for fold in in_folds(run, 5)], resamples=300, permutations=500)
    before = compare(whole, resamples=300, permutations=500)
    assert made.folds == 5 and made.images == 100 and before.folds == 0
    for arm in made.arms:
        for amount in made.amounts:
            score, same = made.score(arm, amount), before.score(arm, amount)
            assert (score.n, score.mean, score.low, score.spread) == (1, same.mean, same.low, "folds")
            assert made.score(arm, amount, "auroc").mean == pytest.approx(0.92)
            assert made.score(arm, amount, "nll").mean == pytest.approx(before.score(arm, amount, "nll").mean)
    assert [each.p for each in made.main_differences()] == [each.p for each in before.main_differences()]
    assert any("cross-validation in 5 folds" in line for line in made.warnings)
    assert not any("fewer than 5 draws" in line or "different test sets" in line for line in made.warnings)


def test_a_missing_fold_leaves_its_images_out(make_runs):
    whole = make_runs(("none", "camelyon"), ("1.0",), draws=1, images=100)
    made = compare([fold for run in whole for fold in in_folds(run, 5)][:-1], resamples=300, permutations=500)
    assert made.images == 80 and any("20 of 100 images are not in every run" in line for line in made.warnings)


def test_groups_decide_intervals_and_p(make_runs):
    whole = make_runs(("none", "camelyon"), ("0.01",), draws=2, images=120)
    numbers = np.repeat(np.arange(12), 10)
    groups = tuple(f"P{n}" for n in numbers[np.argsort(np.argsort(whole[0].predictions.labels, kind="stable"))])
    grouped = [replace(run, predictions=replace(run.predictions, groups=groups)) for run in whole]
    plain, made = (compare(runs, resamples=500, permutations=500) for runs in (whole, grouped))
    assert (plain.groups, made.groups) == (0, 12)
    assert made.main_differences()[0].low != plain.main_differences()[0].low
    assert any("test images are of 12 groups: intervals over fewer than 24" in line for line in made.warnings)
    assert made.score("none", "0.01").mean == plain.score("none", "0.01").mean
