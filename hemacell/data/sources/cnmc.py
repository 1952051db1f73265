"""C-NMC 2019: leukaemic and normal cells, by subject.

C-NMC_training_data/fold_{0,1,2}/{all,hem}/UID_<subject>_<image>_<cell>_all.bmp     subjects H… are healthy
C-NMC_test_prelim_phase_data/…/1.bmp, C-NMC_test_prelim_phase_data_labels.csv
C-NMC_test_final_phase_data/…                                                       no labels
"""

from __future__ import annotations

import re
from pathlib import Path

from hemacell.data.manifest import Card, Skipped
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.sources.places import folder_with
from hemacell.data.walk import walk

_FOLDS = ("fold_0", "fold_1", "fold_2")
_NAME = re.compile(r"UID_(?P<subject>H?\d+)_\d+_\d+_(?P<label>all|hem)", re.IGNORECASE)


@source("C-NMC", jobs=("wbc",))
class Cnmc(Source):
    """The three folds of the training data, grouped by subject."""

    card = Card(
        "CC BY 3.0",
        "R. Gupta and A. Gupta, ALL challenge dataset of ISBI 2019 (C-NMC 2019), The Cancer Imaging Archive, "
        "doi:10.7937/tcia.2019.dc64i46r",
    )

    @classmethod
    def matches(cls, root: Path) -> bool:
        folder = folder_with(root, *_FOLDS)
        return folder is not None and folder_with(folder / "fold_0", "all", "hem") is not None

    def listing(self, options: SourceOptions) -> Listing:
        """All cells of the three folds; the folds themselves are no splits of this project.

        Raises:
            UserError: an option that it does not know.
        """
        self.refuse(options)
        folder = folder_with(self.root, *_FOLDS) or self.root
        found = walk(folder)
        items, skipped = [], list(found.skipped)
        for path in found.images:
            if not path.lower().startswith("fold_"):
                skipped.append(Skipped(path, "image outside of the folds"))
            elif name := _NAME.fullmatch(Path(path).stem):
                items.append(Item(str(folder / path), name["label"].upper(), group=name["subject"].upper()))
            else:
                skipped.append(Skipped(path, "not named UID_<subject>_<image>_<cell>_all or …_hem"))
        tests = sorted({*folder.glob("*test_*phase_data"), *folder.parent.glob("*test_*phase_data")})
        skipped += [Skipped(str(test), "test data of the challenge, not grouped by subject") for test in tests]
        subjects = {item.group for item in items}
        return Listing("C-NMC", folder, items, skipped, [f"{len(subjects)} subjects, by the names of the files"])
