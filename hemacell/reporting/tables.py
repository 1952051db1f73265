"""Tables for the screen and for Markdown."""

from collections.abc import Mapping, Sequence


def score_table(rows: Sequence[tuple[str, Mapping[str, float]]], keys: Sequence[str]) -> str:
    """A short table for the screen: a row for each thing, a column for each score; a missing score is a dash."""
    width = max(len(name) for name, _ in rows)
    head = " ".join([" " * width, *(f"{key:>18}" for key in keys)])
    lines = [
        " ".join([f"{name:<{width}}", *(f"{scores[key]:>18.3f}" if key in scores else f"{'-':>18}" for key in keys)])
        for name, scores in rows
    ]
    return "\n".join([head, *lines])
