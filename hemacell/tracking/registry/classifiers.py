"""Registered classifiers as a job meets them before it loads one: found, and described without importing torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemacell.classifiers.description import DESCRIPTION, TRAINED_ON
from hemacell.core.errors import UserError, in_one_line
from hemacell.core.text import did_you_mean
from hemacell.tracking.registry.lookup import (
    DataKind,
    RegisteredModel,
    alias_for,
    aliases_of,
    find,
    find_alias,
    resolve,
)
from hemacell.tracking.schema import CHAMPION, CLASSIFIER, EXPORT_OF, MODEL_TYPE, SEEN_IN_TRAINING, SITE_ALIAS

if TYPE_CHECKING:
    from hemacell.data.manifest import Manifest


def find_classifier(model: str, kind: DataKind | None = None, site: str = "") -> RegisteredModel:
    """Look up a classifier, or the version of it that was adapted to a laboratory.

    Args:
        model: as `lookup.resolve` takes it; a bare name is its `champion`, or its `sample` for the built-in sample.
        kind: of the images to be classified; None where that is not known, as in a program that calls `hemacell.load`.
        site: name of the laboratory; '' for the model as it is.

    Raises:
        UserError: there is no such model, or no version of it for this laboratory, it is not a classifier of hemacell,
            or it was trained on the built-in sample and the images are real.
    """
    found = resolve(model, kind)
    made = found.tags.get(MODEL_TYPE)
    if made == "onnx":
        raise UserError(
            f"{found.uri} is an ONNX export, which onnxruntime and mlflow.pyfunc load: give the classifier that it was "
            f"made from, {found.tags[EXPORT_OF]}"
        )
    if made != "classifier":
        raise UserError(
            f"{found.uri} is not a classifier of hemacell{', but an encoder' if made == 'encoder' else ''}: "
            f"give one such as models:/{CLASSIFIER}@{CHAMPION}"
        )
    return _for_site(found, site, kind) if site else found


def _for_site(model: RegisteredModel, site: str, kind: DataKind | None) -> RegisteredModel:
    if find_alias(model.name, SITE_ALIAS.format(site)):
        return resolve(f"models:/{model.name}@{SITE_ALIAS.format(site)}", kind)
    prefix = SITE_ALIAS.format("")
    known = [alias.removeprefix(prefix) for alias in aliases_of(model.name) if alias.startswith(prefix)]
    there = f"there are {', '.join(known)}" if known else "there are no others"
    raise UserError(
        f"site={site}: no version of {model.name} is adapted to it ({there}); make one: "
        f"mlflow run . -e adapt -P images=DIR -P site={site}{did_you_mean(site, known)}"
    )


def default_classifier(kind: DataKind) -> RegisteredModel:
    """The default classifier for images of this kind: `champion`, or `sample`.

    Raises:
        UserError: none is registered yet; the line says how to make one.
    """
    found = find(CLASSIFIER, kind)
    if found is None:
        train = "-P fraction=0.5" if kind == "sample" else "-P data=DIR"
        raise UserError(
            f"no classifier of {'the built-in sample' if kind == 'sample' else 'real images'} is registered in this "
            f"store as models:/{CLASSIFIER}@{alias_for(kind)}. Make one: mlflow run . -e wbc {train}"
        )
    return found


def classes_of(folder: Path) -> tuple[str, ...]:
    """Names of a fetched classifier's classes, in the order of its probabilities.

    Raises:
        UserError: the folder does not hold a classifier.
    """
    return tuple(_described(folder, DESCRIPTION)["classes"])


def doubts(model: RegisteredModel, folder: Path, images: Manifest) -> tuple[dict[str, object], list[str]]:
    """Reasons to doubt scores of this classifier on these images.

    Args:
        model: the classifier.
        folder: its own files, fetched.
        images: what it will be scored on.

    Returns:
        Tags (`data.seen_in_training`: the number of images, file for file, that it was trained on), and warnings, one
        line each.
    """
    seen, lines = seen_in_training(folder, images), []
    if seen is None:
        lines.append(f"{model.uri} does not list its training images; these may be among them")
    elif seen:
        lines.append(f"{seen} of {len(images)} images are among its training images: these scores are too good")
    return {SEEN_IN_TRAINING: "unknown" if seen is None else seen}, lines


def seen_in_training(folder: Path, images: Manifest) -> int | None:
    """Number of images that a fetched classifier was trained on, file for file; None where it does not list them."""
    if not (folder / TRAINED_ON).exists():
        return None
    return int(images.table["sha256"].isin(trained_on(folder)).sum())


def trained_on(folder: Path) -> set[str]:
    """sha256 of each image that a fetched classifier was trained on.

    Raises:
        UserError: the folder does not list them.
    """
    return set(_described(folder, TRAINED_ON))


def _described(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder}: expected a classifier with {name}, found {in_one_line(error)}; if the download was damaged, "
            "remove this folder, and it is fetched again"
        ) from error
