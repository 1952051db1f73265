"""Masks to measure with: which image has which, and where it lies in the decoded picture."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.images import UnreadableImage, mask_to_square, read_rgb, to_square
from hemacell.data.masks import masks_beside, masks_digest, square_mask
from hemacell.data.sources.class_folders import folder_manifest
from hemacell.data.sources.course import CLASSES, wbc_manifest
from hemacell.data.sources.labelled import labelled_images


def test_masks_of_the_course_layout_are_found_in_every_split(cells):
    root = cells(train=3, test=2, masks=2)
    shutil.copytree(root / "WBC_100" / "train" / "mask", root / "WBC_100" / "test" / "mask")
    odd = root / "WBC_100" / "test" / "mask" / "Basophil" / "001.png"
    odd.rename(odd.with_suffix(".BMP"))  # another ending than the image's
    (root / "WBC_100" / "test" / "mask" / "Lymphocyte" / "000.png").unlink()
    (root / "WBC_100" / "test" / "mask" / "Blast").mkdir()
    manifest = wbc_manifest(root, masks=False)
    found = dict(zip(manifest.table["path"], masks_beside(manifest), strict=True))
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


def test_masks_of_other_layouts(cells, tmp_path):
    root = cells(folder="WBC_JTSC", train=2, masks=1) / "WBC_JTSC"
    assert sum(map(bool, masks_beside(folder_manifest(root, CLASSES)))) == 5
    assert sum(map(bool, masks_beside(labelled_images(root, CLASSES, split="train")))) == 5
    flat = folder_manifest(shutil.copytree(root / "train" / "data", tmp_path / "flat"), CLASSES)
    shutil.copytree(root / "train" / "mask", tmp_path / "mask")
    assert masks_beside(flat) == [""] * 10  # which has no folder `data`
    assert masks_beside(flat.select([])) == []


def test_the_digest_is_of_the_masks_whatever_their_names(cells, tmp_path):
    root = cells(train=2, masks=1)
    manifest = wbc_manifest(root, masks=False)
    digest = masks_digest(manifest)
    moved = shutil.copytree(root, tmp_path / "moved")
    assert len(digest) == 64 and masks_digest(wbc_manifest(moved, masks=False).select([9, *range(9)])) == digest
    mask = moved / "WBC_100" / "train" / "mask" / "Basophil" / "000.png"
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(mask)
    assert masks_digest(wbc_manifest(moved, masks=False)) != digest
    shutil.rmtree(moved / "WBC_100" / "train" / "mask")
    assert masks_digest(wbc_manifest(moved, masks=False)) == ""


def test_the_sample_has_masked_test_images(sample):
    found = masks_beside(wbc_manifest(sample).part("test"))
    assert 25 <= sum(map(bool, found)) <= 40 and len(found) == 100


@pytest.mark.parametrize(("width", "height"), [(60, 40), (31, 97), (48, 48)])
def test_a_mask_lies_where_its_picture_lies(tmp_path, width, height):
    y, x = np.mgrid[:height, :width]
    disc = (x - width * 0.45) ** 2 + (y - height * 0.55) ** 2 < 12**2
    Image.fromarray(disc * np.uint8(2)).save(tmp_path / "mask.png")  # of 0 and 2, not of 0 and 255
    Image.fromarray(np.repeat((disc * np.uint8(255))[..., None], 3, 2)).save(tmp_path / "image.png")
    found = square_mask(tmp_path / "mask.png", tmp_path / "image.png", 24)
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
        square_mask(tmp_path / "large.png", tmp_path / "image.png", 4)
    with pytest.raises(UnreadableImage, match="is empty"):
        square_mask(tmp_path / "empty.png", tmp_path / "image.png", 4)
    with pytest.raises(UnreadableImage, match="is not an image"):
        square_mask(tmp_path / "text.png", tmp_path / "image.png", 4)
