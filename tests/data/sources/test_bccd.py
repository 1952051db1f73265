"""BCCD as fields with boxes, and as Kaggle's augmented folders."""

import pytest

from hemacell.core.errors import UserError
from hemacell.data.boxes import split_box
from hemacell.data.decoding import decode
from hemacell.data.sources.base import find_source
from hemacell.data.splits import official_splits
from tests.data.sources.pictures import picture
from tests.data.sources.test_formats import one, voc
from tests.reading import read_cells

KINDS = ("NEUTROPHIL", "EOSINOPHIL", "NEUTROPHIL, NEUTROPHIL", "MONOCYTE, NEUTROPHIL", "")


@pytest.fixture
def fields(tmp_path):
    root = tmp_path / "BCCD_Dataset-master" / "BCCD"
    for number in range(10):
        stem = f"BloodImage_{number:05d}"
        picture(root / "JPEGImages" / f"{stem}.jpg", (64, 48))
        (root / "Annotations").mkdir(exist_ok=True)
        cells = [one(corners=(11, 11, 30, 30)), one("RBC", (40, 1, 60, 20)), one("Platelets", (1, 40, 5, 45))]
        (root / "Annotations" / f"{stem}.xml").write_text(voc(*cells))
    return root


@pytest.fixture
def labels(fields):
    rows = [f'{number},{number},"{KINDS[number % 5]}"' for number in range(10)]
    (fields / "labels.csv").write_text("\n".join([",Image,Category", *rows, ""]))


def test_white_cells_are_cut_out_of_the_fields(fields, labels, tmp_path):
    assert find_source(fields.parent, "wbc").name == find_source(fields, "wbc").name == "BCCD (fields)"
    manifest = read_cells(fields)
    assert manifest.counts() == {"train": {"Eosinophil": 2, "Neutrophil": 4}}
    assert set(manifest.table["group"]) == {f"BloodImage_0000{number}" for number in (0, 1, 2, 5, 6, 7)}
    assert {split_box(path)[1] for path in manifest.table["path"]} == {(10, 10, 20, 20)}
    assert decode(manifest, 8, tmp_path / "cache").array.shape == (6, 8, 8, 3)
    for part in (
        "10 (RBC, no white cell)",
        "10 (Platelets, no white cell)",
        "4 (white cell without a class of its own",
    ):
        assert part in manifest.summary()


def test_without_the_kinds_of_white_cells(fields):
    with pytest.raises(UserError, match=r"not which white cell; expected labels\.csv of Kaggle's dataset-master"):
        read_cells(fields)
    manifest = read_cells(fields, classes="RBC:Red cell,Platelets:Platelet")
    assert manifest.counts() == {"train": {"Platelet": 10, "Red cell": 10, "WBC": 10}}


def test_annotations_that_cannot_be_used(fields, labels):
    (fields / "Annotations" / "BloodImage_00000.xml").write_text("<!DOCTYPE a>" + voc(one()))
    (fields / "JPEGImages" / "BloodImage_00001.jpg").unlink()
    manifest = read_cells(fields)
    assert len(manifest) == 4
    assert "1 (annotation has a document type" in manifest.summary()
    assert "1 (annotation without a picture)" in manifest.summary()


@pytest.fixture
def copies(tmp_path):
    root = tmp_path / "dataset2-master" / "dataset2-master" / "images"
    for label in ("EOSINOPHIL", "LYMPHOCYTE", "MONOCYTE", "NEUTROPHIL"):
        for original in range(8):
            for copy in (207, 1234, 9893):
                picture(root / "TRAIN" / label / f"_{original}_{copy}.jpeg")
        picture(root / "TEST" / label / "_0_187.jpeg")
        picture(root / "TEST_SIMPLE" / label / "_39_1103.jpeg")
    return root


def test_copies_of_one_original_stay_together(copies):
    for folder in (copies, copies.parent, copies.parent.parent):
        assert find_source(folder, "wbc").name == "BCCD (augmented copies, Kaggle)"
    manifest = read_cells(copies)
    assert {split: sum(row.values()) for split, row in manifest.counts().items()} == {"train": 96, "test": 4}
    assert manifest.table["group"].nunique() == 36
    divided = official_splits(manifest).table
    assert set(divided["split"]) == {"train", "val", "test"}
    assert (divided.groupby("group")["split"].nunique() == 1).all()
    summary = manifest.summary()
    assert "100 of 100 images are augmented copies, by their names of 36 originals" in summary
    assert "4 (TEST_SIMPLE, no split)" in summary


def test_a_picture_of_another_name_is_its_own_group(copies):
    picture(copies / "TRAIN" / "EOSINOPHIL" / "BloodImage_00003.jpg")
    picture(copies / "example.jpg")
    manifest = read_cells(copies)
    assert "100 of 101 images are augmented copies" in manifest.summary()
    assert "1 (image outside of the splits)" in manifest.summary()


def test_plain_class_folders_in_splits_are_not_claimed(copies):
    (copies / "TEST_SIMPLE").rename(copies / "VAL")
    assert find_source(copies, "wbc").name == "class folders"
