"""What is claimed about cells of none of the classes: each class is left out of a training, and then looked for.

    python benchmarks/open_set.py --data DIR --keep FOLDER [--steps 0] [--laboratories lisc:DIR,chula:DIR]

Trains a classifier without each class by the steps of `wbc` (one that lies in FOLDER already is taken), calibrates it
on val without that class, and scores test: the area under the ROC curve between the cells of the other classes and
those of the one left out, the share of these that is flagged where 5 % of the others are, and both shares at the limit
that the calibration has set. In other laboratories: the shares that are flagged as the classifier is, and adapted to
their pictures without labels. About ten minutes of two cores for each class, less with fewer --steps.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from hemacell.classifiers.adaptation import adapted
from hemacell.classifiers.calibration import calibrate
from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.description import OPEN_SET_THRESHOLD
from hemacell.classifiers.folder import load_folder, save_folder
from hemacell.classifiers.model import ClassifierModel
from hemacell.config.jobs import WbcSettings
from hemacell.config.laboratories import parse_laboratories
from hemacell.data.manifest import Manifest
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.labelled import ALL, labelled_images
from hemacell.jobs import classifier as steps
from hemacell.jobs.classifier import EmbeddedCells
from hemacell.jobs.context import RunContext, start_job
from hemacell.jobs.images import decode_cells
from hemacell.jobs.training import set_up
from hemacell.jobs.wbc_inputs import draw_images, find_inputs
from hemacell.tracking.runs.tracker import Tracker

FALSE_ALARMS = 0.05  # at which detectors are compared


def main() -> None:
    """Train, score and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--laboratories", default="")
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    settings = WbcSettings.checked(
        data=asked.data,
        encoders=("imagenet", "morphology"),
        steps=asked.steps,
        threads=asked.threads,
        precision="float32",
        register_model=False,
        num_evals=1,
    )
    job = start_job("wbc", settings)
    inputs = find_inputs(job)
    manifest = draw_images(job.settings, inputs.images, job.source.root)
    with job.open(manifest, "") as run:
        device = set_up(job)
        loaded = steps.load_cells(job, run, inputs.images, manifest)
        cells = steps.embed_cells(job, run, loaded, inputs.encoders, device)
        places = parse_laboratories(asked.laboratories)
        elsewhere: dict[str, tuple[np.ndarray, CellImages]] = {}
        print("| left out | AUROC | found at 5 % false alarms | found at the limit | false alarms at the limit |")
        print(f"|{' --- |' * 5}", flush=True)
        rows = []
        flagged: dict[str, list[list[float]]] = {name: [] for name in places}
        for number, name in enumerate(manifest.classes):
            model = _classifier(job, run, cells, number, asked.keep / name)
            rows.append(_on_test(model, cells, number))
            print(f"| {name} | {_in_words(rows[-1])} |", flush=True)
            for lab, place in places.items():
                if lab not in elsewhere:
                    elsewhere[lab] = _read(job, model, Path(place), manifest.classes)
                flagged[lab].append(_elsewhere(model, *elsewhere[lab], number))
        print(f"| mean | {_in_words(np.mean(rows, 0))} |", flush=True)
    if flagged:
        print("\n| laboratory | false alarms | found | false alarms, adapted | found, adapted |")
        print(f"|{' --- |' * 5}")
    for lab, each in flagged.items():
        shares = np.nanmean(each, 0)
        print(f"| {lab} | {' | '.join(f'{share:.0%}' for share in shares)} |")


def _classifier(
    job: RunContext[WbcSettings], run: Tracker, cells: EmbeddedCells, left_out: int, folder: Path
) -> ClassifierModel:
    """A classifier that does not know one of the classes, calibrated without it."""
    own, settings = _without(cells, left_out), job.settings
    if not folder.exists():
        fitted = steps.fit_method(job, run, own, None, set_up(job))
        found, _ = steps.calibrate_on_val(job, run, own, fitted, set_up(job))
        save_folder(folder, found.model, sorted(own.parts["train"].table["sha256"]))
    model, val = load_folder(folder), own.images["val"]
    rates = settings.target_risk, settings.ood_false_positive_rate
    return calibrate(
        model, own.decoded.array, val, *rates, open_set_false_positive_rate=settings.open_set_false_positive_rate
    ).model


def _without(cells: EmbeddedCells, left_out: int) -> EmbeddedCells:
    """The cells of the other classes, whose numbers close up."""
    name = cells.manifest.classes[left_out]
    kept = tuple(each for each in cells.manifest.classes if each != name)

    def others(manifest: Manifest) -> Manifest:
        return replace(manifest.select((manifest.table["label"] != name).to_numpy()), classes=kept)

    def other_cells(images: CellImages) -> CellImages:
        own = images.select(np.flatnonzero(images.labels != left_out))
        return replace(own, labels=own.labels - (own.labels > left_out))

    return replace(
        cells,
        manifest=others(cells.manifest),
        parts={split: others(part) for split, part in cells.parts.items()},
        images={split: other_cells(images) for split, images in cells.images.items()},
    )


def _on_test(model: ClassifierModel, cells: EmbeddedCells, left_out: int) -> list[float]:
    """AUROC, share found at `FALSE_ALARMS`, and at the limit the shares of the left-out and of the other classes."""
    images = cells.images["test"]
    score = model.predict_embedded(cells.decoded.array, images).none_of_these
    unknown = images.labels == left_out
    cut = np.quantile(score[~unknown], 1 - FALSE_ALARMS)
    shares = ((score > limit)[part].mean() for limit, part in _cuts(cut, unknown))
    return [float(roc_auc_score(unknown, score)), *map(float, shares)]


def _cuts(cut: float, unknown: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
    yield cut, unknown
    yield OPEN_SET_THRESHOLD, unknown
    yield OPEN_SET_THRESHOLD, ~unknown


def _in_words(row: np.ndarray | list[float]) -> str:
    return f"{row[0]:.3f} | {row[1]:.0%} | {row[2]:.0%} | {row[3]:.1%}"


def _read(
    job: RunContext[WbcSettings], model: ClassifierModel, folder: Path, classes: tuple[str, ...]
) -> tuple[np.ndarray, CellImages]:
    """Another laboratory's pictures and their embeddings, which are the same for all of these classifiers."""
    config = model.config
    manifest = labelled_images(folder, classes, ALL, SourceOptions())
    decoded = decode_cells(job, manifest, config.framing, config.decoded_size, known=config.site).decoded
    labels, embeddings = decoded.manifest.labels, model.embed_pixels(decoded.array)
    return decoded.array, CellImages(np.arange(len(labels)), labels, embeddings)


def _elsewhere(model: ClassifierModel, pixels: np.ndarray, cells: CellImages, left_out: int) -> list[float]:
    """Shares of the other classes and of the left-out one that are flagged: as the classifier is, and adapted."""
    unknown = cells.labels == left_out
    ways = model, adapted(model, pixels, cells.embeddings)
    flagged = [way.predict_embedded(pixels, cells).is_unknown for way in ways]
    return [float(found[part].mean()) for found in flagged for part in (~unknown, unknown)]


if __name__ == "__main__":
    main()
