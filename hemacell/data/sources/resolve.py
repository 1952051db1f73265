"""Which images a job works on: the user's folder, or the sample that the package draws itself."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hemacell.core.errors import UserError
from hemacell.core.text import did_you_mean
from hemacell.data.manifest import Manifest
from hemacell.data.sources.archive import is_archive, opened
from hemacell.data.sources.base import DEFAULTS, SOURCES, Source, SourceOptions, find_source, read_source
from hemacell.data.sources.class_folders import ClassFolders
from hemacell.data.sources.sample import lies_in_sample, sample_folder
from hemacell.data.sources.tile_folder import TileFolder
from hemacell.data.tables import TABLES
from hemacell.data.walk import require_few_folders

#: How a folder that no source knows is read when a job names it: so the error says what is missing.
_OTHERWISE: dict[str, type[Source]] = {"wbc": ClassFolders, "camelyon": ClassFolders, "prcc": TileFolder}


@dataclass(frozen=True)
class DataSource:
    """What `data` names, and whether its images are real."""

    root: Path
    kind: Literal["sample", "folder"]


def has_images(root: Path, job: str) -> bool:
    """Whether a file or folder has images for a job: `wbc`, `camelyon` or `prcc`."""
    return find_source(root, job) is not None


def source_of(root: Path, job: str) -> Source:
    """The source for a job; where none is recognised, class folders or tiles, whose error says what is missing."""
    return find_source(root, job) or _OTHERWISE[job](opened(Path(root).absolute()))


def read_manifest(root: Path, job: str, options: SourceOptions = DEFAULTS) -> Manifest:
    """The images for a job, with the splits that the source has (see `splits.official_splits`).

    Raises:
        UserError: there are no images for the job, or not as the source needs them.
    """
    return read_source(source_of(root, job), options)


def resolve_data(data: str, cache: Path) -> DataSource:
    """The folder that `data` names, else `$HEMACELL_DATA`, else the built-in sample (drawn into the cache if missing).

    A folder that holds a drawn sample, or lies in one, is of kind 'sample' by whatever way it is named.

    Raises:
        UserError: the folder does not exist, cannot be read, holds too many folders, or is a file of an unknown kind.
    """
    name, setting = (data, "data") if data else (os.environ.get("HEMACELL_DATA", ""), "HEMACELL_DATA")
    if not name:
        return DataSource(sample_folder(cache), "sample")
    prefix, path = _split_prefix(name)
    root = Path(path).expanduser().absolute()
    if not root.exists():
        near = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
        raise UserError(
            f"{setting}={name}: no such folder or file ({root}){did_you_mean(root.name, near)}; expected a folder with "
            f"class folders, WBC_100, CAM16_100cls_10mask or pRCC_nolabel, a table or a .zip; without {setting} the "
            "built-in sample is used"
        )
    if root.is_dir():
        require_few_folders(root)
    kinds = [source for source in SOURCES.values() if prefix and source.prefix == prefix]
    if kinds and not any(source.matches(root) for source in kinds):
        raise UserError(f"{setting}={name}: {root} is not read as {kinds[0].name}; leave {prefix}: out")
    if not root.is_dir() and not is_archive(root) and not any(source.matches(root) for source in SOURCES.values()):
        raise UserError(
            f"{setting}={name} is a file of a kind that is not known: expected a folder, a table "
            f"({', '.join(TABLES)}) or a .zip; unpack it or save it as CSV, and name that"
        )
    return DataSource(root, "sample" if lies_in_sample(opened(root)) else "folder")


def _split_prefix(name: str) -> tuple[str, str]:
    """The prefix of a source before a path (`medmnist:FILE`), and the path; '' without one."""
    prefix, colon, path = name.partition(":")
    known = {source.prefix for source in SOURCES.values()} - {""}
    return (prefix.lower(), path) if colon and prefix.lower() in known else ("", name)
