import errno
import os
import shutil
import threading
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemacell.core.errors import UserError
from hemacell.data import decoding
from hemacell.data.images import keep_inside, read_mask, read_rgb, to_square
from hemacell.data.manifest import Manifest, Row
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.splits import official_splits
from hemacell.data.subsets import draw
from tests.reading import read_cells


def _files(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "decoded").rglob("*"))


def test_every_row_shows_its_own_image(sample, tmp_path):
    manifest = read_cells(sample)
    decoded = decoding.decode(manifest, 32, tmp_path)
    assert decoded.array.shape == (len(manifest), 32, 32, 3) and decoded.array.dtype == np.uint8
    assert isinstance(decoded.array, np.memmap) and not decoded.array.flags.writeable
    assert decoded.bad == [] and decoded.image.tolist() == list(range(len(manifest)))
    for row in range(0, len(manifest), 7):
        line = decoded.manifest.table.iloc[row]
        image = read_rgb(Path(line["path"]))
        if line["mask"]:
            image = keep_inside(image, read_mask(Path(line["mask"]), image.size))
        assert np.array_equal(decoded.array[row], to_square(image, 32))
    assert decoded.manifest.digest == manifest.digest


def test_second_time_nothing_is_decoded(cells, tmp_path, monkeypatch):
    manifest = read_cells(cells(train=3))
    first = decoding.decode(manifest, 8, tmp_path / "cache")
    monkeypatch.setattr(decoding, "read_path", lambda _: pytest.fail("decoded again"))
    again = decoding.decode(manifest, 8, tmp_path / "cache")
    assert np.array_equal(again.array, first.array) and again.manifest.table.equals(first.manifest.table)
    # Another order, other splits, another folder: the same pixels.
    other = official_splits(manifest).select(list(range(15))[::-1])
    assert np.array_equal(decoding.decode(other, 8, tmp_path / "cache").array, first.array)


def test_another_size_image_or_cache_version_is_decoded(cells, tmp_path, monkeypatch):
    root = cells(train=2)
    manifest = read_cells(root)
    keys = set()

    def decode(size=8):
        keys.update(path.name for path in (tmp_path / "cache" / "decoded").iterdir()) if keys else None
        decoding.decode(read_cells(root), size, tmp_path / "cache")
        keys.update(path.name for path in (tmp_path / "cache" / "decoded").iterdir())
        return len(keys)

    assert decode() == 1 and decode() == 1 and decode(6) == 2
    monkeypatch.setattr(decoding, "CACHE_VERSION", decoding.CACHE_VERSION + 1)
    assert decode() == 3
    Path(manifest.table["path"][0]).write_bytes(Path(manifest.table["path"][1]).read_bytes())
    assert decode() == 4


def test_rows_of_a_draw(cells, tmp_path):
    manifest = official_splits(read_cells(cells(train=10, test=3, masks=2)))
    decoded = decoding.decode(manifest, 8, tmp_path / "cache")
    drawn = draw(manifest, 0.3)
    rows = decoded.rows(drawn)
    assert rows.dtype == np.int64
    assert list(decoded.manifest.table["path"].iloc[rows]) == list(drawn.table["path"])
    assert list(decoded.manifest.table["mask"].iloc[rows]) == list(drawn.table["mask"])
    strange = Manifest.from_rows([Row("/x.png", "", "", "g", "", "s", "original")], (), "x", tmp_path)
    with pytest.raises(ValueError, match=r"/x\.png"):
        decoded.rows(strange)


def test_threads_do_not_change_pixels(cells, tmp_path, monkeypatch):
    manifest = read_cells(cells(train=8))
    arrays = []
    for cores in (1, 4):
        monkeypatch.setattr(decoding, "available_cores", lambda cores=cores: cores)
        arrays.append(decoding.decode(manifest, 8, tmp_path / f"{cores}").array)
    assert np.array_equal(*arrays)


def test_progress(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "_CHUNK", 4)
    calls: list[tuple[int, int]] = []
    decoding.decode(read_cells(cells(train=2)), 8, tmp_path / "cache", progress=lambda *pair: calls.append(pair))
    assert calls == [(4, 10), (8, 10), (10, 10)]


# --- bad images


def _spoil(root: Path) -> list[Path]:
    folder = root / "WBC_100" / "train" / "data" / "Basophil"
    names = [folder / f"{n:03d}.png" for n in range(3)]
    names[0].write_bytes(b"")
    names[1].write_bytes(names[1].read_bytes()[:-60])
    names[2].write_bytes(b"words")
    return names


def test_unreadable_images_are_listed_and_dropped(cells, tmp_path):
    root = cells(train=20)
    names = _spoil(root)
    for _ in range(2):  # decoded, then read back
        decoded = decoding.decode(read_cells(root), 8, tmp_path / "cache", max_bad=0.03)
        reasons = dict(decoded.bad)
        assert set(reasons) == set(map(str, names))
        assert "zero size" in reasons[str(names[0])] and "truncated" in reasons[str(names[1])]
        assert "not an image" in reasons[str(names[2])]
        assert len(decoded) == len(decoded.manifest) == 97 and decoded.image.tolist() == list(range(97))
        for row, path in enumerate(decoded.manifest.table["path"]):
            assert np.array_equal(decoded.array[row], np.asarray(Image.open(path)))


def test_too_many_unreadable_images_stop(cells, tmp_path):
    root = cells(train=20)
    names = _spoil(root)
    with pytest.raises(UserError, match=r"3 of 100 images cannot be read, more than max_bad=0\.01") as caught:
        decoding.decode(read_cells(root), 8, tmp_path / "cache")
    assert all(str(name) in str(caught.value) for name in names) and "\n" not in str(caught.value)
    assert _files(tmp_path / "cache") == []
    # What was stored under a milder rule is held to the stricter one.
    decoding.decode(read_cells(root), 8, tmp_path / "cache", max_bad=0.5)
    with pytest.raises(UserError, match="3 of 100"):
        decoding.decode(read_cells(root), 8, tmp_path / "cache")


def test_nothing_readable(cells, tmp_path):
    root = cells(train=1)
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="5 of 5"):
        decoding.decode(read_cells(root), 8, tmp_path / "cache")
    empty = decoding.decode(read_cells(root), 8, tmp_path / "cache", max_bad=1)
    assert len(empty) == len(empty.manifest) == 0 and empty.array.shape == (0, 8, 8, 3) and len(empty.bad) == 5


def test_kinds_of_images_together(cells, tmp_path):
    root = cells(train=1)
    folder = root / "WBC_100" / "train" / "data" / "Basophil"
    colour = Image.new("RGB", (12, 9), (200, 100, 50))
    colour.convert("L").save(folder / "grey.png")
    colour.convert("RGBA").save(folder / "clear.png")
    colour.convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(np.full((9, 9), 40000, np.uint16)).save(folder / "deep.png")
    decoded = decoding.decode(read_cells(root), 8, tmp_path / "cache", max_bad=0)
    assert len(decoded) == 9


def test_masks(cells, tmp_path):
    root = cells(train=2, masks=2, size=12)
    folder = root / "WBC_100" / "train" / "mask" / "Basophil"
    Image.new("L", (12, 12)).save(folder / "000.png")  # empty: nothing would remain
    (folder / "001.png").write_bytes(b"")
    decoded = decoding.decode(read_cells(root), 12, tmp_path / "cache", max_bad=0.1)
    assert [reason for _, reason in decoded.bad] == ["its mask has zero size"]
    assert len(decoded) == 18
    table = decoded.manifest.table
    masked = table.index[table["mask"] != ""][0]
    border = decoded.array[masked][0]
    assert (border == border[0]).all()


def test_mask_that_changes_its_size_later(cells, tmp_path):
    root = cells(train=1, masks=1)
    manifest = read_cells(root)
    Image.new("L", (3, 3)).save(root / "WBC_100" / "train" / "mask" / "Basophil" / "000.png")
    with pytest.raises(UserError, match="3x3 pixels, its image 8x8"):
        decoding.decode(manifest, 8, tmp_path / "cache")
    assert _files(tmp_path / "cache") == []


# --- disks, crashes, company


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_leaves_nothing_behind(cells, tmp_path, monkeypatch, number):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"disk is full.*HEMACELL_CACHE") as caught:
        decoding.decode(read_cells(cells(train=2)), 8, tmp_path / "cache")
    assert "\n" not in str(caught.value) and _files(tmp_path / "cache") == []


def test_too_little_space_is_reported_before_the_work(cells, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 90, 10))
    monkeypatch.setattr(decoding, "read_path", lambda _: pytest.fail("decoded"))
    with pytest.raises(UserError, match=r"disk is full \(\d+ MiB are needed\)"):
        decoding.decode(read_cells(cells(train=2)), 512, tmp_path / "cache")


def test_cache_that_cannot_be_written(cells, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot store decoded images.*HEMACELL_CACHE"):
        decoding.decode(read_cells(cells(train=1)), 8, tmp_path / "file")


def test_interrupted_work_leaves_nothing_behind(cells, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decoding.decode(read_cells(cells(train=2)), 8, tmp_path / "cache", progress=stop)
    assert _files(tmp_path / "cache") == []


def test_damaged_file_is_made_again(cells, tmp_path):
    manifest = read_cells(cells(train=2))
    first = np.array(decoding.decode(manifest, 8, tmp_path / "cache").array)
    pixels = next((tmp_path / "cache").rglob("pixels.npy"))
    pixels.write_bytes(pixels.read_bytes()[:-100])
    assert np.array_equal(decoding.decode(manifest, 8, tmp_path / "cache").array, first)
    next((tmp_path / "cache").rglob("rows.json")).write_text("{")
    assert np.array_equal(decoding.decode(manifest, 8, tmp_path / "cache").array, first)
    assert len(_files(tmp_path / "cache")) == 3


def test_two_at_once(cells, tmp_path):
    manifest = read_cells(cells(train=20))
    meet = threading.Barrier(2)
    arrays, errors = [], []

    def work():
        try:
            decoded = decoding.decode(manifest, 8, tmp_path / "cache", progress=lambda *_: meet.wait(10))
            arrays.append(np.array(decoded.array))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors and np.array_equal(*arrays)
    assert len(_files(tmp_path / "cache")) == 3  # one folder with two files, no temporary one


def test_leftovers_of_killed_processes_go_after_a_day(cells, tmp_path):
    old, young = (tmp_path / "cache" / "decoded" / f".tmp-{name}" for name in ("old", "young"))
    old.mkdir(parents=True)
    young.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)
    decoding.decode(read_cells(cells(train=1)), 8, tmp_path / "cache")
    assert young.exists() and not old.exists()


@pytest.mark.parametrize(("setting", "words"), [({"max_bad": 2}, "max_bad=2"), ({"size": 0}, "size=0")])
def test_impossible_settings(cells, tmp_path, setting, words):
    with pytest.raises(UserError, match=words):
        decoding.decode(read_cells(cells(train=1)), **{"size": 8, "cache": tmp_path, **setting})


# --- pieces of large tiles


def _tiles(root: Path, *sizes: tuple[int, int]) -> Manifest:
    folder = root / "pRCC_nolabel"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for n, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"TCGA-AA-{n:04d}_0_0.png")
    return read_manifest(root, "prcc")


def test_pieces_are_cut_in_the_tiles_own_resolution(tmp_path):
    manifest = _tiles(tmp_path, (70, 66), (40, 30), (64, 64))
    pieces = decoding.tile_pieces(manifest, 16, tmp_path / "cache")
    assert len(pieces) == 4 + 1 + 4 and len(pieces.manifest) == 9
    assert np.bincount(pieces.image).tolist().count(4) == 2
    for number in range(3):
        own = np.flatnonzero(pieces.image == number)
        path = pieces.manifest.table["path"][own[0]]
        assert pieces.manifest.table["path"][own].nunique() == pieces.manifest.table["group"][own].nunique() == 1
        tile = np.asarray(Image.open(path))
        if len(own) == 1:
            assert np.array_equal(pieces.array[own[0]], to_square(Image.fromarray(tile), 16))
            continue
        places = [_find(tile, pieces.array[row]) for row in own]
        assert len(set(places)) == 4
        assert all(abs(a[0] - b[0]) >= 16 or abs(a[1] - b[1]) >= 16 for a in places for b in places if a != b)


def _find(tile: np.ndarray, piece: np.ndarray) -> tuple[int, int]:
    side = len(piece)
    for top in range(tile.shape[0] - side + 1):
        for left in range(tile.shape[1] - side + 1):
            if np.array_equal(tile[top : top + side, left : left + side], piece):
                return top, left
    raise AssertionError("not a part of the tile")


@pytest.mark.parametrize(("per_tile", "number"), [(1, 1), (2, 2), (3, 3), (9, 9), (100, 16)])
def test_up_to_so_many_pieces(tmp_path, per_tile, number):
    manifest = _tiles(tmp_path, (64, 64))
    pieces = decoding.tile_pieces(manifest, 16, tmp_path / "cache", per_tile=per_tile)
    assert len(pieces) == number
    assert len({array.tobytes() for array in np.asarray(pieces.array)}) == number


def test_pieces_are_kept_apart_from_whole_images(tmp_path):
    manifest = _tiles(tmp_path, (64, 64))
    assert len(decoding.decode(manifest, 16, tmp_path / "cache")) == 1
    pieces = decoding.tile_pieces(manifest, 16, tmp_path / "cache")
    assert len(pieces) == 4
    with pytest.raises(ValueError, match="pieces"):
        pieces.rows(manifest)
    with pytest.raises(UserError, match="per_tile=0"):
        decoding.tile_pieces(manifest, 16, tmp_path / "cache", per_tile=0)


@pytest.mark.slow
def test_real_images_are_all_readable(real_data, tmp_path):
    for manifest in (read_manifest(real_data, "camelyon"), read_cells(real_data, wbc_folder="WBC_JTSC")):
        decoded = decoding.decode(manifest, 64, tmp_path, max_bad=0)
        assert len(decoded) == len(manifest)
