"""Register a trained model: log it as an MLflow model without a pickle, and move the aliases."""

from __future__ import annotations

import base64
import io
import logging
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import hemacell
from hemacell.prediction.table import prediction_columns
from hemacell.tracking.registry.champion import Candidate, Rescore, classes_digest, decide, write_scores
from hemacell.tracking.registry.lookup import FOLDER, DataKind, ModelType, RegisteredModel, resolve
from hemacell.tracking.runs.tracker import Tracker, canonical
from hemacell.tracking.schema import (
    CARD,
    CLASSES,
    CLASSES_DIGEST,
    DATA_KIND,
    DECISION,
    MODEL_TYPE,
    REGISTERED,
    SITE_ALIAS,
    SITE_OF,
    VAL_SCORE,
)
from hemacell.tracking.serving.payload import COLUMN

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

logger = logging.getLogger(__name__)

# What a served model imports, and nothing that only training needs.
REQUIREMENTS = (
    *("mlflow", "torch", "torchvision", "timm", "safetensors", "pydantic", "numpy", "pandas"),
    *("pillow", "tifffile", "imagecodecs"),  # the one reader of images
    *("scipy", "scikit-image"),  # what measures nucleus and cell
)

#: Parts of the package that are not copied with a model.
_LEFT_BEHIND = ("jobs", "reporting", "execution", "cli.py")

_EXAMPLE_SIDE = 64

MOST_DESCRIBED = 5000  # the width of the column in MLflow's tables, which not every database overlooks


def register(
    folder: Path,
    name: str,
    *,
    run: Tracker,
    model: ModelType,
    kind: DataKind,
    val_score: float,
    val_images: Mapping[str, float],
    cache: Path,
    val_groups: Mapping[str, str] | None = None,
    classes: Sequence[str] = (),
    tags: Mapping[str, object] | None = None,
    card: str = "",
    rescore: Rescore | None = None,
    trial: bool = False,
) -> RegisteredModel:
    """Log a folder as a model of the run, register it as the next version of `name`, and move the alias that it earns.

    What the sample trained becomes `sample`; what real data trained becomes `champion` where it is the first, or better
    than the champion (see `champion.decide`). The reason is shown, and kept in the version's tag `champion.decision`.

    Args:
        folder: what `classifiers.model.load_folder` or `encoders.frozen.load_encoder` reads; no pickle.
        name: registered name, such as `hemacell-wbc`.
        run: the open run that trained it.
        model: which of the two it is.
        kind: on which kind of data it was trained.
        val_score: its score on the validation images, for people.
        val_images: sha256 of each of these images -> score on it, such as 1 for right and 0 for wrong.
        cache: where a champion's files are fetched to.
        val_groups: sha256 of each of these images -> its patient or slide; None or empty where they are not known.
        classes: names of a classifier's classes, in order.
        tags: further tags of the version.
        card: the model card (Markdown): README.md inside the model, and the version's description.
        rescore: scores on these images of the model in the folder that it is given. None means that a champion is
            compared on the validation images that it shares.
        trial: trained for a quick try, on a part of the images (`limit=`).

    Returns:
        The new version, with its tags and the aliases that it has now.

    Raises:
        ValueError: the score is not finite, the folder holds a pickle, or the run is not the innermost open one.
    """
    _check(folder, val_score)
    all_tags = {MODEL_TYPE: model, DATA_KIND: kind, VAL_SCORE: repr(float(val_score))}
    if classes:
        all_tags |= {CLASSES: ",".join(classes), CLASSES_DIGEST: classes_digest(classes)}
    all_tags |= {key: canonical(value) for key, value in (tags or {}).items()}
    version = _log(folder, name, run, model, all_tags, card, val_images)
    decision = decide(Candidate(name, kind, trial, tuple(classes), val_images, rescore, val_groups), cache)
    if decision.alias:
        run.client.set_registered_model_alias(name, decision.alias, version)
    run.client.set_model_version_tag(name, version, DECISION, decision.reason)
    uri = f"models:/{name}/{version}"
    run.tags({REGISTERED: uri})
    logger.info(f"registered {uri}{f' @{decision.alias}' if decision.alias else ''}: {decision.reason}")
    return resolve(uri)


def register_for_site(
    folder: Path, name: str, site: str, *, run: Tracker, kind: DataKind, tags: Mapping[str, object], card: str
) -> RegisteredModel:
    """Log a classifier that was adapted to a laboratory, and register it under the alias `site-<site>`.

    It never becomes champion: it was not compared on the champion's val images, and is meant for one laboratory.

    Args:
        folder, name, run, kind, card: see `register`.
        site: name of the laboratory.
        tags: of the version.

    Raises:
        ValueError: as for `register`.
    """
    _check(folder)
    all_tags = {MODEL_TYPE: "classifier", DATA_KIND: kind, SITE_OF: site}
    all_tags |= {key: canonical(value) for key, value in tags.items()}
    version = _log(folder, name, run, "classifier", all_tags, card, {})
    run.client.set_registered_model_alias(name, SITE_ALIAS.format(site), version)
    uri = f"models:/{name}/{version}"
    run.tags({REGISTERED: uri})
    logger.info(f"registered {uri} @{SITE_ALIAS.format(site)}")
    return resolve(uri)


def _check(folder: Path, score: float = 0.0) -> None:
    if not math.isfinite(score):
        raise ValueError(f"the validation score of {folder} is {score}: such a model is not registered")
    pickles = [path.name for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".pth", ".pt", ".ckpt")]
    if pickles:
        raise ValueError(f"{folder} holds {', '.join(pickles)}, which may be pickles: store weights as safetensors")


def _log(
    folder: Path,
    name: str,
    run: Tracker,
    model: ModelType,
    tags: Mapping[str, str],
    card: str,
    val_images: Mapping[str, float],
) -> str:
    """Log and register; returns the number of the new version."""
    import mlflow

    from hemacell.tracking.serving.limits import LIMITS

    active = mlflow.active_run()
    if active is None or active.info.run_id != run.run_id:
        raise ValueError(f"run {run.run_id} is not the innermost open run: register inside its `track`")
    with tempfile.TemporaryDirectory() as scratch, _no_bytecode():
        package = copy_package(Path(scratch) / "hemacell")
        logged = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(package / "tracking" / "serving" / f"served_{model}.py"),
            artifacts={FOLDER: str(folder)},
            # The key must be there, or limits could not be given later; the defaults are not written out, because
            # MLflow would make each of them a parameter of the run.
            model_config={LIMITS: {}},
            code_paths=[str(package)],
            pip_requirements=requirements(),
            signature=signature(model, folder),
            input_example=input_example(),
            metadata=dict(tags),
            tags=dict(tags),
            registered_model_name=name,
        )
        run.client.log_model_artifact(logged.model_id, str(write_scores(Path(scratch), val_images)))
    version = str(logged.registered_model_version)
    if card:
        attach_card(run, logged.model_id, name, version, card)
    return version


@contextmanager
def _no_bytecode() -> Iterator[None]:
    """MLflow imports the sources where it has put them: what Python compiles would become part of the model."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def attach_card(run: Tracker, model_id: str, name: str, version: str, card: str) -> None:
    """Put a model card (Markdown) into a logged model as README.md, and into its version as the description.

    Stores take a description of `MOST_DESCRIBED` characters; of a longer card the description has the beginning.
    """
    with tempfile.TemporaryDirectory() as scratch:
        readme = Path(scratch) / CARD
        readme.write_text(card, encoding="utf-8")
        run.client.log_model_artifact(model_id, str(readme))
    if len(card) > MOST_DESCRIBED:
        end = "\n\n… the rest is in README.md of the model."
        card = card[: MOST_DESCRIBED - len(end)] + end
    run.client.update_model_version(name, version, description=card)


def copy_package(target: Path) -> Path:
    """Copy this package's sources, which travel with the model: it needs no installed hemacell to be served.

    Rooms that a served model has no use for stay behind.
    """
    source = Path(hemacell.__file__).parent
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", *_LEFT_BEHIND)))


def requirements() -> list[str]:
    """The packages that a served model needs, at the versions that run here.

    A local build's mark (`+cpu`) is left out: no package index has a version of that name.
    """
    return [f"{package}=={installed(package).split('+')[0]}" for package in REQUIREMENTS]


def signature(model: ModelType, folder: Path) -> ModelSignature:
    """Input and output tables of the model in this folder, once it is served.

    The image column is declared as text: MLflow then passes base64 through JSON and CSV as it is, and raw bytes too,
    whereas a `binary` column leaves the base64 of a CSV undecoded.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec
    from mlflow.types.schema import Array, DataType

    if model == "encoder":
        outputs: list[ColSpec | TensorSpec] = [ColSpec(Array(DataType.double), "embedding"), ColSpec("string", "why")]
    else:
        from hemacell.classifiers.folder import load_folder

        types = {"class": "string", "needs_review": "boolean", "why": "string"}
        outputs = [
            ColSpec(types.get(column, "double"), column) for column in prediction_columns(load_folder(folder).classes)
        ]
    return ModelSignature(Schema([ColSpec("string", COLUMN)]), Schema(outputs))


def input_example() -> pd.DataFrame:
    """A table with one small picture, drawn here: a violet disc on a pale ground."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    rows, columns = np.mgrid[:_EXAMPLE_SIDE, :_EXAMPLE_SIDE] - _EXAMPLE_SIDE // 2
    pixels = np.full((_EXAMPLE_SIDE, _EXAMPLE_SIDE, 3), (235, 220, 215), np.uint8)
    pixels[rows**2 + columns**2 < (_EXAMPLE_SIDE // 4) ** 2] = (110, 60, 140)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return pd.DataFrame({COLUMN: [base64.b64encode(file.getvalue()).decode("ascii")]})
