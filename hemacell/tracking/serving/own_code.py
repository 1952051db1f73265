"""Whether a loaded model runs with the code that it brought along, or with code that this process imported before."""

from __future__ import annotations

import filecmp
import logging
from pathlib import Path

import yaml

import hemacell

logger = logging.getLogger(__name__)

_CODE = Path("code", "hemacell")  # where MLflow puts `code_paths`


def warn_of_other_code(artifact: Path) -> None:
    """Warn where the sources of a model differ from those that this process runs for it.

    MLflow puts a model's sources on `sys.path`; where `hemacell` was imported before, from another version of a model
    or from an installation, Python runs that code instead.

    Args:
        artifact: a folder inside the downloaded model.
    """
    root = next((folder for folder in artifact.parents if (folder / "MLmodel").is_file()), None)
    running = Path(hemacell.__file__).resolve().parent
    if root is None or not (root / _CODE).is_dir() or _same(root / _CODE, running):
        return
    logger.warning(
        f"{_name(root)} runs with the code of {_name(running.parents[1])}, which this process imported before, and "
        "the code of the two differs: predictions may differ too. Load each in a process of its own"
    )


def _same(own: Path, running: Path) -> bool:
    """Whether all files of the model's package are in the running one, with the same content."""
    files = [path.relative_to(own).as_posix() for path in own.rglob("*.py")]
    return len(filecmp.cmpfiles(own, running, files, shallow=False)[0]) == len(files)


def _name(root: Path) -> str:
    """The address of the model in a folder, or the folder where it holds no model."""
    if (meta := root / "registered_model_meta").is_file():
        found = yaml.safe_load(meta.read_text(encoding="utf-8"))
        return f"models:/{found['model_name']}/{found['model_version']}"
    if (entry := root / "MLmodel").is_file():
        return f"models:/{yaml.safe_load(entry.read_text(encoding='utf-8')).get('model_id', root)}"
    return f"the hemacell in {root}"
