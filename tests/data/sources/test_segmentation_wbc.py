"""The two sets of segmentation_WBC, in the layout of the repository."""

import shutil
from pathlib import Path

import pytest

from hemacell.core.errors import UserError
from hemacell.data.sources.base import find_source
from tests.data.sources.pictures import mask, picture
from tests.reading import read_cells

NAMES = ("Neutrophil", "Lymphocyte", "Monocyte", "Eosinophil", "Basophil")


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "segmentation_WBC-master"
    for part, count in (("Dataset 1", 10), ("Dataset 2", 5)):
        for number in range(1, count + 1):
            picture(root / part / f"{number:03d}.bmp")
            mask(root / part / f"{number:03d}.png", (12, 12), (2, 2, 10, 10))
    table(root, 1, [f"{number},{(number - 1) % 5 + 1}" for number in range(1, 11)])
    table(root, 2, [f"{number},{number}" for number in range(1, 6)])
    picture(root / "Dataset 1.png")  # the figures of its page
    picture(root / "Dataset 2.png")
    return root


def table(root, part, rows):
    (root / f"Class Labels of Dataset {part}.csv").write_text("\r\n".join(["image ID,class label", *rows, ""]))


def test_the_first_set_with_its_labels_and_masks(repository):
    assert find_source(repository, "wbc").name == find_source(repository.parent, "wbc").name
    manifest = read_cells(repository)
    images = manifest.table[manifest.table["source"] == "original"]
    by_number = {Path(path).stem: label for path, label in zip(images["path"], images["label"], strict=True)}
    assert by_number == {f"{number:03d}": NAMES[(number - 1) % 5] for number in range(1, 11)}
    assert all(
        Path(path).with_suffix(".png") == Path(mask)
        for path, mask in zip(images["path"], images["own_mask"], strict=True)
    )
    assert len(manifest) == 20 and manifest.name == "JTSC" and manifest.card.license.startswith("GPL-3.0")
    summary = manifest.summary()
    assert "10 of 10 masks belong to an image" in summary and "passed over: 1 (another laboratory's set" in summary


def test_the_second_set_is_named_by_its_folder(repository):
    manifest = read_cells(repository / "Dataset 2", masks=False)
    assert manifest.counts() == {"train": dict.fromkeys(sorted(NAMES), 1)} and manifest.name == "CellaVision"


def test_an_image_without_a_label_and_a_mask_without_an_image_are_passed_over(repository):
    table(repository, 1, [f"{number},{number % 2 + 1}" for number in range(1, 10)])
    (repository / "Dataset 1" / "001.bmp").unlink()
    manifest = read_cells(repository, masks=False)
    assert len(manifest) == 8
    for part in ("1 (has no label)", "1 (mask without an image)", "9 of 10 masks"):
        assert part in manifest.summary()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["1,1", "2,6"], r"Dataset 1\.csv: expected labels 1 to 5, found 6 of image 2"),
        (["1,1", "2,"], r"Dataset 1\.csv: expected labels 1 to 5, found none of image 2"),
    ],
)
def test_labels_that_cannot_be(repository, rows, said):
    table(repository, 1, rows)
    with pytest.raises(UserError, match=said):
        read_cells(repository)


def test_a_table_of_one_column(repository):
    (repository / "Class Labels of Dataset 1.csv").write_text("image ID\n1\n")
    with pytest.raises(UserError, match=r"Dataset 1\.csv: expected 2 columns, found image ID"):
        read_cells(repository)


def test_no_other_folders_are_claimed(repository, tmp_path):
    shutil.move(repository / "Dataset 1", tmp_path / "mine" / "Dataset 1")
    assert find_source(tmp_path / "mine", "wbc") is None
    with pytest.raises(UserError, match=r"wbc_folder=x: .* is read as JTSC / CellaVision"):
        read_cells(repository / "Dataset 2", wbc_folder="x")
