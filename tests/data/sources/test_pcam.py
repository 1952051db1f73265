"""PatchCamelyon, made here in the form in which it is downloaded."""

import gzip
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from hemacell.core.errors import UserError
from hemacell.data.decoding import decode
from hemacell.data.sources.base import find_source
from hemacell.data.sources.pcam import PatchCamelyon
from hemacell.data.sources.resolve import read_manifest, resolve_data

COUNTS = {"train": 12, "valid": 6, "test": 4}
STEM = "camelyonpatch_level_2_split_"


def pixels_of(word):
    rng = np.random.default_rng(len(word) * 7 + COUNTS[word])
    return rng.integers(0, 256, (COUNTS[word], 96, 96, 3), dtype=np.uint8)


@pytest.fixture
def pcam(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMACELL_CACHE", str(tmp_path / "kept"))
    folder = tmp_path / "pcam"
    folder.mkdir()
    for word, count in COUNTS.items():
        put(folder, word, "x", pixels_of(word))
        put(folder, word, "y", (np.arange(count) % 2).astype(np.uint8).reshape(-1, 1, 1, 1))
        rows = [f"{n},6192,6464,False,{n % 2 == 1},camelyon16_{word}_{n // 2:03d}" for n in range(count)]
        head = ",coord_y,coord_x,tumor_patch,center_tumor_patch,wsi"
        (folder / f"{STEM}{word}_meta.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder


def put(folder, word, name, array):
    with h5py.File(folder / f"{STEM}{word}_{name}.h5", "w") as file:
        file[name] = array


def test_patches_labels_splits_and_slides(pcam, tmp_path):
    assert find_source(pcam, "camelyon").name == "PatchCamelyon" and find_source(pcam, "wbc") is None
    assert resolve_data(f"pcam:{pcam}", tmp_path).root == pcam
    manifest = read_manifest(pcam, "camelyon")
    assert manifest.counts() == {
        "train": {"normal": 6, "tumor": 6},
        "val": {"normal": 3, "tumor": 3},
        "test": {"normal": 2, "tumor": 2},
    }
    assert manifest.card.license == "CC0"
    rows = manifest.table.set_index("path")
    assert rows.loc["val#3", "group"] == "camelyon16_valid_001" and rows.loc["val#3", "label"] == "tumor"
    decoded = decode(manifest, 96, tmp_path / "cache")
    for path, pixels in zip(decoded.manifest.table["path"], decoded.array, strict=True):
        split, number = path.split("#")
        assert (pixels == pixels_of({"val": "valid"}.get(split, split))[int(number)]).all()


def test_many_threads_read_at_once(pcam):
    read = read_manifest(pcam, "camelyon").read
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(lambda n: np.asarray(read(f"train#{n % 12}")), range(96)))
    assert all((image == pixels_of("train")[n % 12]).all() for n, image in enumerate(images))


def test_the_second_start_digests_no_patch_and_a_changed_file_does(pcam, monkeypatch):
    first = read_manifest(pcam, "camelyon")
    with monkeypatch.context() as patch:
        patch.setattr(PatchCamelyon, "_digests", lambda self, split: pytest.fail(f"{split} is digested again"))
        assert read_manifest(pcam, "camelyon").digest == first.digest
    changed = pixels_of("test")
    changed[2] = 0
    (pcam / f"{STEM}test_x.h5").unlink()  # it is still open
    put(pcam, "test", "x", changed)
    before, now = (each.table.set_index("path")["sha256"] for each in (first, read_manifest(pcam, "camelyon")))
    assert [path for path in before.index if before[path] != now[path]] == ["test#2"]


def test_without_some_files(pcam):
    (pcam / f"{STEM}valid_x.h5").unlink()
    (pcam / f"{STEM}test_meta.csv").unlink()
    manifest = read_manifest(pcam, "camelyon")
    assert set(manifest.counts()) == {"train", "test"}
    assert "no val: camelyonpatch_level_2_split_valid_x.h5 is not there" in manifest.summary()
    assert "the slides of test are not known" in manifest.summary()
    test = manifest.table[manifest.table["split"] == "test"]
    assert (test["group"] == test["sha256"]).all()


def packed(folder):
    for path in folder.glob("*train_x.h5"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def cut(folder):
    path = folder / f"{STEM}test_x.h5"
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (packed, f"expected {STEM}train_x.h5, found {STEM}train_x.h5.gz; unpack it (gunzip"),
        (cut, f"{STEM}test_x.h5: cannot be read ("),
        (lambda at: (at / f"{STEM}valid_y.h5").unlink(), f"expected {STEM}valid_y.h5, download it too"),
        (
            lambda at: put(at, "train", "y", np.zeros(11, np.uint8)),
            "expected 12 labels 0 or 1, one for each patch, found 11",
        ),
        (lambda at: put(at, "train", "y", np.full(12, 2)), "found 12 with the values [2]"),
        (lambda at: put(at, "train", "x", np.zeros((12, 96, 96), np.uint8)), "found uint8 [12, 96, 96]"),
        (
            lambda at: put(at, "train", "z", 1) or (at / f"{STEM}train_z.h5").rename(at / f"{STEM}train_x.h5"),
            "cannot be re",
        ),
        (lambda at: (at / f"{STEM}test_meta.csv").write_text("wsi\na\n"), "a column wsi with 4 rows, found 1 rows"),
        (lambda at: (at / f"{STEM}test_meta.csv").write_text("x\na\n"), "a column wsi with 4 rows, found x"),
    ],
)
def test_damaged_sets_are_one_line(pcam, damage, words):
    damage(pcam)
    with pytest.raises(UserError) as caught:
        read_manifest(pcam, "camelyon")
    assert words in str(caught.value) and "\n" not in str(caught.value)
