"""Headers of files are read without their pixels."""

import numpy as np
import tifffile
from PIL import Image

from hemacell.audit.files import count_kinds, file_facts
from hemacell.data.manifest import Manifest, Row


def manifest_of(*paths: str, root) -> Manifest:
    rows = [Row(path, "", "", path, "", f"{number:04}", "original") for number, path in enumerate(paths)]
    return Manifest.from_rows(rows, (), "tiles", root)


def test_format_size_mode_and_depth_of_each_file(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
    Image.new("L", (8, 8)).save(tmp_path / "b.png")
    Image.fromarray(np.zeros((8, 9), np.uint16)).save(tmp_path / "c.png")
    tifffile.imwrite(tmp_path / "d.tif", np.zeros((7, 6, 3), np.uint16), photometric="rgb")
    (tmp_path / "e.jpg").write_bytes(b"\xff\xd8\xff nothing")
    names = ["a.jpg", "b.png", "c.png", "d.tif", "e.jpg", "a.jpg#xywh=1,1,4,4"]
    facts = file_facts(manifest_of(*(str(tmp_path / name) for name in names), root=tmp_path))
    assert list(facts["bits"]) == [8, 8, 16, 16, 0, 8]
    assert list(zip(facts["width"], facts["height"], strict=True))[:2] == [(30, 20), (8, 8)]
    assert list(facts["format"]) == ["JPEG", "PNG", "PNG", "TIFF", "", "JPEG"]
    assert count_kinds(facts)[0] == ("JPEG, RGB, 8 bits, 30 x 20", 2)


def test_images_that_are_no_files_have_no_facts(tmp_path):
    manifest = manifest_of("cells.npz#0", root=tmp_path)
    object.__setattr__(manifest, "read", lambda path: Image.new("RGB", (4, 4)))
    assert list(file_facts(manifest)["format"]) == [""] and count_kinds(file_facts(manifest)) == []
