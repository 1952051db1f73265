"""Archives: what is read of them, and everything that one may not hold."""

import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.decoding import decode
from hemacell.data.sources import archive
from hemacell.data.sources.base import find_source
from hemacell.data.sources.resolve import has_images, read_manifest, resolve_data
from tests.reading import read_cells


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMACELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def zipped(folder, file, top=""):
    with zipfile.ZipFile(file, "w") as content:
        for path in sorted(folder.rglob("*")):
            content.write(path, f"{top}{path.relative_to(folder).as_posix()}")
    return file


def holding(file, *entries, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(file, "w", method) as content:
        for name, data in entries:
            content.writestr(name, data)
    return file


@pytest.mark.parametrize("top", ["", "my cells/"])
def test_an_archive_is_what_its_content_is(cells, tmp_path, cache, top):
    root = cells(train=2, test=1)
    file = zipped(root / "WBC_100", tmp_path / "lab.zip", top)
    with zipfile.ZipFile(file, "a") as content:
        content.writestr("__MACOSX/._train", "x")
        content.writestr(".DS_Store", "x")
    assert resolve_data(str(file), cache).root == file and find_source(file, "wbc").name == "class folders"
    manifest = read_cells(file)
    assert manifest.digest == read_cells(root).digest
    assert manifest.name == (top.strip("/") or "lab") and manifest.names[0].startswith(("train/", "test/"))
    assert len(decode(manifest, 8, cache)) == 15


def test_it_is_unpacked_once_whatever_its_name_and_again_when_it_changes(cells, tmp_path, cache, monkeypatch):
    root = cells(train=1)
    file = zipped(root, tmp_path / "a.zip")
    first = archive.unpacked(file)
    monkeypatch.setattr(archive, "_write", None)  # would be called to unpack
    assert archive.unpacked(file.rename(tmp_path / "b.zip")) == first
    assert len(list((cache / "unpacked").iterdir())) == 1
    monkeypatch.undo()
    monkeypatch.setenv("HEMACELL_CACHE", str(cache))
    cells(train=2)
    assert len(read_cells(zipped(root, tmp_path / "b.zip"))) == 10


def test_the_sample_stays_the_sample(sample, tmp_path, cache):
    file = zipped(sample, tmp_path / "s.zip")
    assert resolve_data(str(file), cache).kind == "sample" and has_images(file, "camelyon")
    assert read_manifest(file, "prcc").digest == read_manifest(sample, "prcc").digest


def test_a_table_beside_its_images(tmp_path):
    (tmp_path / "in" / "images").mkdir(parents=True)
    for name in "12":
        Image.new("RGB", (4, 4), int(name)).save(tmp_path / "in" / "images" / f"{name}.png")
    (tmp_path / "in" / "labels.csv").write_text("image;label\nimages\\1.png;a\nimages\\2.png;b\n")
    manifest = read_cells(zipped(tmp_path / "in", tmp_path / "t.zip"))
    assert manifest.counts() == {"train": {"a": 1, "b": 1}} and manifest.names[0].startswith("images/")


def test_backslashes_of_windows(tmp_path):
    file = holding(tmp_path / "w.zip", ("cells\\NEU\\1.png", b"x"), ("cells\\MONO\\2.png", b"y"))
    assert read_cells(file).classes == ("Monocyte", "Neutrophil")


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("a/../../b.png", b"x")], "holds 'a/../../b.png', which would be written elsewhere"),
        ([("..\\b.png", b"x")], "written elsewhere"),
        ([("/etc/b.png", b"x")], "written elsewhere"),
        ([("C:\\b.png", b"x")], "written elsewhere"),
        ([(link("a/b.png"), b"/etc/passwd")], "holds the link 'a/b.png'"),
        ([("a/1.png", b"x"), ("a/inner.zip", b"PK")], "holds another archive, 'a/inner.zip'"),
        ([("a/inner.TAR.GZ", b"x")], "holds another archive"),
        ([("a.png", bytes(archive._SMALL + 1))], "more than is expected of images"),
        ([("a.png", b"x"), ("./a.png", b"y")], "holds './a.png' twice"),
        ([], "holds no files"),
        ([("notes.txt", b"x")], "no class folders with images in"),
    ],
)
def test_what_an_archive_may_not_hold_is_one_line(tmp_path, cache, entries, words):
    file = holding(tmp_path / "bad.zip", *entries)
    with pytest.raises(UserError) as caught:
        read_cells(file)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    if "class folders" not in words:
        assert not list((cache / "unpacked").glob("*"))  # nothing is left
    assert {path.name for path in tmp_path.iterdir()} <= {"bad.zip", "cache"}


def test_the_sum_of_sizes_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_BYTES", 99)
    holding(tmp_path / "a.zip", *[(f"c/{n}.png", np.random.default_rng(n).bytes(20)) for n in range(5)])
    with pytest.raises(UserError, match="would become 100, more than is expected"):
        archive.unpacked(tmp_path / "a.zip")


@pytest.mark.parametrize("damage", ["no zip", "cut", "bits"])
def test_damaged_archives(tmp_path, cache, damage):
    file = holding(tmp_path / "a.zip", ("c/1.png", bytes(range(256)) * 20), method=zipfile.ZIP_STORED)
    data = file.read_bytes()
    broken = {"no zip": b"PK", "cut": data[:-40], "bits": data[:100] + b"??" + data[102:]}[damage]
    file.write_bytes(broken)
    with pytest.raises(UserError, match=r"a\.zip: cannot be unpacked \(.*\); download or make it again"):
        resolve_data(str(file), cache)
    assert not list((cache / "unpacked").glob("*"))


def test_encrypted(tmp_path):
    file = holding(tmp_path / "a.zip", ("c/1.png", b"x"))
    data = bytearray(file.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"is encrypted \('c/1\.png'\)"):
        archive.unpacked(file)
