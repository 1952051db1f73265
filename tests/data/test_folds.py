"""Folds: every image is tested once, groups stay whole, classes are even, and images nearly keep their fold."""

import logging
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemacell.core.errors import UserError
from hemacell.data.class_names import CLASSES
from hemacell.data.folds import check_folds, folds_of, pooled, with_fold
from hemacell.data.groups import known_groups, strata
from hemacell.data.manifest import Manifest, Row
from hemacell.data.splits import groups_across_splits
from tests.reading import read_cells


def images(lines):
    """A manifest of (name, class, group, split); group '' is the image's own digest."""
    return Manifest.from_rows(
        [Row(f"/x/{name}", label, split, group or name, "", name, "original") for name, label, group, split in lines],
        tuple(sorted({label for _, label, *_ in lines})),
        "x",
        "/x",
    )


def cells_of(counts, group=""):
    return [(f"{label}{n}", label, group, "train") for label, count in counts.items() for n in range(count)]


def sides(manifest, folds):
    """Name of an image -> its split in each fold."""
    found = {}
    for fold in range(folds):
        table = with_fold(manifest, folds, fold).table
        for name, split in zip(table["sha256"], table["split"], strict=True):
            found.setdefault(name, []).append(split)
    return found


def test_every_image_is_tested_once_and_learnt_from_mostly():
    found = sides(pooled(images(cells_of({"A": 40, "B": 60, "C": 7})), 5), 5)
    counts = [Counter(of_image) for of_image in found.values()]
    assert len(found) == 107 and all(count["test"] == 1 and count["train"] >= 1 for count in counts)
    assert 0.08 < sum(count["val"] for count in counts) / (4 * 107) < 0.17


@given(
    patients=st.lists(st.dictionaries(st.sampled_from("ABC"), st.integers(1, 9), min_size=1), min_size=6, max_size=30),
    folds=st.integers(2, 5),
)
@settings(max_examples=60, deadline=None)
def test_groups_are_never_cut(patients, folds):
    lines = [
        (f"{patient}{label}{n}", label, f"patient {patient}", "train")
        for patient, of_class in enumerate(patients)
        for label, count in of_class.items()
        for n in range(count)
    ]
    manifest = images(lines)
    try:
        manifest = pooled(manifest, folds)
        found = [with_fold(manifest, folds, fold) for fold in range(folds)]
    except UserError:
        return  # too few groups of a class
    for each in found:
        assert not groups_across_splits(each)
        assert set(each.part("train").table["label"]) == set(manifest.table["label"])
    assert sum(len(each.part("test")) for each in found) == len(manifest)


def test_folds_are_even_in_every_class():
    counts = {"A": 20, "B": 50, "C": 131}
    manifest = pooled(images(cells_of(counts)), 5)
    for fold in range(5):
        of_test = with_fold(manifest, 5, fold).counts()["test"]
        assert all(abs(of_test[label] - count / 5) <= 1 for label, count in counts.items()), of_test


def test_patients_with_all_classes_are_even():
    lines = [(f"{n}{label}{i}", label, f"patient {n}", "train") for n in range(20) for label in "ABC" for i in range(9)]
    manifest = pooled(images(lines), 5)
    sizes = [len(with_fold(manifest, 5, fold).part("test")) // 27 for fold in range(5)]
    assert sum(sizes) == 20 and set(sizes) <= {3, 4, 5}


def test_most_images_keep_their_fold_when_others_are_added():
    names = [f"{n}" for n in range(300)]
    labels = [CLASSES[n % 5] for n in range(300)]
    before, after = folds_of(names[:270], labels[:270], 5), folds_of(names, labels, 5)
    assert np.mean([before[name] == after[name] for name in names[:270]]) > 0.85


def test_official_splits_are_pooled_and_masked_copies_follow(cells, caplog):
    manifest = read_cells(cells(train=6, val=2, test=2, masks=4))
    with caplog.at_level(logging.INFO):
        everything = pooled(manifest, 3)
    assert "folds=3: the splits that are given (30 train, 10 val, 10 test) are pooled and divided anew" in caplog.text
    for fold in range(3):
        table = with_fold(everything, 3, fold).table
        assert (table["source"] == "original").sum() == 50
        masked = table[table["source"] == "masked"]
        learnt = table[(table["source"] == "original") & (table["split"] == "train")]
        assert set(masked["split"]) == {"train"} and set(masked["path"]) <= set(learnt["path"]) and len(masked)


def test_folds_that_cannot_be():
    manifest = images(cells_of({"A": 9, "B": 4, "C": 9}))
    with pytest.raises(UserError, match=r"expected 5 or more images of every class, found 4 of B; type folds=4, or"):
        check_folds(manifest, 5)
    of_patients = images([(f"{n}{label}", label, f"P{n % 3}", "train") for n in range(9) for label in "AB"])
    with pytest.raises(UserError, match=r"expected 5 or more groups of every class, found 3 of A"):
        check_folds(of_patients, 5)
    with pytest.raises(UserError, match=r"found 1 of B; leave the class out by classes=B:-"):
        check_folds(images(cells_of({"A": 9, "B": 1})), 2)
    with pytest.raises(UserError, match=r"draw=4: with folds=4 a draw is a fold, 0 to 3"):
        with_fold(manifest, 4, 4)


def test_groups_are_known_where_they_are_named_otherwise_than_the_image(cells):
    assert not known_groups(read_cells(cells(train=2, val=1, test=1, masks=1))), "a masked copy has its image's group"
    manifest = images([("a", "A", "P1", "train"), ("b", "B", "", "test"), ("c", "B", "P1", "test")])
    assert known_groups(manifest) == ("P1", "b", "P1") and groups_across_splits(manifest) == ["P1"]


def test_groups_are_divided_by_their_rarest_class():
    assert strata(["1", "1", "2", "3", "3"], ["A", "B", "A", "A", "A"]) == {"A": ["2", "3"], "B": ["1"]}
