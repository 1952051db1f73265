"""MedMNIST files: made here in their form, 28 to 224 px, grey and colour; and what else a .npz may be."""

import numpy as np
import pytest

from hemacell.core.errors import UserError
from hemacell.data.decoding import decode
from hemacell.data.sources import medmnist
from hemacell.data.sources.base import find_source
from hemacell.data.sources.resolve import resolve_data
from tests.reading import read_cells

COUNTS = {"train": 16, "val": 8, "test": 8}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMACELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def arrays(size=28, channels=(3,), classes=8):
    made = {}
    for seed, (split, count) in enumerate(COUNTS.items()):
        rng = np.random.default_rng(seed)
        made[f"{split}_images"] = rng.integers(0, 256, (count, size, size, *channels), dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    return made


def saved(folder, name="bloodmnist.npz", compressed=True, **changed):
    file = folder / name
    (np.savez_compressed if compressed else np.savez)(file, **{**arrays(), **changed})
    return file


def test_the_second_start_digests_nothing_and_a_changed_file_does(tmp_path, monkeypatch):
    first = read_cells(saved(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(medmnist, "_digests", lambda images: pytest.fail("digested again"))
        assert read_cells(tmp_path / "bloodmnist.npz").digest == first.digest
    changed = arrays()["test_images"]
    changed[5] = 0
    now = read_cells(saved(tmp_path, test_images=changed)).table.set_index("path")["sha256"]
    before = first.table.set_index("path")["sha256"]
    assert [path for path in before.index if before[path] != now[path]] == ["bloodmnist.npz#test/5"]


@pytest.mark.parametrize("name", ["bloodmnist.npz", "BloodMNIST_64.NPZ"])
def test_bloodmnist_in_its_official_splits(tmp_path, cache, name):
    file = tmp_path / name
    with open(file, "wb") as stream:
        np.savez_compressed(stream, **arrays())
    assert find_source(file, "wbc").name == "MedMNIST"
    assert [find_source(file, job) for job in ("camelyon", "prcc")] == [None, None]
    manifest = read_cells(file)
    assert {split: set(row.values()) for split, row in manifest.counts().items()} == {
        "train": {2},
        "val": {1},
        "test": {1},
    }
    assert manifest.classes == (
        *("Basophil", "Eosinophil", "Erythroblast", "Immature granulocyte"),
        *("Lymphocyte", "Monocyte", "Neutrophil", "Platelet"),
    )
    assert "28x28 px, the official splits" in manifest.summary() and manifest.card.license.startswith("CC BY 4.0")
    decoded = decode(manifest, 28, cache)
    table = decoded.manifest.table
    for split, labels in (("train", "train_labels"), ("test", "test_labels")):
        for number in (0, 3, 7):
            row = list(table["path"]).index(f"{name}#{split}/{number}")
            assert (decoded.array[row] == arrays()[f"{split}_images"][number]).all()
            assert manifest.classes[arrays()[labels][number, 0]] == table["label"].iloc[row]


@pytest.mark.parametrize(("size", "compressed"), [(28, False), (64, True), (224, True)])
def test_other_sets_grey_and_of_any_size(tmp_path, cache, size, compressed):
    file = saved(tmp_path, "organamnist.npz", compressed, **arrays(size, (), classes=2))
    manifest = read_cells(file, classes="0:bladder,1:liver")
    assert manifest.classes == ("bladder", "liver") and len(manifest) == 32
    assert "classes are numbers" in manifest.summary() and read_cells(file).classes == ("0", "1")
    image = manifest.read("organamnist.npz#val/5")
    assert image.mode == "RGB" and image.size == (size, size)
    assert (np.asarray(image)[..., 1] == arrays(size, (), 2)["val_images"][5]).all()


def test_a_prefix_says_what_it_is(tmp_path, cache, monkeypatch):
    file = saved(tmp_path)
    assert resolve_data(f"medmnist:{file}", cache).root == file == resolve_data(str(file), cache).root
    monkeypatch.chdir(tmp_path)
    assert resolve_data("MedMNIST:bloodmnist.npz", cache).root == file
    (tmp_path / "cells").mkdir()
    with pytest.raises(UserError, match=r"data=medmnist:cells: .* is not read as MedMNIST"):
        resolve_data("medmnist:cells", cache)
    with pytest.raises(UserError, match=r"data=medmnist:x\.npz: no such folder or file"):
        resolve_data("medmnist:x.npz", cache)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"train_images": np.array([{"a": 1}, None], object)}, "train_images holds pickled objects"),
        ({"val_labels": np.array([["a"], [1]], object)}, "val_labels holds pickled objects"),
        ({"train_images": np.zeros((16, 28, 28, 28), np.uint8)}, "found uint8 [16, 28, 28, 28]; sets of volumes"),
        ({"train_images": np.zeros((16, 28, 28, 3), np.float32)}, "found float32 [16, 28, 28, 3]"),
        ({"test_labels": np.zeros((8, 14), np.uint8)}, "found uint8 [8, 14]; sets with several labels per picture"),
        ({"test_labels": np.zeros((7, 1), np.uint8)}, "expected test_labels as whole numbers [8, 1]"),
        ({"test_labels": np.zeros((8, 1), np.float32)}, "found float32 [8, 1]"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, changed, words):
    with pytest.raises(UserError) as caught:
        read_cells(saved(tmp_path, **changed))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_other_npz_files(tmp_path):
    np.savez(tmp_path / "other.npz", images=np.zeros(3), y=np.zeros(3))
    with pytest.raises(UserError, match=r"expected test_images, .*, found images, y"):
        read_cells(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes(saved(tmp_path).read_bytes()[:5000])
    with pytest.raises(UserError, match=r"cut\.npz: cannot be unpacked"):
        read_cells(tmp_path / "cut.npz")
