"""Which source a file or folder is taken for, and what each gives."""

import shutil

import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data import decoding
from hemacell.data.manifest import Card
from hemacell.data.sources.base import SOURCES, Source, SourceOptions, find_source, source
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.sources.resolve import read_manifest, resolve_data
from hemacell.data.splits import official_splits


def name_of(root, job="wbc"):
    found = find_source(root, job)
    return found.name if found else None


def test_the_sample_is_of_the_course_layout_for_every_job(sample):
    assert [name_of(sample, job) for job in ("wbc", "camelyon", "prcc")] == [
        "the course layout (cells)",
        "the course layout (patches)",
        "the course layout (tiles)",
    ]
    assert [name_of(sample / "WBC_100", job) for job in ("wbc", "camelyon", "prcc")] == ["class folders", None, None]


@pytest.mark.parametrize("divided", [True, False])
def test_class_folders_give_their_own_classes_and_splits(cells, tmp_path, divided):
    part = cells(train={"Basophil": 4, "Monocyte": 8}, test={"Monocyte": 3}) / "WBC_100"
    root = tmp_path / "mine"
    for split in ("train", "test") if divided else ("train",):
        shutil.copytree(part / split / "data", root / split if divided else root)
    assert name_of(root) == "class folders" and name_of(root, "camelyon") is None
    manifest = read_manifest(root, "wbc")
    assert manifest.classes == ("Basophil", "Monocyte") and manifest.read is None
    assert manifest.counts()["train"] == {"Basophil": 4, "Monocyte": 8}
    assert ("test" in manifest.counts()) == divided
    assert set(official_splits(manifest).counts()) == {"train", "val", "test"}
    with pytest.raises(UserError, match=r"mask_from=x: .* class folders"):
        read_manifest(root, "wbc", SourceOptions(mask_from="x"))


def test_a_course_folder_with_loose_images_stays_one(sample, tmp_path):
    root = shutil.copytree(sample / "pRCC_nolabel", tmp_path / "data" / "pRCC_nolabel").parent
    shutil.copytree(sample / "CAM16_100cls_10mask", root / "CAM16_100cls_10mask")
    shutil.copytree(root / "pRCC_nolabel", root / "thumbnails")
    Image.new("RGB", (4, 4)).save(root / "overview.png")
    assert name_of(root, "prcc") == "the course layout (tiles)"
    assert name_of(root, "wbc") != "class folders"
    assert len(read_manifest(root, "prcc")) == 60


def test_a_folder_of_tiles(sample):
    manifest = read_manifest(sample / "pRCC_nolabel", "prcc")
    assert manifest.digest == read_manifest(sample, "prcc").digest and manifest.name == "pRCC_nolabel"


@pytest.fixture
def drawn():
    @source("drawn", jobs=("wbc",))
    class Drawn(Source):
        card = Card("CC0")

        @classmethod
        def matches(cls, root):
            return root.suffix == ".drawn"

        def listing(self, options):
            items = [Item(f"grey {n}", ("dark", "light")[n > 127], sha256=str(n)) for n in (9, 200)]
            return Listing("drawn", self.root.parent, items)

        def read(self, locator):
            return Image.new("RGB", (5, 7), (int(locator.split()[1]),) * 3)

    yield
    SOURCES.remove("drawn")


def test_rows_that_are_no_files_are_read_by_their_source(drawn, tmp_path):
    (tmp_path / "cells.drawn").touch()
    found = resolve_data(str(tmp_path / "cells.drawn"), tmp_path)
    assert found.kind == "folder"
    manifest = read_manifest(found.root, "wbc")
    assert manifest.card.license == "CC0"
    decoded = decoding.decode(manifest.part("train").select([1, 0]), 4, tmp_path / "cache")
    shown = zip(decoded.manifest.table["path"], decoded.array, strict=True)
    assert {row: int(pixels[0, 0, 0]) for row, pixels in shown} == {"grey 9": 9, "grey 200": 200}


def test_where_nothing_is_recognised_class_folders_are_expected(tmp_path):
    with pytest.raises(UserError, match=r"no class folders with images in .*: expected <Class>/"):
        read_manifest(tmp_path, "wbc")
    assert find_source(tmp_path, "wbc") is None
