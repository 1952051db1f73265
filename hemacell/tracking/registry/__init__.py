"""MLflow's model registry as the jobs see it: find or resolve a model, fetch its files, register a new one."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hemacell.tracking.registry.lookup import (
    DataKind,
    ModelType,
    RegisteredModel,
    card_of,
    exists,
    fetch,
    find,
    resolve,
)
from hemacell.tracking.registry.registration import register

__all__ = [
    "DataKind",
    "ModelType",
    "RegisteredModel",
    "card_of",
    "exists",
    "fetch",
    "find",
    "register",
    "resolve",
    "scratch",
]


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder to write a model into before it is registered."""
    with tempfile.TemporaryDirectory(prefix="hemacell-model-") as folder:
        yield Path(folder) / "model"
