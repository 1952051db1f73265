"""WBC_Dataset of Chulalongkorn University, whole fields and cut-out cells."""

import csv
from pathlib import Path

import pytest

from hemacell.core.errors import UserError
from hemacell.data.boxes import split_box
from hemacell.data.sources.base import find_source
from hemacell.data.splits import official_splits
from tests.data.sources.pictures import picture
from tests.reading import read_cells


@pytest.fixture
def samples(tmp_path):
    root = tmp_path / "WBC_Dataset-main" / "WBC_Samples"
    for number, kind in enumerate("NEBLM"):
        for slide in range(10):
            for frame in (7, 8):
                name = f"{kind}-{slide}B_{frame:04d}"
                field(root / ("train" if frame == 7 else "valid"), name, f"{number} 0.5 0.25 0.1 0.2\n")
    return root


def field(folder, name, boxes):
    picture(folder / "images" / f"{name}.jpg", (160, 100))
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / f"{name}.txt").write_text(boxes)


def test_boxes_are_cells_and_slides_stay_together(samples):
    assert find_source(samples, "wbc").name == find_source(samples.parent, "wbc").name == "Chula (WBC_Dataset)"
    field(samples / "valid", "HF-M-1B_0009", "4 0.5 0.5 0.1 0.2\n0 0.1 0.5 0.1 0.2\n")
    manifest = read_cells(samples)
    assert list(manifest.counts()) == ["train"] and manifest.counts()["train"]["Monocyte"] == 21
    assert manifest.table["group"].nunique() == 50  # the flipped copy is of slide M-1B
    assert (72, 15, 16, 20) in {split_box(path)[1] for path in manifest.table["path"]}
    for path, label, group in manifest.table[["path", "label", "group"]].itertuples(index=False):
        assert label[0] == group[0] or "HF-M-1B" in path
    assert (official_splits(manifest).table.groupby("group")["split"].nunique() == 1).all()
    assert "50 slides, by the names of the files; train and valid share slides" in manifest.summary()


def test_fields_that_cannot_be_used(samples):
    (samples / "train" / "labels" / "N-0B_0007.txt").write_text("9 0.5 0.5 0.1 0.1")
    (samples / "train" / "labels" / "N-1B_0007.txt").unlink()
    (samples / "train" / "images" / "N-2B_0007.jpg").write_bytes(b"")
    manifest = read_cells(samples)
    assert len(manifest) == 97
    for part in ("1 (annotation has a class or a share out of range)", "1 (annotation cannot be opened", "1 (has zero"):
        assert part in manifest.summary()


def test_other_folders_of_boxes_are_not_claimed(samples):
    for path in samples.rglob("*_0007.*"):
        path.rename(path.with_name(f"image{path.name}"))
    assert find_source(samples, "wbc") is None


@pytest.fixture
def cut_out(tmp_path):
    root = tmp_path / "chula"
    names = [f"{label}/{label[0]}-3_{frame:04d}_0.jpg" for label in ("Basophil", "Monocyte") for frame in range(4)]
    for name in names:
        picture(root / name)
    rows = [f"{name},{name[:3]}{number // 2},{name[9:12]}" for number, name in enumerate(names)]
    (root / "cells.csv").write_text("\n".join(["file,cell,slide", *rows[:-1]]))
    return root


def test_cut_out_cells_are_grouped_by_cell(cut_out):
    assert find_source(cut_out, "wbc").name == "cut-out cells with cells.csv"
    manifest = read_cells(cut_out)
    assert len(manifest) == 8 and manifest.table["group"].nunique() == 5  # the last is not in the table
    assert "4 cells by cells.csv" in manifest.summary()
    (cut_out / "cells.csv").write_text("file\na.jpg\n")
    with pytest.raises(UserError, match=r"cells\.csv: expected 2 columns, found file"):
        read_cells(cut_out)


def test_real_cut_out_cells(real_data):
    manifest = read_cells(real_data.parent / "labs" / "chula")
    assert list(manifest.counts()["train"].values()) == [33, 48, 100, 74, 101]
    basophils = manifest.table[manifest.table["label"] == "Basophil"]
    assert basophils["group"].nunique() == 11


def test_real_boxes(real_data, tmp_path):
    folder = real_data.parent / "fields" / "chula"
    for part in ("train", "valid"):
        (tmp_path / part / "images").mkdir(parents=True)
        (tmp_path / part / "labels").mkdir()
    (tmp_path / "train" / "images" / "E-14_0586.jpg").symlink_to(folder / "train_E-14_0586.jpg")
    # as published
    published = "1 0.400347 0.647222 0.081250 0.123333\n0 0.308681 0.616111 0.065972 0.121111\n"
    (tmp_path / "train" / "labels" / "E-14_0586.txt").write_text(published + "0 0.190278 0.872222 0.086111 0.133333\n")
    manifest = read_cells(tmp_path)
    with open(folder / "boxes.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if "E-14_0586" in row["file"]]
    found = {
        (label, split_box(path)[1]) for path, label in zip(*map(manifest.table.get, ("path", "label")), strict=True)
    }
    corners = {(label, box.left, box.top, box.left + box.width, box.top + box.height) for label, box in found}
    assert corners == {(row["class"], *(int(row[side]) for side in ("x0", "y0", "x1", "y1"))) for row in rows}
    assert Path(split_box(manifest.table["path"].iat[0])[0]).name == "E-14_0586.jpg"
