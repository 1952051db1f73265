"""Which images a classifier is scored on, from each layout."""

import shutil
from pathlib import Path

import pytest

from hemacell.core.errors import UserError
from hemacell.data.class_names import CLASSES
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.labelled import labelled_images
from hemacell.data.splits import official_splits
from tests.reading import read_cells


def names(manifest):
    return {Path(path).relative_to(manifest.root).as_posix() for path in manifest.table["path"]}


def move_class_folders(data: Path, to: Path) -> Path:
    """The class folders of the course's test split, as `to`/<Class>."""
    shutil.copytree(data / "WBC_100" / "test" / "data", to)
    return to


def test_of_the_course_layout_the_test_split_alone(cells):
    root = cells(train=4, val=2, test={name: 1 + number for number, name in enumerate(CLASSES)}, masks=2)
    images = labelled_images(root, CLASSES)
    assert len(images) == 15
    assert all(name.startswith("WBC_100/test/data/") for name in names(images))
    assert set(images.table["split"]) == {"test"} and not set(images.table["mask"]) - {""}
    assert len(labelled_images(root, CLASSES, split="val")) == 10
    assert len(labelled_images(root, CLASSES, split="train")) == 20  # without the masked copies
    assert len(labelled_images(root, CLASSES, split="all")) == 45


def test_without_a_test_split_on_disk_it_is_that_of_the_training(cells):
    root = cells(train=4, val=10, masks=2)
    of_the_training = official_splits(read_cells(root)).part("test")
    assert names(labelled_images(root, CLASSES)) == names(of_the_training) != set()


def test_another_folder_of_the_course_layout(cells):
    cells(train=1, test=1)
    root = cells(folder="WBC_1", train=1, test=3)
    assert len(labelled_images(root, CLASSES, options=SourceOptions("WBC_1"))) == 15
    with pytest.raises(UserError, match=r"expected a folder WBC_2 in .* did you mean WBC_1"):
        labelled_images(root, CLASSES, options=SourceOptions("WBC_2"))


@pytest.mark.parametrize("below", ["", "data"])
def test_class_folders_are_all_taken_and_one_may_be_missing(cells, tmp_path, below):
    folder = move_class_folders(cells(train=1, test=3), tmp_path / "laboratory" / below)
    shutil.rmtree(folder / "Monocyte")
    images = labelled_images(tmp_path / "laboratory", CLASSES)
    assert len(images) == 12 and images.classes == CLASSES
    assert images.counts()["test"]["Monocyte"] == 0
    assert images.digest == labelled_images(tmp_path / "laboratory", CLASSES, split="all").digest


@pytest.mark.parametrize("below", ["", "data"])
def test_of_a_divided_folder_one_split_is_taken(cells, tmp_path, below):
    root = cells(train=2, test=1)
    for split in ("train", "test"):
        shutil.copytree(root / "WBC_100" / split / "data", tmp_path / "laboratory" / split / below)
    images = labelled_images(tmp_path / "laboratory", CLASSES)
    assert len(images) == 5 and all(name.startswith("test/") for name in names(images))
    assert len(labelled_images(tmp_path / "laboratory", CLASSES, split="train")) == 10
    assert len(labelled_images(tmp_path / "laboratory", CLASSES, split="all")) == 15
    with pytest.raises(UserError, match=r"split=val: .* found train, test; type split=test, or split=all"):
        labelled_images(tmp_path / "laboratory", CLASSES, split="val")


def test_the_labels_are_in_the_order_of_the_models_classes(cells, tmp_path):
    backwards = CLASSES[::-1]
    root = cells(train=1, test={name: 1 + number for number, name in enumerate(CLASSES)})
    for folder in (root, move_class_folders(root, tmp_path / "laboratory")):
        images = labelled_images(folder, backwards)
        assert [backwards[label] for label in images.labels] == images.table["label"].tolist()
        assert [int((images.labels == index).sum()) for index in range(5)] == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("below", ["", "data", "test"])
def test_a_class_that_the_model_does_not_know_is_left_out_on_demand(cells, tmp_path, below):
    folder = move_class_folders(cells(train=1, test=1), tmp_path / "laboratory" / below)
    (folder / "Basophil").rename(folder / "ig")
    with pytest.raises(UserError) as refused:
        labelled_images(tmp_path / "laboratory", CLASSES)
    line = str(refused.value)
    assert "does not know: Immature granulocyte; the model knows " + ", ".join(CLASSES) in line
    assert "type classes=Immature granulocyte:- to leave them out" in line
    for without in ("Immature granulocyte:-", "ig:-"):
        assert len(labelled_images(tmp_path / "laboratory", CLASSES, options=SourceOptions(classes=without))) == 4


def test_a_model_of_other_classes_is_told_what_the_folder_has(cells):
    with pytest.raises(UserError, match=r"does not know: Basophil, .*; the model knows normal, tumor"):
        labelled_images(cells(train=1, test=1), ("normal", "tumor"))


def test_an_empty_folder(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"no class folders with images in .* found no files"):
        labelled_images(tmp_path / "pets", CLASSES)
    with pytest.raises(UserError, match=r"no such folder: .*; did you mean pets"):
        labelled_images(tmp_path / "pet", CLASSES)


def test_a_split_of_a_folder_that_has_none(cells, tmp_path):
    folder = move_class_folders(cells(train=1, test=1), tmp_path / "laboratory")
    with pytest.raises(UserError, match=r"split=val: .* is not divided; leave split out"):
        labelled_images(folder, CLASSES, split="val")
    assert len(labelled_images(folder, CLASSES, split="all")) == 5
