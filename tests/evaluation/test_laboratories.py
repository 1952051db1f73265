"""Names of the sets of images that a classifier is scored on."""

import pytest

from hemacell.evaluation import laboratories
from hemacell.evaluation.laboratories import in_order, is_elsewhere, set_words, split_of, splits_elsewhere

LOGGED = ["test/accuracy", "external/lisc/accuracy", "external/lisc/f1/Monocyte", "external/jtsc/accuracy"]


def test_laboratories_are_found_among_metrics():
    assert splits_elsewhere(LOGGED) == ["external/jtsc", "external/lisc"]
    # as logged before laboratories had names, and what only looks like one
    assert splits_elsewhere(["external/accuracy", "external/f1/Monocyte", "externals/lisc/accuracy"]) == []


def test_names_in_words():
    assert split_of("lisc") == "external/lisc"
    assert [set_words(split) for split in ("test", "external/lisc")] == ["test", "lisc"]
    assert [is_elsewhere(split) for split in ("test", "training", "external/lisc")] == [False, False, True]


def test_another_way_of_scoring_is_one_entry(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(laboratories.WAYS, "external_adapted", " (own statistics)")
    found = splits_elsewhere([*LOGGED, "external_adapted/lisc/accuracy"])
    assert found == ["external/jtsc", "external/lisc", "external_adapted/lisc"]
    assert in_order([*reversed(found), "test"]) == ["test", *found]
    assert set_words("external_adapted/lisc") == "lisc (own statistics)"
