"""Tables for the screen and for Markdown."""

from collections.abc import Mapping, Sequence

from hemacell.prediction.summary import Tally
from hemacell.reporting.differential_page import REMEDY


def score_table(rows: Sequence[tuple[str, Mapping[str, float]]], keys: Sequence[str]) -> str:
    """A short table for the screen: a row for each thing, a column for each score; a missing score is a dash."""
    width = max(len(name) for name, _ in rows)
    head = " ".join([" " * width, *(f"{key:>18}" for key in keys)])
    lines = [
        " ".join([f"{name:<{width}}", *(f"{scores[key]:>18.3f}" if key in scores else f"{'-':>18}" for key in keys)])
        for name, scores in rows
    ]
    return "\n".join([head, *lines])


def prediction_summary(tally: Tally) -> str:
    """How many images were given each class, for the screen; not where most are unlike the known cells."""
    review = f"to be reviewed: {tally.review_share:.1%} of all images"
    if withheld := tally.withheld():
        return f"no shares are shown: {withheld}. {REMEDY}\n{review}"
    total = tally.total()
    rows = [
        (name, count, count / max(1, total.sum())) for name, count in zip(tally.classes, total.tolist(), strict=True)
    ]
    width = max(len(name) for name in tally.classes)
    lines = [f"{name:<{width}} {count:>10} {share:>8.1%}" for name, count, share in rows]
    head = f"{'':<{width}} {'images':>10} {'share':>8}"
    other = f"like none of the classes: {tally.all_other} of these"
    return "\n".join([head, *lines, *([other] if tally.all_other else []), review])
