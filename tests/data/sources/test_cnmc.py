"""C-NMC 2019 as The Cancer Imaging Archive gives it."""

import shutil

import pytest

from hemacell.core.errors import UserError
from hemacell.data.sources.base import find_source
from hemacell.data.splits import official_splits
from tests.data.sources.pictures import picture
from tests.reading import read_cells


@pytest.fixture
def cnmc(tmp_path):
    root = tmp_path / "PKG - C-NMC 2019"
    for subject in range(1, 13):
        fold = root / "C-NMC_training_data" / f"fold_{subject % 3}"
        for cell in range(1, 4):
            picture(fold / "all" / f"UID_{subject}_2_{cell}_all.bmp")
            picture(fold / "hem" / f"UID_H{subject}_2_{cell}_hem.bmp")
    picture(root / "C-NMC_test_prelim_phase_data" / "1.bmp")
    picture(root / "C-NMC_training_data" / "fold_0" / "all" / "overview.bmp")
    return root


def test_cells_are_grouped_by_subject(cnmc):
    assert find_source(cnmc, "wbc").name == find_source(cnmc / "C-NMC_training_data", "wbc").name == "C-NMC"
    manifest = read_cells(cnmc)
    assert manifest.counts() == {"train": {"ALL": 36, "HEM": 36}}
    assert manifest.table["group"].nunique() == 24 and {"1", "H1"} <= set(manifest.table["group"])
    divided = official_splits(manifest).table.groupby("group")["split"].nunique()
    assert (divided == 1).all()
    for part in ("24 subjects", "1 (not named UID_<subject>", "1 (test data of the challenge"):
        assert part in manifest.summary()


def test_folders_as_unpacked_on_other_sites(cnmc):
    root = cnmc.parent / "C-NMC_Leukemia"
    shutil.copytree(cnmc / "C-NMC_training_data", root / "training_data")
    for fold in (root / "training_data").iterdir():  # fold_0/fold_0/all
        inner = fold.rename(fold.with_name("x"))
        fold.mkdir()
        inner.rename(fold / fold.name)
    assert read_cells(root).digest == read_cells(cnmc).digest


def test_other_folds_are_not_claimed(cnmc):
    for fold in (cnmc / "C-NMC_training_data").iterdir():
        (fold / "hem").rename(fold / "normal")
    assert find_source(cnmc, "wbc").name != "C-NMC"


def test_no_cell_that_is_named_so(cnmc):
    for path in cnmc.rglob("UID_*"):
        path.rename(path.with_name(path.name.removeprefix("UID_")))
    with pytest.raises(UserError, match=r"expected images of two or more classes, found no labelled images"):
        read_cells(cnmc)
