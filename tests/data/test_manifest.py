import numpy as np
import pytest

from hemacell.data.manifest import Manifest, Row
from tests.reading import read_cells

LINES = [("b", "Basophil", "train"), ("a", "Neutrophil", "val"), ("c", "", "test")]


def test_digest_knows_neither_folder_nor_order_nor_names(cells, tmp_path):
    root = cells(train=2, test=1, masks=1)
    digest = read_cells(root).digest
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    for path in list(moved.rglob("data/*/000.png")):
        path.rename(path.with_name("zzz.png"))
        mask = path.parents[2] / "mask" / path.parent.name / path.name
        if mask.exists():
            mask.rename(mask.with_name("zzz.png"))
    manifest = read_cells(moved)
    assert manifest.digest == digest and manifest.digest32 == digest[:32] and len(digest) == 64
    assert manifest.select(np.arange(len(manifest))[::-1]).digest == digest


@pytest.mark.parametrize(
    "change",
    [("x", "Basophil", "train"), ("b", "Monocyte", "train"), ("b", "Basophil", "val")],
    ids=["pixels", "label", "split"],
)
def test_digest_changes_with_what_matters(rows, change):
    assert rows([change, *LINES[1:]]).digest != rows(LINES).digest


def test_rows_are_sorted_by_content(rows):
    assert list(rows(LINES).table["sha256"]) == ["a", "b", "c"]
    assert rows(LINES).table.equals(rows(LINES).table)


def test_labels_counts_parts(rows):
    manifest = rows(LINES)
    assert manifest.labels.tolist() == [4, 0, -1] and manifest.labels.dtype == np.int64
    assert manifest.counts()["train"] == {
        "Basophil": 1, "Eosinophil": 0, "Lymphocyte": 0, "Monocyte": 0, "Neutrophil": 0, "": 0,
    }  # fmt: skip
    assert list(manifest.counts()) == ["train", "val", "test"]
    assert len(manifest.part("val")) == 1 and manifest.part("val").labels.tolist() == [4]
    with pytest.raises(ValueError, match="'dev'"):
        manifest.part("dev")


def test_select_by_mask_and_by_position(rows):
    manifest = rows(LINES)
    assert list(manifest.select(np.array([True, False, True])).table["sha256"]) == ["a", "c"]
    assert list(manifest.select([2, 0]).table["sha256"]) == ["c", "a"]
    assert len(manifest.select([])) == 0 and manifest.select([]).counts() == {}
    with pytest.raises(ValueError, match="2 values for 3 rows"):
        manifest.select([True, False])


def test_what_no_manifest_may_hold(rows, tmp_path):
    with pytest.raises(ValueError, match="Blast"):
        rows([("a", "Blast", "train")])
    with pytest.raises(ValueError, match="dev"):
        rows([("a", "Basophil", "dev")])
    with pytest.raises(ValueError, match="columns"):
        Manifest(rows(LINES).table.drop(columns="mask"), (), "x", tmp_path)


def test_empty_manifest(tmp_path):
    manifest = Manifest.from_rows([], ("a",), "none", tmp_path)
    assert len(manifest) == 0 and manifest.counts() == {} and manifest.labels.shape == (0,)
    assert manifest.with_splits([]).digest == manifest.digest
    assert Row._fields == tuple(manifest.table.columns)
