"""What is claimed about speed: images per second of each step, on this machine.

    python benchmarks/speed.py --data DIR [--images 512]

Decoding from files and reading back, embedding by each frozen encoder, training steps with and without encoders, and
classifying in use. Nothing is read from or written to the user's cache. About two minutes on two cores.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from hemacell.classifiers.cell_task import CellTask, training_augmentation
from hemacell.classifiers.cells import cell_images
from hemacell.classifiers.description import ClassifierConfig
from hemacell.classifiers.fusion_network import FusedClassifier
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.ood import MahalanobisDetector
from hemacell.config.jobs import WbcSettings
from hemacell.data import decoding
from hemacell.data.augmentation import AugmentationConfig
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.splits import official_splits
from hemacell.data.subsets import limit
from hemacell.encoders.embeddings import StoredViews
from hemacell.encoders.frozen import create_encoder
from hemacell.encoders.registry import ENCODERS
from hemacell.framing.description import central_part
from hemacell.training.loop import LoopSettings, fit


def main() -> None:
    """Measure each step once and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--steps", type=int, default=30)
    asked = parser.parse_args()
    settings = WbcSettings().resolved()
    manifest = limit(official_splits(read_manifest(Path(asked.data), "wbc")), asked.images)
    print(
        f"{len(manifest)} images, {torch.get_num_threads()} threads, {settings.precision}\n"
        "| step | images/s |\n| --- | --- |"
    )

    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch)
        _row("decode from files", len(manifest), lambda: decoding.decode(manifest, settings.decoded_size, cache))
        cells = decoding.decode(manifest, settings.decoded_size, cache)
        _row("read back", len(cells), lambda: np.asarray(cells.array).copy())
        encoders = {
            name: create_encoder(ENCODERS[name].source(name).config).with_crop(
                settings.encoder_size, central_part(settings)
            )
            for name in ("prcc", "camelyon")
        }
        part = cells.manifest
        few_images = limit(part, 15)
        one_view, many_views = StoredViews(1, augmented=True), StoredViews(16, augmented=True)
        for name, encoder in encoders.items():
            _row(
                f"embed 16 views of 15 images with {name}",
                len(few_images),
                partial(cell_images, cells, few_images, [encoder], many_views, cache / "few", settings.precision),
            )
            for what in ("embed with", "read back the embeddings of"):
                _row(
                    f"{what} {name}",
                    len(part),
                    partial(cell_images, cells, part, [encoder], one_view, cache, settings.precision),
                )
        for arm, used in {"none": [], "prcc,camelyon": list(encoders.values())}.items():
            images = cell_images(cells, part, used, one_view, cache, settings.precision)
            task = CellTask(
                cells.array,
                images,
                images,
                training_augmentation(list(part.table["sha256"]), one_view),
                size=settings.image_size,
                crop=central_part(settings),
                batch_size=settings.batch_size,
                seed=0,
                jitter=AugmentationConfig(**settings.jitter),
            )
            network = FusedClassifier(len(manifest.classes), {str(i): e.width for i, e in enumerate(used)})
            loop = LoopSettings(steps=2 * asked.steps, learning_rate=1e-3, num_evals=2, precision=settings.precision)
            rate = fit(task, network, loop).history[-1]["images_per_second"]
            print(f"| train, encoders={arm} | {rate:.0f} |", flush=True)
            few = np.array(cells.array[:128])
            for views, precision in ((1, "bf16"), (8, "bf16"), (1, "float32")):
                config = ClassifierConfig(
                    classes=manifest.classes,
                    decoded_size=settings.decoded_size,
                    size=settings.image_size,
                    crop=central_part(settings),
                    views=views,
                    encoders=tuple(encoders if used else ()),
                )
                model = ClassifierModel(config, network, used, precision=precision)
                features = model.features(few, np.arange(len(few)))
                model = model.calibrated(MahalanobisDetector.fit(features, np.zeros(len(few), int)))
                _row(
                    f"classify, encoders={arm}, {views} views, {precision}",
                    128,
                    partial(model.predict_pixels, few),
                )


def _row(what: str, count: int, work: Callable[[], object]) -> None:
    started = time.perf_counter()
    work()
    print(f"| {what} | {count / (time.perf_counter() - started):.0f} |", flush=True)


if __name__ == "__main__":
    main()
