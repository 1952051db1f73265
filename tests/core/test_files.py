"""Files that appear whole or not at all."""

import errno
import os
import sqlite3

import pytest

from hemacell.core.files import atomic_folder, atomic_write, digests_of_files, disk_error, sha256_of


def test_a_file_that_is_interrupted_leaves_the_old_one(tmp_path):
    target = tmp_path / "a.csv"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as file:
        file.write_text("ne")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"] and target.read_text() == "old"


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError), atomic_write(tmp_path / "a.csv") as file:
        assert file.suffix == ".csv"
        file.write_text("new")
    assert not list(tmp_path.iterdir())


def test_of_two_folders_the_first_stays_unless_it_is_damaged(tmp_path):
    target = tmp_path / "deep" / "folder"
    with atomic_folder(target) as late:
        (late / "late").touch()
        with atomic_folder(target) as early:
            (early / "early").touch()
    assert [path.name for path in target.iterdir()] == ["early"]
    with atomic_folder(target, lambda folder: (folder / "late").exists()) as other:
        (other / "late").touch()
    assert [path.name for path in target.iterdir()] == ["late"]
    assert [path.name for path in target.parent.iterdir()] == ["folder"]


def test_digests_and_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea")
    assert digests_of_files([tmp_path / "a"] * 3) == [sha256_of(tmp_path / "a")] * 3
    of_names = digests_of_files([tmp_path / "gone", tmp_path / "away", tmp_path / "x" / "gone"])
    assert of_names[0] == of_names[2] != of_names[1] and {len(digest) for digest in of_names} == {64}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full: cannot store x; free some space, or set "),
        (sqlite3.OperationalError("database or disk is full"), "the disk is full: cannot store x"),
        (OSError(errno.EACCES, "Permission denied"), "cannot store x: Permission denied; make it writable, or set "),
    ],
)
def test_what_could_not_be_written_is_one_line(error, words):
    assert str(disk_error(error, "cannot store x")).startswith(words)
