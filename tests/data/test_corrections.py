"""Labels from a table win over folders, in training images only."""

from pathlib import Path

import pytest

from hemacell.core.errors import UserError
from hemacell.data.corrections import corrected
from hemacell.data.manifest import Manifest, Row

CLASSES = ("Basophil", "Monocyte", "Neutrophil")
ROOT = Path("/data")


def row(name: str, label: str, split: str = "train", sha256: str = "", mask: str = "") -> Row:
    path = str(ROOT / name)
    return Row(path, label, split, name, mask, sha256 or f"sha-{name}", "masked" if mask else "original")


@pytest.fixture
def images() -> Manifest:
    rows = [
        row("a/1.png", "Basophil"),
        row("a/1.png", "Basophil", mask="/data/m/1.png", sha256="masked-1"),
        row("a/2.png", "Monocyte"),
        row("a/3.png", "Neutrophil", "test"),
        row("a/é.png", "Neutrophil"),
    ]
    return Manifest.from_rows(rows, CLASSES, "cells", ROOT)


def write(folder: Path, text: str) -> Path:
    file = folder / "corrected.csv"
    file.write_text(text, encoding="utf-8")
    return file


def labels(manifest: Manifest) -> dict[str, list[str]]:
    table = manifest.table
    return {name: sorted(table.loc[table["path"] == str(ROOT / name), "label"]) for name in ("a/1.png", "a/2.png")}


@pytest.mark.parametrize("name", ["a/1.png", "/data/a/1.png", "a\\1.png"])
def test_a_path_in_any_form_corrects_the_image_and_its_masked_copy(images, tmp_path, name):
    found = corrected(images, write(tmp_path, f"path,label\n{name},neu\n"))
    assert labels(found) == {"a/1.png": ["Neutrophil", "Neutrophil"], "a/2.png": ["Monocyte"]}
    assert found.digest != images.digest
    assert "training labels corrected by corrected.csv: 1" in " ".join(found.account.notes)


def test_a_digest_is_enough_and_a_name_in_another_unicode_form_is_found(images, tmp_path):
    found = corrected(images, write(tmp_path, "sha256,label\nsha-a/2.png,Basophil\n"))
    assert labels(found)["a/2.png"] == ["Basophil"]
    found = corrected(images, write(tmp_path, "path,label\na/e\u0301.png,Basophil\n"))
    assert (found.table["label"] == "Basophil").sum() == 3


def test_a_hyphen_leaves_an_image_out_and_its_copy_and_an_empty_label_changes_nothing(images, tmp_path):
    found = corrected(images, write(tmp_path, "path,label\na/1.png,-\na/2.png,\n"))
    assert labels(found) == {"a/1.png": [], "a/2.png": ["Monocyte"]}
    assert [skipped.reason for skipped in found.account.skipped] == ["left out by corrected.csv"]


def test_a_test_image_keeps_its_label_and_this_is_said(images, tmp_path):
    found = corrected(images, write(tmp_path, "path,label\na/3.png,Basophil\na/1.png,Monocyte\n"))
    assert list(found.part("test").table["label"]) == ["Neutrophil"]
    assert any(
        note.startswith("its corrections of val and test") and note.endswith(": 1") for note in found.account.notes
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na/1.png,Plasma\n", "no class Plasma"),
        ("path,label\na/1.png,Monocyte\na/1.png,Basophil\n", "two labels, Monocyte and Basophil"),
        ("path,label\nb/1.png,Monocyte\n", "found 1 row with other images"),
        ("path,label\na/1.png,\n", "found no|no labels"),
        ("path,note\na/1.png,x\n", "expected a column label"),
        ("patient,label\n1,Monocyte\n", "path or sha256"),
    ],
)
def test_what_cannot_be_used_is_one_clear_line(images, tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        corrected(images, write(tmp_path, text))


def test_a_table_that_names_none_of_a_part_of_the_images_changes_nothing(images, tmp_path):
    found = corrected(images, write(tmp_path, "path,label\nb/1.png,Monocyte\n"), all_there=False)
    assert list(found.table["label"]) == list(images.table["label"])


def test_images_without_labels_have_none_to_correct(tmp_path):
    tiles = Manifest.from_rows([row("a/1.png", "")], (), "tiles", ROOT)
    with pytest.raises(UserError, match="no labels to correct; leave labels out"):
        corrected(tiles, write(tmp_path, "path,label\na/1.png,Monocyte\n"))


def test_a_missing_table_is_an_error(images, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        corrected(images, tmp_path / "missing.csv")
