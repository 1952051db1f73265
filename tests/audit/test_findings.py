"""What an audit says, and in which order."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hemacell.audit.cleaning import with_corrections, without_copies
from hemacell.audit.findings import (
    Severity,
    class_findings,
    copy_findings,
    copy_groups_of,
    distance_finding,
    group_findings,
    joined_groups,
    label_finding,
    measurement_findings,
    ordered,
    unreadable_finding,
)
from hemacell.data.manifest import Manifest, Row

ROOT = Path("/data")


def row(name: str, label: str, split: str, group: str = "", mask: str = "") -> Row:
    digest = f"{name}{mask}".ljust(8, "0")
    return Row(str(ROOT / name), label, split, group or digest, mask, digest, "masked" if mask else "original")


def manifest(*rows: Row) -> Manifest:
    return Manifest.from_rows(rows, ("Basophil", "Monocyte"), "cells", ROOT)


IMAGES = manifest(
    row("a.png", "Basophil", "train"),
    row("a.png", "Basophil", "train", mask="/data/m.png"),
    row("b.png", "Basophil", "test"),
    row("c.png", "Monocyte", "train"),
    row("d.png", "Basophil", "train"),
    row("e.png", "Monocyte", "val"),
    row("f.png", "Monocyte", "val"),
)


def at(*names: str) -> list[int]:
    paths, masks = list(IMAGES.table["path"]), list(IMAGES.table["mask"])
    return [next(i for i, path in enumerate(paths) if path.endswith(name) and not masks[i]) for name in names]


def groups(*names: str):
    return copy_groups_of(IMAGES, [at(*each.split()) for each in names])


def test_copies_across_splits_come_first_then_those_under_two_labels():
    found = groups("e.png f.png", "c.png d.png", "a.png b.png")
    assert [(group.crosses, group.conflicts) for group in found] == [(True, False), (False, True), (False, False)]
    said = ordered(copy_findings(IMAGES, found))
    assert [finding.severity for finding in said] == [Severity.SERIOUS, Severity.SERIOUS, Severity.NOTE]
    leaked = next(finding for finding in said if "in another split" in finding.words)
    assert leaked.count == 1 and ("a.png = b.png" in leaked.words or "b.png = a.png" in leaked.words)
    assert any("different labels" in finding.words and finding.count == 2 for finding in said)


def test_groups_that_share_a_copy_are_one_and_others_stay_apart():
    images = manifest(*(row(name, "Basophil", "train", f"P{name[1]}") for name in ("a1", "b1", "c2", "d2", "e3")))
    at_name = {Path(path).name: place for place, path in enumerate(images.table["path"])}
    copies = copy_groups_of(images, [[at_name["b1"], at_name["c2"]]])
    found = joined_groups(images, copies)
    assert len({found[at_name[name]] for name in ("a1", "b1", "c2", "d2")}) == 1
    assert found[at_name["e3"]] != found[at_name["a1"]]
    assert len(set(joined_groups(images, []))) == 3


def test_of_copies_one_stays_in_test_and_a_masked_copy_goes_with_its_image():
    kept = without_copies(IMAGES, IMAGES, groups("a.png b.png"))
    assert sorted(Path(path).name for path in kept.table["path"]) == ["b.png", "c.png", "d.png", "e.png", "f.png"]
    assert [(Path(each.path).name, each.reason) for each in kept.account.skipped] == [
        ("a.png", "copy of another image")
    ]
    assert not IMAGES.account.skipped


def test_of_a_picture_under_two_labels_none_stays():
    kept = without_copies(IMAGES, IMAGES, groups("c.png d.png", "e.png f.png"))
    names = {Path(path).name for path in kept.table["path"]}
    assert names & {"c.png", "d.png"} == set() and len(names & {"e.png", "f.png"}) == 1


def test_corrected_labels_say_which_copies_conflict_and_an_image_left_out_goes_first():
    old = IMAGES.with_splits(["train"] * len(IMAGES))
    of_c, of_a = (old.table["path"].str.endswith(name) for name in ("c.png", "a.png"))
    new = replace(old, table=old.table.assign(label=old.table["label"].mask(of_c, "Basophil"))).select(~of_a.to_numpy())
    copies = copy_groups_of(old, [at("c.png", "d.png"), at("a.png", "e.png"), at("b.png", "f.png")])
    assert all(group.conflicts for group in copies)
    kept = without_copies(old, *with_corrections(old, copies, new))
    names = {Path(path).name for path in kept.table["path"]}
    assert len(names & {"c.png", "d.png"}) == 1  # corrected to one label
    assert names & {"a.png", "e.png"} == {"e.png"}  # a.png is left out by the table
    assert names & {"b.png", "f.png"} == set()  # still under two labels
    assert set(kept.table["split"]) == {"train"}


def test_without_copies_nothing_changes():
    assert without_copies(IMAGES, IMAGES, []) is IMAGES
    assert copy_findings(IMAGES, []) == []


def test_a_patient_on_both_sides_is_serious_and_single_images_are_no_groups():
    both = manifest(
        row("a", "Basophil", "train", "P1"), row("b", "Basophil", "test", "P1"), row("c", "Basophil", "val")
    )
    (finding,) = group_findings(both)
    assert finding.severity == Severity.SERIOUS and finding.count == 1 and "P1" in finding.words
    assert group_findings(IMAGES) == []
    apart = manifest(row("a", "Basophil", "train", "P1"), row("b", "Basophil", "test", "P2"))
    assert group_findings(apart) == []


def test_small_classes_unreadable_images_labels_and_outliers_are_said():
    (few,) = class_findings(IMAGES)
    assert "Monocyte has 0 in test" in few.words
    assert unreadable_finding([]) == []
    assert "a.png: is truncated" in unreadable_finding([("a.png", "is truncated")])[0].words
    doubts = pd.DataFrame([{"path": "a.png", "label": "Basophil", "suggested": "Monocyte"}])
    assert "a.png (Basophil, rather Monocyte)" in label_finding(doubts)[0].words
    assert label_finding(doubts[:0]) == []
    outliers = pd.DataFrame([{"image": 3, "measure": "sharpness", "reason": "blurred: sharpness 0.1"}])
    columns = ["by", "value", "effect", "images", "stands_out", "reason"]
    differences = pd.DataFrame(
        [
            ("split", "test", 0.5, 9, True, "test: brightness higher"),
            ("split", "val", -0.6, 9, True, "val: contrast lower"),
            ("class", "Basophil", 0.9, 9, True, "Basophil: larger"),
            ("split", "train", 0.1, 9, False, ""),
        ],
        columns=columns,
    )
    words = [finding.words for finding in measurement_findings(outliers, differences)]
    assert words == [
        "split val: contrast lower, and 1 more difference: scores may rest on it",
        "1 image unlike others of the class (blurred 1)",
    ]
    assert measurement_findings(outliers[:0], differences[2:]) == []


@pytest.mark.parametrize(("share", "severity"), [(0.01, None), (0.2, Severity.DOUBT), (0.9, Severity.SERIOUS)])
def test_a_model_that_knows_these_images_is_no_finding(share, severity):
    flagged = np.arange(100) < 100 * share
    assert [finding.severity for finding in distance_finding("models:/m/1", flagged)] == (
        [] if severity is None else [severity]
    )
