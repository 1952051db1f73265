"""What adapting a classifier to a laboratory has changed, as a page; it also begins the card of the version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hemacell.evaluation.groups import resampled_units
from hemacell.evaluation.site_comparison import METRICS, WayScores

_LABELS = {"macro_f1": "macro-F1", "accuracy": "accuracy"}
_WAYS = {"before": "before", "adapted": "adapted, without labels", "labelled": "adapted, with labels"}


def adaptation_page(site: str, facts: Mapping[str, str], rows: Sequence[WayScores], shares: Mapping[str, float]) -> str:
    """The page (Markdown).

    Args:
        site: name of the laboratory.
        facts: label -> text.
        rows: of `compare_ways`; empty without labels.
        shares: class -> its share among the pictures.
    """
    lines = [f"# Adapted to {site}", "", *(f"- {label}: {text}" for label, text in facts.items()), ""]
    if rows:
        head = " | ".join(f"{_LABELS[name]} | difference" for name in METRICS)
        lines += [
            f"On {rows[0].images} labelled cells of {site}, which the classifier that is scored has not learnt from:",
            "",
        ]
        lines += [f"| | {head} |", f"| --- |{' --- | --- |' * len(METRICS)}", *map(_row, rows), ""]
        lines += [
            f"In brackets: 95 % interval, by a bootstrap over {resampled_units(rows[0].groups, rows[0].images)}; "
            "differences are paired. With labels, the scores are of a cross-validation: the registered version has "
            "learnt from all labelled cells.",
            "",
        ]
    else:
        lines += ["Without labels nothing can be said of how good it is there.", ""]
    known = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    lines += [f"Shares of the classes among the pictures, by maximum likelihood: {known}.", ""]
    return "\n".join(lines)


def _row(row: WayScores) -> str:
    cells = []
    for name in METRICS:
        low, high = row.intervals[name]
        cells.append(f"{row.values[name]:.3f} [{low:.3f}, {high:.3f}]")
        if name in row.differences:
            value, low, high = row.differences[name]
            cells.append(f"{value:+.3f} [{low:+.3f}, {high:+.3f}]")
        else:
            cells.append("")
    return f"| {_WAYS[row.way]} | {' | '.join(cells)} |"
