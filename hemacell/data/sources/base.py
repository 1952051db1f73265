"""What a source of images is, and the registry that picks one for what `data` names.

A source is one class with a decorator. It says which files or folders are its own, lists its images as a manifest, and
reads one image; the images need not be files. `docs/examples/add_a_source.py` is one in a `.npz` file.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from PIL import Image

from hemacell.core.errors import UserError
from hemacell.core.registry import Registry
from hemacell.data.images import read_rgb
from hemacell.data.manifest import Card, Manifest
from hemacell.data.sources.archive import is_archive, unpacked
from hemacell.data.sources.listing import Listing, to_manifest

logger = logging.getLogger(__name__)

WBC_FOLDER = "WBC_100"


@dataclass(frozen=True)
class SourceOptions:
    """The settings that say which of a source's images are wanted."""

    wbc_folder: str = WBC_FOLDER
    """Of several parts with cells, the name of one."""
    masks: bool = True
    """Add masked copies of training images, where there are masks."""
    mask_from: str = ""
    """Another part whose training images and masked copies are added."""
    classes: str = ""
    """`NAME:CLASS,NAME:-`: other names for classes, or leaves them out."""
    group: str = ""
    """A regular expression on paths: what must stay on one side of a split."""


DEFAULTS = SourceOptions()


class Source(ABC):
    """Images of one kind somewhere, with labels or without.

    Attributes:
        name: in the registry and in messages.
        jobs: the jobs that can use it: `wbc` (labelled cells), `camelyon` (normal and tumor), `prcc` (no labels).
        prefix: what may stand before its path to say that it is meant, as in `data=pcam:FOLDER`; '' for nothing.
        general: whether it takes any folder of its kind; it is asked only where no other source knows a folder.
        card: licence and citation.
        root: what the setting `data` names, absolute.
    """

    name: ClassVar[str]
    jobs: ClassVar[tuple[str, ...]]
    prefix: ClassVar[str] = ""
    general: ClassVar[bool] = False
    card: ClassVar[Card] = Card()

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    @abstractmethod
    def matches(cls, root: Path) -> bool:
        """Whether a file or folder is such a source; checks names only, as every source is asked."""

    @abstractmethod
    def listing(self, options: SourceOptions) -> Listing:
        """All images, with what the source knows of each; no file is opened.

        Raises:
            UserError: the source is incomplete, or does not know an option.
        """

    def read(self, locator: str) -> Image.Image:
        """The image of a row, RGB of any size, by its `path`.

        Raises:
            UnreadableImage: the image is damaged; it is then left out (see `max_bad`).
        """
        return read_rgb(Path(locator))

    def refuse(self, options: SourceOptions) -> None:
        """Raise UserError for an option that only the course layout knows."""
        for name in ("wbc_folder", "mask_from"):
            if getattr(options, name) != getattr(DEFAULTS, name):
                raise UserError(
                    f"{name}={getattr(options, name)}: {self.root} is read as {self.name}, which has no such parts; "
                    f"leave {name} out"
                )


SOURCES: Registry[type[Source]] = Registry(
    "source of images",
    "hemacell.sources",
    (
        "hemacell.data.sources.class_folders",
        "hemacell.data.sources.tile_folder",
        "hemacell.data.sources.table",
        "hemacell.data.sources.medmnist",
        "hemacell.data.sources.pcam",
        "hemacell.data.sources.segmentation_wbc",
        "hemacell.data.sources.pbc",
        "hemacell.data.sources.raabin",
        "hemacell.data.sources.cnmc",
        "hemacell.data.sources.bccd",
        "hemacell.data.sources.chula",
        "hemacell.data.sources.lisc",
        "hemacell.data.sources.course",
    ),
)


def source(name: str, jobs: tuple[str, ...]) -> Callable[[type[Source]], type[Source]]:
    """Register the decorated class as a source of images; the one registered last is asked first.

    Args:
        name: unique; shown in messages.
        jobs: the jobs that can use it.
    """

    def register(cls: type[Source]) -> type[Source]:
        cls.name, cls.jobs = name, jobs
        return SOURCES.add(name, cls)

    return register


def read_source(found: Source, options: SourceOptions = DEFAULTS, least_classes: int = 2) -> Manifest:
    """The manifest of a source, with its card and the way to read its images; says what was understood.

    Raises:
        UserError: as `listing.to_manifest`.
    """
    listing = found.listing(options)
    manifest = to_manifest(listing, options.classes, options.group, options.masks, least_classes)
    logger.info(manifest.summary())
    read = None if type(found).read is Source.read else found.read
    return replace(manifest, card=found.card, read=read)


def find_source(root: Path, job: str) -> Source | None:
    """The source that a file or folder is, for a job (`wbc`, `camelyon`, `prcc`); None where no source knows it.

    Of an archive, the source that its content is.

    Raises:
        UserError: an archive that cannot be unpacked.
    """
    root = Path(root).absolute()
    if not is_archive(root):
        return _source_of(root, job)
    folder = unpacked(root)
    if found := _source_of(folder, job):
        return found
    files = [found for path in sorted(folder.iterdir()) if path.is_file() and (found := _source_of(path, job))]
    return files[0] if len(files) == 1 else None  # such as a table beside its images


def _source_of(root: Path, job: str) -> Source | None:
    sources = list(reversed(SOURCES.values()))
    matching = [cls for cls in sources if not cls.general and cls.matches(root)]
    if not matching:
        matching = [cls for cls in sources if cls.general and cls.matches(root)]
    return next((cls(root) for cls in matching if job in cls.jobs), None)
