"""Cells of a grid -> `Comparison`: scores, paired differences, what they are worth in labels, and what to beware of."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier

from hemacell.errors import UserError
from hemacell.evaluation.study.efficiency import worth
from hemacell.evaluation.study.hypothesis_tests import holm, mcnemar_p, permutation_p, t_interval
from hemacell.evaluation.study.records import (
    CONTROLS,
    MAIN_METRIC,
    Cell,
    Comparison,
    ControlShare,
    Difference,
    Floor,
    Score,
    Spread,
    Worth,
    amount_words,
    arm_words,
)
from hemacell.evaluation.study.resampling import (
    Answers,
    confusion_metrics,
    image_weights,
    matched,
    mean_over_draws,
    percentile_interval,
    resampled_metrics,
)

if TYPE_CHECKING:
    import pandas as pd

    from hemacell.evaluation.predictions import Predictions

Split = Literal["test", "external"]

FEWEST_DRAWS = 5
"""With fewer, a 95 % interval over draws says little."""

#: Settings that may differ between arms of a draw: what is compared, and what cannot change a score.
_FREE_SETTINGS = {
    *("encoders", "fraction", "labels_per_class", "draw", "seed"),
    *("run_name", "experiment", "resume", "force", "register_model", "checkpoint_seconds", "reports", "channel_stats"),
    *("data", "pretrain_data", "threads"),  # `data.digest` and `threads` are tags, and watched there
}


def compare(
    cells: Sequence[Cell],
    baseline: str = "none",
    split: Split = "test",
    controls: Mapping[str, str] = CONTROLS,
    resamples: int = 2000,
    permutations: int = 5000,
    seed: int = 0,
    val_images: int = 0,
) -> Comparison:
    """What a grid of runs says about its arms.

    Every arm is compared with the baseline on the draws that both have, and on the images that all runs answered for.

    Args:
        cells: finished runs, in the order of the study.
        baseline: the arm that others are compared with; the first arm where there is no such arm.
        split: which images.
        controls: arm -> the arm that is as wide and saw none of the other tissue.
        resamples: of the crossed bootstrap.
        permutations: of each permutation test.
        seed: of both; equal arguments give equal results.
        val_images: labelled val images, for the label budget.

    Raises:
        UserError: no cells, none with answers on `split`, other classes, no image in common, an image with two labels.
    """
    if not cells:
        raise UserError("no finished run to compare; wait for the study's runs to finish, or name other runs")
    grid, warnings = _grid(cells, baseline, split)
    answers = matched([_said(cell, split) for cell in grid.cells], [cell.run_id for cell in grid.cells])
    weights = image_weights(len(answers.labels), resamples, seed)
    tables = answers.confusion()
    results = _Results(
        grid,
        answers,
        tables,
        confusion_metrics(tables, answers.classes),
        resampled_metrics(answers, weights),
        permutations,
        seed,
    )
    scores = _scores(results, split)
    differences = _differences(results)
    made = Comparison(
        split=split,
        classes=answers.classes,
        images=len(answers.labels),
        arms=grid.arms,
        amounts=grid.amounts,
        labels=grid.labels,
        val_images=val_images,
        baseline=grid.baseline,
        scores=scores,
        differences=differences,
        worth=_worth(results),
        controls=_control_shares(results, controls),
        floor=_floor(answers),
        confusion={place: tables[rows].sum(0) for place, rows in grid.rows.items()},
        warnings=(),
    )
    if answers.left_out:
        whole = len(answers.labels) + answers.left_out
        warnings.append(
            f"different test sets: {answers.left_out} of {whole} images are not in every run and are left out; "
            "what is not counted from answers alone (auroc, ece, nll) is over each run's own images"
        )
    warnings += _about_answers(results)
    warnings += _about_intervals(made)
    warnings += _about_runs(grid)
    return replace(made, warnings=tuple(warnings))


@dataclass(frozen=True)
class _Grid:
    """Cells and their places; one cell a replicate of a place."""

    cells: tuple[Cell, ...]
    arms: tuple[str, ...]
    amounts: tuple[str, ...]
    labels: dict[str, float]
    baseline: str
    rows: dict[tuple[str, str], list[int]]  # (arm, amount) -> indices into cells, ordered by draw and seed

    def places(self) -> Iterable[tuple[str, str, list[int]]]:
        """Arm, amount and rows, arm by arm."""
        return (
            (arm, amount, self.rows[arm, amount])
            for arm in self.arms
            for amount in self.amounts
            if (arm, amount) in self.rows
        )

    def spread(self, rows: Sequence[int]) -> Spread:
        if len(rows) == 1:
            return "images"
        return "seeds" if len({self.cells[row].train_digest for row in rows}) == 1 else "draws"

    def paired(self, amount: str, *arms: str) -> list[list[int]]:
        """Rows of each arm at one amount for the draws that all of them have, in one order; empty where none.

        Runs are paired by their draw; where an arm has several runs of one draw, by their seeds too.
        """
        found = [self.rows.get((arm, amount), []) for arm in arms]
        by_draw = all(len({self.cells[row].draw for row in rows}) == len(rows) for rows in found)
        tables = [
            {(self.cells[row].draw, 0 if by_draw else self.cells[row].seed): row for row in rows} for rows in found
        ]
        common = sorted(set(tables[0]).intersection(*tables[1:]))
        return [[table[key] for key in common] for table in tables] if common else []


@dataclass(frozen=True)
class _Results:
    """What all statistics are made of; R runs, B resamples."""

    grid: _Grid
    answers: Answers
    confusion: NDArray[np.int64]  # [R, C, C]
    points: dict[str, NDArray[np.float64]]  # metric -> [R]
    replicates: dict[str, NDArray[np.float64]]  # metric -> [R, B]
    permutations: int
    seed: int

    def mean(self, rows: list[int], metric: str = MAIN_METRIC) -> NDArray[np.float64]:
        """The crossed bootstrap of a mean over draws, [B]."""
        return mean_over_draws(self.replicates[metric][rows], self.seed)


def _said(cell: Cell, split: Split) -> "Predictions":
    said = cell.predictions if split == "test" else cell.external
    assert said is not None  # cells without were left out
    return said


def _grid(cells: Sequence[Cell], baseline: str, split: Split) -> tuple[_Grid, list[str]]:
    """The cells in their places, and what was odd about them."""
    warnings = []
    answered = [cell for cell in cells if split == "test" or cell.external is not None]
    if not answered:
        raise UserError("no run has answers on external images; train with external=DIR, or compare the test images")
    if len(answered) < len(cells):
        warnings.append(f"{_number(len(cells) - len(answered), 'run')} without answers on external images left out")
    kept: dict[tuple[str, str, int, int], Cell] = {}
    for cell in answered:
        key = (cell.arm, cell.amount, cell.draw, cell.seed)
        if key in kept:
            warnings.append(
                f"two runs of {_place(cell.arm, cell.amount)}, draw {cell.draw}, seed {cell.seed}: "
                f"{kept[key].run_id} is left out, {cell.run_id} counts"
            )
        kept[key] = cell
    chosen = tuple(kept.values())
    arms = list(dict.fromkeys(cell.arm for cell in chosen))
    if baseline not in arms:
        warnings.append(f"no run of the baseline {arm_words(baseline)}: {arm_words(arms[0])} takes its place")
        baseline = arms[0]
    arms.sort(key=lambda arm: arm != baseline)
    sizes = defaultdict(list)
    for cell in chosen:
        sizes[cell.amount].append(cell.labels)
    labels = {amount: float(np.mean(found)) for amount, found in sizes.items()}
    amounts = sorted(labels, key=lambda amount: labels[amount])
    rows = defaultdict(list)
    for row, cell in enumerate(chosen):
        rows[cell.arm, cell.amount].append(row)
    for found in rows.values():
        found.sort(key=lambda row: (chosen[row].draw, chosen[row].seed))
    in_order = {amount: labels[amount] for amount in amounts}
    return _Grid(chosen, tuple(arms), tuple(amounts), in_order, baseline, dict(rows)), warnings


def _scores(results: _Results, split: Split) -> tuple[Score, ...]:
    scores = []
    prefix = f"{split}/"
    for arm, amount, rows in results.grid.places():
        cells = [results.grid.cells[row] for row in rows]
        logged = (key.removeprefix(prefix) for cell in cells for key in cell.metrics if key.startswith(prefix))
        for metric in dict.fromkeys([*results.points, *logged]):
            # counted again from the answers where that can be, for images that some run lacks do not count
            counted = results.points.get(metric)
            values = [
                float(counted[row]) if counted is not None else cell.metrics.get(prefix + metric, np.nan)
                for row, cell in zip(rows, cells, strict=True)
            ]
            there = [i for i, value in enumerate(values) if np.isfinite(value)]
            if not there:
                continue
            values = [values[i] for i in there]
            interval = t_interval(values)
            if interval is None and counted is not None:
                interval = percentile_interval(results.replicates[metric][rows[there[0]]])
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
                    spread=results.grid.spread([rows[i] for i in there]),
                    values=tuple(values),
                    draws=tuple(cells[i].draw for i in there),
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
        labels, predicted = results.answers.labels, results.answers.predicted
        classes = len(results.answers.classes)
        p = permutation_p(labels, predicted[a], predicted[b], classes, results.permutations, results.seed)
        per_draw = tuple(mcnemar_p(labels, predicted[i], predicted[j]) for i, j in zip(a, b, strict=True))
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
        draws=tuple(results.grid.cells[row].draw for row in a),
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
    grid, classes = results.grid, results.answers.classes
    # F1 of a class without an image is undefined, or 0 where it is predicted
    there = [f"f1/{classes[index]}" for index in np.unique(results.answers.labels)]
    return tuple(
        difference
        for arm in grid.arms[1:]
        for metric in (MAIN_METRIC, "accuracy", "balanced_accuracy", *there)
        for difference in _corrected(_difference(results, arm, grid.baseline, a, metric) for a in grid.amounts)
    )


def _worth(results: _Results) -> tuple[Worth, ...]:
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
        worth(
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
        for arm, amount, rows in grid.places()
        if arm != grid.baseline
    )


def _labels(grid: _Grid, rows: Sequence[int]) -> float:
    return float(np.mean([grid.cells[row].labels for row in rows]))


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


def _floor(answers: Answers) -> Floor:
    nothing = np.zeros((len(answers.labels), 1))
    predicted = DummyClassifier(strategy="most_frequent").fit(nothing, answers.labels).predict(nothing)
    floor = replace(answers, predicted=predicted[None])
    metrics = confusion_metrics(floor.confusion()[0], answers.classes)
    kept = {name: float(metrics[name]) for name in ("accuracy", "balanced_accuracy", MAIN_METRIC)}
    return Floor(answers.classes[int(predicted[0])], kept)


def _about_answers(results: _Results) -> list[str]:
    """Arms that never give some class as an answer."""
    grid, classes = results.grid, results.answers.classes
    there = results.confusion[0].sum(1) > 0
    warnings = []
    for arm, amount, rows in grid.places():
        missing: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for row in rows:
            silent = there & (results.confusion[row].sum(0) == 0)
            if silent.any():
                missing[tuple(classes[i] for i in np.flatnonzero(silent))].append(grid.cells[row].draw)
        if missing:
            found = "; ".join(f"{', '.join(names)} in {_draws(draws)}" for names, draws in missing.items())
            warnings.append(f"{_place(arm, amount)} never answers {found}")
    return warnings


def _about_intervals(made: Comparison) -> list[str]:
    """Few draws, differences that may be none, and intervals that disagree."""
    warnings = []
    main = [score for score in made.scores if score.metric == MAIN_METRIC]
    fewest = {amount: min(score.n for score in main if score.amount == amount) for amount in made.amounts}
    few = [f"{amount_words(amount)} ({n})" for amount, n in fewest.items() if n < FEWEST_DRAWS]
    if few:
        warnings.append(f"fewer than {FEWEST_DRAWS} draws at {', '.join(few)}: intervals over draws say little there")
    tested = [difference for difference in made.differences if difference.metric == MAIN_METRIC]
    unclear = _by_arm((d.arm, d.amount) for d in tested if d.low <= 0 <= d.high)
    if unclear:
        warnings.append(
            f"cannot be told from the baseline {arm_words(made.baseline)}, as the 95 % interval of the difference in "
            f"macro-F1 holds 0: {unclear}"
        )
    for t_holds_zero, words in (
        (True, "the bootstrap interval leaves out 0 and the t interval over draws holds it"),
        (False, "the t interval over draws leaves out 0 and the bootstrap interval holds it"),
    ):
        places = _by_arm(
            (d.arm, d.amount)
            for d in tested
            if d.t_low is not None
            and d.t_high is not None
            and (d.t_low <= 0 <= d.t_high) == t_holds_zero != (d.low <= 0 <= d.high)
        )
        if places:
            warnings.append(f"{words}, so take the difference in macro-F1 with care: {places}")
    has = {(d.arm, d.amount) for d in tested}
    has_score = {(score.arm, score.amount) for score in main}
    alone = _by_arm(
        place for place in ((a, m) for a in made.arms[1:] for m in made.amounts) if place in has_score - has
    )
    if alone:
        warnings.append(f"no draw in common with the baseline {arm_words(made.baseline)}, so no difference: {alone}")
    return warnings


def _about_runs(grid: _Grid) -> list[str]:
    """What differs between runs that should be alike."""
    warnings = []
    copies = max(_whole(cell.tags.get("data.duplicates_across_splits", "")) for cell in grid.cells)
    if copies > 0:
        warnings.append(
            f"exact duplicates across splits: {_number(copies, 'image')} in more than one of train, val and test, "
            "so scores may be too high"
        )
    dirty = sum(cell.tags.get("git.dirty") == "true" for cell in grid.cells)
    if dirty:
        warnings.append(f"{_number(dirty, 'run')} from sources with uncommitted changes (git.dirty)")
    odd: dict[str, list[str]] = defaultdict(list)
    for amount in grid.amounts:
        cells = [cell for cell in grid.cells if cell.amount == amount]
        for tag, words in (("git.commit", "runs of several git commits"), ("threads", "other numbers of threads")):
            found = sorted({cell.tags.get(tag, "unknown") for cell in cells})
            if len(found) > 1:
                odd[f"{words} ({_some([value[:7] for value in found])})"].append(amount)
        for draw in sorted({cell.draw for cell in cells}):
            of_draw = [cell for cell in cells if cell.draw == draw]
            if len({cell.arm for cell in of_draw}) < 2:
                continue
            if len({cell.train_digest for cell in of_draw}) > 1:
                odd["arms of one draw that saw other training images"].append(amount)
            steps = {steps for steps in map(_steps, of_draw) if not np.isnan(steps)}
            if len(steps) > 1:
                odd["arms of one draw that made other numbers of steps"].append(amount)
            keys = {key for cell in of_draw for key in cell.settings} - _FREE_SETTINGS
            if len(steps) > 1:
                keys.discard("steps")
            for key in sorted(keys):
                values = sorted({cell.settings.get(key, "") for cell in of_draw})
                if len(values) > 1:
                    odd[f"arms of one draw with other settings: {key} = {_some(values)}"].append(amount)
    for words, amounts in odd.items():
        warnings.append(f"{words} at {', '.join(amount_words(amount) for amount in dict.fromkeys(amounts))}")
    return warnings


def _steps(cell: Cell) -> float:
    """Number of steps made: the last that was reported, else the setting; NaN where neither says."""
    reported = [row["step"] for row in cell.history if "step" in row]
    return max(reported) if reported else float(_whole(cell.settings.get("steps", "")) or np.nan)


def _whole(text: str) -> int:
    """A tag as a number; 0 where it is none."""
    return int(text) if text.strip().isdigit() else 0


def _place(arm: str, amount: str) -> str:
    return f"{arm_words(arm)} at {amount_words(amount)}"


def _by_arm(places: Iterable[tuple[str, str]]) -> str:
    """`prcc at 1 %, 10 %; camelyon at 1 %`."""
    amounts: dict[str, list[str]] = defaultdict(list)
    for arm, amount in places:
        amounts[arm].append(amount_words(amount))
    return "; ".join(f"{arm_words(arm)} at {', '.join(found)}" for arm, found in amounts.items())


def _draws(draws: Sequence[int]) -> str:
    different = list(dict.fromkeys(draws))
    return f"draw {different[0]}" if len(different) == 1 else f"draws {', '.join(map(str, different))}"


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _some(values: Sequence[str], most: int = 3) -> str:
    """The first few, and how many more."""
    shown = [value or "unset" for value in values[:most]]
    more = len(values) - most
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


_METRIC_WORDS = {"macro_f1": "macro-F1", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}


def in_words(difference: Difference) -> str:
    """`at 1 %: +0.08 macro-F1 [0.05, 0.11], p = 0.002`; p is Holm's where there is one."""
    metric = _METRIC_WORDS.get(difference.metric) or difference.metric.replace("f1/", "F1 of ")
    numbers = (difference.low, difference.mean, difference.high)
    # a third digit where two say nothing, as in [0.00, 0.01]
    digits = 2 if difference.high - difference.low >= 0.02 and min(map(abs, numbers)) >= 0.005 else 3
    # + 0.0 makes -0.00 a 0.00
    low, mean, high = (round(number, digits) + 0.0 for number in numbers)
    words = f"at {amount_words(difference.amount)}: {mean:+.{digits}f} {metric} [{low:.{digits}f}, {high:.{digits}f}]"
    if difference.n == 1:
        words += " over images only, of a single run"
    p = difference.p if difference.p_holm is None else difference.p_holm
    return words if p is None else f"{words}, {_p_words(p)}"


def _p_words(p: float) -> str:
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def results_table(cells: Sequence[Cell]) -> "pd.DataFrame":
    """A row a cell, for people with other questions.

    Returns:
        `run_id`, `name`, `arm`, `amount`, `fraction` (NaN where the amount is none), `labels`, `draw`, `seed`,
        `steps` and `train_seconds` (NaN where unknown), then every `test/…` and `external/…` metric.
    """
    import pandas as pd

    names = [
        key
        for prefix in ("test/", "external/")
        for key in dict.fromkeys(key for cell in cells for key in cell.metrics)
        if key.startswith(prefix)
    ]
    rows = [
        {
            "run_id": cell.run_id,
            "name": cell.name,
            "arm": cell.arm,
            "amount": cell.amount,
            "fraction": _fraction(cell.amount),
            "labels": cell.labels,
            "draw": cell.draw,
            "seed": cell.seed,
            "steps": _steps(cell),
            "train_seconds": cell.metrics.get("train_seconds", np.nan),
            **{name: cell.metrics.get(name, np.nan) for name in names},
        }
        for cell in cells
    ]
    columns = ["run_id", "name", "arm", "amount", "fraction", "labels", "draw", "seed", "steps", "train_seconds"]
    return pd.DataFrame(rows, columns=[*columns, *names])


def _fraction(amount: str) -> float:
    try:
        return float(amount)
    except ValueError:
        return np.nan
