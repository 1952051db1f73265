"""The comparison with a classifier's own test scores, as a table for the screen and as a page."""

from collections.abc import Mapping, Sequence

from hemacell.evaluation.intervals import LEVEL
from hemacell.evaluation.reference_scores import TOO_FEW_IMAGES, MetricComparison


def _words(row: MetricComparison) -> tuple[str, ...]:
    reference, difference = ("-" if value is None else value for value in (row.reference, row.difference))
    return (
        row.metric,
        f"{row.value:.3f}",
        f"[{row.low:.3f}, {row.high:.3f}]",
        reference if isinstance(reference, str) else f"{reference:.3f}",
        difference if isinstance(difference, str) else f"{difference:+.3f}",
        "below" if row.below_reference else "",
    )


_HEAD = ("metric", "here", f"{LEVEL:.0%} interval", "own test", "difference", "")


def reference_table(rows: Sequence[MetricComparison]) -> str:
    """The rows for the screen."""
    table = [_HEAD, *map(_words, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if column in (0, 5) else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )


def reference_page(rows: Sequence[MetricComparison], facts: Mapping[str, str], warnings: Sequence[str]) -> str:
    """The rows as a page: facts (label -> text), table, warnings."""
    lines = ["# Scores compared with the classifier's own test scores", ""]
    lines += [f"- {label}: {text}" for label, text in facts.items()]
    lines += ["", f"| {' | '.join(_HEAD)} |", "| --- | ---: | ---: | ---: | ---: | --- |"]
    lines += [f"| {' | '.join(_words(row))} |" for row in rows]
    lines += ["", f"`below`: the whole interval lies below the own test score, with at least {TOO_FEW_IMAGES} images."]
    if warnings:
        lines += ["", *(f"- warning: {line}" for line in warnings)]
    return "\n".join(lines) + "\n"
