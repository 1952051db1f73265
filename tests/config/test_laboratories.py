"""Other laboratories by name, as `external` has them."""

import re

import pytest

from hemacell.config.jobs import StudySettings, WbcSettings
from hemacell.config.laboratories import parse_laboratories
from hemacell.core.errors import UserError


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("lisc:/data/LISC", {"lisc": "/data/LISC"}),
        ("lisc:/data/LISC, jtsc : ../JTSC/test ,", {"lisc": "/data/LISC", "jtsc": "../JTSC/test"}),
        ("/data/WBC_JTSC", {"wbc_jtsc": "/data/WBC_JTSC"}),
        ("/data/Dataset 1/", {"dataset-1": "/data/Dataset 1/"}),
        ("LISC:data", {"lisc": "data"}),
        ("Zürich-2.b:~/data", {"zürich-2.b": "~/data"}),
        # a colon in a folder's name
        ("/data/2024-01:a", {"2024-01-a": "/data/2024-01:a"}),
        ("./a:b", {"a-b": "./a:b"}),
        ("lisc:/data/a:b", {"lisc": "/data/a:b"}),
    ],
)
def test_names_and_folders(text, wanted):
    assert parse_laboratories(text) == wanted
    assert list(parse_laboratories(text)) == list(wanted), "in the order of the text"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lisc:", "expected NAME:DIR, found 'lisc:' without a folder; type for example external=lisc:DIR"),
        (":/data", "for the laboratory in /data, found ''; type for example external=lisc:/data"),
        ("LISC 2:/data", "expected a name of at most 40 letters, digits and ._- for the laboratory in /data"),
        ("a+b:/data", "found 'a+b'; type for example external=lisc:/data"),
        ("..", "for the laboratory in .., found '..'"),
        ("/", "for the laboratory in /, found ''"),
        ("x" * 41 + ":/data", "at most 40"),
        ("lisc:/a,LISC:/b", "found lisc for /a and for /b; type for example external=first:/a,second:/b"),
        ("LISC/test,JTSC/test", "found test for LISC/test and for JTSC/test"),
    ],
)
def test_a_mistake_is_one_line_with_a_way_out(text, words):
    for settings in (WbcSettings, StudySettings):
        with pytest.raises(UserError, match=re.escape(words)) as caught:
            settings.from_strings({"external": text})
        assert str(caught.value).startswith("external: expected") and "\n" not in str(caught.value)


def test_settings_keep_what_was_typed():
    settings = StudySettings.from_strings({"external": "jtsc:/b,lisc:/a"})
    assert settings.canonical()["external"] == "jtsc:/b,lisc:/a"
    assert settings.laboratories == {"jtsc": "/b", "lisc": "/a"}
    assert "external_crop" not in settings.canonical()


@pytest.mark.parametrize("name", ["lisc", "zürich-2.b", "x" * 40])
def test_mlflow_takes_the_names(name):
    from mlflow.utils.validation import _validate_metric_name, _validate_tag_name

    (named,) = parse_laboratories(f"{name}:/data")
    _validate_metric_name(f"external_adapted/{named}/precision/Immature granulocyte")
    _validate_tag_name(f"intervals.external_adapted/{named}")
