"""The notebooks run as a user opens them, and what is committed of them shows no machine and no real image."""

import html
import json
import re
import shutil
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.projects.conftest import CLASSES, Store

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = sorted(path.name for path in FOLDER.glob("*.ipynb"))
# the start of an absolute path; not the / of and/or, </td>, https:// or models:/
ABSOLUTE = re.compile(r"(?<!models:)(?<![\w/.<*-])/\w[\w.-]*/|:////|file://|[A-Za-z]:\\\\")


def of_cells(notebook, kind: str) -> dict[str, str]:
    """Cell -> what it has put out of this kind: `text`, `image/png`, `error`; cells without are left out."""
    found: dict[str, str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            plain = data.get("text/plain", "") + data.get("text/html", "") + output.get("text", "")
            text = {"text": plain, "error": output.get("ename", "")}.get(kind, data.get(kind, ""))
            if text:
                found[cell.id] = found.get(cell.id, "") + text
    return found


def table_in(page: str) -> pd.DataFrame:
    """A DataFrame as a notebook shows it, without its index; numbers are numbers again."""
    rows = [
        [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)][1:]
        for row in re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    ]
    table = pd.DataFrame(rows[1:], columns=rows[0])
    return table.apply(lambda column: column if column.isna().any() else _numbers(column))


def _numbers(column: pd.Series) -> pd.Series:
    found = pd.to_numeric(column, errors="coerce")
    return column if found.isna().any() else found


def execute(name: str, environment: dict[str, str]):
    """The notebook with what its cells put out now, run in its own folder."""
    notebook = nbformat.read(FOLDER / name, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute(env=environment)
    return notebook


# --- what is committed


def test_there_are_notebooks():
    assert NAMES == ["compare.ipynb", "explore.ipynb", "predict.ipynb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_is_valid_small_and_was_run_from_top_to_bottom(name):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    nbformat.validate(notebook)
    assert (FOLDER / name).stat().st_size < 1_000_000
    assert notebook.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not of_cells(notebook, "error")
    assert not any(output.get("name") == "stderr" for cell in code for output in cell.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_names_no_place_of_a_machine(name):
    notebook = nbformat.read(FOLDER / name, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for kind in ("image/png", "image/jpeg"):
                output.get("data", {}).pop(kind, None)
    assert not ABSOLUTE.findall(json.dumps(notebook).replace(r"\n", " "))


def test_the_pattern_finds_places_of_a_machine():
    for text in ("/home/me/cells/a.jpg", '"/tmp/x/"', "sqlite:////work/mlflow.db", r"C:\\Users", "file:///srv/x"):
        assert ABSOLUTE.search(text), text
    for text in (
        "test/macro_f1",
        "train/data/<Class>/",
        "and/or",
        "https://mlflow.org/docs/latest/",
        "1 / 2",
        "models:/hemacell-wbc/1",
    ):
        assert not ABSOLUTE.search(text), text


def test_committed_pictures_are_of_drawn_cells_or_of_results():
    explored = of_cells(nbformat.read(FOLDER / "explore.ipynb", as_version=4), "text")
    assert "the built-in sample: drawn pictures, no result" in explored["read"]
    classified = nbformat.read(FOLDER / "predict.ipynb", as_version=4)
    assert "the built-in sample: drawn pictures, no result" in of_cells(classified, "text")["load"]
    assert (FOLDER / "predict.ipynb").stat().st_size < 300_000
    compared = nbformat.read(FOLDER / "compare.ipynb", as_version=4)
    if "of the built-in sample" not in of_cells(compared, "text")["newest"]:
        assert "images-figure" not in of_cells(compared, "image/png")


# --- run again


@pytest.fixture(scope="module")
def study(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with one tiny study, scored on another folder too."""
    own = Store(tmp_path_factory.mktemp("notebooks"), sample.parent)
    own.run("study", external=f"other:{sample}/WBC_100/test")
    return own


@pytest.mark.slow
def test_explore_shows_the_sample(sample, tmp_path):
    notebook = execute("explore.ipynb", Store(tmp_path, sample.parent).environment)
    text = of_cells(notebook, "text")
    assert "the built-in sample: drawn pictures, no result" in text["read"]
    assert "475 images and 91 masked copies" in text["read"]
    assert "images in several splits: 0\nimages with several labels: 0" in text["duplicates"]
    assert text["nested"].count("True") == 3 and "False" not in text["nested"]
    assert "CAM16_100cls_10mask" in text["tissue"] and "pRCC_nolabel" in text["tissue"]
    assert set(of_cells(notebook, "image/png")) == {"counts-figure", "examples", "masks", "tissue"}


@pytest.mark.slow
def test_explore_finds_what_is_wrong_with_a_folder(sample, tmp_path):
    cells = tmp_path / "data" / "WBC_100"
    for split in ("train", "test"):
        for name in CLASSES:
            (cells / split / "data" / name).mkdir(parents=True)
            for path in sorted((sample / "WBC_100" / split / "data" / name).iterdir())[:8]:
                shutil.copy(path, cells / split / "data" / name)
    image = next((cells / "train" / "data" / "Basophil").iterdir())
    shutil.copy(image, cells / "test" / "data" / "Basophil" / "again.png")
    image = next((cells / "train" / "data" / "Monocyte").iterdir())
    shutil.copy(image, cells / "train" / "data" / "Neutrophil" / "also.png")

    environment = Store(tmp_path, sample.parent).environment | {"HEMACELL_DATA": str(tmp_path / "data")}
    notebook = execute("explore.ipynb", environment)
    text = of_cells(notebook, "text")
    assert "real images" in text["read"]
    assert "images in several splits: 1\n" in text["duplicates"] and "again.png" in text["duplicates"]
    assert "images with several labels: 1\n" in text["duplicates"] and "also.png" in text["duplicates"]
    assert "there are no masks in this folder" in text["masks"]
    assert set(of_cells(notebook, "image/png")) == {"counts-figure", "examples"}


@pytest.mark.slow
def test_compare_shows_the_newest_study(study):
    notebook = execute("compare.ipynb", study.environment)
    text = of_cells(notebook, "text")
    (run,) = study.runs("tags.`hemacell.job` = 'study'")
    assert f"study {run.info.run_id}: 8 runs" in text["newest"] and "no result" in text["newest"]
    assert "random-prcc against none at 10 %: " in text["comparison"] and "fewer than 5 draws" in text["comparison"]
    assert "none against random-prcc at 10 %: " in text["another-baseline-figure"]
    assert "F1 of Basophil" in text["one-class-figure"]
    assert "always wrong with none and always right with random-prcc" in text["images-table"]
    assert " other images:" in text["external-figure"] and "random-prcc against none" in text["external-figure"]
    drawn = set(of_cells(notebook, "image/png")) - {"images-figure"}  # there may be no such image
    figures = {"label-efficiency", "paired-differences", "class-gains", "confusion"}
    assert drawn == figures | {"another-baseline-figure", "one-class-figure", "external-figure"}


@pytest.mark.slow
def test_compare_takes_the_study_that_it_is_told(study):
    (run,) = study.runs("tags.`hemacell.job` = 'study'")
    with pytest.raises(CellExecutionError, match="there is no run 'no-such-run'"):
        execute("compare.ipynb", study.environment | {"HEMACELL_STUDY": "no-such-run"})
    notebook = execute("compare.ipynb", study.environment | {"HEMACELL_STUDY": run.info.run_id})
    assert f"study {run.info.run_id}: 8 runs" in of_cells(notebook, "text")["newest"]


@pytest.mark.slow
def test_compare_says_how_to_make_a_study_where_there_is_none(sample, tmp_path):
    with pytest.raises(CellExecutionError, match=r"no finished study in this store. Make one: mlflow run \. -e study"):
        execute("compare.ipynb", Store(tmp_path, sample.parent).environment)


@pytest.fixture(scope="module")
def classifiers(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with a tiny classifier of the sample, and one of some of these images as if they were a user's."""
    own = Store(tmp_path_factory.mktemp("classifiers"), sample.parent)
    folder = own.folder / "data"
    shutil.copytree(sample / "WBC_100", folder / "WBC_100")
    for given in ({}, {"data": folder, "seed": 1}):  # with the same seed it would be the same run
        own.run("wbc", encoders=("none",), limit=0, **given)
    return own


@pytest.mark.slow
def test_predict_shows_the_sample(classifiers):
    notebook = execute("predict.ipynb", classifiers.environment)
    text = of_cells(notebook, "text")
    assert "drawn pictures, no result" in text["load"] and "models:/hemacell-wbc/1" in text["load"]
    (card,) = of_cells(notebook, "text/markdown").values()
    assert "a demonstration, not a result" in card
    assert "100 of 100 pictures" in text["pictures"] and "of the labelled ones wrong" in text["answers"]
    table = table_in(of_cells(notebook, "text/html")["count"])
    assert table["count"].sum() == 100 and set(table["smear"]) == {"made-up smear 1", "made-up smear 2"}
    assert table.groupby("smear")["share %"].sum().to_numpy() == pytest.approx([100, 100], abs=0.3)
    assert (table["share_low %"] <= table["share %"]).all() and (table["share %"] <= table["share_high %"]).all()
    assert "only 12 test images" in table["note"][0]
    assert "warning: Its test had fewer than 30 images of Basophil (12)" in text["count-doubts"]
    assert set(of_cells(notebook, "image/jpeg")) == {"grid", "count-figure"}


@pytest.mark.slow
def test_predict_takes_a_folder_of_smears_and_the_champion(classifiers, sample, tmp_path):
    for smear, names in (("A", CLASSES[:2]), ("B", CLASSES)):
        (tmp_path / "mine" / smear).mkdir(parents=True)
        for name in names:
            for path in sorted((sample / "WBC_100" / "val" / "data" / name).iterdir())[:3]:
                shutil.copy(path, tmp_path / "mine" / smear)
    (tmp_path / "mine" / "A" / "broken.png").write_text("no image")
    environment = classifiers.environment | {"HEMACELL_DATA": str(tmp_path / "mine")}
    notebook = execute("predict.ipynb", environment)
    text = of_cells(notebook, "text")
    assert "pictures of mine" in text["load"] and "models:/hemacell-wbc/2" in text["load"]
    assert "22 of 22 pictures" in text["pictures"] and "labelled" not in text["answers"]
    table = table_in(of_cells(notebook, "text/html")["count"])
    assert table.groupby("smear")["count"].sum().to_dict() == {"A": 6, "B": 15}
    assert "is not an image" in text["review"]
    with pytest.raises(
        CellExecutionError, match="trained on the built-in sample of drawn images, and these images are"
    ):
        execute("predict.ipynb", environment | {"HEMACELL_MODEL": "models:/hemacell-wbc@sample"})


@pytest.mark.slow
def test_predict_says_how_to_make_a_classifier_where_there_is_none(sample, tmp_path):
    words = r"no classifier of the built-in sample is registered .* Make one: mlflow run \. -e wbc -P fraction=0\.5"
    with pytest.raises(CellExecutionError, match=words):
        execute("predict.ipynb", Store(tmp_path, sample.parent).environment)
