"""The files of a run, read back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.entities import Run


@contextmanager
def files_of(run: Run) -> Iterator[Callable[[str], Path]]:
    """Fetch files of a run by their names; what lies in a folder of this machine is read where it is.

    MLflow's client asks the store for the run before each file, which takes longer than reading it.

    Raises:
        MlflowException, OSError: by what is yielded, where there is no such file.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    files = get_artifact_repository(run.info.artifact_uri)
    with tempfile.TemporaryDirectory() as scratch:
        target = None if isinstance(files, LocalArtifactRepository) else scratch
        yield lambda name: Path(files.download_artifacts(name, target))
