"""Runs of `wbc` as they were logged -> what a comparison is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hemacell.evaluation.comparison.records import RunRecord
from hemacell.evaluation.predictions import Predictions


def run_record(
    run_id: str,
    name: str,
    params: Mapping[str, str],
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    sizes: Mapping[str, Any],
    predictions: Predictions,
    external: Mapping[str, Predictions],
    history: Sequence[Mapping[str, float]],
) -> RunRecord:
    """A finished run as a record; its arm is named after its encoders, and its method where that is not fusion.

    Args:
        run_id, name: of the run.
        params, tags, metrics: as logged.
        sizes: of the splits, such as `train_images`.
        predictions: on the test images.
        external: `external/<name>` -> on the images of that laboratory.
        history: one row per report of the training.
    """
    encoders, method = params.get("encoders", "none"), params.get("method", "fusion")
    fraction, per_class = params.get("fraction", ""), params.get("labels_per_class", "")
    return RunRecord(
        run_id=run_id,
        name=name,
        arm=encoders if method == "fusion" else f"{method} {encoders}",
        amount=fraction or f"{per_class} per class",
        draw=int(params["draw"]) if params.get("draw", "").isdigit() else 0,
        seed=int(params.get("seed", "0")),
        labels=int(tags.get("draw.labels") or metrics.get("train_images") or sizes.get("train_images", 0)),
        train_digest=tags.get("draw.digest", ""),
        predictions=predictions,
        external=dict(external),
        metrics=dict(metrics),
        history=tuple(history),
        settings=dict(params),
        tags=dict(tags),
        val_images=sizes.get("val_images", 0),
    )


def as_two_arms(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Any two runs as two arms of one draw and amount: one paired comparison on the shared images.

    Their names say what differs: the encoders, else the amount of labels, else the runs' names or ids.
    """
    ways = (
        lambda record: record.arm,
        lambda record: f"{record.arm} {record.amount}",
        lambda record: record.name,
        lambda record: record.run_id,
    )
    names = next(names for way in ways if len(set(names := [way(record) for record in records])) == len(records))
    amounts = {record.amount for record in records}
    amount = amounts.pop() if len(amounts) == 1 else "as given"
    return [
        replace(record, arm=name, draw=0, seed=0, amount=amount) for record, name in zip(records, names, strict=True)
    ]


def data_kinds(records: Sequence[RunRecord]) -> str:
    """The kind of data behind a comparison: `sample` as soon as one run has it."""
    kinds = {record.tags.get("data.kind", "") for record in records}
    return "sample" if "sample" in kinds else ",".join(sorted(kinds))
