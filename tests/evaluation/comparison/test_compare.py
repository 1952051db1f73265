"""Comparisons of synthetic grids: what is computed against slow references, and every warning."""

import math
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, f1_score

from hemacell.core.errors import UserError
from hemacell.evaluation.comparison.compare import compare
from hemacell.evaluation.comparison.grid import splits_of
from hemacell.evaluation.comparison.records import Difference
from hemacell.evaluation.comparison.resampling import draw_weights, image_weights
from hemacell.evaluation.comparison.table import results_table
from hemacell.evaluation.comparison.words import difference_in_words

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
ARMS = ("none", "imagenet", "camelyon")
LISC = "external/lisc"
QUICK = {"resamples": 200, "permutations": 200}


@pytest.fixture(scope="module")
def runs(make_runs):
    """Three arms, three amounts, five draws, with another laboratory's images."""
    return make_runs(ARMS, ("0.01", "0.1", "1.0"), 5, 150, seed=1, external=60)


@pytest.fixture(scope="module")
def made(runs):
    return compare(runs, **QUICK)


def of(runs, arm, amount):
    return [run for run in runs if (run.arm, run.amount) == (arm, amount)]


def changed(runs, chosen, **fields):
    """The runs, with some of them changed."""
    return [replace(run, **fields) if chosen(run) else run for run in runs]


def tagged(runs, chosen, **tags):
    return [
        replace(run, tags={**run.tags, **{key.replace("_", ".", 1): value for key, value in tags.items()}})
        if chosen(run)
        else run
        for run in runs
    ]


def warned(runs, words, **options):
    """The one warning that holds these words."""
    found = [line for line in compare(runs, **{**QUICK, **options}).warnings if words in line]
    assert len(found) == 1, found
    assert "\n" not in found[0]
    return found[0]


def rows(predictions, chosen):
    """Predictions of some images, in a chosen order."""
    return replace(
        predictions,
        images=tuple(predictions.images[i] for i in chosen),
        sha256=tuple(predictions.sha256[i] for i in chosen),
        labels=predictions.labels[list(chosen)],
        probabilities=predictions.probabilities[list(chosen)],
    )


def test_a_grid_is_laid_out_in_order(runs, made):
    assert made.arms == ARMS
    assert made.amounts == ("0.01", "0.1", "1.0")
    assert dict(made.labels) == {"0.01": 62, "0.1": 616, "1.0": 6160}
    assert (made.split, made.classes, made.images, made.baseline) == ("test", CLASSES, 150, "none")
    turned = compare([replace(run, val_images=1029) for run in runs[::-1]], **QUICK)
    assert turned.arms == ("none", "camelyon", "imagenet")
    assert turned.amounts == made.amounts
    assert turned.val_images == 1029
    assert turned.difference("camelyon", "0.1") == made.difference("camelyon", "0.1")


def test_scores_are_what_was_logged_with_t_intervals(runs, made):
    for arm in ARMS:
        for metric in ("macro_f1", "accuracy", "balanced_accuracy", "f1/Basophil", "recall/Monocyte", "auroc", "nll"):
            score = made.score(arm, "0.1", metric)
            logged = [run.metrics[f"test/{metric}"] for run in of(runs, arm, "0.1")]
            assert score.values == pytest.approx(logged)
            assert score.draws == (0, 1, 2, 3, 4)
            assert (score.n, score.mean, score.spread) == (5, pytest.approx(np.mean(logged)), "draws")
            assert score.sd == pytest.approx(np.std(logged, ddof=1))
            expected = stats.ttest_1samp(logged, 0).confidence_interval()
            assert (score.low, score.high) == pytest.approx(tuple(expected))
    assert {score.metric for score in made.scores} >= {"ece", "precision/Neutrophil"}
    assert not any("/" in score.metric and score.metric.startswith(("test", "external")) for score in made.scores)


def test_differences_equal_a_loop_over_resampled_images_and_draws(runs):
    made = compare(runs, resamples=25, permutations=10)
    arm, base = of(runs, "camelyon", "0.01"), of(runs, "none", "0.01")
    order = np.argsort(np.array(arm[0].predictions.sha256))
    labels = arm[0].predictions.labels[order]
    a, b = (np.stack([run.predictions.predicted[order] for run in found]) for found in (arm, base))
    scorers = {
        "macro_f1": lambda y, p: f1_score(y, p, average="macro"),
        "accuracy": accuracy_score,
        "balanced_accuracy": lambda y, p: np.mean([(p[y == c] == c).mean() for c in np.unique(y)]),
        "f1/Eosinophil": lambda y, p: f1_score(y, p, labels=[1], average=None)[0],
    }
    images, draws = image_weights(150, 25, seed=0), draw_weights(5, 25, seed=0)
    replicates = {metric: [] for metric in scorers}
    for b_images, b_draws in zip(images, draws, strict=True):
        chosen = np.repeat(np.arange(150), b_images)
        for metric, scorer in scorers.items():
            gains = [
                scorer(labels[chosen], x[chosen]) - scorer(labels[chosen], y[chosen]) for x, y in zip(a, b, strict=True)
            ]
            replicates[metric].append(gains @ b_draws)
    for metric, values in replicates.items():
        difference = made.difference("camelyon", "0.01", metric)
        gains = [scorers[metric](labels, x) - scorers[metric](labels, y) for x, y in zip(a, b, strict=True)]
        assert difference.values == pytest.approx(gains)
        assert (difference.n, difference.mean, difference.draws) == (5, pytest.approx(np.mean(gains)), (0, 1, 2, 3, 4))
        assert (difference.low, difference.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))
        assert (difference.t_low, difference.t_high) == pytest.approx(
            tuple(stats.ttest_1samp(gains, 0).confidence_interval())
        )


def test_only_the_main_metric_is_tested(made):
    assert {d.metric for d in made.differences} == {
        "macro_f1",
        "accuracy",
        "balanced_accuracy",
        *(f"f1/{name}" for name in CLASSES),
    }
    for difference in made.differences:
        tested = difference.metric == "macro_f1"
        assert (difference.p is not None) == (difference.p_holm is not None) == tested
        assert len(difference.mcnemar) == (5 if tested else 0)
    for arm in ARMS[1:]:
        p = [made.difference(arm, amount).p for amount in made.amounts]
        corrected = [made.difference(arm, amount).p_holm for amount in made.amounts]
        assert min(corrected) == pytest.approx(min(1, 3 * min(p)))
        assert all(a <= b for a, b in zip(p, corrected, strict=True))
    assert made.difference("camelyon", "0.01").p == pytest.approx(1 / 201)


def test_equal_arguments_give_equal_results_and_another_seed_others(runs, made):
    assert compare(runs, **QUICK).differences == made.differences
    other = compare(runs, seed=1, **QUICK).difference("imagenet", "0.1")
    assert other.values == made.difference("imagenet", "0.1").values
    assert other.low != made.difference("imagenet", "0.1").low


def test_other_arms_do_not_change_the_results_of_an_arm(runs, made):
    alone = compare([run for run in runs if run.arm != "imagenet"], **QUICK)
    assert alone.arms == ("none", "camelyon")
    assert alone.differences == tuple(d for d in made.differences if d.arm == "camelyon")
    assert alone.label_efficiency == tuple(w for w in made.label_efficiency if w.arm == "camelyon")
    assert alone.control_shares == ()


def test_confusion_is_summed_over_draws(runs, made):
    expected = sum(
        confusion_matrix(run.predictions.labels, run.predictions.predicted, labels=range(5))
        for run in of(runs, "imagenet", "0.1")
    )
    np.testing.assert_array_equal(made.confusion["imagenet", "0.1"], expected)
    assert len(made.confusion) == 9


def test_the_floor_is_that_of_always_the_same_answer(runs, made):
    labels = runs[0].predictions.labels
    always = np.full(len(labels), Counter(labels.tolist()).most_common(1)[0][0])
    assert made.majority_baseline.label == CLASSES[always[0]]
    assert made.majority_baseline.metrics == pytest.approx(
        {
            "accuracy": accuracy_score(labels, always),
            "balanced_accuracy": balanced_accuracy_score(labels, always),
            "macro_f1": f1_score(labels, always, average="macro"),
        }
    )


def test_worth_is_read_off_the_baselines_curve(made):
    means = [made.score("none", amount).mean for amount in made.amounts]
    target = made.score("camelyon", "0.01").mean
    assert means[0] < target < means[2]
    share = np.interp(target, means, np.log([62, 616, 6160]))
    efficiency = next(w for w in made.label_efficiency if (w.arm, w.amount) == ("camelyon", "0.01"))
    assert (efficiency.ratio, efficiency.relation) == (pytest.approx(np.exp(share) / 62), "=")
    assert efficiency.low <= efficiency.ratio <= efficiency.high
    assert len(made.label_efficiency) == 6
    assert all(w.baseline == "none" for w in made.label_efficiency)


def test_controls_share_the_gain(runs, made):
    assert [(c.arm, c.control, c.amount) for c in made.control_shares] == [
        ("camelyon", "imagenet", amount) for amount in made.amounts
    ]
    first = made.control_shares[0]
    by_draw = np.subtract(made.score("camelyon", "0.01").values, made.score("imagenet", "0.01").values)
    assert (first.beyond.arm, first.beyond.baseline) == ("camelyon", "imagenet")
    assert first.beyond.values == pytest.approx(tuple(by_draw))
    assert first.beyond.p_holm is not None
    gain = {arm: made.difference(arm, "0.01").mean for arm in ("camelyon", "imagenet")}
    assert first.share == pytest.approx(gain["imagenet"] / gain["camelyon"])
    assert first.low < first.share < first.high
    for share in made.control_shares:
        assert (share.share is not None) == (made.difference("camelyon", share.amount).low > 0)


def test_a_control_that_is_the_baseline_or_absent_says_nothing_new(runs):
    assert compare(runs, baseline="imagenet", **QUICK).control_shares == ()
    assert compare(runs, controls={"camelyon": "random-prcc"}, **QUICK).control_shares == ()
    shares = compare(runs, controls={"imagenet": "camelyon", "camelyon": "imagenet"}, **QUICK).control_shares
    assert [(c.arm, c.control) for c in shares] == [("imagenet", "camelyon")] * 3 + [("camelyon", "imagenet")] * 3


def test_external_images_are_compared_for_themselves(runs):
    outside = compare(runs, split=LISC, **QUICK)
    assert (outside.split, outside.images) == (LISC, 60)
    logged = [run.metrics[f"{LISC}/macro_f1"] for run in of(runs, "camelyon", "0.1")]
    assert outside.score("camelyon", "0.1").values == pytest.approx(logged)
    some = changed(runs, lambda run: run.draw == 4, external={})
    assert warned(some, "lisc", split=LISC).startswith("9 runs without predictions on lisc images")
    assert compare(some, split=LISC, **QUICK).score("none", "0.1").n == 4


def test_each_laboratory_is_compared_for_itself(make_runs):
    both = make_runs(("none", "camelyon"), ("0.1",), 2, 60, external=40, laboratories=("lisc", "jtsc"))
    assert splits_of(both) == ["test", "external/jtsc", LISC]
    lacking = changed(both, lambda run: run.draw == 1, external={LISC: both[0].external[LISC]})
    assert splits_of(lacking, least=len(both)) == ["test", LISC]
    for split in ("external/jtsc", LISC):
        logged = [run.metrics[f"{split}/accuracy"] for run in of(both, "none", "0.1")]
        assert compare(both, split=split, **QUICK).score("none", "0.1", "accuracy").values == pytest.approx(logged)


def test_a_class_that_another_laboratory_lacks_is_no_difference(runs):
    kept = np.flatnonzero(runs[0].external[LISC].labels != 0)
    lacking = [replace(run, external={LISC: rows(run.external[LISC], kept)}) for run in runs]
    outside = compare(lacking, split=LISC, **QUICK)
    assert outside.difference("camelyon", "0.1", "f1/Basophil") is None
    assert outside.score("camelyon", "0.1", "recall/Basophil") is None
    assert all(math.isfinite(d.low) and math.isfinite(d.high) for d in outside.differences)
    assert not any("Basophil" in line for line in outside.warnings)


def test_a_single_run_an_arm_has_intervals_over_images(make_runs):
    made = compare(make_runs(ARMS, ("0.01", "0.1"), 1, 150), **QUICK)
    score = made.score("none", "0.01")
    assert (score.n, score.sd, score.spread) == (1, None, "images")
    assert score.low < score.mean < score.high
    recall = made.score("none", "0.01", "recall/Neutrophil")
    assert recall.low < recall.mean < recall.high
    auroc = made.score("none", "0.01", "auroc")
    assert (auroc.low, auroc.high, auroc.spread) == (None, None, "images")
    difference = made.difference("camelyon", "0.01")
    assert (difference.t_low, difference.t_high, difference.spread, difference.n) == (None, None, "images", 1)
    assert difference.low < difference.mean < difference.high
    assert len(difference.mcnemar) == 1
    assert any(line.startswith("fewer than 5 draws at 1 % (1), 10 % (1)") for line in made.warnings)


def test_two_single_runs_can_be_compared(make_runs):
    made = compare(make_runs(("run A", "run B"), ("0.01",), 1, 80, effect={"run B": 1.5}), **QUICK)
    assert (made.baseline, made.arms) == ("run A", ("run A", "run B"))
    assert "no run of the baseline none: run A takes its place" in made.warnings
    assert made.difference("run B", "0.01").mean > 0
    efficiency = made.label_efficiency[0]
    assert (efficiency.ratio, efficiency.relation, efficiency.low) == (1, ">", None)


def test_runs_of_one_draw_differ_by_seeds(make_runs):
    runs = make_runs(("none", "camelyon"), ("0.1",), 4, 100, only_seeds=True)
    made = compare(runs, **QUICK)
    assert made.score("none", "0.1").spread == made.difference("camelyon", "0.1").spread == "seeds"
    assert made.difference("camelyon", "0.1").n == 4
    expected = np.subtract(made.score("camelyon", "0.1").values, made.score("none", "0.1").values)
    assert made.difference("camelyon", "0.1").values == pytest.approx(tuple(expected))


def test_runs_with_other_seeds_are_paired_by_draw(runs, made):
    other = changed(runs, lambda run: run.arm == "camelyon", seed=7)
    assert compare(other, **QUICK).difference("camelyon", "0.1") == made.difference("camelyon", "0.1")


def test_only_draws_that_both_arms_have_are_paired(runs, made):
    some = [run for run in runs if run.arm == "none" or run.draw not in (1, 3)]
    some = [run for run in some if (run.arm, run.draw) != ("none", 4)]
    difference = compare(some, **QUICK).difference("camelyon", "0.1")
    whole = made.difference("camelyon", "0.1")
    assert difference.draws == (0, 2)
    assert difference.values == (whole.values[0], whole.values[2])
    without = [run for run in runs if (run.arm, run.amount) != ("none", "0.1")]
    assert compare(without, **QUICK).difference("camelyon", "0.1") is None
    line = warned(without, "no draw in common")
    assert line.endswith("imagenet at 10 %; camelyon at 10 %")
    assert compare(without, **QUICK).score("camelyon", "0.1") == made.score("camelyon", "0.1")


def test_other_test_sets_are_cut_to_what_all_have(runs):
    def less(run):
        if run.arm != "camelyon":
            return run
        return replace(run, predictions=rows(run.predictions, range(149, 9, -1)))  # in another order, too

    made = compare([less(run) for run in runs], **QUICK)
    assert made.images == 140
    assert any(line.startswith("different test sets: 10 of 150 images") for line in made.warnings)
    same = compare([replace(run, predictions=rows(run.predictions, range(10, 150))) for run in runs], **QUICK)
    assert made.differences == same.differences
    assert made.score("none", "0.1") == same.score("none", "0.1")  # not the logged one, which is over all images


def test_the_same_run_twice_counts_once_and_the_last(runs, made):
    again = [*runs, replace(runs[0], run_id="again")]
    assert compare(again, **QUICK).score("none", "0.01").n == 5
    line = warned(again, "draw 0, seed 0")
    assert line.startswith("two runs of none at 1 %") and runs[0].run_id in line and "again counts" in line


def test_what_cannot_be_compared_is_refused_in_one_line(runs):
    predictions = runs[0].predictions
    relabelled = replace(predictions, labels=(predictions.labels + 1) % 5)
    strangers = replace(predictions, sha256=tuple(f"other {i}" for i in range(150)))
    reclassed = replace(predictions, classes=("a", "b", "c", "d", "e"))
    bare = changed(runs, lambda _: True, external={})
    for given, options, words in [
        ([], {}, "no finished run"),
        ([*runs, replace(runs[0], predictions=reclassed)], {}, "same classes"),
        ([*runs[1:], replace(runs[0], predictions=strangers)], {}, "no test image in common"),
        ([*runs[1:], replace(runs[0], predictions=relabelled)], {}, "one label an image"),
        (bare, {"split": LISC}, "no run has predictions on such images; compare on test, or train with external="),
        (runs, {"split": "external"}, "split=external: no run .* compare on test or external/lisc, or train"),
    ]:
        with pytest.raises(UserError, match=words) as caught:
            compare(given, **options, **QUICK)
        assert "\n" not in str(caught.value)


def test_a_clean_grid_of_clear_effects_warns_of_nothing(make_runs):
    clear = make_runs(("none", "camelyon"), ("0.01", "0.1"), 5, 200, effect={"camelyon": 2.0})
    assert compare(clear, **QUICK).warnings == ()


def test_an_arm_that_never_answers_a_class_is_named(runs):
    def silent(run):
        if (run.arm, run.amount) != ("imagenet", "0.01") or run.draw not in (1, 3):
            return run
        p = run.predictions.probabilities.copy()
        p[:, 3] = 0
        return replace(run, predictions=replace(run.predictions, probabilities=p / p.sum(1, keepdims=True)))

    line = warned([silent(run) for run in runs], "never predicts")
    assert line == "imagenet at 1 % never predicts Monocyte in draws 1, 3"


def test_differences_that_may_be_none_are_named_in_one_line(make_runs):
    line = warned(make_runs(ARMS, ("0.01", "0.1"), 5, 100, effect={"camelyon": 2.0}), "not distinguishable")
    assert line.endswith("contains 0): imagenet at 1 %, 10 %")


def test_intervals_that_disagree_are_named(make_runs):
    # better in most draws, by very different amounts: few draws leave the t interval wide
    arms = [f"arm {i}" for i in range(8)]
    effect = dict.fromkeys(arms, 0.8)
    runs = make_runs(("none", *arms), ("0.01",), 3, 400, seed=1, effect=effect, arm_sd=0.5, scored=False)
    made = compare(runs, **QUICK)
    tested = [d for d in made.differences if d.metric == "macro_f1"]
    narrow = [d.arm for d in tested if d.low > 0 and d.t_low <= 0]
    wide = [d.arm for d in tested if d.low <= 0 <= d.high and (d.t_low > 0 or d.t_high < 0)]
    assert narrow
    for arms, start in (
        (narrow, "the bootstrap interval excludes 0"),
        (wide, "the t interval over draws leaves out"),
    ):
        found = [line for line in made.warnings if line.startswith(start)]
        assert len(found) == bool(arms)
        if arms:
            assert found[0].split("care: ")[1] == "; ".join(f"{arm} at 1 %" for arm in arms)


def test_duplicates_across_splits_are_reported(runs):
    copied = tagged(runs, lambda run: run.draw == 0, data_duplicates_across_splits="12")
    assert "12 images in more than one" in warned(copied, "exact duplicates across splits")


def test_sources_that_differ_are_reported(runs):
    line = warned(tagged(runs, lambda run: run.arm == "camelyon", git_commit="fedcba9876"), "git commits")
    assert line == "runs of several git commits (0123456, fedcba9) at 1 %, 10 %, 100 %"
    assert warned(tagged(runs, lambda run: run.draw < 2, git_dirty="true"), "git.dirty").startswith("18 runs")
    line = warned(tagged(runs, lambda c: (c.arm, c.amount) == ("none", "0.1"), threads="8"), "threads")
    assert line == "different numbers of threads (2, 8) at 10 %"


def test_recipes_that_differ_between_arms_are_reported(runs):
    def other(chosen, **settings):
        return [replace(c, settings={**c.settings, **settings}) if chosen(c) else c for c in runs]

    line = warned(other(lambda c: c.arm == "none" and c.amount == "1.0", learning_rate="0.01"), "settings")
    assert line == "arms of one draw with different settings: learning_rate = 0.003, 0.01 at 100 %"
    free = other(lambda c: c.arm == "none", seed="3", run_name="x", force="true", resume="y")
    assert not any("settings" in line for line in compare(free, **QUICK).warnings)
    longer = changed(runs, lambda c: c.arm == "none" and c.amount == "0.1", history=({"step": 9999.0},))
    assert warned(longer, "steps") == "arms of one draw with different numbers of steps at 10 %"
    strangers = changed(runs, lambda c: c.arm == "none" and c.draw == 2, train_digest="other")
    assert warned(strangers, "training images") == (
        "arms of one draw with different training images at 1 %, 10 %, 100 %"
    )


def difference(**fields):
    given = {"arm": "prcc", "baseline": "none", "amount": "0.01", "metric": "macro_f1", "n": 5, "mean": 0.08}
    given |= {"low": 0.05, "high": 0.11, "t_low": 0.04, "t_high": 0.12, "values": (), "draws": (), "spread": "draws"}
    return Difference(**{**given, **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"p": 0.0005, "p_holm": 0.002}, "at 1 %: +0.08 macro-F1 [0.05, 0.11], p = 0.002"),
        ({"p": 0.0002}, "at 1 %: +0.08 macro-F1 [0.05, 0.11], p < 0.001"),
        ({"metric": "f1/Basophil", "amount": "10 per class"}, "at 10 per class: +0.08 F1 of Basophil [0.05, 0.11]"),
        ({"p": 0.034}, "at 1 %: +0.08 macro-F1 [0.05, 0.11], p = 0.034"),
        ({"mean": -0.014, "low": -0.06, "high": 0.03, "p": 0.5}, "at 1 %: -0.01 macro-F1 [-0.06, 0.03], p = 0.50"),
        ({"mean": 0.002, "low": -0.0001, "high": 0.004}, "at 1 %: +0.002 macro-F1 [0.000, 0.004]"),
        ({"mean": 0.014, "low": 0.002, "high": 0.031}, "at 1 %: +0.014 macro-F1 [0.002, 0.031]"),
        ({"n": 1, "p": 0.2}, "at 1 %: +0.08 macro-F1 [0.05, 0.11] over images only, of a single run, p = 0.20"),
    ],
)
def test_a_difference_in_words(fields, words):
    assert difference_in_words(difference(**fields)) == words


def test_a_table_has_a_row_a_cell(runs, make_runs):
    table = results_table([*runs, *make_runs(("none",), ("10 per class",), 1, 50)])
    assert len(table) == 46
    assert list(table.columns[:10]) == [
        *("run_id", "name", "arm", "amount", "fraction", "labels", "draw", "seed", "steps", "train_seconds")
    ]
    first = table.iloc[0]
    assert (first.arm, first.fraction, first.labels, first.steps) == ("none", 0.01, 62, 163)
    assert first["test/macro_f1"] == runs[0].metrics["test/macro_f1"]
    assert first["external/lisc/accuracy"] == runs[0].metrics["external/lisc/accuracy"]
    assert list(table.columns).index("external/lisc/accuracy") > list(table.columns).index("test/nll")
    last = table.iloc[-1]
    assert last.amount == "10 per class" and np.isnan(last.fraction) and np.isnan(last["external/lisc/accuracy"])
    assert results_table([]).empty


@pytest.mark.slow
def test_two_hundred_cells_take_seconds(make_runs):
    runs = make_runs(draws=7, images=1545, scored=False)
    start = time.perf_counter()
    made = compare(runs)
    print(f"{len(runs)} runs of {made.images} images: {time.perf_counter() - start:.1f} s")
    assert len(made.arms) == 7
    assert made.difference("prcc,camelyon", "0.01").low > 0
