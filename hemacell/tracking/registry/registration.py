"""Register a trained model: log it as an MLflow model without a pickle, and move the aliases."""

from __future__ import annotations

import base64
import io
import math
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import hemacell
from hemacell.core.errors import UserError
from hemacell.prediction.table import prediction_columns
from hemacell.tracking.registry.lookup import FOLDER, DataKind, ModelType, RegisteredModel, fetch, find, resolve
from hemacell.tracking.runs.tracker import Tracker, canonical
from hemacell.tracking.schema import (
    CHAMPION,
    DATA_KIND,
    DECISION,
    MODEL_TYPE,
    REGISTERED,
    SAMPLE,
    VAL_DIGEST,
    VAL_SCORE,
)
from hemacell.tracking.serving.payload import COLUMN

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

# What a served model imports, and nothing that only training needs.
REQUIREMENTS = ("mlflow", "torch", "torchvision", "timm", "safetensors", "pydantic", "numpy", "pandas", "pillow")

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
    val_digest: str,
    cache: Path,
    tags: Mapping[str, object] | None = None,
    card: str = "",
    rescore: Callable[[Path], float] | None = None,
    trial: bool = False,
) -> RegisteredModel:
    """Log a folder as a model of the run, register it as the next version of `name`, and move its alias.

    What the sample trained becomes `sample`. What real data trained becomes `champion` if there is none yet, or if its
    score on the validation images is greater than the champion's; a champion that was scored on other images is scored
    on these by `rescore`. The reason is kept in the version's tag `champion.decision`.

    Args:
        folder: what `inference.predictor.load_folder` (a classifier) or `encoders.frozen.load_encoder` (an encoder)
            reads; no pickle.
        name: registered name, such as `hemacell-wbc`.
        run: the open run that trained it.
        model: which of the two it is.
        kind: on which kind of data it was trained.
        val_score: its score on the validation images, greater is better.
        val_digest: digest of these images, which says whether two scores can be compared.
        cache: where a champion's files are fetched to.
        tags: further tags of the version.
        card: the model card (Markdown): README.md inside the model, and the version's description.
        rescore: gives the score, on these validation images, of the model in the folder that it is given. None means
            that a champion of other images stays.
        trial: trained for a quick try, on a part of the images (`limit=`): never a champion, not even the first.

    Returns:
        The new version, with the aliases that it has now.

    Raises:
        ValueError: the score is not finite, the folder holds a pickle, or the run is not the innermost open one.
    """
    if not math.isfinite(val_score):
        raise ValueError(f"the validation score of {name} is {val_score}: such a model is not registered")
    pickles = [path.name for path in folder.rglob("*") if path.suffix in (".pkl", ".pickle", ".pth", ".pt", ".ckpt")]
    if pickles:
        raise ValueError(f"{folder} holds {', '.join(pickles)}, which may be pickles: store weights as safetensors")

    all_tags = {MODEL_TYPE: model, DATA_KIND: kind, VAL_SCORE: repr(float(val_score)), VAL_DIGEST: val_digest}
    all_tags.update({key: canonical(value) for key, value in (tags or {}).items()})
    before = find(name, kind)
    version = _log(folder, name, run, model, all_tags, card)

    if kind == "sample":
        moves, decision = True, "trained on the built-in sample: never a champion"
    elif trial:
        moves, decision = False, "trained on a part of the images (limit=): never a champion"
    else:
        moves, decision = _compare(before, val_score, val_digest, cache, rescore)
    if moves:
        run.client.set_registered_model_alias(name, SAMPLE if kind == "sample" else CHAMPION, version)
    run.client.set_model_version_tag(name, version, DECISION, decision)
    run.tags({REGISTERED: f"models:/{name}/{version}"})
    return resolve(f"models:/{name}/{version}")


def _compare(
    champion: RegisteredModel | None,
    score: float,
    digest: str,
    cache: Path,
    rescore: Callable[[Path], float] | None,
) -> tuple[bool, str]:
    """Whether the new model becomes champion, and why."""
    if champion is None:
        return True, "the first version trained on real data"
    if champion.tags.get(VAL_DIGEST) == digest:
        theirs = float(champion.tags[VAL_SCORE])
        how = "on the same validation images"
    elif rescore is not None:
        try:
            theirs = rescore(fetch(champion, cache))
        except UserError as error:  # a champion that cannot be read costs nobody the model that was just trained
            return False, f"{champion.uri} was validated on other images and could not be scored on these: {error}"
        how = "scored again on these validation images"
    else:
        return False, f"{champion.uri} was validated on other images and could not be scored on these"
    relation = ">" if score > theirs else "<="
    return score > theirs, f"{score:.4f} {relation} {theirs:.4f} of {champion.uri}, {how}"


def _log(
    folder: Path,
    name: str,
    run: Tracker,
    model: ModelType,
    tags: Mapping[str, str],
    card: str,
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
            # The key must be there, or nobody could give others; the defaults are not written out, because MLflow would
            # make each of them a parameter of the run.
            model_config={LIMITS: {}},
            code_paths=[str(package)],
            pip_requirements=requirements(),
            signature=signature(model, folder),
            input_example=input_example(),
            metadata=dict(tags),
            tags=dict(tags),
            registered_model_name=name,
        )
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
        readme = Path(scratch) / "README.md"
        readme.write_text(card, encoding="utf-8")
        run.client.log_model_artifact(model_id, str(readme))
    if len(card) > MOST_DESCRIBED:
        end = "\n\n… the rest is in README.md of the model."
        card = card[: MOST_DESCRIBED - len(end)] + end
    run.client.update_model_version(name, version, description=card)


def copy_package(target: Path) -> Path:
    """Copy this package's sources, which travel with the model: it needs no installed hemacell to be served."""
    source = Path(hemacell.__file__).parent
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__")))


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
