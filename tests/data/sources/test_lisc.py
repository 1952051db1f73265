"""LISC as its archive unpacks."""

from pathlib import Path

import numpy as np
import pytest

from hemacell.data.boxes import read_mask_path, read_path, split_box
from hemacell.data.decoding import decode
from hemacell.data.sources.base import find_source
from tests.data.sources.pictures import mask, picture
from tests.reading import read_cells

SIZE, MASK_SIZE = (120, 96), (112, 88)


@pytest.fixture
def lisc(tmp_path):
    root = tmp_path / "LISC Database"
    for kind in ("Baso", "eosi", "lymp", "mixt", "mono", "neut"):
        for number in (1, 2):
            field(root, kind, number, (40, 30, 60, 54))
    picture(root / "More Dataset without Ground Truth" / "alll" / "1.bmp")
    return root


def field(root: Path, kind: str, number: int, *cells: tuple[int, int, int, int]) -> None:
    picture(root / "Main Dataset" / kind / f"{number}.bmp", SIZE)
    folder = root / "Ground Truth Segmentation" / kind / "areaforexpert1"
    mask(folder / f"{number}_expert.bmp", MASK_SIZE, *cells)


def test_cells_are_cut_out_around_their_masks(lisc, tmp_path):
    assert find_source(lisc, "wbc").name == find_source(lisc.parent, "wbc").name == "LISC"
    manifest = read_cells(lisc)
    images = manifest.table[manifest.table["source"] == "original"]
    assert len(images) == 10 and len(manifest) == 20 and set(images["label"].value_counts()) == {2}
    assert {split_box(path)[1] for path in images["path"]} == {(44, 34, 20, 24)}  # 4 pixels are lacking at each side
    assert {"baso/1", "neut/2"} <= set(images["group"])
    for part in ("10 cells in 10 fields", "passed over: 2 (mixt, cells of several classes)"):
        assert part in manifest.summary()
    for path, own in zip(images["path"], images["own_mask"], strict=True):
        crop = read_path(path).image
        values = read_mask_path(own, crop.size)
        assert crop.size == (36, 36) and (values > 0).sum() == 20 * 24
        rows, columns = np.nonzero(values)
        assert (columns.min(), columns.max(), rows.min(), rows.max()) == (8, 27, 6, 29)  # in the middle
    decoded = decode(manifest, 12, tmp_path / "cache")
    assert len(decoded) == 20 and decoded.bad == []


def test_every_cell_of_a_mask_is_an_image_and_spots_are_none(lisc):
    field(lisc, "lymp", 3, (4, 4, 24, 24), (70, 60, 92, 84), (50, 40, 55, 45))
    field(lisc, "lymp", 4, (40, 30, 60, 54), (63, 30, 70, 50))  # a gap of 3 pixels in one cell
    manifest = read_cells(lisc, masks=False)
    groups = manifest.table["group"].value_counts()
    assert groups["lymp/3"] == 2 and groups["lymp/4"] == 1
    assert manifest.table["sha256"].is_unique
    assert (44, 34, 30, 24) in {split_box(path)[1] for path in manifest.table["path"]}


def test_fields_that_cannot_be_used(lisc):
    masks = lisc / "Ground Truth Segmentation"
    (masks / "Baso" / "areaforexpert1" / "1_expert.bmp").unlink()
    mask(masks / "eosi" / "areaforexpert1" / "1_expert.bmp", (60, 48), (10, 10, 30, 30))
    mask(masks / "mono" / "areaforexpert1" / "1_expert.bmp", MASK_SIZE)
    (masks / "neut" / "areaforexpert1" / "1_expert.bmp").write_bytes(b"")
    picture(lisc / "Main Dataset" / "other" / "1.bmp", SIZE)
    manifest = read_cells(lisc, masks=False)
    assert len(manifest) == 6
    for reason in (
        "field without a mask",
        "field or mask differ in size",
        "field or mask shows no cell",
        "field or mask has zero size",
        "not of the five classes",
    ):
        assert f"1 ({reason})" in manifest.summary()


def test_the_main_set_alone_is_plain_class_folders(lisc):
    assert find_source(lisc / "Main Dataset", "wbc").name == "class folders"
