"""`audit` through the front door: it finds what a test has put wrong, and other jobs take its findings over."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

pytestmark = pytest.mark.slow

PER_CLASS = {"train": 14, "val": 4, "test": 6}


@pytest.fixture(scope="module")
def messy(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cells of the sample with a turned copy in test, one picture under two labels, a broken file, and notes."""
    root = tmp_path_factory.mktemp("messy")
    for split, count in PER_CLASS.items():
        for folder in sorted((sample / "WBC_100" / split / "data").iterdir()):
            (root / split / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copy(file, root / split / folder.name)
    train = {name: sorted((root / "train" / name).iterdir()) for name in ("Basophil", "Monocyte")}
    with Image.open(train["Basophil"][0]) as image:
        turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.convert("RGB").save(root / "test" / "Basophil" / "turned.jpg", quality=80)
    shutil.copy(train["Monocyte"][0], root / "train" / "Basophil" / "other.png")
    (root / "train" / "Monocyte" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (root / "train" / "notes.txt").write_text("notes")
    return root


@pytest.fixture(scope="module")
def own(new_store):
    return new_store("audit")


@pytest.fixture(scope="module")
def audited(own, messy, tmp_path_factory):
    """The run of `mlflow run . -e audit`, its files, and what was printed."""
    output = tmp_path_factory.mktemp("page")
    done = own.mlflow_run("audit", data=messy, limit=0, output=output)
    assert done.returncode == 0, done.stderr
    (run,) = own.runs("tags.`hemacell.job` = 'audit'")
    return run, own.files(run.info.run_id), done.stdout + done.stderr, output


def test_it_finds_copies_conflicts_and_broken_files_and_says_them(audited, messy):
    run, files, said, output = audited
    assert run.info.status == "FINISHED"
    found = json.loads(files["audit.json"].read_text())
    first = sorted((messy / "train" / "Basophil").iterdir())[0].name
    across = [each for each in found["copies"] if len(each["splits"]) > 1]
    assert {f"train/Basophil/{first}", "test/Basophil/turned.jpg"} in [set(each["images"]) for each in across]
    conflicts = [each for each in found["copies"] if len(each["labels"]) > 1]
    assert any("train/Basophil/other.png" in each["images"] for each in conflicts)
    assert [Path(each["path"]).name for each in found["unreadable"]] == ["broken.jpg"]
    assert found["findings"][0]["severity"] == "serious"
    assert "with a copy in another split" in said and "different labels" in said
    page = files["audit.html"].read_text()
    assert "turned.jpg" in page and "notes.txt" in page and "<script" not in page
    assert (output / "audit.html").read_text() == page
    assert {"copies.csv", "doubtful_labels.csv", "measurements.csv", "measurements.png", "skipped.csv"} <= set(files)


def test_the_same_audit_is_not_done_again(own, audited, messy):
    done = own.mlflow_run("audit", data=messy, limit=0)
    assert "has done exactly this already" in done.stderr
    assert len(own.runs("tags.`hemacell.job` = 'audit'")) == 1


def test_wbc_says_the_worst_and_drop_leaves_the_copies_out(own, messy):
    given = {"data": messy, "limit": 0, "max_bad": 0.1, "encoders": "none"}
    done = own.mlflow_run("wbc", **given)
    assert done.returncode == 0, done.stderr
    assert "with a copy in another split" in done.stderr and "different labels" in done.stderr
    (plain,) = own.runs("tags.`hemacell.job` = 'wbc'")
    assert "copies.png" in own.files(plain.info.run_id)
    assert plain.data.tags["data.duplicates_across_splits"] == "2"

    done = own.mlflow_run("wbc", **given, drop="duplicates")
    assert done.returncode == 0, done.stderr
    cleaned = own.runs("tags.`hemacell.job` = 'wbc'")[0]
    assert "with a copy in" not in done.stderr and "3 of" in done.stderr
    left_out = pd.read_csv(own.files(cleaned.info.run_id)["skipped.csv"])
    assert {"copy of another image", "copy of an image with another label"} <= set(left_out["reason"])
    assert cleaned.data.metrics["train_images"] == plain.data.metrics["train_images"] - 3


def test_a_corrected_table_is_taken_and_a_test_image_keeps_its_label(own, audited, messy, tmp_path):
    names = [f"train/Monocyte/{sorted((messy / 'train' / 'Monocyte').iterdir())[3].name}", "test/Basophil/turned.jpg"]
    pd.DataFrame({"path": names, "label": ["Basophil", "Monocyte"]}).to_csv(tmp_path / "corrected.csv", index=False)
    given = {"data": messy, "limit": 0, "labels": tmp_path / "corrected.csv"}
    done = own.mlflow_run("audit", **given)
    assert done.returncode == 0, done.stderr
    assert "training labels corrected by corrected.csv: 1" in done.stderr
    assert "val and test images are not used, so that scores stay comparable: 1" in done.stderr
    changed = own.runs("tags.`hemacell.job` = 'audit'")[0]
    table = pd.read_csv(own.files(changed.info.run_id)["measurements.csv"]).set_index("path")
    assert table.loc[names, "label"].tolist() == ["Basophil", "Basophil"]


def test_tiles_without_labels_are_looked_at_too(own, sample, tmp_path):
    run = own.run("audit", data=sample, images="prcc", limit=30, output=tmp_path)
    files = own.files(run.info.run_id)
    assert "doubtful_labels.csv" not in files and "audit.html" in files
    assert {file.name for file in tmp_path.iterdir()} == {"audit.html", "audit.json", "copies.csv", "measurements.csv"}


def test_corrected_copies_stay_with_folds_too(own, messy, tmp_path):
    """A picture under two labels, of which the table corrects one, is kept once."""
    (tmp_path / "corrected.csv").write_text("path,label\ntrain/Basophil/other.png,Monocyte\n")
    given = {"data": messy, "limit": 0, "max_bad": 0.1, "encoders": "none", "folds": 3, "drop": "duplicates"}
    run = own.run("wbc", **given, labels=tmp_path / "corrected.csv")
    left_out = pd.read_csv(own.files(run.info.run_id)["skipped.csv"])
    assert "copy of an image with another label" not in set(left_out["reason"])
    assert "copy of another image" in set(left_out["reason"])


def test_with_a_model_the_page_says_how_far_the_images_lie_from_what_it_knows(own, messy):
    model = own.runs("tags.`hemacell.job` = 'wbc'")[0].data.tags["hemacell.registered"]
    run = own.run("audit", data=messy, limit=40, model=model)
    found = json.loads(own.files(run.info.run_id)["audit.json"].read_text())
    assert 0 <= found["model"]["flagged"] <= 1 and "distances.png" in own.files(run.info.run_id)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"labels": "missing.csv"}, "no such file"),
        ({"encoder": "resnet"}, "resnet"),
        ({"encoder": "prcc"}, "not registered yet"),
        ({"model": "models:/nothing/1"}, "nothing"),
    ],
)
def test_a_mistake_is_one_line_before_any_run_is_open(new_store, messy, given, message):
    fresh = new_store("mistakes")
    done = fresh.mlflow_run("audit", data=messy, **given)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr
    assert fresh.runs("tags.`hemacell.job` = 'audit'") == []
