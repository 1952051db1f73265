"""Names of classes and splits as laboratories write them."""

import pytest

from hemacell.core.errors import UserError
from hemacell.data.class_names import LEFT_OUT, ClassMap, known_class, normal_form, split_of


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("NEUTROPHIL", "Neutrophil"),
        ("neutrophils", "Neutrophil"),
        ("SNE", "Neutrophil"),
        ("seg", "Neutrophil"),
        ("Band", "Neutrophil"),
        ("Lympho", "Lymphocyte"),
        ("01_Monocytes", "Monocyte"),
        ("ig", "Immature granulocyte"),
        ("platelets", "Platelet"),
        ("tumour", "tumor"),
        ("Hairy cell", ""),
        ("бласт", ""),
    ],
)
def test_classes(name, meant):
    assert known_class(name) == meant


def test_names_in_other_scripts_and_forms_stay_apart():
    assert normal_form("бласт") != normal_form("лимфоцит") != ""
    assert normal_form("Zelle\u0308") == normal_form("zell\u00eb")


@pytest.mark.parametrize(
    ("name", "split"),
    [("TRAIN", "train"), ("TestA", "test"), ("Validation", "val"), ("valid", "val"), ("data", ""), ("Monocyte", "")],
)
def test_splits(name, split):
    assert split_of(name) == split


def test_a_map_goes_before_what_is_known():
    classes = ClassMap("band:Band neutrophil, IG:-,Odd one:Monocyte")
    assert classes("BAND") == "Band neutrophil" and classes("seg") == "Neutrophil"
    assert classes("ig") == LEFT_OUT and classes("odd_one") == "Monocyte" and classes("Hairy") == "Hairy"
    classes.check_used(["x"])


def test_a_map_by_the_standard_name():
    assert ClassMap("erythroblast:-")("ERB") == LEFT_OUT


@pytest.mark.parametrize("text", ["ig", "ig:", ":Neutrophil", "ig;-"])
def test_a_map_of_another_form_is_refused(text):
    with pytest.raises(UserError, match="expected NAME:CLASS"):
        ClassMap(text)


def test_a_name_that_does_not_occur_is_refused():
    classes = ClassMap("monocyt:-")
    classes("Monocyte")
    with pytest.raises(UserError, match="no class monocyt in the data, found Monocyte; did you mean Monocyte"):
        classes.check_used(["Monocyte"])
