import subprocess
import sys

import pytest

from hemacell.core.cache import cache_dir
from hemacell.core.errors import UserError
from hemacell.data.sources.resolve import DataSource, resolve_data


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("HEMACELL_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("HEMACELL_CACHE")
    assert cache_dir() == tmp_path / "xdg" / "hemacell"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "hemacell"


def test_setting_then_variable_then_sample(sample, monkeypatch, tmp_path):
    assert resolve_data("", sample.parent) == DataSource(sample, "sample")
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    monkeypatch.setenv("HEMACELL_DATA", str(tmp_path / "one"))
    assert resolve_data("", sample.parent) == DataSource(tmp_path / "one", "folder")
    assert resolve_data(str(tmp_path / "two"), sample.parent) == DataSource(tmp_path / "two", "folder")


def test_relative_folder_becomes_absolute(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_data("here", tmp_path).root == tmp_path / "here"


def test_the_sample_is_known_by_whatever_name(sample):
    assert resolve_data(str(sample), sample.parent).kind == "sample"


def test_so_is_a_part_of_it_and_a_link_to_it_but_not_what_lies_beside(sample, tmp_path):
    (tmp_path / "link").symlink_to(sample / "WBC_100")
    for folder in (sample / "WBC_100" / "test" / "data", tmp_path / "link" / "test"):
        assert resolve_data(str(folder), sample.parent).kind == "sample"
    for folder in (sample.parent, tmp_path):
        assert resolve_data(str(folder), sample.parent).kind == "folder"


def test_folder_that_does_not_exist(tmp_path, monkeypatch):
    (tmp_path / "cs5242").mkdir()
    with pytest.raises(UserError, match=r"data=.*cs5424: no such folder.*did you mean cs5242.*class folders") as caught:
        resolve_data(str(tmp_path / "cs5424"), tmp_path)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("HEMACELL_DATA", str(tmp_path / "no" / "where"))
    with pytest.raises(UserError, match=r"HEMACELL_DATA=.*no such folder"):
        resolve_data("", tmp_path)


def test_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "data.rar").write_bytes(b"Rar!")
    with pytest.raises(UserError, match="is a file"):
        resolve_data(str(tmp_path / "data.rar"), tmp_path)


def test_reading_data_needs_no_heavy_library():
    names = "balance subsets images sources.course sources.sample sources.resolve splits channel_stats decoding"
    code = f"import sys, importlib; [importlib.import_module('hemacell.data.' + n) for n in {names.split()!r}]; "
    code += "print({'torch', 'torchvision', 'timm', 'sklearn', 'matplotlib', 'mlflow'} & set(sys.modules) or [])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
