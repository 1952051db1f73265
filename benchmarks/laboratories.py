"""A registered classifier in other laboratories: as it is, adapted without labels, and with a few labels.

    python benchmarks/laboratories.py --model models:/hemacell-wbc@champion --laboratories lisc:DIR,jtsc:DIR,chula:DIR

Prints macro-F1 and its standard error for each laboratory. With labels it is the mean over draws of labels, whose
standard deviation follows; the cells that are not labelled are scored, whole groups on either side. Classes with fewer
than four images are left out; F1 is averaged over the others.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import f1_score

from hemacell.classifiers.adaptation import adapted
from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.folder import load_folder
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.site_head import last_layers_of, move_layers
from hemacell.config.laboratories import parse_laboratories
from hemacell.core.cache import cache_dir
from hemacell.core.threads import available_cores, set_threads
from hemacell.data.groups import known_groups
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.labelled import ALL, labelled_images
from hemacell.evaluation.groups import group_numbers, group_weights
from hemacell.framing.decoding import decode_framed, measure_images
from hemacell.framing.site import estimate_site
from hemacell.tracking.registry.classifiers import classes_of, find_classifier
from hemacell.tracking.registry.lookup import fetch

LEAST = 4  # images of a class
RESAMPLES = 300


class Cells(NamedTuple):
    """Labelled cells of a laboratory."""

    pixels: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    """number of the group of each cell; its own where groups are not known"""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="hemacell-wbc")
    parser.add_argument("--laboratories", required=True)
    parser.add_argument("--labels", default="5,10,20")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--threads", type=int, default=available_cores())
    asked = parser.parse_args()
    set_threads(asked.threads)
    folder = fetch(find_classifier(asked.model), cache_dir())
    model = load_folder(folder)
    amounts = [int(each) for each in asked.labels.split(",") if each]
    head = " | ".join(["laboratory", "cells", "plain", "adapted", *(f"{each} labels per class" for each in amounts)])
    print(f"| {head} |\n|{' --- |' * (4 + len(amounts))}", flush=True)
    for name, place in parse_laboratories(asked.laboratories).items():
        own, cells = _read(model, Path(place), classes_of(folder))
        embedded = CellImages(np.arange(len(cells.labels)), cells.labels, own.embed_pixels(cells.pixels))
        moved = adapted(own, cells.pixels, embedded.embeddings)
        scores = [
            _with_error(way.predict_embedded(cells.pixels, embedded).probabilities, cells) for way in (own, moved)
        ]
        given = last_layers_of(moved, cells.pixels, embedded)
        for amount in amounts:
            found = []
            for chosen in _draws(cells, amount, asked.draws):
                layers = move_layers(given.of(chosen), cells.labels[chosen], model.classes).layers
                rest = np.setdiff1d(np.arange(len(cells.labels)), _with_groups(cells, chosen))
                found.append(_macro_f1(given.of(rest).probabilities(layers), cells.labels[rest]))
            scores.append(f"{np.mean(found):.3f} ± {np.std(found, ddof=1):.3f}" if len(found) > 1 else "-")
        print(f"| {' | '.join([name, str(len(cells.labels)), *scores])} |", flush=True)


def _read(model: ClassifierModel, folder: Path, classes: tuple[str, ...]) -> tuple[ClassifierModel, Cells]:
    config = model.config
    assert config.framing is not None, "a classifier with crop=auto is expected"
    small, found = measure_images(labelled_images(folder, classes, ALL, SourceOptions()), cache_dir())
    site = estimate_site(found, config.site)
    decoded = decode_framed(small, found, site, config.framing, config.decoded_size, cache_dir()).decoded
    labels = decoded.manifest.labels
    kept = np.flatnonzero(np.bincount(labels, minlength=len(classes))[labels] >= LEAST)
    numbers = group_numbers(known_groups(decoded.manifest))
    groups = np.arange(len(labels)) if numbers is None else numbers
    return model.of_site(site), Cells(np.asarray(decoded.array[kept]), labels[kept], groups[kept])


def _draws(cells: Cells, amount: int, draws: int) -> Iterator[np.ndarray]:
    """Positions of labelled cells, so many of each class: one of each group, as long as half of the groups remain."""
    for draw in range(draws):
        rng = np.random.default_rng([draw, amount])
        chosen = []
        for label in np.unique(cells.labels):
            own = rng.permutation(np.flatnonzero(cells.labels == label))
            _, first = np.unique(cells.groups[own], return_index=True)
            firsts = own[np.sort(first)]
            chosen.append(firsts[: min(amount, len(firsts) // 2)])
        yield np.concatenate(chosen)


def _with_groups(cells: Cells, chosen: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(cells.groups, cells.groups[chosen]))


def _macro_f1(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean F1 over the classes that there are."""
    present = np.unique(labels)
    found = f1_score(
        labels, probabilities.argmax(1), labels=present, average="macro", sample_weight=weights, zero_division=0
    )
    return float(found)


def _with_error(probabilities: np.ndarray, cells: Cells) -> str:
    """macro-F1 and its standard error over resampled groups."""
    weights = group_weights(cells.groups, len(cells.labels), RESAMPLES, np.random.default_rng(0))
    error = np.std([_macro_f1(probabilities, cells.labels, each) for each in weights])
    return f"{_macro_f1(probabilities, cells.labels):.3f} (s.e. {error:.3f})"


if __name__ == "__main__":
    main()
