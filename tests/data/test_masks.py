"""Masks to measure with: which image has which, and where it lies in the decoded picture."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.class_names import CLASSES
from hemacell.data.images import UnreadableImage, mask_to_square, read_rgb, to_square
from hemacell.data.masks import masks_digest, square_mask
from hemacell.data.sources.labelled import labelled_images
from tests.reading import read_cells


def test_masks_of_the_course_layout_are_found_in_every_split(cells):
    root = cells(train=3, test=2, masks=2)
    shutil.copytree(root / "WBC_100" / "train" / "mask", root / "WBC_100" / "test" / "mask")
    odd = root / "WBC_100" / "test" / "mask" / "Basophil" / "001.png"
    odd.rename(odd.with_suffix(".BMP"))  # another ending than the image's
    (root / "WBC_100" / "test" / "mask" / "Lymphocyte" / "000.png").unlink()
    manifest = read_cells(root, masks=False)
    found = dict(zip(manifest.table["path"], manifest.table["own_mask"], strict=True))
    assert len(found) == 25
    for path, mask in found.items():
        image = Path(path)
        split, label = image.parts[-4], image.parts[-2]
        there = image.stem != "002" and (split, label, image.stem) != ("test", "Lymphocyte", "000")
        suffix = ".BMP" if (split, label, image.stem) == ("test", "Basophil", "001") else ".png"
        expected = root / "WBC_100" / split / "mask" / label / f"{image.stem}{suffix}"
        assert mask == (str(expected) if there else "")
    # what is applied to an image is another question
    assert set(manifest.table["mask"]) == {""}


def count(manifest) -> int:
    return int((manifest.table["own_mask"] != "").sum())


def test_masks_of_other_layouts(cells, tmp_path):
    root = cells(folder="WBC_JTSC", train=2, masks=1) / "WBC_JTSC"
    assert count(labelled_images(root, CLASSES, split="all")) == 5
    assert count(labelled_images(root, CLASSES, split="train")) == 5
    flat = tmp_path / "flat"
    shutil.copytree(root / "train" / "data", flat)
    assert count(labelled_images(flat, CLASSES)) == 0
    for mask in (root / "train" / "mask").glob("*/*.png"):
        shutil.copy(mask, flat / mask.parent.name / f"{mask.stem}_mask.png")
    images = labelled_images(flat, CLASSES)
    assert count(images) == 5 and len(images) == 10 and "5 of 5 masks belong to an image" in images.summary()


def test_masks_with_the_names_of_their_images_and_another_ending(cells, tmp_path):
    """As in segmentation_WBC: 001.bmp is the image, 001.png its mask."""
    root = cells(folder="WBC_JTSC", train=2, masks=2) / "WBC_JTSC" / "train"
    for image in (root / "data").glob("*/*.png"):
        Image.open(image).save(image.with_suffix(".bmp"))
        shutil.copy(root / "mask" / image.parent.name / image.name, image)
    images = labelled_images(root / "data", CLASSES)
    assert count(images) == len(images) == 10
    assert {Path(path).suffix for path in images.table["path"]} == {".bmp"}


def test_masks_that_belong_to_no_image_are_said(cells):
    root = cells(train=2, masks=1)
    for mask in (root / "WBC_100/train/mask").glob("*/*.png"):
        mask.rename(mask.with_name("other.png"))
    summary = read_cells(root).summary()
    assert "0 of 5 masks belong to an image" in summary and "passed over: 5 (mask without an image)" in summary


def test_of_two_masks_of_an_image_the_first_is_used_and_both_are_counted(cells):
    root = cells(folder="flat", train=1) / "flat" / "train" / "data"
    for image in list(root.glob("*/*.png")):
        for end in ("_seg", "_mask"):
            shutil.copy(image, image.with_name(f"{image.stem}{end}.png"))
    images = read_cells(root, masks=False)
    assert len(images) == 5 and all(mask.endswith("000_mask.png") for mask in images.table["own_mask"])
    assert "5 of 10 masks belong to an image" in images.summary()


@pytest.mark.parametrize("damaged", [".png", ".bmp"])
def test_one_damaged_file_does_not_make_cells_of_the_masks_beside_images(cells, damaged):
    root = cells(folder="WBC_JTSC", train=2, masks=2) / "WBC_JTSC" / "train"
    for image in list((root / "data").glob("*/*.png")):
        Image.open(image).save(image.with_suffix(".bmp"))
        shutil.copy(root / "mask" / image.parent.name / image.name, image)
    first = sorted((root / "data").glob(f"*/*{damaged}"))[0]
    first.write_text("no image")
    images = labelled_images(root / "data", CLASSES)
    assert count(images) == len(images) == 10
    assert {Path(path).suffix for path in images.table["path"]} == {".bmp"}


def test_names_in_two_unicode_forms_belong_together(cells):
    root = cells(train=1, masks=1)
    for kind, form in (("data", "Zelle\u0308.png"), ("mask", "Zell\u00eb.png")):
        for image in (root / "WBC_100" / "train" / kind).glob("*/*.png"):
            image.rename(image.with_name(form))
    assert count(read_cells(root, masks=False)) == 5


def test_the_digest_is_of_the_masks_whatever_their_names(cells, tmp_path):
    root = cells(train=2, masks=1)
    manifest = read_cells(root, masks=False)
    digest = masks_digest(manifest)
    moved = shutil.copytree(root, tmp_path / "moved")
    assert len(digest) == 64 and masks_digest(read_cells(moved, masks=False).select([9, *range(9)])) == digest
    mask = moved / "WBC_100" / "train" / "mask" / "Basophil" / "000.png"
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(mask)
    assert masks_digest(read_cells(moved, masks=False)) != digest
    shutil.rmtree(moved / "WBC_100" / "train" / "mask")
    assert masks_digest(read_cells(moved, masks=False)) == ""


def test_the_sample_has_masked_test_images(sample):
    test = read_cells(sample).part("test")
    assert 25 <= count(test) <= 40 and len(test) == 100


@pytest.mark.parametrize(("width", "height"), [(60, 40), (31, 97), (48, 48)])
def test_a_mask_lies_where_its_picture_lies(tmp_path, width, height):
    y, x = np.mgrid[:height, :width]
    disc = (x - width * 0.45) ** 2 + (y - height * 0.55) ** 2 < 12**2
    Image.fromarray(disc * np.uint8(2)).save(tmp_path / "mask.png")  # of 0 and 2, not of 0 and 255
    Image.fromarray(np.repeat((disc * np.uint8(255))[..., None], 3, 2)).save(tmp_path / "image.png")
    found = square_mask(str(tmp_path / "mask.png"), str(tmp_path / "image.png"), 24)
    assert found.dtype == np.float32 and found.shape == (24, 24) and found.max() <= 1 and found.min() == 0
    picture = to_square(read_rgb(tmp_path / "image.png"), 24)[..., 0] / 255
    assert ((found > 0.5) == (picture > 0.5)).mean() > 0.97 and np.abs(found - picture).mean() < 0.03
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    assert found.mean() == pytest.approx(disc[top : top + side, left : left + side].mean(), abs=0.01)


def test_a_smaller_square_has_the_mean_of_its_blocks():
    mask = np.random.default_rng(0).random((12, 12)) < 0.4
    expected = mask.reshape(4, 3, 4, 3).mean((1, 3))
    np.testing.assert_allclose(mask_to_square(mask, 4), expected, atol=1e-6)
    np.testing.assert_array_equal(mask_to_square(mask, 12), mask)


def test_masks_that_are_of_no_use(tmp_path):
    for name, size, value in (("image", 8, 9), ("large", 9, 255), ("empty", 8, 0)):
        Image.fromarray(np.full((size, size), value, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"large.png has 9x9 pixels, its image 8x8"):
        square_mask(str(tmp_path / "large.png"), str(tmp_path / "image.png"), 4)
    with pytest.raises(UnreadableImage, match="is empty"):
        square_mask(str(tmp_path / "empty.png"), str(tmp_path / "image.png"), 4)
    with pytest.raises(UnreadableImage, match="is not an image"):
        square_mask(str(tmp_path / "text.png"), str(tmp_path / "image.png"), 4)
