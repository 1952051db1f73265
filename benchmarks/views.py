"""What averaging over more flips and turns brings: val macro-F1 of registered classifiers, by the number of views.

    python benchmarks/views.py --data DIR --models models:/hemacell-wbc/1,models:/hemacell-wbc/2 [--views 1,2,4,8]

The default of `tta_views` follows from it. About a minute per classifier for 1,029 val cells on two cores.
"""

import argparse
from pathlib import Path

import numpy as np

from hemacell.classifiers.folder import load_folder
from hemacell.classifiers.model import ClassifierModel
from hemacell.core.cache import cache_dir
from hemacell.data import decoding
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.splits import official_splits
from hemacell.evaluation.metrics import classification_metrics
from hemacell.tracking.registry.classifiers import find_classifier
from hemacell.tracking.registry.lookup import fetch


def main() -> None:
    """Print a row for each classifier, and their mean."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--models", required=True, help="addresses with commas between")
    parser.add_argument("--views", default="2,8")
    asked = parser.parse_args()
    numbers = [int(number) for number in asked.views.split(",")]
    everything = official_splits(read_manifest(Path(asked.data), "wbc", SourceOptions(masks=False)))
    val = everything.part("val")

    print(f"| val macro-F1, {len(val)} cells | {' | '.join(f'{number} views' for number in numbers)} |")
    print(f"| --- |{' --- |' * len(numbers)}")
    rows = []
    for uri in asked.models.split(","):
        made = load_folder(fetch(find_classifier(uri), cache_dir()), "bf16")
        cells = decoding.decode(val, made.config.decoded_size, cache_dir())
        scores = []
        for number in numbers:
            config = made.config.model_copy(update={"views": number})
            predictor = ClassifierModel(config, made.network, made.frozen_encoders, made.detector, made.precision)
            predictions = predictor.predict_pixels(cells.array)
            found = classification_metrics(cells.manifest.labels, predictions.probabilities, val.classes)
            scores.append(found["macro_f1"])
        rows.append(scores)
        print(f"| {uri} | {' | '.join(f'{score:.4f}' for score in scores)} |", flush=True)
    print(f"| mean | {' | '.join(f'{score:.4f}' for score in np.mean(rows, 0))} |")


if __name__ == "__main__":
    main()
