from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemacell.core.errors import UserError
from hemacell.data.class_names import CLASSES
from hemacell.data.manifest import Manifest, Row
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.splits import (
    ALL_THREE,
    apportion,
    official_splits,
    prcc_splits,
    split_counts,
)
from tests.reading import conflicting_labels, duplicates_across_splits, read_cells


def _numbers(manifest):
    return {split: sum(row.values()) for split, row in manifest.counts().items()}


def _lines(n, split, label="Basophil"):
    return [(f"{label}{split}{index}", label, split) for index in range(n)]


def test_official_test_stays_as_it_is(rows):
    manifest = rows(_lines(10, "train") + _lines(4, "val") + _lines(5, "test"))
    assert official_splits(manifest).digest == manifest.digest


def test_val_is_divided_30_to_70_about(rows):
    manifest = official_splits(
        rows([line for label in CLASSES for line in _lines(8, "train", label) + _lines(200, "val", label)])
    )
    numbers = _numbers(manifest)
    assert numbers["train"] == 40 and 270 <= numbers["val"] <= 330 and numbers["val"] + numbers["test"] == 1000


def test_only_train_is_divided_70_10_20_about_and_one_image_stays(rows):
    manifest = official_splits(rows(_lines(1000, "train") + _lines(1, "train", "Monocyte")))
    counts = {split: row["Basophil"] for split, row in manifest.counts().items()}
    assert 660 <= counts["train"] <= 740 and 75 <= counts["val"] <= 125 and 165 <= counts["test"] <= 235
    assert manifest.part("train").counts()["train"]["Monocyte"] == 1


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10])
def test_a_small_class_is_on_every_side_it_can_be(rows, n):
    for seed in range(20):
        counts = official_splits(rows(_lines(n, "train")), seed).counts()
        assert len(counts) == min(n, 3) and "train" in counts


def test_missing_val_comes_from_train(rows):
    numbers = _numbers(official_splits(rows(_lines(800, "train") + _lines(5, "test"))))
    assert 75 <= numbers["val"] <= 125 and numbers["train"] + numbers["val"] == 800 and numbers["test"] == 5


@given(more=st.integers(1, 50), seed=st.integers(0, 5))
@settings(max_examples=30)
def test_an_image_stays_where_it_is_when_others_are_added(more, seed):
    def sides(count):
        lines = [Row(f"/x/{n}", CLASSES[n % 2], "train", f"{n}", "", f"{n}", "original") for n in range(count)]
        table = official_splits(Manifest.from_rows(lines, CLASSES, "x", Path("/x")), seed).table
        return dict(zip(table["path"], table["split"], strict=True))

    before, after = sides(100), sides(100 + more)
    assert {path: after[path] for path in before} == before


def test_same_seed_same_split_another_seed_another(rows):
    manifest = rows(_lines(50, "train"))
    assert official_splits(manifest).digest == official_splits(manifest).digest
    assert official_splits(manifest, seed=1).digest != official_splits(manifest).digest
    backwards = manifest.select(list(range(50))[::-1])
    assert official_splits(backwards).digest == official_splits(manifest).digest


def test_masked_copies_and_extra_images_never_leave_train(cells):
    cells(train=20, masks=20)
    root = cells(folder="WBC_JTSC", train={"Basophil": 3}, masks=3)
    manifest = official_splits(read_cells(root, mask_from="WBC_JTSC"))
    table = manifest.table
    assert set(table[table["source"] != "original"]["split"]) == {"train"}
    train = set(table[(table["split"] == "train") & (table["source"] == "original")]["group"])
    masked = set(table[table["source"] == "masked"]["group"])
    assert masked == train and 60 <= len(masked) <= 80
    assert (table["source"] == "extra").sum() == 6


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=60),
    labels=st.lists(st.sampled_from(CLASSES), min_size=60, max_size=60),
    seed=st.integers(0, 5),
)
@settings(max_examples=60)
def test_no_group_is_cut_and_nothing_is_lost(tmp_path_factory, sizes, labels, seed):
    lines = [
        Row(f"/x/{group}-{n}", labels[group], "train", f"g{group}", "", f"{group}-{n}", "original")
        for group, size in enumerate(sizes)
        for n in range(size)
    ]
    manifest = official_splits(Manifest.from_rows(lines, CLASSES, "x", tmp_path_factory.getbasetemp()), seed)
    assert len(manifest) == len(lines)
    assert (manifest.table.groupby("group")["split"].nunique() == 1).all()


@given(n=st.integers(1, 400), seed=st.integers(0, 9))
@settings(max_examples=60)
def test_single_images_come_close_to_their_shares(n, seed):
    sides = Counter(apportion({f"{index}": 1 for index in range(n)}, ALL_THREE, seed).values())
    assert sides["train"] >= 1
    for side, share in ALL_THREE.items():
        assert abs(sides[side] - share * n) < 1.5


def test_prcc_by_patient(sample):
    manifest = prcc_splits(read_manifest(sample, "prcc"))
    assert (manifest.table.groupby("group")["split"].nunique() == 1).all()
    numbers = split_counts(manifest)
    assert sum(numbers.values()) == 60 and numbers["train"] >= 44 and min(numbers.values()) >= 4


def test_prcc_of_too_few_patients(tmp_path):
    lines = [Row(f"/x/{n}", "", "", f"p{n % 2}", "", f"{n}", "original") for n in range(8)]
    with pytest.raises(UserError, match="2 patients or fields: expected 3 or more"):
        prcc_splits(Manifest.from_rows(lines, (), "pRCC_nolabel", tmp_path))


def test_duplicates_and_conflicts_are_found(rows):
    manifest = rows(
        [
            ("a", "Basophil", "train"),
            ("a", "Basophil", "test"),
            ("b", "Basophil", "train"),
            ("b", "Monocyte", "train"),
            ("c", "Basophil", "val"),
            ("c", "Basophil", "val"),
        ]
    )
    digests = manifest.table["sha256"]
    assert [[digests[row] for row in group] for group in duplicates_across_splits(manifest)] == [["a", "a"]]
    assert [[digests[row] for row in group] for group in conflicting_labels(manifest)] == [["b", "b"]]


def test_duplicates_on_disk_stay_on_one_side_of_our_own_split(cells):
    root = cells(train=30)
    folder = root / "WBC_100" / "train" / "data" / "Basophil"
    for path in list(folder.iterdir()):
        (folder / f"again_{path.name}").write_bytes(path.read_bytes())
    manifest = official_splits(read_cells(root))
    assert duplicates_across_splits(manifest) == [] and len(manifest) == 180


def test_real_splits(real_data):
    manifest = prcc_splits(read_manifest(real_data, "prcc"))
    assert split_counts(manifest) == {"train": 460, "val": 58, "test": 58}
    assert (manifest.table.groupby("group")["split"].nunique() == 1).all()
    cells = read_cells(real_data)
    assert duplicates_across_splits(cells) == [] and conflicting_labels(cells) == []
