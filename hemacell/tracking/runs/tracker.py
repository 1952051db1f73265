"""What a job says about its run: the only handle on MLflow that it is given."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hemacell.core.errors import UserError
from hemacell.tracking.schema import DATA_CONTEXT, MODEL_INPUT

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

FIGURE_DPI = 150
_DIGEST_LENGTH = 36


class Tracker:
    """Writes to one MLflow run. Every call is one request, so that a server far away costs little."""

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.experiment_id = experiment_id
        #: The result in words (Markdown) for the run's note, where its metrics do not say it.
        self.summary = ""

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log all values at one step, in one request."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(key, float(v), now, step) for key, v in values.items()])

    def tags(self, values: Mapping[str, object]) -> None:
        """Set all tags, in one request; values are written as parameters are (`true`, `0.5`, `a,b`)."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, canonical(value)) for key, value in values.items()])

    def figure(self, figure: Figure | Path, name: str) -> None:
        """Store a picture as `name` (such as `confusion_matrix.png`, folders allowed); a later one replaces it."""
        if isinstance(figure, Path):
            self.artifact(figure, name)
        else:
            self.client.log_figure(self.run_id, figure, name, save_kwargs={"dpi": FIGURE_DPI})

    def text(self, text: str, name: str) -> None:
        """Store a text file as `name`."""
        self.client.log_text(self.run_id, text, name)

    def json(self, content: Any, name: str) -> None:
        """Store an object as the JSON file `name`.

        Raises:
            ValueError: it holds NaN or infinity, which are no JSON.
        """
        self.client.log_text(self.run_id, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False), name)

    def artifact(self, path: Path, name: str = "") -> None:
        """Store a file or a folder, as `name` if given (folders allowed), else under its own name."""
        name = name or path.name
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), name)
            return
        target = PurePosixPath(name)
        folder = str(target.parent) if target.parent.name else None
        if path.name == target.name:
            self.client.log_artifact(self.run_id, str(path), folder)
            return
        # MLflow has no way to store a file under another name than its own.
        with tempfile.TemporaryDirectory() as renamed:
            copy = shutil.copyfile(path, Path(renamed) / target.name)
            self.client.log_artifact(self.run_id, str(copy), folder)

    def artifacts(self, folder: Path) -> None:
        """Store all that a folder holds, under the same names."""
        self.client.log_artifacts(self.run_id, str(folder))

    def data_input(
        self, digest: str, name: str, source: str, split_counts: Mapping[str, Mapping[str, int]], context: str
    ) -> None:
        """Record a data set as an input of the run.

        Args:
            digest: at most 36 characters (MLflow's limit): `Manifest.digest32`.
            name: such as `WBC_100`; the pages show it as `WBC_100: 616 train, 1029 val, 1545 test`.
            source: the folder that it was read from.
            split_counts: number of images for each split and class, shown as the data set's profile.
            context: what it was used for, such as `training` or `external/lisc`.

        Raises:
            ValueError: the digest is too long.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if len(digest) > _DIGEST_LENGTH:
            raise ValueError(f"a data set's digest has at most {_DIGEST_LENGTH} characters, this one {len(digest)}")
        counts = {split: sum(classes.values()) for split, classes in split_counts.items()}
        sizes = ", ".join(f"{count} {split or 'images'}" for split, count in counts.items())
        data_set = Dataset(
            name=f"{name}: {sizes}",
            digest=digest,
            source_type="local",
            source=json.dumps({"uri": source}),
            profile=json.dumps(
                {**{f"{split}_images": count for split, count in counts.items()}, "classes": split_counts}
            ),
        )
        tags = [InputTag(DATA_CONTEXT, context)]
        self.client.log_inputs(self.run_id, datasets=[DatasetInput(data_set, tags)])

    def model_inputs(self, uris: Sequence[str], role: str = "encoder") -> None:
        """Record registered models as inputs of the run, in the order given.

        Each is also tagged `<role>.<name> = models:/<registered name>/<version>`, where <name> is the registered name
        without `hemacell-` and `-encoder`: `encoder.prcc`, `classifier.wbc`.

        Args:
            uris: `models:/name/version`, `models:/name@alias` or `models:/m-…`.
            role: what the run uses them as.

        Raises:
            UserError: the registry has no such model.
        """
        from mlflow.entities import LoggedModelInput

        from hemacell.tracking.registry.lookup import resolve

        versions = [resolve(uri) for uri in uris]
        if not versions:
            return
        models = [LoggedModelInput(version.model_id) for version in versions]
        self.client.log_inputs(self.run_id, models=models)
        self.tags({MODEL_INPUT.format(role=role, name=version.short_name): version.uri for version in versions})


def canonical(value: object) -> str:
    """A setting as text, the same for the same value: `true`, `0.5`, `prcc,camelyon`, '' for None.

    Raises:
        TypeError: it is no scalar and no list of scalars.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, Path)):
        return str(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return ",".join(canonical(item) for item in value)
    raise TypeError(f"a setting is a scalar or a list of scalars, not {type(value).__name__}: {value!r}")


def log_settings(client: MlflowClient, run_id: str, settings: Mapping[str, object], may_change: frozenset[str]) -> None:
    """Log every setting as a parameter. On a run that has parameters already, only what is new.

    Raises:
        UserError: the run was started with another value of a setting that may not change.
    """
    from mlflow.entities import Param

    before = client.get_run(run_id).data.params
    now = {key: canonical(value) for key, value in settings.items()}
    changed = [key for key in now if key in before and before[key] != now[key] and key not in may_change]
    if changed:
        was = ", ".join(f"{key}={before[key]}" for key in changed)
        found = ", ".join(f"{key}={now[key]}" for key in changed)
        raise UserError(f"run {run_id} was started with {was}, not {found}: resume it with the same settings")
    client.log_batch(run_id, params=[Param(key, value) for key, value in now.items() if key not in before])
