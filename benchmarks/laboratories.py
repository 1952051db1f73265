"""Registered classifiers in other laboratories: as they are, adapted without labels, and with a few labels.

    python benchmarks/laboratories.py --models models:/hemacell-wbc/1,models:/hemacell-wbc/2 --laboratories lisc:DIR

Give classifiers of the same recipe with several seeds: scores are means over them. Prints, for each laboratory,
macro-F1 with its standard error over resampled cells (groups where these are known), the shares that are flagged, and
the F1 of each class. With labels it is the mean over classifiers and draws of labels with its standard deviation; the
cells that are not labelled are scored, whole groups on either side. Classes with fewer than four cells are left out.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import f1_score

from hemacell.classifiers.adaptation import adapted
from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.folder import load_folder
from hemacell.classifiers.model import ClassifierModel
from hemacell.config.laboratories import parse_laboratories
from hemacell.core.cache import cache_dir
from hemacell.core.threads import available_cores, set_threads
from hemacell.data.groups import known_groups
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.labelled import ALL, labelled_images
from hemacell.evaluation.groups import group_numbers, group_weights
from hemacell.evaluation.label_draws import scored_classes
from hemacell.framing.decoding import decode_framed, measure_images
from hemacell.framing.site import estimate_site
from hemacell.jobs.site_labels import scores_with_labels
from hemacell.tracking.registry.classifiers import classes_of, find_classifier
from hemacell.tracking.registry.lookup import fetch

RESAMPLES = 300
WAYS = ("plain", "adapted")


class Way(NamedTuple):
    """Scores of one way of classifying a laboratory's cells without its labels."""

    macro_f1: float
    error: float
    flagged: float
    per_class: np.ndarray


class Found(NamedTuple):
    """Scores of one classifier in a laboratory."""

    cells: int
    classes: Sequence[str]
    ways: Mapping[str, Way]
    """plain and adapted"""
    labels: Mapping[int, Mapping[str, list[float]]]


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="hemacell-wbc", help="of one recipe, with commas between")
    parser.add_argument("--laboratories", required=True)
    parser.add_argument("--labels", default="5,10,20")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores())
    asked = parser.parse_args()
    set_threads(asked.threads)
    amounts = [int(each) for each in asked.labels.split(",") if each]
    found: dict[str, list[Found]] = {}
    for address in asked.models.split(","):
        folder = fetch(find_classifier(address), cache_dir())
        model = load_folder(folder)
        for name, place in parse_laboratories(asked.laboratories).items():
            found.setdefault(name, []).append(_measure(model, Path(place), classes_of(folder), amounts, asked.draws))
    _print_summary(found, amounts)
    _print_classes(found)


def _measure(
    model: ClassifierModel, folder: Path, classes: tuple[str, ...], amounts: Sequence[int], draws: int
) -> Found:
    config = model.config
    assert config.framing is not None, "a classifier with crop=auto is expected"
    small, sizes = measure_images(labelled_images(folder, classes, ALL, SourceOptions()), cache_dir())
    site = estimate_site(sizes, config.site)
    decoded = decode_framed(small, sizes, site, config.framing, config.decoded_size, cache_dir()).decoded
    own, pixels, manifest = model.of_site(site), decoded.array, decoded.manifest
    scored, labels = scored_classes(manifest.labels), manifest.labels
    rows = np.flatnonzero(np.isin(labels, scored))
    cells = CellImages(np.arange(len(labels)), labels, own.embed_pixels(pixels)).select(rows)
    groups = known_groups(manifest)
    groups = tuple(groups[row] for row in rows) if groups else ()
    moved = adapted(own, pixels, cells.embeddings if len(rows) == len(labels) else own.embed_pixels(pixels))
    ways = {name: _way(each, pixels, cells, scored, groups) for name, each in (("plain", own), ("adapted", moved))}
    learnt = scores_with_labels(moved, pixels, cells, groups, amounts, draws)
    return Found(len(rows), [classes[label] for label in scored], ways, learnt)


def _way(
    model: ClassifierModel, pixels: np.ndarray, cells: CellImages, scored: np.ndarray, groups: Sequence[str]
) -> Way:
    found = model.predict_embedded(pixels, cells)
    called = found.probabilities.argmax(1)
    weights = group_weights(group_numbers(groups), len(called), RESAMPLES, np.random.default_rng(0))
    resampled = [_f1(cells.labels, called, scored, each).mean() for each in weights]
    per_class = _f1(cells.labels, called, scored)
    return Way(float(per_class.mean()), float(np.std(resampled)), float(found.is_ood.mean()), per_class)


def _f1(labels: np.ndarray, called: np.ndarray, scored: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    return np.asarray(f1_score(labels, called, labels=scored, average=None, sample_weight=weights, zero_division=0))


def _print_summary(found: Mapping[str, Sequence[Found]], amounts: Sequence[int]) -> None:
    labels = [f"{each} labels per class" for each in amounts]
    head = ["laboratory", "cells", "plain", "adapted", *labels, "flagged plain", "flagged adapted"]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for name, each in found.items():
        row = [name, str(each[0].cells), *(_words([one.ways[way] for one in each]) for way in WAYS)]
        for amount in amounts:
            values = [value for one in each if amount in one.labels for value in one.labels[amount]["macro_f1"]]
            row.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "-")
        row += [f"{np.mean([one.ways[way].flagged for one in each]):.1%}" for way in WAYS]
        print(f"| {' | '.join(row)} |", flush=True)


def _words(ways: Sequence[Way]) -> str:
    return f"{np.mean([each.macro_f1 for each in ways]):.3f} (s.e. {np.mean([each.error for each in ways]):.3f})"


def _print_classes(found: Mapping[str, Sequence[Found]]) -> None:
    classes = list(dict.fromkeys(name for each in found.values() for name in each[0].classes))
    print(f"\n| F1 | {' | '.join(classes)} |\n|{' --- |' * (1 + len(classes))}")
    for name, each in found.items():
        for way in WAYS:
            means = dict(zip(each[0].classes, np.mean([one.ways[way].per_class for one in each], axis=0), strict=True))
            shown = [f"{means[label]:.3f}" if label in means else "-" for label in classes]
            print(f"| {name}, {way} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
