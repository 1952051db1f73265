"""Stored embeddings: the bits that computing them again would give, and computed only once."""

import sqlite3

import numpy as np
import pytest
import torch

from hemacell.core.errors import UserError
from hemacell.data.augmentation import (
    AugmentationConfig,
    apply_augmentation,
    dihedral_augmentation,
    stored_augmentation,
)
from hemacell.encoders import embeddings as module
from hemacell.encoders.embeddings import StoredViews, embed
from hemacell.encoders.frozen import EncoderConfig, create_encoder

AUTOENCODER = EncoderConfig(kind="autoencoder", body={"widths": [8, 16], "latent_channels": 4}, input_size=16, crop=0.8)
BACKBONE = EncoderConfig(kind="backbone", body={"arch": "test_efficientnet"}, input_size=32)
COUNT = 70  # more than one batch
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 20, 20, 3), dtype=np.uint8)
DIGESTS = [f"digest{number}" for number in range(COUNT)]
AUGMENTED, TURNS = StoredViews(2, augmented=True), StoredViews(2, augmented=False)


@pytest.fixture(scope="module")
def encoder():
    return create_encoder(AUTOENCODER)


def embedded(encoder, cache, rows=None, views=AUGMENTED, precision="float32", progress=None):
    rows = np.arange(COUNT) if rows is None else np.asarray(rows)
    return embed(encoder, PIXELS, rows, [DIGESTS[row] for row in rows], views, cache, precision, progress)


@pytest.fixture
def counted(monkeypatch):
    """Number of views that were computed, call by call."""
    calls = []

    def compute(encoder, pixels, views, precision):
        calls.append(len(pixels))
        return original(encoder, pixels, views, precision)

    original = module._compute
    monkeypatch.setattr(module, "_compute", compute)
    return calls


@pytest.mark.parametrize("config", [AUTOENCODER, BACKBONE], ids=["autoencoder", "backbone"])
@pytest.mark.parametrize("views", [AUGMENTED, TURNS], ids=["augmented", "turns"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_was_computed_first_does_not_matter_to_the_bit(config, views, precision, tmp_path):
    encoder = create_encoder(config)
    whole = embedded(encoder, tmp_path / "a", views=views, precision=precision)
    embedded(encoder, tmp_path / "b", [61, 3, 17], StoredViews(1, views.augmented), precision)
    embedded(encoder, tmp_path / "b", range(COUNT - 1, 4, -3), views, precision)
    backwards = embedded(encoder, tmp_path / "b", range(COUNT - 1, -1, -1), views, precision)
    assert np.array_equal(backwards[::-1], whole)
    assert np.array_equal(embedded(encoder, tmp_path / "b", views=views, precision=precision), whole)  # read back
    assert np.array_equal(embedded(encoder, tmp_path / "c", [5], views, precision)[0], whole[5])  # all alone


def test_each_is_the_embedding_of_its_rendered_view(encoder, tmp_path):
    settings = AugmentationConfig(zoom=1.5)
    found = embedded(encoder, tmp_path, views=StoredViews(3, True, settings))
    turned = embedded(encoder, tmp_path, views=StoredViews(8, False))
    assert found.shape == (COUNT, 3, encoder.width) and found.dtype == np.float32
    for row, number in [(0, 0), (41, 2), (69, 1)]:
        image = torch.from_numpy(PIXELS[row : row + 1])
        seen = apply_augmentation(image, stored_augmentation([DIGESTS[row]], number, settings), 16, 0.8)
        assert found[row, number] == pytest.approx(encoder(seen)[0].numpy(), abs=1e-5)
        seen = apply_augmentation(image, dihedral_augmentation(1, number + 4), 16, 0.8)
        assert turned[row, number + 4] == pytest.approx(encoder(seen)[0].numpy(), abs=1e-5)


def test_a_second_call_computes_nothing(encoder, tmp_path, counted):
    first = embedded(encoder, tmp_path)
    assert sum(counted) == 2 * COUNT
    counted.clear()
    reports = []
    again = embedded(encoder, tmp_path, progress=lambda *done: reports.append(done))
    assert np.array_equal(first, again) and not counted and not reports
    fresh = create_encoder(AUTOENCODER)  # the same weights in another object, as in another process
    assert np.array_equal(embedded(fresh, tmp_path), first) and not counted


def test_only_what_is_missing_is_computed_and_counted(encoder, tmp_path, counted):
    embedded(encoder, tmp_path, range(10))
    counted.clear()
    reports = []
    embedded(encoder, tmp_path, range(5, 15), StoredViews(3, True), progress=lambda *done: reports.append(done))
    assert counted == [20]  # five new images for both old views, ten for the new view, in one batch
    assert reports == [(20, 20)]


def test_an_image_that_comes_twice_has_one_embedding(encoder, tmp_path):
    twice = embedded(encoder, tmp_path, [4, 9, 4])
    assert np.array_equal(twice[0], twice[2]) and not np.array_equal(twice[0], twice[1])


def test_the_key_is_the_digest_and_not_the_row(encoder, tmp_path, counted):
    first = embed(encoder, PIXELS, np.array([3]), ["same"], TURNS, tmp_path, "float32")
    moved = np.roll(PIXELS, 5, axis=0)
    assert np.array_equal(embed(encoder, moved, np.array([8]), ["same"], TURNS, tmp_path, "float32"), first)
    assert sum(counted) == 2


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("encoder", {"encoder": create_encoder(AUTOENCODER, seed=1)}),
        ("crop", {"encoder": create_encoder(AUTOENCODER).with_crop(16, 0.7)}),
        ("precision", {"precision": "bf16"}),
        ("settings", {"views": StoredViews(2, True, AugmentationConfig(stain=0.3))}),
        ("kind of view", {"views": TURNS}),
    ],
)
def test_another_key_is_computed_anew(encoder, tmp_path, counted, change, parts):
    first = embedded(encoder, tmp_path, range(3))
    counted.clear()
    other = embedded(**({"encoder": encoder, "cache": tmp_path, "rows": range(3)} | parts))
    assert sum(counted) == 6, change
    assert not np.array_equal(first, other)
    assert np.array_equal(embedded(encoder, tmp_path, range(3)), first)


def test_images_stored_at_another_size_are_computed_anew(encoder, tmp_path, counted):
    embedded(encoder, tmp_path, range(3))
    counted.clear()
    smaller = np.ascontiguousarray(PIXELS[:, ::2, ::2])
    embed(encoder, smaller, np.arange(3), DIGESTS[:3], AUGMENTED, tmp_path, "float32")
    assert sum(counted) == 6


def test_more_images_than_a_query_takes(tmp_path):
    store = module._Store(tmp_path / "a.sqlite")
    names = [f"{number}" for number in range(1300)]
    vectors = np.random.default_rng(0).random((1300, 4), dtype=np.float32)
    store.write([("view", name) for name in names], vectors)
    back = np.zeros_like(vectors)
    assert store.read("view", names[::-1], back).all() and np.array_equal(back[::-1], vectors)
    assert not store.read("other view", names[:3], back).any()
    store.close()


def test_two_processes_may_write_the_same(tmp_path):
    first, second = module._Store(tmp_path / "a.sqlite"), module._Store(tmp_path / "a.sqlite")
    first.write([("view", "a"), ("view", "b")], np.ones((2, 4), np.float32))
    second.write([("view", "b"), ("view", "c")], np.ones((2, 4), np.float32))
    back = np.zeros((3, 4), np.float32)
    assert first.read("view", ["a", "b", "c"], back).all() and (back == 1).all()
    first.close()
    second.close()


def test_a_full_disk_is_one_line(tmp_path):
    store = module._Store(tmp_path / "a.sqlite")
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(UserError, match=r"disk is full.*set HEMACELL_CACHE") as caught:
        store.write([("view", "a")], np.zeros((1, 100_000), np.float32))
    assert "\n" not in str(caught.value)
    store.close()


@pytest.mark.parametrize("what", ["file in the way", "no database"])
def test_a_cache_that_cannot_be_used_is_one_line(encoder, tmp_path, what):
    if what == "file in the way":
        (tmp_path / "embeddings").write_text("")
    else:
        embedded(encoder, tmp_path, [0])
        (file,) = (tmp_path / "embeddings").glob("*.sqlite")
        file.write_bytes(b"this is no database, and never was one" * 200)
    with pytest.raises(UserError, match="embeddings could not be stored"):
        embedded(encoder, tmp_path, [1])


def test_what_was_computed_before_an_interruption_is_kept(encoder, tmp_path, counted):
    def interrupt(done, missing):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedded(encoder, tmp_path, progress=interrupt)
    counted.clear()
    embedded(encoder, tmp_path)
    assert sum(counted) == 2 * COUNT - 64
    with sqlite3.connect(next((tmp_path / "embeddings").glob("*.sqlite"))) as stored:
        assert stored.execute("SELECT count(*) FROM vectors").fetchone()[0] == 2 * COUNT
