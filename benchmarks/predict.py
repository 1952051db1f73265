"""How fast `predict` classifies a folder, and how much memory it takes.

    python benchmarks/predict.py --images DIR --model models:/hemacell-wbc@champion [--precision bf16] [--limit 2000]

Reads, classifies and writes as the job does, into a folder that is removed, and logs no run. Images per second
are those of the work alone: the start of the process and the loading of the model are not counted. The memory is the
largest that this process had, libraries and model included. With bf16 it also says how far predictions are from those
in float32.
"""

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from hemacell.classifiers.folder import load_folder
from hemacell.classifiers.model import ClassifierModel
from hemacell.config.jobs import PredictSettings
from hemacell.core.cache import cache_dir
from hemacell.core.progress import Progress
from hemacell.core.threads import available_cores, set_threads
from hemacell.prediction.inputs import Inputs, read_inputs
from hemacell.prediction.output import open_parts
from hemacell.prediction.predict_images import BATCHES_A_PART, at_their_scale, classify
from hemacell.prediction.read_ahead import read_square
from hemacell.tracking.registry.classifiers import find_classifier
from hemacell.tracking.registry.lookup import fetch

COMPARED = 600  # images whose predictions are compared with those in float32


def main() -> None:
    """Classify once and print a line."""
    defaults = PredictSettings(images="-", output="-")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True)
    parser.add_argument("--model", default=defaults.model)
    parser.add_argument("--precision", default=defaults.precision, choices=("float32", "bf16"))
    parser.add_argument("--device", default=defaults.device, choices=("auto", "cpu", "cuda"))
    parser.add_argument("--crop", type=lambda text: text if text == "auto" else float(text), default=defaults.crop)
    parser.add_argument("--batch", type=int, default=defaults.batch)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--limit", type=int, default=0, help="only so many images, from the first on; 0 for all")
    asked = parser.parse_args()

    inputs = read_inputs(asked.images)
    if asked.limit:
        few = {name: getattr(inputs, name)[: asked.limit] for name in ("names", "places", "smears")}
        inputs = replace(inputs, **few)
    model = find_classifier(asked.model)
    set_threads(asked.threads)
    loaded = load_folder(fetch(model, cache_dir()), asked.precision, asked.device, asked.crop)
    predictor = at_their_scale(loaded, inputs)
    before, begun = _peak(), time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "cells.csv"
        with open_parts(output, "benchmark", {}, len(inputs), asked.batch * BATCHES_A_PART) as parts:
            threads = asked.threads if predictor.device.type == "cpu" else 1
            speed = classify(predictor, inputs, parts, model.uri, asked.batch, Progress("classifying"), threads)
            processor = 1000 * (time.process_time() - begun) / max(1, speed.images)
            parts.publish(lambda digest: None)
        size = output.stat().st_size
    print(
        f"{speed.images} images, {asked.threads} threads, {asked.precision}, {predictor.config.views} views, encoders "
        f"{','.join(predictor.config.encoders) or 'none'}: {speed.images_per_second:.1f} images/s, "
        f"{processor:.1f} ms of processor time per image, peak memory "
        f"{_peak():.0f} MiB ({before:.0f} MiB before the first image), {size / 2**20:.1f} MiB written"
    )
    if asked.precision != "float32":
        _compare(predictor, load_folder(fetch(model, cache_dir()), "float32", asked.device, asked.crop), inputs)


def _compare(quick: ClassifierModel, exact: ClassifierModel, inputs: Inputs) -> None:
    """How far the predictions are from those in float32."""
    rows = np.unique(np.linspace(0, len(inputs) - 1, COMPARED).round().astype(int))
    read = [read_square(inputs.path(row), exact.config.decoded_size) for row in rows]
    pixels = np.stack([square for square in read if not isinstance(square, str)])
    one, other = (each.predict_pixels(pixels).probabilities for each in (quick, exact))
    apart = np.abs(one - other)
    print(
        f"against float32, {len(pixels)} images: probabilities differ by {apart.max():.3f} at most, {apart.mean():.5f} "
        f"in the mean; {(one.argmax(1) != other.argmax(1)).sum()} have another class"
    )


def _peak() -> float:
    """Largest resident memory so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
