"""The page of an audit: what was understood of the images, what is wrong with them, and pictures of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from hemacell.audit.files import count_kinds
from hemacell.audit.findings import CopyGroup, Severity
from hemacell.audit.result import Audit
from hemacell.data.groups import known_groups
from hemacell.reporting.pages import embedded_png, embedded_thumbnail, template_environment

_SIDE = 96  # of a thumbnail, in pixels
_MOST_KINDS = 12  # of files in the table
_MOST_DIFFERENCES = 12
_MOST_IN_GROUP = 8  # copies of one picture that are shown
_WORDS = {Severity.SERIOUS: "Serious", Severity.DOUBT: "Look at", Severity.NOTE: "Note"}


def audit_page(audit: Audit, pictures: int, figures: Mapping[str, Path], sample: bool, run: str) -> str:
    """The page as HTML that needs no other file.

    Args:
        audit: what was found.
        pictures: in each gallery, at most.
        figures: name -> PNG file of a figure: `measurements`, and `distances` where a model was given.
        sample: whether the images are the built-in sample.
        run: the id of the run that holds the page.
    """
    view = {
        "title": f"Audit: {audit.images.name}",
        "sample": sample,
        "warnings": [],
        "run": run,
        "summary": audit.everything.summary(),
        "digest": audit.everything.digest,
        "findings": [
            {
                "severity": _WORDS[each.severity],
                "kind": each.severity.name.lower(),
                "section": each.section,
                "words": each.words,
            }
            for each in audit.findings
        ],
        "counts": _counts(audit),
        "groups": _groups(audit),
        "kinds": count_kinds(audit.files)[:_MOST_KINDS],
        "more_kinds": max(0, len(count_kinds(audit.files)) - _MOST_KINDS),
        "notes": audit.decoded.notes,
        "bad": audit.decoded.bad[:pictures],
        "all_bad": len(audit.decoded.bad),
        "skipped": _skipped(audit),
        "sheets": _contact_sheets(audit, pictures),
        "copies": _copies(audit, pictures),
        "doubts": _doubts(audit, pictures),
        "outliers": _outliers(audit, pictures),
        "differences": _differences(audit),
        "figures": {name: embedded_png(file) for name, file in figures.items()},
        "model": _model(audit, pictures),
    }
    return template_environment().get_template("audit.html.j2").render(view)


def _cell(audit: Audit, row: int, *words: str) -> dict[str, Any]:
    """One picture of a gallery, with its file's name and what else is known of it."""
    path = audit.images.names[row]
    return {
        "image": embedded_thumbnail(audit.decoded.array[row], _SIDE),
        "path": path,
        "name": PurePath(path).name if audit.images.read is None else path,  # `cells.npz#test/6` is no file called 6
        "words": [word for word in words if word],
    }


def _where(audit: Audit, row: int) -> str:
    table = audit.images.table
    return " ".join(filter(None, (table["label"].iat[row], table["split"].iat[row])))


def _counts(audit: Audit) -> dict[str, Any]:
    counts = audit.everything.counts()
    names = list(next(iter(counts.values()), {}))
    return {
        "splits": [split or "undivided" for split in counts],
        "rows": [{"name": name or "without label", "numbers": [of[name] for of in counts.values()]} for name in names],
        "totals": [sum(of.values()) for of in counts.values()],
    }


def _groups(audit: Audit) -> str:
    sizes = Counter(known_groups(audit.images))
    if not sizes:
        return (
            "No patient, slide or smear is known of these images (see the setting group): splits are made of single "
            "images, and intervals are over images, not over patients."
        )
    low, high = min(sizes.values()), max(sizes.values())
    return f"{len(sizes)} groups (patients, slides or smears), of {low} to {high} images."


def _skipped(audit: Audit) -> list[dict[str, Any]]:
    skipped = audit.everything.account.skipped
    first = {each.reason: each.path for each in reversed(skipped)}
    return [
        {"reason": reason, "count": count, "first": first[reason]}
        for reason, count in Counter(each.reason for each in skipped).most_common()
    ]


def _contact_sheets(audit: Audit, pictures: int) -> list[dict[str, Any]]:
    """Images of each class, at even distances in the order of their content: a random choice that stays the same."""
    labels = audit.images.table["label"].to_numpy()
    sheets = []
    for name in [*audit.images.classes, *([""] if (labels == "").any() else [])]:
        rows = np.flatnonzero(labels == name)
        chosen = rows[np.linspace(0, len(rows) - 1, min(pictures, len(rows))).astype(int)]
        cells = [_cell(audit, row, audit.images.table["split"].iat[row]) for row in chosen]
        sheets.append({"name": name or "Images", "count": len(rows), "cells": cells})
    return sheets


def _copies(audit: Audit, pictures: int) -> list[dict[str, Any]]:
    kinds: list[tuple[str, list[CopyGroup]]] = [
        ("Across splits", [group for group in audit.copies if group.crosses]),
        ("Under different labels", [group for group in audit.copies if group.conflicts]),
        ("Within a split", [group for group in audit.copies if not group.crosses and not group.conflicts]),
    ]
    found = []
    for title, groups in kinds:
        if groups:
            shown = [
                [_cell(audit, row, _where(audit, row)) for row in group.rows[:_MOST_IN_GROUP]]
                for group in groups[: max(1, pictures // 2)]
            ]
            images = sum(len(group.rows) for group in groups)
            found.append({"title": title, "groups": shown, "count": len(groups), "images": images})
    return found


def _doubts(audit: Audit, pictures: int) -> dict[str, Any] | None:
    if audit.doubts is None:
        return None
    table = audit.doubtful_labels
    cells = [
        _cell(audit, row, _where(audit, row), f"rather {suggested} ({audit.doubts.probabilities[row].max():.2f})")
        for row, suggested in table["suggested"].head(pictures).items()
    ]
    return {
        "count": len(table),
        "confident": int(table["confident"].sum()),
        "cells": cells,
        "notes": audit.doubts.notes,
    }


def _outliers(audit: Audit, pictures: int) -> list[dict[str, Any]]:
    """The images unlike others of their class, by what they differ in; the furthest first."""
    found = []
    for measure, rows in audit.outliers.groupby("measure", sort=False):
        cells = [
            _cell(audit, row, _where(audit, row), reason)
            for row, reason in rows[["image", "reason"]].head(max(1, pictures // 4)).itertuples(index=False)
        ]
        found.append({"title": measure.replace("_", " "), "count": len(rows), "cells": cells})
    return found


def _differences(audit: Audit) -> list[dict[str, Any]]:
    """What differs between splits, classes or groups, in words; the largest first."""
    return [
        {"by": by, "reasons": rows["reason"].head(_MOST_DIFFERENCES).tolist(), "count": len(rows)}
        for by, rows in audit.standing_out.groupby("by", sort=False)
    ]


def _model(audit: Audit, pictures: int) -> dict[str, Any] | None:
    if audit.distances is None:
        return None
    values = audit.distances.values
    far = [row for row in np.argsort(-values) if audit.distances.flagged[row]]
    cells = [_cell(audit, row, _where(audit, row), f"distance {values[row]:.1f}") for row in far[: pictures // 2]]
    return {
        "name": audit.distances.model,
        "share": f"{100 * audit.distances.flagged.mean():.1f} %",
        "median": f"{np.median(values):.2f}",
        "cells": cells,
    }
