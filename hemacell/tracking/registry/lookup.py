"""Find models in MLflow's registry and fetch their files."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hemacell.core.errors import UserError
from hemacell.core.files import atomic_folder
from hemacell.core.text import nearest
from hemacell.tracking.schema import CHAMPION, DATA_KIND, SAMPLE
from hemacell.tracking.store import get_client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

DataKind = Literal["sample", "folder"]
ModelType = Literal["encoder", "classifier"]

# The key of the model's own folder among the artifacts of the logged model; served_*.py read it by this name.
FOLDER = "model"

_URI = re.compile(r"models:/(?P<name>[^/@:]+)(?:/(?P<version>[^/@]+)|@(?P<alias>[^/@]+))?")
_MODEL_ID = re.compile(r"m-[0-9a-f]{32}")
_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class RegisteredModel:
    """One version in the registry, or a logged model that is addressed by its id (`version` is '' then)."""

    name: str
    version: str
    model_id: str
    run_id: str
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def uri(self) -> str:
        """The address that always means this very model."""
        return f"models:/{self.name}/{self.version}" if self.version else f"models:/{self.model_id}"

    @property
    def short_name(self) -> str:
        """`prcc` for `hemacell-prcc-encoder`."""
        return self.name.removeprefix("hemacell-").removesuffix("-encoder")

    @property
    def data_kind(self) -> str:
        """What it was trained on: `sample`, `folder`, or '' for a model from elsewhere."""
        return self.tags.get(DATA_KIND, "")


def alias_for(kind: DataKind) -> str:
    """The alias that a job on such data looks for."""
    return SAMPLE if kind == "sample" else CHAMPION


def find(name: str, kind: DataKind) -> RegisteredModel | None:
    """The model of this registered name that a job on data of this kind takes by default, or None."""
    return find_alias(name, alias_for(kind))


def find_alias(name: str, alias: str) -> RegisteredModel | None:
    """The version of a registered model with this alias, or None."""
    from mlflow.exceptions import MlflowException

    client = get_client()
    try:
        return _registered(client.get_model_version_by_alias(name, alias))
    except MlflowException as error:
        if error.error_code in _NOT_FOUND:
            return None
        raise


def aliases_of(name: str) -> list[str]:
    """The aliases of a registered model that exists, sorted."""
    return sorted(get_client().get_registered_model(name).aliases)


def resolve(model: str, kind: DataKind | None = None) -> RegisteredModel:
    """Look up what a user typed.

    Args:
        model: `models:/name/version`, `models:/name@alias`, `models:/name/latest`, `models:/m-…`, or the bare name of a
            registered model, which means its `champion` (its `sample` for a job on the sample).
        kind: the kind of data that it is wanted for; `folder` refuses what the built-in sample trained.

    Raises:
        UserError: no such name (the nearest are named), version or alias; an address of another form; a model of
            the sample for a job on real data.
    """
    client = get_client()
    found = _look_up(client, model, kind)
    if kind == "folder" and found.data_kind == "sample":
        raise UserError(
            f"{found.uri} was trained on the built-in sample of drawn images, and these images are not of it: give a "
            f"model of real data, such as models:/{found.name}@{CHAMPION}, or train one (data=DIR)"
        )
    return found


def fetch(model: str | RegisteredModel, cache: Path) -> Path:
    """Local folder with the model's own files (its weights and settings), downloaded once into `cache`.

    A model never changes under its id, so what is there is not asked for again. The download is renamed into place
    when it is whole: two processes may fetch at once, and one that is killed leaves no half model.

    Raises:
        UserError: as for `resolve`; or this package did not register the model.
    """
    import mlflow

    registered = resolve(model) if isinstance(model, str) else model
    target = cache / "models" / registered.model_id
    if not target.is_dir():
        get_client()
        with atomic_folder(target) as partial:
            mlflow.artifacts.download_artifacts(artifact_uri=registered.uri, dst_path=str(partial))
    return _own_folder(target, registered)


def card_of(model: RegisteredModel) -> str:
    """The model card, as registered; '' without one."""
    if not model.version:
        return ""
    return get_client().get_model_version(model.name, model.version).description or ""


def exists(model: RegisteredModel) -> bool:
    """Whether the files of the model are still where the registry says."""
    return "MLmodel" in model_files(model)


def model_files(model: RegisteredModel) -> set[str]:
    """The names at the top of a logged model's folder; empty where it was deleted."""
    from mlflow.exceptions import MlflowException

    client = get_client()
    try:
        return {file.path for file in client.list_logged_model_artifacts(model.model_id)}
    except MlflowException as error:
        if error.error_code in _NOT_FOUND:
            return set()
        raise


def _look_up(client: MlflowClient, model: str, kind: DataKind | None) -> RegisteredModel:
    from mlflow.exceptions import MlflowException

    if ":" not in model and "/" not in model and "@" not in model:
        _check_name(client, model)
        model = f"models:/{model}@{alias_for(kind or 'folder')}"
    match = _URI.fullmatch(model)
    if match is None:
        bare = re.sub(r"^\w*:/*", "", model)
        raise UserError(
            f"{model!r} is not the address of a registered model: expected models:/NAME/VERSION or models:/NAME@ALIAS"
            + (f"; did you mean models:/{bare}?" if _URI.fullmatch(f"models:/{bare}") else "")
        )
    name, version, alias = match["name"], match["version"], match["alias"]
    if not version and not alias:
        if _MODEL_ID.fullmatch(name):
            try:
                return _logged(client.get_logged_model(name))
            except MlflowException as error:
                if error.error_code not in _NOT_FOUND:
                    raise
                raise UserError(f"there is no model with the id {name}: copy it from the MLflow pages") from error
        _check_name(client, name)
        raise UserError(f"{model} names no version: type models:/{name}@{CHAMPION}, or one of {_choices(client, name)}")
    _check_name(client, name)
    try:
        if alias or version == "latest":
            return _registered(client.get_model_version_by_alias(name, alias or version))
        return _registered(client.get_model_version(name, version))
    except MlflowException as error:
        if error.error_code not in _NOT_FOUND:
            raise
        missing = f"alias {alias!r}" if alias else f"version {version!r}"
        raise UserError(f"{name} has no {missing}: type one of {_choices(client, name)}") from error


def _check_name(client: MlflowClient, name: str) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
        return
    except MlflowException as error:
        if error.error_code not in _NOT_FOUND:
            raise
    names = [model.name for model in client.search_registered_models(max_results=1000)]
    store = mlflow.get_registry_uri()
    if not names:
        raise UserError(f"there is no model {name!r}: nothing is registered yet in {store}; train one first")
    near = nearest(name, names, count=3) or sorted(names)[:10]
    raise UserError(f"there is no model {name!r} in {store}; registered are: {', '.join(near)}")


def _choices(client: MlflowClient, name: str) -> str:
    aliases = aliases_of(name)
    newest = client.search_model_versions(f"name='{name}'", max_results=5, order_by=["version_number DESC"])
    return ", ".join([f"models:/{name}@{a}" for a in aliases] + [f"models:/{name}/{v.version}" for v in newest])


def _registered(version: ModelVersion) -> RegisteredModel:
    # With MLflow's SQL stores the model's id is only in the source (`models:/m-…`). A version that was registered from
    # a folder, not from a logged model, has none: its address stands in.
    model_id = version.model_id or (version.source or "").removeprefix("models:/")
    if not _MODEL_ID.fullmatch(model_id):
        model_id = hashlib.sha256(f"{version.name}/{version.version}/{version.source}".encode()).hexdigest()[:32]
    return RegisteredModel(
        name=version.name,
        version=str(version.version),
        model_id=model_id,
        run_id=version.run_id or "",
        tags=dict(version.tags),
        aliases=tuple(version.aliases),
    )


def _logged(model: LoggedModel) -> RegisteredModel:
    return RegisteredModel(
        name=model.name, version="", model_id=model.model_id, run_id=model.source_run_id or "", tags=dict(model.tags)
    )


def _own_folder(download: Path, registered: RegisteredModel) -> Path:
    from mlflow.models import Model

    try:
        entry = Model.load(str(download)).flavors["python_function"]["artifacts"][FOLDER]
    except KeyError as error:
        raise UserError(
            f"{registered.uri} was not registered by hemacell: give one of its encoders or classifiers"
        ) from error
    return download / entry["path"]
