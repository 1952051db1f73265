import shutil

import numpy as np
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.sources import course
from hemacell.data.sources.class_folders import folder_manifest
from hemacell.data.sources.course import (
    CLASSES,
    wbc_manifest,
)
from hemacell.data.sources.resolve import has_images, read_manifest


def _told(call, *words):
    """The one line of a UserError, which must hold these words."""
    with pytest.raises(UserError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line, line
    return line


def test_cells_with_all_splits_and_masks(cells):
    manifest = wbc_manifest(cells(train=4, val=2, test=3, masks=2))
    counts = {split: set(row.values()) for split, row in manifest.counts().items()}
    assert counts == {"train": {6}, "val": {2}, "test": {3}}
    table = manifest.table
    masked = table[table["source"] == "masked"]
    assert (
        len(masked) == 10
        and (masked["mask"] != "").all()
        and (table[table["source"] == "original"]["mask"] == "").all()
    )
    assert set(masked["group"]) <= set(table[table["source"] == "original"]["sha256"])
    assert not set(masked["sha256"]) & set(table[table["source"] == "original"]["sha256"])
    assert manifest.classes == CLASSES and manifest.name == "WBC_100"


def test_masks_off_and_no_masks(cells):
    root = cells(train=2, masks=1)
    assert len(wbc_manifest(root, masks=False)) == 10
    shutil.rmtree(root / "WBC_100" / "train" / "mask")
    assert len(wbc_manifest(root)) == 10


def test_masks_of_some_classes_only(cells):
    root = cells(train=2, masks=1)
    shutil.rmtree(root / "WBC_100" / "train" / "mask" / "Basophil")
    for path in (root / "WBC_100" / "train" / "mask" / "Monocyte").iterdir():
        path.unlink()
    assert len(wbc_manifest(root)) == 13


def test_mask_from_adds_cells_and_copies_to_train(cells):
    cells(train=2, test=1)
    root = cells(folder="WBC_JTSC", train={"Basophil": 1, "Monocyte": 3}, masks=2)
    manifest = wbc_manifest(root, mask_from="WBC_JTSC")
    extra = manifest.select((manifest.table["source"] == "extra").to_numpy())
    assert extra.counts() == {
        "train": {"Basophil": 2, "Eosinophil": 0, "Lymphocyte": 0, "Monocyte": 5, "Neutrophil": 0}
    }
    assert len(manifest) == 15 + 7
    assert len(wbc_manifest(root)) == 15


def test_mask_from_that_cannot_be(cells):
    root = cells(train=1)
    cells(folder="WBC_JTSC", train=1, masks=1)
    cells(folder="WBC_bare", train=1)
    _told(lambda: wbc_manifest(root, mask_from="WBC_JTS"), "WBC_JTS", "did you mean WBC_JTSC?")
    _told(lambda: wbc_manifest(root, mask_from="WBC_bare"), "expected masks", "found none")
    _told(lambda: wbc_manifest(root, mask_from="WBC_100"), "the cells themselves")
    _told(lambda: wbc_manifest(root, masks=False, mask_from="WBC_JTSC"), "masks=off", "masks=on")


def test_files_that_are_no_images_and_hidden_ones_are_ignored(cells):
    root = cells(train=1)
    folder = root / "WBC_100" / "train" / "data" / "Basophil"
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "._000.png"):
        (folder / name).write_text("x")
    (root / "WBC_100" / "train" / "data" / ".ipynb_checkpoints").mkdir()
    assert len(wbc_manifest(root)) == 5


# --- bad input, one line each


def test_no_such_folder(cells, tmp_path):
    cells(train=1)
    _told(lambda: wbc_manifest(tmp_path / "dta"), f"no such folder: {tmp_path / 'dta'}", "did you mean data?")
    _told(lambda: read_manifest(tmp_path / "a" / "b", "prcc"), "no such folder", f"{tmp_path / 'a'} does not exist")


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "data.zip").write_bytes(b"PK")
    _told(lambda: wbc_manifest(tmp_path / "data.zip"), "is a file", "expected a folder")


def test_folder_without_the_part(cells):
    root = cells(train=1)
    _told(lambda: wbc_manifest(root, "WBC_10"), "expected a folder WBC_10", "found WBC_100", "did you mean WBC_100?")
    _told(lambda: read_manifest(root, "camelyon"), "CAM16_100cls_10mask", "found WBC_100")
    _told(lambda: read_manifest(root, "prcc"), "pRCC_nolabel")


def test_the_part_named_in_place_of_the_data_folder(cells):
    root = cells(train=1)
    _told(lambda: wbc_manifest(root / "WBC_100"), f"type {root} instead")


def test_folder_without_the_layout(cells):
    root = cells(train=1)
    (root / "WBC_100" / "train" / "data").rename(root / "WBC_100" / "train" / "images")
    _told(lambda: wbc_manifest(root), "expected WBC_100/train/data/<Class>", "found images")
    shutil.rmtree(root / "WBC_100" / "train")
    _told(lambda: wbc_manifest(root), "expected WBC_100/train/data/<Class>", "found no folders")


def test_split_without_data(cells):
    root = cells(train=1)
    (root / "WBC_100" / "val").mkdir()
    _told(lambda: wbc_manifest(root), "expected a folder data", "val")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_missing_class_folder(cells, split):
    root = cells(train=1, val=1, test=1)
    shutil.rmtree(root / "WBC_100" / split / "data" / "Monocyte")
    _told(lambda: wbc_manifest(root), "Monocyte is missing", split)


def test_empty_class_folder(cells):
    root = cells(train=1)
    folder = root / "WBC_100" / "train" / "data" / "Monocyte"
    (folder / "000.png").rename(folder / "000.czi")
    _told(lambda: wbc_manifest(root), str(folder), "no images", "found only .czi")
    (folder / "000.czi").unlink()
    _told(lambda: wbc_manifest(root), str(folder), "found nothing")


@pytest.mark.parametrize("kind", ["data", "mask"])
def test_unknown_class_folder(cells, kind):
    root = cells(train=2, masks=1)
    (root / "WBC_100" / "train" / kind / "Neutrophils").mkdir()
    _told(lambda: wbc_manifest(root), "unknown class folder Neutrophils", "did you mean Neutrophil?", "rename")


def test_mask_of_another_size_is_told_at_once(cells):
    root = cells(train=2, masks=1)
    path = root / "WBC_100" / "train" / "mask" / "Basophil" / "000.png"
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(path)
    _told(lambda: wbc_manifest(root), str(path), "6x5", "8x8", "masks=off")
    assert len(wbc_manifest(root, masks=False)) == 10


def test_unreadable_mask_waits_for_the_decoding(cells):
    root = cells(train=2, masks=1)
    (root / "WBC_100" / "train" / "mask" / "Basophil" / "000.png").write_bytes(b"")
    assert len(wbc_manifest(root)) == 15


def test_broken_link(cells, tmp_path):
    root = cells(train=1)
    (root / "WBC_100" / "train" / "data" / "Basophil" / "gone.png").symlink_to(tmp_path / "nothing")
    _told(lambda: wbc_manifest(root), "cannot read", "gone.png")


# --- tissue


def test_camelyon_and_prcc_of_the_sample(sample):
    manifest = read_manifest(sample, "camelyon")
    assert {split: sum(row.values()) for split, row in manifest.counts().items()} == {
        "train": 208,
        "val": 40,
        "test": 40,
    }
    tiles = read_manifest(sample, "prcc")
    assert tiles.counts() == {"": {"": 60}} and tiles.classes == () and tiles.table["group"].nunique() == 15
    assert all(has_images(sample, part) for part in ("wbc", "camelyon", "prcc"))
    assert not has_images(sample / "WBC_100", "wbc")


@pytest.mark.parametrize(
    ("stem", "group"),
    [
        ("TCGA-2Z-A9J9-01A-01-TS1_0_248", "TCGA-2Z-A9J9"),
        ("monuseg_TCGA-B0-5698-01Z-00-DX1_0_0", "TCGA-B0-5698"),
        ("tcga_Necrosis_100_0_256", "tcga_Necrosis_100"),
        ("tcga_Stroma_7_0_0", "tcga_Stroma_7"),
        ("tile_12_34", ""),
        ("0001", ""),
    ],
)
def test_group_of_a_tile(stem, group):
    assert course.prcc_group(stem) == group


def test_prcc_without_images(tmp_path):
    (tmp_path / "pRCC_nolabel" / "deep").mkdir(parents=True)
    _told(lambda: read_manifest(tmp_path, "prcc"), "no images", ".png")
    Image.new("RGB", (4, 4)).save(tmp_path / "pRCC_nolabel" / "deep" / "tile.png")
    manifest = read_manifest(tmp_path, "prcc")
    assert list(manifest.table["group"]) == list(manifest.table["sha256"])


# --- any folder of class folders


def test_folder_manifest_knows_the_usual_forms(cells, tmp_path):
    root = cells(train=2, val=1, test=1, masks=1) / "WBC_100"
    whole = folder_manifest(root, CLASSES)
    assert whole.counts() == {"test": dict.fromkeys(CLASSES, 4)}
    assert len(folder_manifest(root / "train", CLASSES)) == 10
    direct = folder_manifest(root / "train" / "data", CLASSES)
    assert direct.digest == folder_manifest(root / "train", CLASSES).digest
    shutil.rmtree(root / "train" / "data" / "Basophil")
    assert len(folder_manifest(root / "train", CLASSES)) == 8


def test_folder_manifest_bad_input(cells, tmp_path):
    root = cells(train=1)
    _told(
        lambda: folder_manifest(root, CLASSES), "no class folders", "found WBC_100", f"type {root / 'WBC_100'} instead"
    )
    _told(lambda: folder_manifest(tmp_path / "nothing", CLASSES), "no such folder")
    data = root / "WBC_100" / "train" / "data"
    (data / "Basophil").rename(data / "basophil")
    _told(lambda: folder_manifest(data, CLASSES), "unknown class folder basophil", "did you mean Basophil?")


def test_real_counts(real_data):
    manifest = wbc_manifest(real_data)
    assert [sum(row.values()) for row in manifest.counts().values()] == [6160, 1029, 1545]
    assert read_manifest(real_data, "camelyon").counts()["train"] == {"normal": 1200, "tumor": 1200}
    tiles = read_manifest(real_data, "prcc")
    assert len(tiles) == 576
    assert sum(group.startswith("TCGA-") for group in tiles.table["group"].unique()) == 9
    assert len(wbc_manifest(real_data, "WBC_JTSC")) == 600
