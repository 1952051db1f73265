import shutil

import numpy as np
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.class_names import CLASSES
from hemacell.data.decoding import decode
from hemacell.data.sources.labelled import labelled_images
from hemacell.data.sources.resolve import has_images, read_manifest
from hemacell.data.sources.tile_folder import prcc_group
from tests.reading import read_cells


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
    manifest = read_cells(cells(train=4, val=2, test=3, masks=2))
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
    assert (
        manifest.summary().startswith("45 images of 5 classes in ")
        and "(20 train, 10 val, 15 test)" in manifest.summary()
    )


def test_masks_off_and_no_masks(cells):
    root = cells(train=2, masks=1)
    assert len(read_cells(root, masks=False)) == 10
    shutil.rmtree(root / "WBC_100" / "train" / "mask")
    assert len(read_cells(root)) == 10


def test_masks_of_some_classes_only(cells):
    root = cells(train=2, masks=1)
    shutil.rmtree(root / "WBC_100" / "train" / "mask" / "Basophil")
    for path in (root / "WBC_100" / "train" / "mask" / "Monocyte").iterdir():
        path.unlink()
    assert len(read_cells(root)) == 13


def test_mask_from_adds_cells_and_copies_to_train(cells):
    cells(train=2, test=1)
    root = cells(folder="WBC_JTSC", train={"Basophil": 1, "Monocyte": 3}, masks=2)
    manifest = read_cells(root, mask_from="WBC_JTSC")
    extra = manifest.select((manifest.table["source"] == "extra").to_numpy())
    assert extra.counts() == {
        "train": {"Basophil": 2, "Eosinophil": 0, "Lymphocyte": 0, "Monocyte": 5, "Neutrophil": 0}
    }
    assert len(manifest) == 15 + 7
    assert len(read_cells(root)) == 15


def test_mask_from_that_cannot_be(cells):
    root = cells(train=1)
    cells(folder="WBC_JTSC", train=1, masks=1)
    cells(folder="WBC_bare", train=1)
    _told(lambda: read_cells(root, mask_from="WBC_JTS"), "WBC_JTS", "did you mean WBC_JTSC?")
    _told(lambda: read_cells(root, mask_from="WBC_bare"), "expected masks", "found none")
    _told(lambda: read_cells(root, mask_from="WBC_100"), "the cells themselves")
    _told(lambda: read_cells(root, masks=False, mask_from="WBC_JTSC"), "masks=off", "masks=on")


def test_files_that_are_no_images_and_hidden_ones_are_ignored(cells):
    root = cells(train=1)
    folder = root / "WBC_100" / "train" / "data" / "Basophil"
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "._000.png"):
        (folder / name).write_text("x")
    (root / "WBC_100" / "train" / "data" / ".ipynb_checkpoints").mkdir()
    assert len(read_cells(root)) == 5


# --- bad input, one line each


def test_no_such_folder(cells, tmp_path):
    cells(train=1)
    _told(lambda: read_cells(tmp_path / "dta"), f"no such folder: {tmp_path / 'dta'}", "did you mean data?")
    _told(lambda: read_manifest(tmp_path / "a" / "b", "prcc"), "no such folder", f"{tmp_path / 'a'} does not exist")


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "data.rar").write_bytes(b"Rar!")
    _told(lambda: read_cells(tmp_path / "data.rar"), "is a file", "expected a folder")


def test_folder_without_the_part(cells):
    root = cells(train=1)
    words = ("expected a folder WBC_10", "found WBC_100", "did you mean WBC_100?")
    _told(lambda: read_cells(root, wbc_folder="WBC_10"), *words)


def test_the_part_named_in_place_of_the_data_folder_is_read_too(cells):
    root = cells(train=2, test=1, masks=1)
    assert read_cells(root / "WBC_100").digest == read_cells(root).digest


def test_folder_without_images(cells):
    root = cells(train=1)
    shutil.rmtree(root / "WBC_100" / "train" / "data")
    (root / "WBC_100" / "train" / "data").mkdir()
    _told(lambda: read_cells(root), "no class folders with images", "found no files")


def test_a_class_that_is_missing_or_empty_in_a_split_is_said(cells):
    root = cells(train=1, val=1, test=1)
    shutil.rmtree(root / "WBC_100" / "val" / "data" / "Monocyte")
    folder = root / "WBC_100" / "test" / "data" / "Basophil"
    (folder / "000.png").rename(folder / "000.czi")
    (folder / "000.czi").write_text("x")
    manifest = read_cells(root)
    assert "no Basophil in test, no Monocyte in val; too few for 3 splits: 2 Basophil, 2 Monocyte" in manifest.summary()
    assert manifest.summary().endswith("; passed over: 1 (no image: .czi)")
    assert len(manifest) == 13


def test_classes_come_from_the_folders_under_standard_names(cells):
    root = cells(train={"NEUTROPHIL": 1, "bands": 2, "IG": 1, "Hairy": 3})
    manifest = read_cells(root)
    assert manifest.counts() == {"train": {"Hairy": 3, "Immature granulocyte": 1, "Neutrophil": 3}}
    renamed = "classes: IG = Immature granulocyte, NEUTROPHIL = Neutrophil, bands = Neutrophil"
    assert renamed in manifest.summary()


def test_classes_are_mapped_and_left_out(cells):
    root = cells(train={"Monocyte": 1, "bands": 2, "IG": 1, "Hairy": 3})
    manifest = read_cells(root, classes="ig:-,bands:Band,hairy:Lymphocyte")
    assert manifest.counts() == {"train": {"Band": 2, "Lymphocyte": 3, "Monocyte": 1}}
    assert "passed over: 1 (class IG is left out by classes=)" in manifest.summary()
    _told(lambda: read_cells(root, classes="IG:-,bands:-,Hairy:-"), "two or more classes", "found Monocyte only")
    _told(lambda: read_cells(root, classes="IG:-,bands:-,Hairy:-,Monocyte:-"), "found no labelled images", "classes=")
    _told(lambda: read_cells(root, classes="blast:-"), "no class blast in the data, found Hairy, IG, Monocyte, bands")


def test_groups_by_a_pattern(cells):
    root = cells(train=2)
    manifest = read_cells(root, group=r"(\d+)\.png$")
    assert sorted(manifest.table["group"].unique()) == ["000", "001"]
    _told(lambda: read_cells(root, group=r"001"), "matches nothing in WBC_100/train/data/")
    _told(lambda: read_cells(root, group="("), "expected a regular expression")


def test_mask_of_another_size_is_told_at_once(cells):
    root = cells(train=2, masks=1)
    path = root / "WBC_100" / "train" / "mask" / "Basophil" / "000.png"
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(path)
    _told(lambda: read_cells(root), str(path), "6x5", "8x8", "masks=off")
    assert len(read_cells(root, masks=False)) == 10


def test_unreadable_mask_waits_for_the_decoding(cells):
    root = cells(train=2, masks=1)
    (root / "WBC_100" / "train" / "mask" / "Basophil" / "000.png").write_bytes(b"")
    assert len(read_cells(root)) == 15


def test_a_broken_link_is_a_bad_image_when_it_is_decoded(cells, tmp_path):
    root = cells(train=1)
    (root / "WBC_100" / "train" / "data" / "Basophil" / "gone.png").symlink_to(tmp_path / "nothing")
    decoded = decode(read_cells(root), 8, tmp_path / "cache", max_bad=0.5)
    assert len(decoded) == 5 and [reason for _, reason in decoded.bad] == [
        "cannot be opened: No such file or directory"
    ]


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
    assert not has_images(sample / "WBC_100", "camelyon")


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
    assert prcc_group(stem) == group


def test_prcc_without_images(tmp_path):
    (tmp_path / "pRCC_nolabel" / "deep").mkdir(parents=True)
    _told(lambda: read_manifest(tmp_path, "prcc"), "no images", "found no files")
    Image.new("RGB", (4, 4)).save(tmp_path / "pRCC_nolabel" / "deep" / "tile.png")
    manifest = read_manifest(tmp_path, "prcc")
    assert list(manifest.table["group"]) == list(manifest.table["sha256"])


# --- any folder of class folders


def test_the_usual_forms_of_folders(cells, tmp_path):
    root = cells(train=2, val=1, test=1, masks=1) / "WBC_100"
    whole = labelled_images(root, CLASSES, split="all")
    assert whole.counts() == {"test": dict.fromkeys(CLASSES, 4)}
    assert len(labelled_images(root / "train", CLASSES, split="all")) == 10
    direct = labelled_images(root / "train" / "data", CLASSES, split="all")
    assert direct.digest == labelled_images(root / "train", CLASSES, split="all").digest
    shutil.rmtree(root / "train" / "data" / "Basophil")
    assert len(labelled_images(root / "train", CLASSES, split="all")) == 8


def test_real_counts(real_data):
    manifest = read_cells(real_data)
    assert [sum(row.values()) for row in manifest.counts().values()] == [6160, 1029, 1545]
    assert read_manifest(real_data, "camelyon").counts()["train"] == {"normal": 1200, "tumor": 1200}
    tiles = read_manifest(real_data, "prcc")
    assert len(tiles) == 576
    assert sum(group.startswith("TCGA-") for group in tiles.table["group"].unique()) == 9
    assert len(read_cells(real_data, wbc_folder="WBC_JTSC")) == 600
