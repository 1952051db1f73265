from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn
from skimage.color import rgb2gray

from hemacell.audit import picture_hash
from hemacell.audit.picture_hash import HASH_SIDE, detail, hashes_of, picture_hashes, turn_picture, turned_hashes
from hemacell.core.errors import UserError
from hemacell.data.decoding import decode
from tests.reading import read_cells


@pytest.fixture
def folder(tmp_path):
    """Class folders of two classes with four images each."""
    for number, picture in enumerate(_noise(8, 16)):
        target = tmp_path / "data" / ("Basophil", "Monocyte")[number % 2]
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(target / f"{number}.png")
    return tmp_path / "data"


def _noise(count, size):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_detail_is_the_weighted_cosine_transform_of_the_small_grey_picture():
    pixels = _noise(3, 32)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    small = grey.reshape(3, 8, 4, 8, 4).mean((2, 4))
    frequency = np.hypot(np.arange(8)[:, None], np.arange(8))
    expected = dctn(small, axes=(1, 2), norm="ortho") * frequency
    expected /= np.linalg.norm(expected, axis=(1, 2), keepdims=True)
    assert detail(pixels, 8) == pytest.approx(expected, abs=1e-5)
    assert np.corrcoef(rgb2gray(pixels).ravel(), grey.ravel())[0, 1] > 0.98  # luminance, if by other weights


@pytest.mark.parametrize("size", [10, 28, 33])
def test_any_size_is_reduced_or_enlarged_by_means_over_areas(size):
    constant_rows = np.repeat(_noise(1, size)[:, :, :1], size, axis=2)
    assert np.abs(detail(constant_rows, 16)[0, :, 1:]).max() < 1e-3  # no frequencies along rows that are constant


@pytest.mark.parametrize("turn", range(8))
def test_the_hash_of_a_turned_picture_is_the_turned_hash(turn):
    pixels = _noise(5, 40)
    turned = np.stack([turn_picture(picture, turn) for picture in pixels])
    expected = detail(turned, HASH_SIDE)
    assert turned_hashes(detail(pixels, HASH_SIDE), turn) == pytest.approx(expected, abs=1e-5)


def test_turns_are_what_numpy_calls_them():
    picture = np.arange(9).reshape(3, 3)
    by_name = {0: picture, 1: np.flipud(picture), 2: np.fliplr(picture), 3: np.rot90(picture, 2), 4: picture.T}
    by_name |= {5: np.rot90(picture, -1), 6: np.rot90(picture), 7: np.rot90(picture, 2).T}
    assert all(np.array_equal(turn_picture(picture, turn), expected) for turn, expected in by_name.items())


def test_light_and_contrast_do_not_change_a_hash_and_flat_pictures_have_none():
    pixels = _noise(4, 32) // 2
    changed = (pixels * 1.5 + 20).astype(np.uint8)
    distances = np.linalg.norm(picture_hashes(pixels).astype(float) - picture_hashes(changed), axis=1)
    assert distances.max() < 0.02
    assert not picture_hashes(np.full((2, 32, 32, 3), 77, np.uint8)).round(3).any()


def test_progress_reaches_the_number_of_pictures():
    seen = []
    hashes = picture_hashes(_noise(150, 16), lambda done, total: seen.append((done, total)))
    assert seen == [(64, 150), (128, 150), (150, 150)] and hashes.shape == (150, HASH_SIDE**2)


def test_hashes_are_kept_beside_the_decoded_images(folder, tmp_path, monkeypatch):
    decoded = decode(read_cells(folder), 32, tmp_path / "cache")
    first = hashes_of(decoded)
    assert np.array_equal(first, picture_hashes(decoded.array))
    monkeypatch.setattr(picture_hash, "picture_hashes", lambda *_: pytest.fail("computed again"))
    again = decode(read_cells(folder), 32, tmp_path / "cache")
    assert np.array_equal(hashes_of(again), first)


def test_damaged_hashes_are_computed_again(folder, tmp_path):
    decoded = decode(read_cells(folder), 32, tmp_path / "cache")
    expected = hashes_of(decoded)
    [file] = decoded.folder.glob("hashes-*.npy")
    for damaged in (b"", file.read_bytes()[:-10], b"no array"):
        file.write_bytes(damaged)
        assert np.array_equal(hashes_of(decoded), expected)
    assert np.array_equal(np.load(file), expected)


def test_pixels_in_memory_and_a_full_disk(folder, tmp_path, monkeypatch):
    decoded = decode(read_cells(folder), 32, tmp_path / "cache")
    assert np.array_equal(hashes_of(replace(decoded, folder=None)), picture_hashes(decoded.array))
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match="the disk is full: cannot store what is computed"):
        hashes_of(decoded)
