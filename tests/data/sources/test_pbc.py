"""PBC as Mendeley Data gives it."""

import pytest

from hemacell.core.errors import UserError
from hemacell.data.sources.base import find_source
from tests.data.sources.pictures import picture
from tests.reading import read_cells

FILES = {
    "basophil": ("BA_100102", "BA_100508"),
    "eosinophil": ("EO_101",),
    "erythroblast": ("ERB_102",),
    "ig": ("MMY_1", "MY_2", "PMY_3", "IG_4"),
    "lymphocyte": ("LY_103",),
    "monocyte": ("MO_104",),
    "neutrophil": ("BNE_105", "SNE_106", "SNE_107", "NEUTROPHIL_108"),
    "platelet": ("PLATELET_109",),
}


@pytest.fixture
def pbc(tmp_path):
    root = tmp_path / "PBC_dataset_normal_DIB"
    for folder, names in FILES.items():
        for name in names:
            picture(root / folder / f"{name}.jpg")
    (root / "neutrophil" / ".DS_169665.jpg").write_bytes(b"\0\0\0\1Bud1")
    return root


def test_the_eight_folders_are_the_classes(pbc):
    assert find_source(pbc, "wbc").name == find_source(pbc.parent, "wbc").name == "PBC"
    manifest = read_cells(pbc)
    assert manifest.counts()["train"] == {
        "Basophil": 2,
        "Eosinophil": 1,
        "Erythroblast": 1,
        "Immature granulocyte": 4,
        "Lymphocyte": 1,
        "Monocyte": 1,
        "Neutrophil": 4,
        "Platelet": 1,
    }
    assert manifest.card.license == "CC BY 4.0" and manifest.name == "PBC"
    finer = "ig 1 IG, 1 MMY, 1 MY, 1 PMY; neutrophil 1 BNE, 1 NEUTROPHIL, 2 SNE"
    assert finer in manifest.summary() and "passed over: 1 (hidden)" in manifest.summary()


def test_classes_are_left_out_by_the_names_of_the_folders(pbc):
    manifest = read_cells(pbc, classes="ig:-,platelet:-,erythroblast:-")
    assert len(manifest.classes) == 5
    with pytest.raises(UserError, match=r"no class sne in the data"):
        read_cells(pbc, classes="SNE:Segmented")


def test_the_same_folders_of_a_laboratory_are_plain_class_folders(pbc):
    for path in (pbc / "basophil").iterdir():
        path.rename(path.with_name(path.name.replace("BA_", "cell")))
    assert find_source(pbc, "wbc").name == "class folders"
    assert len(read_cells(pbc)) == 15
