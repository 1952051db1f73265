"""Raabin-WBC, the cells that two experts labelled, cut out.

    Train/<Class>/*.jpg      TestA/<Class>/*.jpg      TestB/<Class>/*.jpg

TestA is the test split. TestB comes from another microscope, so it is kept apart as another laboratory's set would be.
"""

from __future__ import annotations

from pathlib import Path

from hemacell.data.class_names import normal_form
from hemacell.data.manifest import Card, Skipped, shown
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.class_folders import list_folder
from hemacell.data.sources.listing import Listing
from hemacell.data.sources.places import folder_with

_OTHER_MICROSCOPE = "TestB, of another microscope: name its folder by external= or data="


@source("Raabin-WBC", jobs=("wbc",))
class Raabin(Source):
    """Train and TestA; TestB where its own folder is named, which is a folder of class folders."""

    card = Card(
        citation="Z. M. Kouzehkanan et al., A large dataset of white blood cells containing cell locations and types, "
        "along with segmented nuclei and cytoplasm, Scientific Reports 2022, doi:10.1038/s41598-021-04426-x"
    )

    @classmethod
    def matches(cls, root: Path) -> bool:
        return folder_with(root, "Train", "TestA") is not None

    def listing(self, options: SourceOptions) -> Listing:
        """The images of Train and TestA.

        Raises:
            UserError: an option that it does not know, no images.
        """
        self.refuse(options)
        folder = folder_with(self.root, "Train", "TestA") or self.root
        listing = list_folder(folder, "Raabin-WBC", folder)
        inside = [item for item in listing.items if not _is_of_test_b(shown(item.path, folder))]
        other = [item.path for item in listing.items if _is_of_test_b(shown(item.path, folder))]
        listing.items = inside
        listing.skipped += [Skipped(path, _OTHER_MICROSCOPE) for path in other]
        listing.notes.append("the test split is TestA; patients are not known")
        return listing


def _is_of_test_b(path: str) -> bool:
    return normal_form(path.split("/")[0]) == "testb"
