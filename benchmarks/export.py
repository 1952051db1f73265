"""How fast a classifier predicts as ONNX and in torch, in float32.

    python benchmarks/export.py --images DIR --model models:/hemacell-wbc@champion [--limit 64] [--rounds 5]

Both get the same decoded pictures and the same threads, and take turns; the figures are medians over the rounds. What
is exported is what the job `export` registers; nothing is logged.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from hemacell.classifiers.folder import load_folder
from hemacell.classifiers.onnx_file import (
    BATCH,
    OnnxClassifier,
    difference,
    export_onnx,
    images_per_second,
    require_onnx,
)
from hemacell.config.jobs import ExportSettings
from hemacell.core.cache import cache_dir
from hemacell.core.threads import available_cores, set_threads
from hemacell.prediction.inputs import read_inputs
from hemacell.prediction.read_ahead import read_square
from hemacell.tracking.registry.classifiers import find_classifier
from hemacell.tracking.registry.lookup import fetch


def main() -> None:
    """Export, compare, take turns and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True)
    parser.add_argument("--model", default=ExportSettings().model)
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--limit", type=int, default=64, help="so many images, spread over the folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=BATCH, help="images at once, in onnxruntime")
    asked = parser.parse_args()

    require_onnx()
    inputs = read_inputs(asked.images)
    model = find_classifier(asked.model)
    set_threads(asked.threads)
    predictor = load_folder(fetch(model, cache_dir()))
    rows = np.unique(np.linspace(0, len(inputs) - 1, asked.limit).round().astype(int)).tolist()
    found = [read_square(inputs.path(row), predictor.config.decoded_size) for row in rows]
    pixels = np.stack([picture for picture in found if not isinstance(picture, str)])
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model.onnx"
        export_onnx(predictor, file, {})
        exported = OnnxClassifier(file, asked.threads)
        size = file.stat().st_size / 2**20
    apart = difference(predictor.predict_pixels(pixels), exported.predict_pixels(pixels))
    rates = images_per_second(
        {"torch": predictor.predict_pixels, "onnx": lambda images: exported.predict_pixels(images, asked.batch)},
        pixels,
        asked.rounds,
    )
    print(
        f"{model.uri}: {len(pixels)} images, {asked.threads} threads, float32, {predictor.config.views} views, "
        f"encoders {','.join(predictor.config.encoders) or 'none'}, median of {asked.rounds} rounds: torch "
        f"{rates['torch']:.1f} images/s, onnx {rates['onnx']:.1f} images/s, {rates['onnx'] / rates['torch']:.2f} times "
        f"as fast; {size:.1f} MiB; {apart.in_words()}"
    )


if __name__ == "__main__":
    main()
