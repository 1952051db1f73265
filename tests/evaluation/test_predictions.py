"""predictions.json: what is written is read back to the bit, and what is no such file is refused in one line."""

import json

import numpy as np
import pytest

from hemacell.core.errors import UserError
from hemacell.evaluation.predictions import Predictions, predictions_table, read_predictions, write_predictions

CLASSES = ("Basophil", "Neutrophil", "Ünbekannt")


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 50).astype(np.float32)
    p[0] = (1, 0, 0)
    return {
        "split": "test",
        "images": tuple(f'test/data/Zelle {i} "é".jpg' for i in range(50)),
        "labels": rng.integers(0, 3, 50),
        "probabilities": p,
        "classes": CLASSES,
        "sha256": tuple(f"{i:064x}" for i in range(50)),
    }


def test_what_is_written_is_read_back_to_the_bit(tmp_path, rows):
    path = write_predictions(tmp_path / "predictions.json", Predictions(**{**rows, "split": "external"}))
    read = read_predictions(path)
    assert (read.classes, read.split, len(read)) == (CLASSES, "external", 50)
    assert read.images == rows["images"]
    assert read.sha256 == rows["sha256"]
    assert (read.labels == rows["labels"]).all()
    assert read.probabilities.dtype == np.float32
    assert (read.probabilities == rows["probabilities"]).all()
    assert (read.predicted == rows["probabilities"].argmax(1)).all()
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.json"]


def test_the_file_holds_what_the_table_holds_one_row_per_line(tmp_path, rows):
    path = write_predictions(tmp_path / "predictions.json", Predictions(**rows))
    table = predictions_table(Predictions(**rows))
    assert json.loads(path.read_text(encoding="utf-8")) == table
    assert len(path.read_text(encoding="utf-8").splitlines()) == 50 + 2
    first = table["rows"][0]
    assert first["label"] == CLASSES[rows["labels"][0]]
    assert first["predicted"] == "Basophil"
    assert first["probabilities"] == {"Basophil": 1.0, "Neutrophil": 0.0, "Ünbekannt": 0.0}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("images", ["a.jpg"], "equally many"),
        ("sha256", [], "equally many"),
        ("images", ["/home/me/a.jpg"] * 50, "relative"),
        ("labels", np.full(50, 3), "must lie in"),
        ("classes", ("a", "b"), "C = 2"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, key, value, message):
    with pytest.raises(ValueError, match=message):
        Predictions(**{**rows, key: value})


def spoil(table, how):
    if how == "no rows":
        del table["rows"]
    elif how == "unknown label":
        table["rows"][3]["label"] = "Blast"
    elif how == "contradiction":
        table["rows"][0]["predicted"] = "Neutrophil"
    elif how == "no probability":
        table["rows"][0]["probabilities"]["Basophil"] = "high"
    elif how == "empty":
        table["rows"] = []
    return table


@pytest.mark.parametrize("how", ["no rows", "unknown label", "contradiction", "no probability", "empty"])
def test_a_file_that_contradicts_itself_is_refused_in_one_line(tmp_path, rows, how):
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(spoil(predictions_table(Predictions(**rows)), how)))
    with pytest.raises(UserError, match=r"not a predictions\.json") as error:
        read_predictions(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "image,label\n"])
def test_another_file_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "predictions.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"not a predictions\.json") as error:
        read_predictions(path)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.json: no such file"):
        read_predictions(tmp_path / "nowhere.json")
