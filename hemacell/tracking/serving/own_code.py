"""Whether a loaded model runs with the code that it brought along, or with code that this process imported before."""

from __future__ import annotations

import filecmp
import logging
import sys
from pathlib import Path

import yaml

import hemacell

logger = logging.getLogger(__name__)

_CODE = Path("code", "hemacell")  # where MLflow puts `code_paths`


def leave_unused_code(artifact: Path) -> None:
    """Take the sources of a model off `sys.path` where this process runs others; warn where the two differ.

    MLflow puts a model's sources first on `sys.path`. Where `hemacell` was imported before, from another version of a
    model or from an installation, Python runs that code instead. A process that is started later would import the
    model's sources, which are a part of the package only.

    Args:
        artifact: a folder inside the downloaded model.
    """
    root = next((folder for folder in artifact.parents if (folder / "MLmodel").is_file()), None)
    running = Path(hemacell.__file__).resolve().parent
    if root is None or not (root / _CODE).is_dir() or (root / _CODE).resolve() == running:
        return
    unused = (root / _CODE).parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry) != unused]
    if not _same(root / _CODE, running):
        logger.warning(
            f"{_name(root / _CODE)} runs with the code of {_name(running)}, which this process imported before, "
            "and the code of the two differs: predictions may differ too. Load each in a process of its own"
        )


def _same(own: Path, running: Path) -> bool:
    """Whether all files of the model's package are in the running one, with the same content."""
    files = [path.relative_to(own).as_posix() for path in own.rglob("*.py")]
    return len(filecmp.cmpfiles(own, running, files, shallow=False)[0]) == len(files)


def _name(package: Path) -> str:
    """The address of the model whose sources these are, or the folder that holds the package."""
    root = package.parents[1]
    if (meta := root / "registered_model_meta").is_file():
        found = yaml.safe_load(meta.read_text(encoding="utf-8"))
        return f"models:/{found['model_name']}/{found['model_version']}"
    if (entry := root / "MLmodel").is_file():
        return f"models:/{yaml.safe_load(entry.read_text(encoding='utf-8')).get('model_id', root)}"
    return f"the hemacell in {package.parent}"
