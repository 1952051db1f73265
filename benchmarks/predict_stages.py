"""What `predict` spends its time on: processor time per image of each stage, one thread.

    python benchmarks/predict_stages.py --images DIR --model models:/hemacell-wbc@champion [--limit 128]

Processor time, the least of three rounds, depends little on what else the machine does.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from hemacell.classifiers.folder import load_folder
from hemacell.classifiers.model import PixelClassifier
from hemacell.config.jobs import PredictSettings
from hemacell.core.cache import cache_dir
from hemacell.core.threads import set_threads
from hemacell.data.augmentation import dihedral_views
from hemacell.framing.frame import frame
from hemacell.framing.site import measured
from hemacell.prediction.inputs import read_inputs
from hemacell.prediction.predict_images import at_their_scale
from hemacell.prediction.read_ahead import read_image
from hemacell.prediction.table import prediction_table
from hemacell.tracking.registry.classifiers import find_classifier
from hemacell.tracking.registry.lookup import fetch

AT_ONCE = 16  # images


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True)
    parser.add_argument("--model", default=PredictSettings(images="-", output="-").model)
    parser.add_argument("--limit", type=int, default=128, help="images, from the first on; all can be read")
    asked = parser.parse_args()
    set_threads(1)
    inputs = read_inputs(asked.images)
    model = at_their_scale(load_folder(fetch(find_classifier(asked.model), cache_dir())), inputs)
    paths = [inputs.path(row) for row in range(min(asked.limit, len(inputs)))]
    images = [image for image in map(read_image, paths) if not isinstance(image, str)]
    print("| stage | ms per image |\n| --- | --- |")
    _row("read and decode a file", len(paths), lambda: [read_image(path) for path in paths])
    if model.config.framing and model.site:
        site, framing, size = model.site, model.config.framing, model.config.decoded_size
        found = [measured(image) for image in images]
        pairs = list(zip(images, found, strict=True))
        _row("find the nucleus", len(images), lambda: [measured(image) for image in images])
        _row("frame", len(images), lambda: [frame(image, site, framing, size, each) for image, each in pairs])
    pictures = [model.picture(image) for image in images]
    with torch.no_grad():
        _networks(model, np.stack([each.pixels for each in pictures[:AT_ONCE]]))
    predictions = model.predict_framed(pictures)
    rows = len(predictions)
    table = model.classes, model.confidence_threshold, predictions
    _row("table", rows, lambda: prediction_table(*table))
    _row(f"all from a picture on, {model.config.views} views", rows, lambda: model.predict_framed(pictures))


def _networks(model: Any, pixels: np.ndarray) -> None:
    """Rows for what is computed of framed pictures."""
    count, views = len(pixels), model.config.views
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    seen = model.crop(scaled)
    _row("what the cell network sees", count, lambda: model.crop(scaled))
    embeddings = []
    for name, encoder, crop in zip(model.config.encoders, model.frozen_encoders, model.encoder_crops, strict=True):
        shown = crop(scaled) if encoder.invariant else dihedral_views(crop(scaled), views)
        _row(f"encoder {name}", count, partial(encoder, shown))
        embeddings.append(encoder(shown).repeat(views, 1) if encoder.invariant else encoder(shown))
    turned = dihedral_views(seen, views)
    _row("classifier, cell network included", count, lambda: model.network.logits(turned, embeddings))
    if isinstance(model.network, PixelClassifier):
        _row("its early features alone", count, lambda: model.network.early_features(seen))


def _row(name: str, count: int, work: Callable[[], object]) -> None:
    work()
    found = []
    for _ in range(3):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    print(f"| {name} | {1000 * min(found) / count:.2f} |", flush=True)


if __name__ == "__main__":
    main()
