"""ONNX exports in MLflow's registry."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hemacell.classifiers.onnx_file import BATCH, INPUT, OUTPUTS
from hemacell.core.errors import UserError
from hemacell.core.files import atomic_write, sha256_of
from hemacell.tracking.registry.lookup import RegisteredModel, card_of, resolve
from hemacell.tracking.registry.registration import attach_card
from hemacell.tracking.runs.existing import existing_run
from hemacell.tracking.runs.tracker import Tracker
from hemacell.tracking.schema import CHAMPION, DATA_KIND, EXPORT_OF, MODEL_TYPE, ONNX_DIGEST, REGISTERED, SAMPLE
from hemacell.tracking.store import get_client

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

    from hemacell.classifiers.description import ClassifierConfig

_REQUIREMENTS = ("mlflow", "onnx", "onnxruntime", "numpy", "pandas")
_MODEL_FILE = "model.onnx"  # as MLflow names it


def register_onnx(
    file: Path, model: RegisteredModel, config: ClassifierConfig, run: Tracker, checked: str
) -> RegisteredModel:
    """Log an exported classifier as an ONNX model of the run, and register it as the next version of `<name>-onnx`.

    Args:
        file: the export.
        model: the classifier that it was made from.
        config: of that classifier.
        run: the open run, the innermost one.
        checked: in words, how far its outputs are from those of the classifier; for its card.
    """
    import mlflow
    import onnx

    name = f"{model.name}-onnx"
    tags = {MODEL_TYPE: "onnx", EXPORT_OF: model.uri, ONNX_DIGEST: sha256_of(file)}
    if model.data_kind:
        tags[DATA_KIND] = model.data_kind
    logged = mlflow.onnx.log_model(
        onnx.load(file),
        name=name,
        signature=_signature(config),
        input_example=np.full((1, config.decoded_size, config.decoded_size, 3), 200, np.uint8),
        pip_requirements=[f"{package}=={installed(package)}" for package in _REQUIREMENTS],
        onnx_execution_providers=["CPUExecutionProvider"],  # what it was checked on
        save_as_external_data=False,  # one file, which can be taken as it is
        metadata=tags,
        tags=tags,
        registered_model_name=name,
    )
    version = str(logged.registered_model_version)
    card = _card(name, model, config, checked)
    attach_card(run, logged.model_id, name, version, card)
    for key, value in tags.items():
        run.client.set_model_version_tag(name, version, key, value)
    run.tags({REGISTERED: f"models:/{name}/{version}", ONNX_DIGEST: tags[ONNX_DIGEST]})
    return resolve(f"models:/{name}/{version}")


def export_of_run(run_id: str) -> RegisteredModel:
    """The export that a finished run has registered."""
    return resolve(existing_run(run_id).data.tags[REGISTERED])


def follow_aliases(model: RegisteredModel, export: RegisteredModel) -> tuple[str, ...]:
    """Give the export those of the aliases `champion…` and `sample` that the classifier itself has; returns them."""
    client = get_client()
    followed = tuple(alias for alias in model.aliases if alias.startswith((CHAMPION, SAMPLE)))
    for alias in followed:
        client.set_registered_model_alias(export.name, alias, export.version)
    return followed


def check_free(output: Path, digest: str, force: bool) -> None:
    """Check that a file may be written: it does not exist, may be overwritten, or is this very export already.

    Args:
        output: the file.
        digest: sha256 of the export, '' where it is not registered yet.
        force: overwrite it, whatever it is.

    Raises:
        UserError: it is another file.
    """
    if output.exists() and not force and sha256_of(output) != digest:
        raise UserError(
            f"{output} exists already and is not this export: type force=true to overwrite it, or name another output"
        )


def write_onnx(export: RegisteredModel, output: Path) -> None:
    """Write a registered export as a file, which appears whole or not at all."""
    if output.exists() and sha256_of(output) == export.tags[ONNX_DIGEST]:
        return
    with _fetched(export) as file, atomic_write(output) as temporary:
        shutil.copyfile(file, temporary)


@contextmanager
def _fetched(export: RegisteredModel) -> Iterator[Path]:
    import mlflow

    with tempfile.TemporaryDirectory() as scratch:
        folder = mlflow.artifacts.download_artifacts(artifact_uri=export.uri, dst_path=scratch)
        yield Path(folder) / _MODEL_FILE


def _signature(config: ClassifierConfig) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    shapes: Mapping[str, tuple[int, ...]] = {
        name: (-1, len(config.classes)) if name == OUTPUTS[0] else (-1,) for name in OUTPUTS
    }
    images = TensorSpec(np.dtype(np.uint8), (-1, config.decoded_size, config.decoded_size, 3), INPUT)
    return ModelSignature(
        Schema([images]), Schema([TensorSpec(np.dtype(np.float32), shape, name) for name, shape in shapes.items()])
    )


def _card(name: str, model: RegisteredModel, config: ClassifierConfig, checked: str) -> str:
    side = config.decoded_size
    pictures = f"the central square of each image, resized to {side} pixels a side (bilinear, antialiased)"
    if config.framing:
        pictures = "framed by `hemacell.framing.frame` with the `framing` and `site` in the file's metadata"
    return (
        f"# {name}: {model.uri} for onnxruntime\n\n"
        f"Input `{INPUT}`: uint8 [N, {side}, {side}, 3], RGB, {pictures}; batches of {BATCH} need little memory. "
        f"Outputs: `{OUTPUTS[0]}`, float32 [N, {len(config.classes)}], of {', '.join(config.classes)}; "
        f"`{OUTPUTS[1]}` and `{OUTPUTS[2]}`, float32 [N]. An image needs review where its greatest probability is "
        f"below {config.confidence_threshold:.4g}, where the distance is above 1 (out of distribution), and where "
        f"`{OUTPUTS[2]}` is above 1 (like none of the classes)."
        f"\n\nChecked against {model.uri} in torch, float32: {checked}.\n\n"
        f"What follows is the card of {model.uri}.\n\n{card_of(model)}"
    )
