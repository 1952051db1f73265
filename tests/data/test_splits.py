from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemacell.core.errors import UserError
from hemacell.data.manifest import Manifest, Row
from hemacell.data.sources.course import CLASSES, wbc_manifest
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.splits import (
    ALL_THREE,
    apportion,
    conflicting_labels,
    duplicates_across_splits,
    official_splits,
    prcc_splits,
    split_counts,
)


def _numbers(manifest):
    return {split: sum(row.values()) for split, row in manifest.counts().items()}


def _lines(n, split, label="Basophil"):
    return [(f"{label}{split}{index}", label, split) for index in range(n)]


def test_official_test_stays_as_it_is(rows):
    manifest = rows(_lines(10, "train") + _lines(4, "val") + _lines(5, "test"))
    assert official_splits(manifest).digest == manifest.digest


def test_val_is_divided_30_to_70_in_every_class(rows):
    manifest = official_splits(
        rows([line for label in CLASSES for line in _lines(8, "train", label) + _lines(20, "val", label)])
    )
    assert manifest.counts()["val"] == dict.fromkeys(CLASSES, 6)
    assert manifest.counts()["test"] == dict.fromkeys(CLASSES, 14)
    assert manifest.counts()["train"] == dict.fromkeys(CLASSES, 8)


def test_only_train_is_divided_70_10_20_and_one_image_stays(rows):
    manifest = official_splits(rows(_lines(100, "train") + _lines(1, "train", "Monocyte")))
    assert {split: row["Basophil"] for split, row in manifest.counts().items()} == {"train": 70, "val": 10, "test": 20}
    assert manifest.part("train").counts()["train"]["Monocyte"] == 1


def test_missing_val_comes_from_train(rows):
    assert _numbers(official_splits(rows(_lines(80, "train") + _lines(5, "test")))) == {
        "train": 70,
        "val": 10,
        "test": 5,
    }


def test_same_seed_same_split_another_seed_another(rows):
    manifest = rows(_lines(50, "train"))
    assert official_splits(manifest).digest == official_splits(manifest).digest
    assert official_splits(manifest, seed=1).digest != official_splits(manifest).digest
    backwards = manifest.select(list(range(50))[::-1])
    assert official_splits(backwards).digest == official_splits(manifest).digest


def test_masked_copies_and_extra_images_never_leave_train(cells):
    cells(train=20, masks=20)
    root = cells(folder="WBC_JTSC", train={"Basophil": 3}, masks=3)
    manifest = official_splits(wbc_manifest(root, mask_from="WBC_JTSC"))
    table = manifest.table
    assert set(table[table["source"] != "original"]["split"]) == {"train"}
    train = set(table[(table["split"] == "train") & (table["source"] == "original")]["group"])
    masked = set(table[table["source"] == "masked"]["group"])
    assert masked == train and len(masked) == 70
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
    manifest = official_splits(wbc_manifest(root))
    assert duplicates_across_splits(manifest) == [] and len(manifest) == 180


def test_real_splits(real_data):
    manifest = prcc_splits(read_manifest(real_data, "prcc"))
    assert split_counts(manifest) == {"train": 460, "val": 58, "test": 58}
    assert (manifest.table.groupby("group")["split"].nunique() == 1).all()
    cells = wbc_manifest(real_data)
    assert duplicates_across_splits(cells) == [] and conflicting_labels(cells) == []
