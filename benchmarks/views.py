"""What averaging over more flips and turns brings on val: macro-F1 and log loss of registered classifiers.

    python benchmarks/views.py --data DIR --models models:/hemacell-wbc/1,models:/hemacell-wbc/2 [--views 1,2,4,8]

The default of `tta_views` follows from it. Log losses are at the temperature that fits each number of views. About
a minute per classifier for 1,029 val cells on two cores.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from hemacell.classifiers.folder import load_folder
from hemacell.classifiers.model import ClassifierModel
from hemacell.core.cache import cache_dir
from hemacell.core.threads import map_in_threads
from hemacell.data.boxes import read_path
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.splits import official_splits
from hemacell.evaluation.metrics import classification_metrics
from hemacell.evaluation.temperature import apply_temperature, fit_temperature, log_probabilities
from hemacell.tracking.registry.classifiers import find_classifier
from hemacell.tracking.registry.lookup import fetch


def main() -> None:
    """Print a row for each classifier, and their mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--models", required=True, help="addresses with commas between")
    parser.add_argument("--views", default="1,2,8")
    asked = parser.parse_args()
    numbers = [int(number) for number in asked.views.split(",")]
    everything = official_splits(read_manifest(Path(asked.data), "wbc", SourceOptions(masks=False)))
    val = everything.part("val")

    print(f"| val macro-F1, log loss, {len(val)} cells | {' | '.join(f'{number} views' for number in numbers)} |")
    print(f"| --- |{' --- |' * len(numbers)}")
    rows = []
    for uri in asked.models.split(","):
        made = load_folder(fetch(find_classifier(uri), cache_dir()))
        made = made.of_site(made.config.site)
        pixels = np.stack(list(map_in_threads(partial(_pixels, made), val.table["path"])))
        scores = []
        for number in numbers:
            config = made.config.model_copy(update={"views": number, "temperature": 1.0})
            predictor = ClassifierModel(config, made.network, made.frozen_encoders, made.detector)
            scores.append(_scores(predictor.predict_pixels(pixels).probabilities, val.labels, val.classes))
        rows.append(scores)
        print(f"| {uri} | {_in_words(scores)} |", flush=True)
    print(f"| mean | {_in_words(np.mean(rows, 0))} |")


def _pixels(model: ClassifierModel, path: str) -> np.ndarray:
    return model.picture(read_path(path).image).pixels


def _scores(raw: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> tuple[float, float]:
    temperature = fit_temperature(log_probabilities(raw), labels)
    found = classification_metrics(labels, apply_temperature(raw, temperature), classes)
    return found["macro_f1"], found["nll"]


def _in_words(scores: np.ndarray | list[tuple[float, float]]) -> str:
    return " | ".join(f"{score:.4f}, {loss:.4f}" for score, loss in scores)


if __name__ == "__main__":
    main()
