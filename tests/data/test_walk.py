"""One rule for what is an image in a folder, and nothing passed over without a reason."""

import os
from collections import Counter

import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.walk import image_kind, is_image_file, walk


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for name in ("a/1.png", "a/deep/2.JPG", "b/3.jfif", "b/4.jp2", "b/5.PPM", "b/without_ending", "b/photo.dat"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {".jp2": "JPEG2000", ".ppm": "PPM", ".png": "PNG", ".dat": "PNG"}.get(os.path.splitext(name)[1].lower())
        with open(root / name, "wb") as file:
            Image.new("RGB", (8, 8), "purple").save(file, kind or "JPEG")
    return root


def test_images_are_found_by_content_at_any_depth_in_the_order_of_their_parts(tree):
    found = walk(tree)
    assert found.images == [
        *("a/1.png", "a/deep/2.JPG", "b/3.jfif", "b/4.jp2", "b/5.PPM", "b/photo.dat", "b/without_ending")
    ]
    assert found.skipped == []


def test_what_is_no_image_has_a_reason_that_is_counted(tree):
    for name in ("@eaDir/1.png", "__MACOSX/a/._1.png", "$RECYCLE.BIN/9.png", ".git/x.png"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_bytes((tree / "a/1.png").read_bytes())
    for name in ("Thumbs.db", ".DS_Store", "._1.png", "notes.txt", "list.csv", "BM"):
        (tree / name).write_text("BMW and others")
    found = walk(tree)
    assert len(found.images) == 8 and "BM" in found.images  # two letters and no ending: reported when it is decoded
    assert Counter(skipped.reason for skipped in found.skipped) == {
        "folder of the operating system or of an archive": 3,
        "hidden": 3,
        "file of the operating system": 1,
        "no image: .txt": 1,
        "no image: .csv": 1,
    }
    assert "3 hidden" in found.other_files()


def test_a_damaged_file_with_an_images_ending_is_an_image_that_cannot_be_read(tree):
    (tree / "a/empty.tif").touch()
    (tree / "a/broken.png").symlink_to(tree / "nowhere.png")
    assert {"a/empty.tif", "a/broken.png"} <= set(walk(tree).images)
    assert is_image_file(tree / "a/empty.tif") and not is_image_file(tree / "a")


def test_links_are_followed_and_loops_noticed(tree, tmp_path):
    elsewhere = tmp_path / "other disk"
    elsewhere.mkdir()
    (elsewhere / "6.png").write_bytes((tree / "a/1.png").read_bytes())
    (tree / "linked").symlink_to(elsewhere)
    (tree / "loop").symlink_to(tree)
    (tree / "a" / "file.png").symlink_to(elsewhere / "6.png")
    found = walk(tree)
    assert "linked/6.png" in found.images and "a/file.png" in found.images and len(found.images) == 9
    assert [skipped.path for skipped in found.skipped] == ["loop"]


def test_a_folder_that_cannot_be_read_is_named(tree, monkeypatch):
    scan = os.scandir

    def refuse(folder):
        if str(folder).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = walk(tree)
    assert [(skipped.path, skipped.reason) for skipped in found.skipped] == [
        ("a/deep", "folder cannot be read: Permission denied")
    ]
    with pytest.raises(UserError, match="no such folder"):
        walk(tree / "nowhere")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "JPEG2000", "PPM"])
def test_kinds_by_content(kind, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x", kind)
    assert image_kind((tmp_path / "x").read_bytes()[:12]) == kind
    assert image_kind(b"<html>") == image_kind(b"") == ""


def test_a_pipe_is_passed_over_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "cell.jpg")
    Image.new("RGB", (8, 8)).save(tmp_path / "other.jpg")
    found = walk(tmp_path)
    assert found.images == ["other.jpg"] and found.skipped == [("cell.jpg", "pipe, socket or device")]
