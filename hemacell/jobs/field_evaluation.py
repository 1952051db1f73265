"""`evaluate` on whole fields with boxes: how many cells are found, and how well those are classified."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hemacell.config.jobs import EvaluateSettings
from hemacell.core.errors import UserError
from hemacell.core.files import digests_of_files
from hemacell.data.class_names import LEFT_OUT, ClassMap
from hemacell.data.manifest import Account
from hemacell.data.sources.archive import opened
from hemacell.data.sources.base import find_source
from hemacell.fields.annotations import has_annotations, read_annotations
from hemacell.fields.detection_metrics import FieldBoxes
from hemacell.fields.field_scores import field_metrics, matches
from hemacell.jobs.context import RunContext
from hemacell.prediction.inputs import BOX_COLUMNS, Inputs, inputs_of_files
from hemacell.prediction.read_ahead import read_image
from hemacell.prediction.search_fields import search_fields
from hemacell.tracking.registry.classifiers import classes_of, find_classifier
from hemacell.tracking.registry.lookup import RegisteredModel, fetch
from hemacell.tracking.runs.existing import existing_run
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import MODEL_DATA_KIND, SKIPPED

if TYPE_CHECKING:
    from hemacell.classifiers.description import Prediction
    from hemacell.classifiers.model import ClassifierModel
    from hemacell.data.sources.formats import LabelledBox
    from hemacell.framing.frame import Framed

logger = logging.getLogger(__name__)

Job = RunContext[EvaluateSettings]

SPLIT = "fields"
"""What the names of its metrics and the folder of its files begin with."""
FOUND, MISSED, FALSE = "found", "missed", "false"
_VERDICTS = (FOUND, MISSED, "", FALSE)  # in the order of their colours: blue, vermilion, (green,) black
_MOST_DRAWN = 24


@dataclass(frozen=True, eq=False)
class LabelledFields:
    """A registered classifier, and fields with the boxes of their white cells."""

    model: RegisteredModel
    folder: Path
    """the classifier's own files, fetched"""
    classes: tuple[str, ...]
    inputs: Inputs
    """K fields"""
    boxes: Sequence[Sequence[LabelledBox]]
    """of each field: its white cells, with a class that the classifier knows, or ''"""
    digest: str
    """sha256 (hex) of the files and boxes"""
    notes: Sequence[str]
    """what is to be said of them"""


def are_fields(job: Job) -> bool:
    """Whether `data` names fields: the settings say so, or there are boxes and nothing that is read as single cells."""
    if job.settings.find_cells:
        return True
    root = opened(job.source.root)
    return root.is_dir() and find_source(job.source.root, "wbc") is None and has_annotations(root)


def run_on_fields(job: Job) -> str:
    """Score on fields, unless it is done already, and show the scores; returns the id of the run that holds them."""
    fields = find_fields(job)
    key = job.key({"model": fields.model.model_id, "fields": fields.digest})
    run_id = job.finished(key)
    if not run_id:
        with job.open(fields, key) as opened:
            run_id = opened.run_id
            evaluate_fields(job, opened, fields)
    print(scores_in_words(existing_run(run_id).data.metrics))
    logger.info(f"evaluate: all scores and the drawn fields are in run {run_id}")
    return run_id


def find_fields(job: Job) -> LabelledFields:
    """Look up the classifier, and read the boxes; loads neither network nor pictures.

    Raises:
        UserError: there is no such classifier, no boxes in any known form, or none that can be used; or a setting is
            given that is for single cells.
    """
    if job.settings.adapt:
        raise UserError(
            "adapt=true is for single cells, and these are whole fields: adapt the classifier by them first (-e adapt "
            "with find_cells=true), and name it by site="
        )
    if job.settings.group:
        raise UserError(
            "group= is for pictures of single cells, and these are whole fields, each a group; leave it out"
        )
    model = find_classifier(job.settings.model, job.source.kind, job.settings.site)
    folder = fetch(model, job.cache)
    classes = tuple(classes_of(folder))
    root = opened(job.source.root)
    annotations = read_annotations(root)
    named = ClassMap(job.settings.classes)
    unknown: dict[str, int] = {}

    def renamed(label: str) -> str:
        name = named(label)
        if name not in (*classes, LEFT_OUT):
            unknown[label] = annotations.labels()[label]
        return name if name in classes else ""

    boxes = annotations.white_cells(renamed)
    named.check_used(annotations.labels())
    inputs = inputs_of_files(root, list(boxes))
    inputs.account.skipped.extend(annotations.skipped)
    files = zip(inputs.places, digests_of_files(boxes), boxes.values(), strict=True)
    digest = hashlib.sha256(repr([(place, digest, list(own)) for place, digest, own in files]).encode()).hexdigest()
    cells = sum(map(len, boxes.values()))
    notes = [f"{len(boxes)} fields with {cells} white cells ({annotations.form}) in {job.source.root}"]
    notes += Account(annotations.skipped).in_words()
    if unknown:
        kinds = ", ".join(f"{label} ({count})" for label, count in unknown.items())
        notes.append(f"boxes of classes that the model does not know count as cells without a class: {kinds}")
    return LabelledFields(model, folder, classes, inputs, list(boxes.values()), digest, notes)


def evaluate_fields(job: Job, run: Tracker, fields: LabelledFields) -> None:
    """Find and classify the cells of fields; log scores, a table of all boxes and drawn fields."""
    from hemacell.core.progress import Progress

    for line in fields.notes:
        logger.info(line)
    _log_inputs(run, fields)
    found = search_fields(fields.inputs, job.cache, job.threads, Progress("finding cells", "fields"))
    unread = [number for number, reason in enumerate(found.cells.reasons) if reason]
    if unread:
        first = f"{fields.inputs.names[unread[0]]} {found.cells.reasons[unread[0]]}"
        logger.warning(f"{len(unread)} fields cannot be read, and their boxes are not scored; the first: {first}")
    model, predictions, shown = _classified(job, fields, found.inputs)
    boxes = _field_boxes(fields, found.inputs, found.cells.scores, _labels(model, predictions))
    run.metrics({f"{SPLIT}/{name}": value for name, value in field_metrics(boxes, fields.classes).items()})
    rows = _rows_of_fields(found.inputs, len(boxes))
    matched = [
        (row, fields.classes.index(field.true_labels[true]))
        for field, own in zip(boxes, rows, strict=True)
        for row, true in zip(own, matches(field), strict=True)
        if true >= 0 and field.true_labels[true]
    ]
    if matched:
        _log_classes(run, model, found.inputs, predictions, shown, matched)
    run.text(_table(fields.inputs, boxes).to_csv(index=False), f"{SPLIT}/boxes.csv")
    _log_drawn(run, fields.inputs, boxes)


def _log_inputs(run: Tracker, fields: LabelledFields) -> None:
    run.model_inputs([fields.model.uri], "classifier")
    run.tags({MODEL_DATA_KIND: fields.model.data_kind})
    root = fields.inputs.source
    sizes = {"fields": {"white cells": sum(map(len, fields.boxes))}}
    run.data_input(fields.digest[:32], root.name, str(root), sizes, "evaluation")
    if fields.inputs.account.skipped:
        run.text(fields.inputs.account.to_csv(), SKIPPED.format(""))


def _classified(
    job: Job, fields: LabelledFields, cells: Inputs
) -> tuple[ClassifierModel, list[Prediction | str], list[Framed | str]]:
    from hemacell.classifiers.folder import load_folder
    from hemacell.core.progress import Progress
    from hemacell.core.threads import set_threads
    from hemacell.prediction.predict_images import at_their_scale, predict_all

    set_threads(job.threads)
    asked = job.settings
    made = at_their_scale(load_folder(fields.folder, asked.precision, asked.device, asked.crop), cells)
    if made.site:
        logger.info(f"their laboratory: {made.site.in_words()}")
    return made, *predict_all(made, cells, progress=Progress("classifying", "cells"))


def _labels(model: ClassifierModel, predictions: Sequence[Prediction | str]) -> list[str]:
    return ["" if isinstance(each, str) else model.classes[int(each.probabilities.argmax())] for each in predictions]


def _rows_of_fields(cells: Inputs, fields: int) -> list[list[int]]:
    """For each field the rows of the cells that were found in it."""
    assert cells.cells is not None
    rows: list[list[int]] = [[] for _ in range(fields)]
    for row, (field, number) in enumerate(zip(cells.cells.field, cells.cells.number, strict=True)):
        if number >= 0:
            rows[field].append(row)
    return rows


def _field_boxes(fields: LabelledFields, cells: Inputs, scores: np.ndarray, labels: Sequence[str]) -> list[FieldBoxes]:
    """What was found in each field, and what is there; nothing of a field that cannot be read."""
    found = cells.cells
    assert found is not None
    unread = set(found.field[found.number < 0])
    return [
        FieldBoxes(
            found.boxes[rows],
            scores[found.number[rows]],
            [(box.left, box.top, box.left + box.width, box.top + box.height) for _, box in there],
            [labels[row] for row in rows],
            [label for label, _ in there],
        )
        for field, rows in enumerate(_rows_of_fields(cells, len(fields.boxes)))
        for there in [() if field in unread else fields.boxes[field]]
    ]


def _log_classes(
    run: Tracker,
    model: ClassifierModel,
    cells: Inputs,
    predictions: Sequence[Prediction | str],
    shown: Sequence[Framed | str],
    matched: Sequence[tuple[int, int]],
) -> None:
    """Score the classes of the cells that were found and have one: `matched` has their rows and labels."""
    from hemacell.classifiers.description import Predictions as Answers
    from hemacell.evaluation.classification import evaluate
    from hemacell.evaluation.predictions import Predictions
    from hemacell.jobs.evaluation import acceptance_of
    from hemacell.reporting.evaluation_figures import evaluation_figures
    from hemacell.tracking.runs.evaluation import log_evaluation

    pairs = [(row, label, each, predictions[row]) for row, label in matched if not isinstance(each := shown[row], str)]
    read = [(row, label, each, made) for row, label, each, made in pairs if not isinstance(made, str)]
    answers = Answers(
        np.stack([made.probabilities for *_, made in read]),
        np.array([made.distance for *_, made in read]),
        np.array([made.none_of_these for *_, made in read]),
    )
    names = [cells.places[row] for row, *_ in read]
    scored = Predictions(
        model.classes,
        SPLIT,
        tuple(names),
        tuple(hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest() for name in names),
        np.array([label for _, label, *_ in read], np.int64),
        np.asarray(answers.probabilities, np.float32),
        tuple(cells.names[row] for row, *_ in read),  # cells of one field are not independent
    )
    evaluation = evaluate(scored, acceptance_of(model.config, answers), intervals=True)
    figures = evaluation_figures(evaluation, np.stack([each.pixels for _, _, each, _ in read]), crop=model.config.crop)
    log_evaluation(run, evaluation, figures, SPLIT)


def _verdicts(field: FieldBoxes) -> Iterator[tuple[str, Sequence[float], str, str]]:
    """(verdict, box, class found, true class) of each box of a field."""
    of = matches(field)
    found, true = np.asarray(field.found).reshape(-1, 4), np.asarray(field.true).reshape(-1, 4)
    for at, match in enumerate(of):
        truth = field.true_labels[match] if match >= 0 else ""
        yield FOUND if match >= 0 else FALSE, found[at], field.found_labels[at], truth
    for at in sorted(set(range(len(true))) - set(of.tolist())):
        yield MISSED, true[at], "", field.true_labels[at]


def _table(fields: Inputs, boxes: Sequence[FieldBoxes]) -> pd.DataFrame:
    rows = [
        (name, *np.round(box, 1), verdict, label, truth)
        for name, field in zip(fields.names, boxes, strict=True)
        for verdict, box, label, truth in _verdicts(field)
    ]
    return pd.DataFrame(rows, columns=["image", *BOX_COLUMNS, "verdict", "class", "label"])


def _log_drawn(run: Tracker, fields: Inputs, boxes: Sequence[FieldBoxes]) -> None:
    """Store some fields with the boxes that were found, missed and false: those with mistakes first."""
    from hemacell.fields.drawing import DrawnBox, draw_boxes

    drawn = [[(verdict, box) for verdict, box, *_ in _verdicts(field)] for field in boxes]
    mistakes = [sum(verdict != FOUND for verdict, _ in own) for own in drawn]
    with tempfile.TemporaryDirectory() as scratch:
        order = np.argsort(-np.array(mistakes), kind="stable")[:_MOST_DRAWN].tolist()
        for number, field in enumerate(order):
            picture = read_image(fields.path(field), fields.bits)
            if isinstance(picture, str):
                continue
            shown = [DrawnBox((x0, y0, x1, y1), verdict) for verdict, (x0, y0, x1, y1) in drawn[field]]
            name = f"{number:02} {Path(fields.names[field]).stem}.jpg"
            draw_boxes(np.asarray(picture), shown, _VERDICTS).save(Path(scratch) / name, quality=85)
        run.artifact(Path(scratch), f"{SPLIT}/drawn")


def scores_in_words(metrics: dict[str, float]) -> str:
    """A short table of the scores of a run, for the screen."""
    from hemacell.reporting.tables import score_table

    own = {name.removeprefix(f"{SPLIT}/"): value for name, value in metrics.items() if name.startswith(f"{SPLIT}/")}
    found = {name.removeprefix("detection/"): value for name, value in own.items() if name.startswith("detection/")}
    lines = [
        f"white cells: {found['found']:.0f} found, {found['cells']:.0f} there",
        score_table([("white cells", found)], ["recall", "precision", "average_precision"]),
    ]
    if "accuracy" in own:
        keys = ("accuracy", "balanced_accuracy", "macro_f1")
        lines.append(score_table([("found cells", own)], keys))
    names = [name.removeprefix("end_to_end/recall/") for name in own if name.startswith("end_to_end/recall/")]
    if names:
        scores = ("recall", "precision", "average_precision")
        rows = [(n, {s: own[k] for s in scores if (k := f"end_to_end/{s}/{n}") in own}) for n in sorted(names)]
        lines += ["found and classified:", score_table(rows, scores)]
    return "\n".join(lines)
