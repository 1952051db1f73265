"""PBC, the normal peripheral blood cells of one hospital, as downloaded from Mendeley Data.

    PBC_dataset_normal_DIB/{basophil,eosinophil,erythroblast,ig,lymphocyte,monocyte,neutrophil,platelet}/BA_123.jpg

The name of a file begins with its cell; in `ig` and `neutrophil` that is finer than the folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hemacell.data.manifest import Card
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.class_folders import list_folder
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.sources.places import folder_with

_FOLDERS = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet")
_FINER = ("ig", "neutrophil")


@source("PBC", jobs=("wbc",))
class Pbc(Source):
    """The eight folders as classes."""

    card = Card(
        "CC BY 4.0",
        "A. Acevedo et al., A dataset of microscopic peripheral blood cell images for development of automatic "
        "recognition systems, Data in Brief 2020, doi:10.1016/j.dib.2020.105474",
    )

    @classmethod
    def matches(cls, root: Path) -> bool:
        """Whether all eight folders are there and the basophils are named as those of PBC."""
        folder = folder_with(root, *_FOLDERS)
        return folder is not None and any(folder.glob("[Bb]asophil/BA_*.jpg"))

    def listing(self, options: SourceOptions) -> Listing:
        """All images, with a note on the finer names.

        Raises:
            UserError: an option that it does not know.
        """
        self.refuse(options)
        folder = folder_with(self.root, *_FOLDERS) or self.root
        listing = list_folder(folder, "PBC", folder)
        finer = [_finer(label, listing.items) for label in _FINER]
        listing.notes.append(f"file names are finer than the classes: {'; '.join(finer)}")
        listing.notes.append("patients are not known")
        return listing


def _finer(label: str, items: Sequence[Item]) -> str:
    """How many names of a folder begin with what, such as `neutrophil 12 BNE, 30 SNE`."""
    kinds = Counter(Path(item.path).name.partition("_")[0] for item in items if item.label == label)
    return f"{label} {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items())) or 'none'}"
