"""Which images a job works on: the user's folder, or the sample that the package draws itself."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hemacell.core.errors import UserError
from hemacell.core.text import did_you_mean
from hemacell.data.sources.sample import lies_in_sample, sample_folder


@dataclass(frozen=True)
class DataSource:
    """A data folder and whether its images are real."""

    root: Path
    kind: Literal["sample", "folder"]


def resolve_data(data: str, cache: Path) -> DataSource:
    """The folder that `data` names, else `$HEMACELL_DATA`, else the built-in sample (drawn into the cache if missing).

    A folder that holds a drawn sample, or lies in one, is of kind 'sample' by whatever way it is named.

    Raises:
        UserError: the folder does not exist, or is a file.
    """
    name, told_by = (data, "data") if data else (os.environ.get("HEMACELL_DATA", ""), "HEMACELL_DATA")
    if not name:
        return DataSource(sample_folder(cache), "sample")
    root = Path(name).expanduser().absolute()
    if not root.exists():
        near = [path.name for path in root.parent.iterdir() if path.is_dir()] if root.parent.is_dir() else []
        raise UserError(
            f"{told_by}={name}: no such folder ({root}){did_you_mean(root.name, near)}; expected a folder with "
            f"WBC_100, CAM16_100cls_10mask or pRCC_nolabel in it, or no {told_by} for the built-in sample"
        )
    if not root.is_dir():
        raise UserError(f"{told_by}={name} is a file: expected a folder; unpack it and name the folder")
    return DataSource(root, "sample" if lies_in_sample(root) else "folder")
