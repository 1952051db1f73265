"""Digests kept between starts: found again, and computed again where the file or the cache is another one."""

import hashlib
import os

import pytest

from hemacell.core.errors import UserError
from hemacell.data.sources.kept_digests import kept_digests


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMACELL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "letters.bin"
    made.write_bytes(b"abc")
    return made


def digests_of_bytes(file):
    return [hashlib.sha256(bytes([byte])).hexdigest() for byte in file.read_bytes()]


def refuse():
    raise AssertionError("computed again")


def test_computed_once(cache, file):
    first = kept_digests(file, "train", 3, lambda: iter(digests_of_bytes(file)))
    assert first == digests_of_bytes(file) == kept_digests(file, "train", 3, refuse)
    assert len(list((cache / "digests").iterdir())) == 1, "no unfinished file is left"


def test_a_changed_file_is_digested_anew(cache, file):
    kept_digests(file, "train", 3, lambda: digests_of_bytes(file))
    before = file.stat().st_mtime_ns
    file.write_bytes(b"xyz")  # of the same size
    os.utime(file, ns=(before + 1, before + 1))
    assert kept_digests(file, "train", 3, lambda: digests_of_bytes(file)) == digests_of_bytes(file)


@pytest.mark.parametrize(("part", "count"), [("val", 3), ("train", 2)])
def test_another_part_or_count_is_another_thing(cache, file, part, count):
    kept_digests(file, "train", 3, lambda: digests_of_bytes(file))
    other = ["0" * 64] * count
    assert kept_digests(file, part, count, lambda: other) == other


@pytest.mark.parametrize("damage", [lambda old: b"", lambda old: old[:-1], lambda old: b"?" + old[1:]])
def test_a_damaged_cache_is_computed_again(cache, file, damage):
    kept_digests(file, "train", 3, lambda: digests_of_bytes(file))
    (kept,) = (cache / "digests").iterdir()
    kept.write_bytes(damage(kept.read_bytes()))
    assert kept_digests(file, "train", 3, lambda: digests_of_bytes(file)) == digests_of_bytes(file)
    assert kept_digests(file, "train", 3, refuse) == digests_of_bytes(file)


def test_what_is_written_to_meanwhile_is_not_kept(cache, file):
    def compute():
        file.write_bytes(b"longer")
        return ["0" * 64] * 3

    kept_digests(file, "train", 3, compute)
    assert not (cache / "digests").exists()


def test_a_cache_that_cannot_be_written_is_one_line(cache, file):
    cache.write_text("a file")
    with pytest.raises(UserError, match=r"digests.*HEMACELL_CACHE"):
        kept_digests(file, "train", 3, lambda: digests_of_bytes(file))
