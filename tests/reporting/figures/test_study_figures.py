"""Figures of a study: every number of the comparison is drawn where it belongs, also at the edges."""

import io
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image
from scipy.stats import t as student

from hemacell.evaluation.comparison.records import (
    Comparison,
    Difference,
    MajorityBaseline,
    RunRecord,
    Score,
)
from hemacell.evaluation.comparison.words import amount_words, arm_words
from hemacell.evaluation.predictions import Predictions
from hemacell.reporting import figures

CLASSES = ("Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil")
ARMS = ("none", "random-prcc", "prcc", "imagenet", "camelyon", "random-prcc,imagenet", "prcc,camelyon")
LABELS = {"0.01": 61, "0.1": 616, "0.5": 3080, "1.0": 6160}
MEANS = {"0.01": 0.83, "0.1": 0.942, "0.5": 0.975, "1.0": 0.985}
SHRINKS = {"0.01": 1.0, "0.1": 0.3, "0.5": 0.1, "1.0": 0.05}
GAINS = dict(zip(ARMS, (0.0, -0.012, 0.011, 0.05, 0.062, 0.047, 0.075), strict=True))


def compared(arms=ARMS, amounts=tuple(LABELS), draws=5, missing=(), classes=CLASSES, labels=LABELS):
    """A comparison as `compare` would give it, with chosen numbers.

    With 50 and 100 % of the labels only three arms have runs, of three draws; not so for other grids.
    """
    rng = np.random.default_rng(0)
    scores, differences, confusion = [], [], {}
    for amount in amounts:
        for arm in arms:
            few = arms == ARMS and amount in ("0.5", "1.0")
            if (arm, amount) in missing or (few and arm not in ("none", "camelyon", "prcc,camelyon")):
                continue
            n = min(draws, 3) if few else draws
            gain = GAINS.get(arm, 0.02) * SHRINKS.get(amount, 1)
            values = np.clip(MEANS.get(amount, 0.9) + gain + rng.normal(0, 0.012 * SHRINKS.get(amount, 1), n), 0, 1)
            for metric, shift in (("macro_f1", 0), ("accuracy", 0.01), ("balanced_accuracy", -0.005), ("auroc", 0.012)):
                scores.append(score_of(arm, amount, metric, np.clip(values + shift, 0, 1)))
            scores.append(score_of(arm, amount, "ece", np.abs(0.02 + rng.normal(0, 0.006, n))))
            if arm != arms[0]:
                for metric in ("macro_f1", "accuracy", *(f"f1/{name}" for name in classes)):
                    differences.append(difference_of(arm, arms[0], amount, metric, gain + rng.normal(0, 0.004, n)))
            counts = rng.multinomial(40 * n, [(1 - values[0]) / len(classes)] * len(classes), len(classes))
            confusion[arm, amount] = counts + np.diag([round(values[0] * 200 * n)] * len(classes))
    return Comparison(
        split="test",
        classes=classes,
        images=1000,
        arms=arms,
        amounts=amounts,
        labels={amount: float(labels[amount]) for amount in amounts},
        val_images=1029,
        baseline=arms[0],
        scores=tuple(scores),
        differences=tuple(differences),
        label_efficiency=(),
        control_shares=(),
        majority_baseline=MajorityBaseline(
            "Neutrophil", {"accuracy": 0.42, "balanced_accuracy": 0.2, "macro_f1": 0.118}
        ),
        confusion=confusion,
        warnings=(),
    )


def score_of(arm, amount, metric, values):
    n, mean = len(values), float(np.mean(values))
    sd = float(np.std(values, ddof=1)) if n > 1 else None
    half = 0.01 if sd is None else student.ppf(0.975, n - 1) * sd / n**0.5
    spread = "images" if n == 1 else "draws"
    values = tuple(map(float, values))
    return Score(arm, amount, metric, n, mean, sd, mean - half, mean + half, spread, values, tuple(range(n)))


def difference_of(arm, baseline, amount, metric, values):
    n, mean = len(values), float(np.mean(values))
    half = student.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5 if n > 1 else None
    main = metric == "macro_f1"
    return Difference(
        arm, baseline, amount, metric, n, mean, mean - 0.008, mean + 0.007,
        None if half is None else float(mean - half), None if half is None else float(mean + half),
        tuple(map(float, values)), tuple(range(n)), "images" if n == 1 else "draws",
        p=0.004 if main else None, p_holm=0.016 if main else None, mcnemar=(0.02,) * n if main else (),
    )  # fmt: skip


def run(arm="none", amount="0.01", draw=0, steps=5, history=None):
    """A run with a history; nothing of its answers is drawn."""
    said = Predictions(CLASSES, "test", ("a.jpg",), ("0" * 64,), np.array([0]), np.full((1, 5), 0.2, np.float32))
    if history is None:
        history = tuple(
            {"step": float(s), "train/loss": 2 / s + draw, "val/loss": 3 / s + draw, "val/accuracy": 1 - 0.5 / s}
            for s in range(1, steps + 1)
        )
    return RunRecord(
        f"{arm} {amount} {draw}", "name", arm, amount, draw, 0, LABELS.get(amount, 50), "0", said, history=history
    )


def assert_drawn(figure):
    """Not blank, of a size for the report, and nothing is cut off: a white margin all around."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    picture = np.asarray(Image.open(buffer).convert("RGB"))
    height, width = picture.shape[:2]
    assert 600 <= width <= 1100
    assert 200 <= height <= 1300
    assert (picture.min(2) < 128).sum() > 200
    edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (edge == 255).all()


def texts(figure):
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text() and text.get_visible()]


def lines(axes):
    """Label -> points of the lines that a legend names."""
    named = (line for line in axes.lines if not str(line.get_label()).startswith("_"))
    return {line.get_label(): line.get_xydata() for line in named}


GRIDS = {
    "a study": compared(),
    "7 arms, 4 amounts, 5 draws": compared((*ARMS[:6], "other")),
    "one arm more": compared(("none", "prcc,camelyon"), ("0.01",)),
    "one arm more, one draw": compared(("none", "prcc,camelyon"), ("0.01",), 1),
    "two draws": compared(("none", "prcc", "imagenet"), ("0.01", "0.1"), 2),
    "missing runs": compared(ARMS[:4], ("0.01", "0.1"), missing=[("prcc", "0.01"), ("imagenet", "0.1")]),
    "numbers a class": compared(("none", "prcc"), ("10 per class",), labels={"10 per class": 50}),
    "unknown numbers of labels": compared(("none", "prcc"), ("0.01", "0.1"), labels={"0.01": 0, "0.1": 0}),
    "two classes": compared(("none", "prcc"), classes=("normal", "tumor")),
    "eight classes": compared(ARMS[:4], ("0.01", "0.1"), classes=tuple(f"class {i}" for i in range(8))),
}


@pytest.mark.parametrize("grid", GRIDS)
def test_every_figure_of_every_grid_is_drawn(grid):
    made = GRIDS[grid]
    assert_drawn(figures.label_efficiency(made))
    assert_drawn(figures.paired_differences(made))
    assert_drawn(figures.class_gains(made))
    assert_drawn(figures.confusion_matrices(made))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("metric", ["macro_f1", "ece"])
def test_efficiency_has_the_means_the_intervals_and_the_runs_of_each_arm(grid, metric):
    made = GRIDS[grid]
    axes = figures.label_efficiency(made, metric).axes[0]
    found = lines(axes)
    expected = {}
    for score in made.scores:
        if score.metric == metric:
            expected.setdefault(arm_words(score.arm), []).append(score)
    assert found.keys() == expected.keys()
    for arm, scores in expected.items():
        assert found[arm][:, 1].tolist() == [score.mean for score in scores]
    drawn = sorted(tuple(path.vertices[:, 1]) for bars in axes.collections for path in bars.get_paths())
    scores = [score for score in made.scores if score.metric == metric]
    assert drawn == sorted((score.low, score.high) for score in scores)
    faint = [line for line in axes.lines if line.get_alpha() == 0.35]
    assert sorted(y for line in faint for y in line.get_ydata()) == sorted(y for s in scores for y in s.values)


def test_arms_lie_beside_their_amount_and_never_nearer_to_another():
    made = GRIDS["a study"]
    axes = figures.label_efficiency(made).axes[0]
    points = np.concatenate(list(lines(axes).values()))
    assert len(set(points[:, 0])) == len(points)
    for arm, path in lines(axes).items():
        amounts = [amount for amount in made.amounts if made.score(arm.replace(" + ", ","), amount)]
        for x, amount in zip(path[:, 0], amounts, strict=True):
            assert min(LABELS, key=lambda other: abs(np.log(x / LABELS[other]))) == amount
    assert [text.get_text() for text in axes.get_xticklabels()] == [
        f"{count:,}\n{amount_words(amount)}" for amount, count in LABELS.items()
    ]
    assert axes.get_xscale() == "log"


def test_no_two_arms_look_alike():
    for arms in (ARMS, tuple(f"arm {i}" for i in range(7)), ("none", "prcc", *"abcde")):
        axes = figures.label_efficiency(compared(arms, ("0.01", "0.1"))).axes[0]
        named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
        marks = {(line.get_marker(), line.get_markerfacecolor() == "white") for line in named}
        assert len(marks) == len(arms)
        assert len({(line.get_color(), line.get_linestyle()) for line in named}) == len(arms)


def test_the_legend_is_in_the_order_of_the_scores_with_the_fewest_labels():
    made = GRIDS["a study"]
    for metric, last_first in (("macro_f1", True), ("ece", False)):
        legend = figures.label_efficiency(made, metric).axes[0].get_legend()
        means = {arm_words(arm): made.score(arm, "0.01", metric).mean for arm in ARMS}
        assert [text.get_text() for text in legend.get_texts()] == sorted(means, key=means.get, reverse=last_first)


def test_scores_that_crowd_below_1_have_an_axis_of_their_distance_to_1():
    figure = figures.label_efficiency(GRIDS["a study"])
    axes = figure.axes[0]
    assert "log scale of 1 − macro-F1" in axes.get_ylabel()
    low, middle, high = axes.transData.transform([(61, 0.9), (61, 0.95), (61, 0.975)])[:, 1]
    assert high - middle == pytest.approx(middle - low)
    assert "always “Neutrophil”: 0.118, below this axis" in texts(figure)
    assert figures.label_efficiency(GRIDS["a study"], "ece").axes[0].get_yscale() == "linear"
    assert figures.label_efficiency(GRIDS["one arm more"]).axes[0].get_yscale() == "linear"


@pytest.mark.parametrize("value", [1.0, 0.0])
def test_scores_at_the_ends_of_the_scale(value):
    made = compared(("none", "prcc"), ("0.01", "0.1"))
    scores = (score_of("none", "0.01", "macro_f1", [0.6, 0.7]), score_of("prcc", "0.1", "macro_f1", [value, value]))
    made = replace(made, scores=scores)
    figure = figures.label_efficiency(made)
    assert_drawn(figure)
    assert lines(figure.axes[0])["prcc"][0, 1] == value


def test_the_floor_is_a_line_where_the_axis_holds_it():
    made = compared(("none", "prcc"), ("0.01",))
    scores = tuple(score_of(arm, "0.01", "macro_f1", [0.1, 0.2]) for arm in ("none", "prcc"))
    figure = figures.label_efficiency(replace(made, scores=scores))
    assert "always “Neutrophil”: 0.118" in texts(figure)
    assert any(set(line.get_ydata()) == {0.118} for line in figure.axes[0].lines)


def test_the_axis_holds_the_interval_of_a_single_run_but_is_not_ruled_by_that_of_two():
    made = compared(("none", "prcc"), ("0.01",), 1)
    wide = tuple(replace(each, low=0.5, high=0.95) for each in made.scores)
    low, high = figures.label_efficiency(replace(made, scores=wide)).axes[0].get_ylim()
    assert low < 0.5 < 0.95 < high
    two = tuple(replace(each, low=-2.0, high=3.0, n=2, values=each.values * 2) for each in made.scores)
    low, high = figures.label_efficiency(replace(made, scores=two)).axes[0].get_ylim()
    assert 0.7 < low < high <= 1.01


def test_a_metric_that_is_not_there():
    with pytest.raises(ValueError, match="no score named kappa; there are macro_f1, accuracy"):
        figures.label_efficiency(GRIDS["a study"], "kappa")


@pytest.mark.parametrize("grid", GRIDS)
def test_the_forest_has_a_row_a_difference_with_both_intervals(grid):
    made = GRIDS[grid]
    figure = figures.paired_differences(made)
    axes = figure.axes[0]
    expected = [d for amount in made.amounts for arm in made.arms if (d := made.difference(arm, amount))]
    assert [text.get_text() for text in axes.get_yticklabels()] == [arm_words(each.arm) for each in expected]
    heights = axes.get_yticks()
    for y, each in zip(heights, expected, strict=True):
        row = [line.get_xdata() for line in axes.lines if len(set(line.get_ydata())) == 1 and line.get_ydata()[0] == y]
        assert [each.mean] in [list(x) for x in row]
        assert [each.low, each.high] in [list(x) for x in row]
        assert ([each.t_low, each.t_high] in [list(x) for x in row]) == (each.n > 1)
    assert heights.tolist() == sorted(heights)  # from few labels to many, and the axis runs downwards
    assert axes.yaxis_inverted()
    assert texts(figure).count("0.016") == len(expected)
    low, high = axes.get_xlim()
    assert low < 0 < high
    assert all(low < each.low and each.high < high for each in expected)


def test_the_forest_says_the_numbers_and_how_many_draws():
    made = GRIDS["a study"]
    found = texts(figures.paired_differences(made))
    assert "1 %: 61 labels, 5 draws" in found
    assert "100 %: 6,160 labels, 3 draws" in found
    each = made.difference("prcc,camelyon", "0.01")
    assert f"+{each.mean:.3f} [+{each.low:.3f}, +{each.high:.3f}]" in found
    each = made.difference("random-prcc", "0.01")
    assert f"−{-each.mean:.3f} [−{-each.low:.3f}, −{-each.high:.3f}]" in found


def test_a_t_interval_beyond_the_axis_ends_in_an_arrow():
    made = compared(("none", "prcc"), ("0.01",), 2)
    wide = replace(made.difference("prcc", "0.01"), t_low=-0.9, t_high=0.92)
    axes = figures.paired_differences(replace(made, differences=(wide,))).axes[0]
    low, high = axes.get_xlim()
    assert -0.1 < low < high < 0.1
    arrows = {line.get_marker(): line.get_xdata()[0] for line in axes.lines if line.get_marker() in ("<", ">")}
    assert arrows == {"<": low, ">": high}


def test_p_below_a_thousandth_and_no_p():
    made = compared(("none", "prcc", "imagenet"), ("0.01",))
    one, two = (made.difference(arm, "0.01") for arm in ("prcc", "imagenet"))
    changed = (replace(one, p_holm=0.0002), replace(two, p=None, p_holm=None))
    found = texts(figures.paired_differences(replace(made, differences=changed)))
    assert "< 0.001" in found
    assert "–" in found


def test_only_the_baseline_says_so():
    made = compared(("none",))
    for figure in (figures.paired_differences(made), figures.class_gains(made)):
        assert texts(figure) == ["nothing to compare with “none”"]
        assert_drawn(figure)


@pytest.mark.parametrize("grid", GRIDS)
def test_gains_of_classes_have_their_number_and_brackets_where_the_interval_holds_zero(grid):
    made = GRIDS[grid]
    figure = figures.class_gains(made)
    panels = [axes for axes in figure.axes if axes.images]
    titles = [axes.get_title(loc="left") for axes in panels]
    expected = [
        amount for amount in made.amounts if any(d.amount == amount for d in made.differences if "f1/" in d.metric)
    ]
    assert titles == [f"{amount_words(amount)}: {made.labels[amount]:,.0f} labels" for amount in expected]
    for axes, amount in zip(panels, expected, strict=True):
        arms = [arm for arm in made.arms if made.difference(arm, amount)]
        shades = axes.images[0].get_array()
        low, high = axes.images[0].get_clim()
        assert low == -high
        words = {text.get_position(): text for text in axes.texts}
        assert len(words) == len(arms) * len(made.classes)
        for row, arm in enumerate(arms):
            for column, name in enumerate(made.classes):
                each = made.difference(arm, amount, f"f1/{name}")
                assert shades[row, column] == pytest.approx(each.mean)
                text = words[column, row]
                assert text.get_text().strip("()").replace("−", "-") in (f"{each.mean:+.3f}", "0.000")
                holds_zero = each.low <= 0 <= each.high
                assert (text.get_text()[0] == "(") == holds_zero
                assert (text.get_fontweight() == "bold") != holds_zero


def test_a_class_without_a_difference_is_a_dash():
    made = compared(("none", "prcc"), ("0.01",))
    kept = tuple(each for each in made.differences if each.metric != "f1/Basophil")
    figure = figures.class_gains(replace(made, differences=kept))
    assert_drawn(figure)
    assert texts(figure).count("–") == 1


@pytest.mark.parametrize("grid", GRIDS)
def test_confusions_have_counts_and_shares_of_the_rows(grid):
    made = GRIDS[grid]
    figure = figures.confusion_matrices(made)
    amount = made.amounts[0]
    arms = [arm for arm in made.arms if (arm, amount) in made.confusion]
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left").split("\n")[0] for axes in panels] == [arm_words(arm) for arm in arms]
    for axes, arm in zip(panels, arms, strict=True):
        counts = made.confusion[arm, amount]
        drawn = {}
        for text in axes.texts:
            drawn.setdefault(tuple(text.xy), []).append(text.get_text())
        expected = {
            (column, row): [f"{100 * n / counts[row].sum():.1f}", f"{n:,}"]
            for (row, column), n in np.ndenumerate(counts)
            if n
        }
        assert drawn == expected
        assert f"{100 * np.trace(counts) / counts.sum():.1f} % right" in axes.get_title(loc="left")


def test_confusions_of_a_class_without_images_and_of_another_amount():
    made = compared(("none", "prcc"), ("0.01", "0.1"))
    counts = made.confusion["none", "0.1"].copy()
    counts[0] = 0
    figure = figures.confusion_matrices(replace(made, confusion={("none", "0.1"): counts}), "0.1")
    assert_drawn(figure)
    assert len(figure.axes) == 1
    with pytest.raises(ValueError, match=r"no run with the amount 0\.7; there are 0\.01, 0\.1"):
        figures.confusion_matrices(made, "0.7")


def test_training_curves_have_a_line_a_run_in_the_panel_of_its_amount():
    runs = [run(arm, amount, draw) for arm in ARMS for amount in ("0.1", "0.01") for draw in range(3)]
    figure = figures.training_curves(runs)
    assert_drawn(figure)
    assert len(figure.axes) == 6
    for number, amount in enumerate(("0.01", "0.1")):
        chosen = [run for run in runs if run.amount == amount]
        for axes, key in zip(figure.axes[3 * number :], ("train/loss", "val/loss", "val/accuracy"), strict=False):
            expected = [[[row["step"], row[key]] for row in run.history] for run in chosen]
            assert [line.get_xydata().tolist() for line in axes.lines] == expected
    assert figure.axes[0].get_ylabel() == "1 %\n61 labels"
    assert figure.axes[0].get_title(loc="left") == "training loss"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [arm_words(arm) for arm in ARMS]
    reverse = figures.training_curves(runs, ARMS[::-1]).legends[0]
    assert [text.get_text() for text in reverse.get_texts()] == legend[::-1]


@pytest.mark.parametrize(
    "history",
    [
        ({"step": 1.0, "train/loss": 0.5},),
        ({"step": 1.0, "train/loss": 10.0, "val/loss": np.inf}, {"step": 2.0, "train/loss": 0.01, "val/loss": np.nan}),
        ({"step": 1.0, "lr": 0.1},),
    ],
)
def test_training_curves_of_short_and_broken_histories(history):
    assert_drawn(figures.training_curves([run(history=history), run("prcc", history=())]))


def test_losses_over_orders_of_magnitude_are_logarithmic():
    history = tuple({"step": float(s), "train/loss": 10.0**-s, "val/loss": 1.0} for s in range(4))
    loss, val, _ = figures.training_curves([run(history=history)]).axes
    assert loss.get_yscale() == "log"
    assert val.get_yscale() == "linear"


@pytest.mark.parametrize("runs", [[], [run(history=())]])
def test_no_history_says_so(runs):
    figure = figures.training_curves(runs)
    assert_drawn(figure)
    assert texts(figure) == ["no run has a history"]
