from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data.class_names import CLASSES
from hemacell.data.images import read_mask
from hemacell.data.sources import sample as drawn
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.splits import official_splits
from tests.reading import conflicting_labels, duplicates_across_splits, read_cells


@pytest.fixture
def few(monkeypatch):
    """The sample, but with one picture of each kind, so that it is drawn at once."""
    monkeypatch.setattr(drawn, "CELLS", {"train": (1,) * 5})
    monkeypatch.setattr(drawn, "PATCHES", {"train": (1, 1)})
    monkeypatch.setattr(drawn, "PATIENTS", 1)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}


def test_counts_and_layout(sample):
    cells = read_cells(sample, masks=False)
    assert {split: sum(row.values()) for split, row in cells.counts().items()} == {"train": 300, "val": 75, "test": 100}
    masked = read_cells(sample).table["source"].eq("masked").sum()
    assert 0.28 * 300 <= masked <= 0.33 * 300
    assert official_splits(cells).digest == cells.digest
    for manifest in (cells, read_manifest(sample, "camelyon"), read_manifest(sample, "prcc")):
        assert duplicates_across_splits(manifest) == [] and conflicting_labels(manifest) == []
        assert manifest.table["sha256"].is_unique


def test_same_seed_same_bytes_another_seed_others(few, tmp_path):
    first, again = (_bytes(drawn.make_sample(tmp_path / name)) for name in "ab")
    other = _bytes(drawn.make_sample(tmp_path / "c", seed=1))
    assert first == again and set(first) == set(other)
    pictures = [name for name in first if "/mask/" not in name]
    assert len(pictures) == 11 and all(first[name] != other[name] for name in pictures)


def test_a_picture_does_not_depend_on_how_many_there_are(few, sample, tmp_path):
    own = _bytes(drawn.make_sample(tmp_path / "own"))
    whole = _bytes(sample)
    assert own.items() <= whole.items()


def test_masks_tell_nucleus_and_cytoplasm(sample):
    manifest = read_cells(sample)
    shares = {label: [] for label in CLASSES}
    for path, mask, label in manifest.table[["path", "mask", "label"]].itertuples(index=False):
        if not mask:
            continue
        image = np.asarray(Image.open(path)).astype(float)
        values = read_mask(Path(mask), image.shape[1::-1])
        assert set(np.unique(values)) == {0, 128, 255}
        # The nucleus is the darkest part of the cell.
        assert image[values == 255].mean() < image[values == 128].mean()
        shares[label].append((values == 255).sum() / (values > 0).sum())
    mean = {label: np.mean(values) for label, values in shares.items()}
    assert mean["Lymphocyte"] > mean["Monocyte"] > mean["Neutrophil"]


def test_kinds_differ_in_what_they_are_known_by(sample):
    manifest = read_cells(sample)
    table = manifest.table[manifest.table["mask"] != ""]
    area = {label: [] for label in CLASSES}
    redness = {label: [] for label in CLASSES}
    for path, mask, label in table[["path", "mask", "label"]].itertuples(index=False):
        image, values = np.asarray(Image.open(path)).astype(float), np.asarray(Image.open(mask))
        area[label].append((values > 0).sum())
        plasma = image[values == 128].mean(axis=0)
        redness[label].append(plasma[0] - plasma[2])
    size = {label: np.mean(values) for label, values in area.items()}
    assert size["Lymphocyte"] < size["Neutrophil"] < size["Monocyte"]
    red = {label: np.mean(values) for label, values in redness.items()}
    assert max(red, key=red.__getitem__) == "Eosinophil"


def test_kept_in_the_cache_and_known_as_a_sample(few, tmp_path, monkeypatch):
    folder = drawn.sample_folder(tmp_path)
    assert drawn.is_sample(folder) and folder.parent == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    monkeypatch.setattr(drawn, "make_sample", lambda *_: pytest.fail("drawn again"))
    assert drawn.sample_folder(tmp_path) == folder


def test_half_a_sample_is_none(few, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drawn, "_kidney_tiles", stop)
        with pytest.raises(KeyboardInterrupt):
            drawn.sample_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert drawn.is_sample(drawn.sample_folder(tmp_path))


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot draw the built-in sample.*HEMACELL_CACHE"):
        drawn.sample_folder(tmp_path / "file")
