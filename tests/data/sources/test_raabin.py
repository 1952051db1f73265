"""Raabin-WBC's double-labelled cells."""

import shutil

import pytest

from hemacell.core.errors import UserError
from hemacell.data.class_names import CLASSES
from hemacell.data.sources.base import find_source
from hemacell.data.splits import official_splits
from tests.data.sources.pictures import picture
from tests.reading import read_cells


@pytest.fixture(params=["TestA TestB", "Test-A Test-B"])
def raabin(request, tmp_path):
    root = tmp_path / "Raabin"
    test_a, test_b = request.param.split()
    for label in CLASSES:
        for number in range(8):
            picture(root / "Train" / label / f"95-5-1-{number}_1.jpg")
        picture(root / test_a / label / "96-1-2-3_1.jpg")
    for label in ("Lymphocyte", "Neutrophil"):
        picture(root / test_b / label / "20190526_162951_0.jpg")
    return root


def test_train_and_test_a_are_used(raabin):
    assert find_source(raabin, "wbc").name == "Raabin-WBC"
    manifest = read_cells(raabin)
    assert manifest.counts() == {"train": dict.fromkeys(CLASSES, 8), "test": dict.fromkeys(CLASSES, 1)}
    assert set(official_splits(manifest).counts()) == {"train", "val", "test"}
    assert "passed over: 2 (TestB, of another microscope: name its folder by external= or data=)" in manifest.summary()


def test_test_b_is_named_by_its_folder(raabin):
    [folder] = raabin.glob("Test*B")
    assert find_source(folder, "wbc").name == "class folders"
    assert sum(read_cells(folder).counts()["train"].values()) == 2


def test_one_part_alone_is_plain_class_folders(raabin):
    [folder] = raabin.glob("Test*A")
    shutil.rmtree(folder)
    assert find_source(raabin, "wbc").name == "class folders"


def test_without_images(tmp_path):
    for part in ("Train", "TestA"):
        (tmp_path / part / "Basophil").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no class folders with images in .*found no files"):
        read_cells(tmp_path)
