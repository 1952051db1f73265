"""What a few labels of another laboratory would bring: the last layers learn from some cells, the others are scored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hemacell.core.progress import Progress
from hemacell.data.groups import known_groups
from hemacell.evaluation.label_draws import LabelDraw, draws_of_labels, scored_classes
from hemacell.evaluation.laboratories import with_labels
from hemacell.evaluation.metrics import confusion_counts, confusion_metrics
from hemacell.tracking.runs.tracker import Tracker

if TYPE_CHECKING:
    from hemacell.classifiers.cells import CellImages
    from hemacell.classifiers.model import ClassifierModel
    from hemacell.framing.decoding import FramedImages

logger = logging.getLogger(__name__)

#: Draws of labels, over which scores are averaged.
DRAWS = 5


def evaluate_with_labels(
    run: Tracker,
    model: ClassifierModel,
    images: FramedImages,
    laboratory: str,
    cells: CellImages,
    amounts: Sequence[int],
    step: int = 0,
) -> None:
    """Log what a classifier scores in a laboratory after it has learnt from a few labels of each class there.

    Logged are means over draws of labels, and their standard deviations: `external_labels/<laboratory>/<amount>/…`.
    Classes of fewer than four cells are neither learnt nor scored.

    Args:
        run: the open run.
        model: adapted to the laboratory.
        images: all labelled images of the laboratory, framed for the classifier.
        laboratory: their name.
        cells: the same images, by `embed_images`.
        amounts: labels of each class.
        step: of the metrics.
    """
    manifest = images.decoded.manifest
    found = scores_with_labels(model, images.decoded.array, cells, known_groups(manifest), amounts, DRAWS)
    for amount, scores in found.items():
        prefix = with_labels(laboratory, amount)
        run.metrics({f"{prefix}/{name}": float(np.mean(values)) for name, values in scores.items()}, step)
        run.metrics({f"{prefix}/{name}_sd": float(np.std(values, ddof=1)) for name, values in scores.items()}, step)
    if found:
        shown = ", ".join(f"{np.mean(scores['macro_f1']):.3f}" for scores in found.values())
        logger.info(
            f"{laboratory}: macro-F1 {shown} with {', '.join(map(str, found))} labels per class there (means of "
            f"{DRAWS} draws of labels; the other cells are scored)"
        )


def scores_with_labels(
    model: ClassifierModel,
    pixels: np.ndarray,
    cells: CellImages,
    groups: Sequence[str],
    amounts: Sequence[int],
    draws: int,
) -> Mapping[int, Mapping[str, list[float]]]:
    """Scores of a classifier whose last layers have learnt from a few cells of a laboratory.

    Args:
        model: adapted to the laboratory.
        pixels: uint8 [M, decoded_size, decoded_size, 3].
        cells: N labelled ones of these, with their embeddings.
        groups: N; empty where they are not known.
        amounts: labels of each class.
        draws: of labels.

    Returns:
        Amount -> metric -> its value in each draw: `macro_f1` over the classes that are drawn from, `accuracy`, and
        `f1/<Class>` of these. Without amounts for which groups are too few; empty where there are fewer than two such
        classes, and for a classifier without linear last layers.
    """
    from hemacell.classifiers.site_head import last_layers_of, move_layers

    scored = scored_classes(cells.labels)
    if len(scored) < 2 or not model.network.last_layers:
        return {}
    given = last_layers_of(model, pixels, cells)
    f1 = [f"f1/{model.classes[label]}" for label in scored]
    progress = Progress("learning from a few labels", "draws")
    found: dict[int, dict[str, list[float]]] = {}
    for number, amount in enumerate(amounts):
        values: dict[str, list[float]] = {}
        drawn = list(draws_of_labels(cells.labels, groups, amount, draws))
        if not all(_can_be_scored(cells.labels, scored, each) for each in drawn):
            logger.warning(f"too few patients or slides to learn from {amount} labels of each class and score the rest")
            continue
        for draw, (labelled, rest) in enumerate(drawn):
            own = [groups[row] for row in labelled] if groups else ()
            layers = move_layers(given.of(labelled), cells.labels[labelled], model.classes, own).layers
            called = given.of(rest).probabilities(layers).argmax(1)
            counts = confusion_counts(cells.labels[rest], called, len(model.classes))
            scores = confusion_metrics(counts, model.classes)
            macro = {"macro_f1": np.mean([scores[name] for name in f1])}
            for name, value in (macro | {name: scores[name] for name in ("accuracy", *f1)}).items():
                values.setdefault(name, []).append(float(value))
            progress(number * draws + draw + 1, len(amounts) * draws)
        found[amount] = values
    return found


def _can_be_scored(labels: np.ndarray, scored: np.ndarray, draw: LabelDraw) -> bool:
    """Whether two classes or more are labelled, and every class is left to be scored."""
    return len(np.unique(labels[draw.labelled])) > 1 and set(labels[draw.scored]) == set(scored)
