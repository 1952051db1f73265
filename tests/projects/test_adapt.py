"""A classifier is brought to another laboratory, registered for it and used there; the champion stays what it is."""

import csv
import shutil
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hemacell.data.images import read_rgb
from hemacell.evaluation.predictions import read_predictions
from tests.fields.drawn import drawn_field
from tests.projects.conftest import CLASSES


@pytest.fixture(scope="module")
def own(new_store):
    """A store with a classifier of the sample."""
    store = new_store("adapt")
    store.run("wbc", encoders="random-prcc,random-imagenet", limit=120, steps=20)
    return store


@pytest.fixture(scope="module")
def laboratory(sample, tmp_path_factory):
    """Eight cells of each class under another light and stain, at twice the size, in a folder of the sample."""
    folder = tmp_path_factory.mktemp("laboratory") / "sample-1-0" / "other"
    shutil.copytree(
        sample, folder.parent, dirs_exist_ok=True, ignore=shutil.ignore_patterns("WBC_*", "CAM16*", "pRCC*")
    )
    labels = []
    for name in CLASSES:
        files = sorted((sample / "WBC_100" / "test" / "data" / name).iterdir())[:8]
        for file in files:
            picture = np.asarray(read_rgb(file)).astype(float) / 255
            stained = np.round(255 * picture ** np.array([1.3, 0.8, 1.1]) * np.array([0.9, 1.0, 0.8]))
            target = folder / f"{file.stem}.png"
            target.parent.mkdir(exist_ok=True)
            Image.fromarray(stained.astype(np.uint8)).resize((200, 200)).save(target)
            labels.append((target.name, name))
    return folder, labels


@pytest.fixture
def labelled(laboratory, tmp_path):
    """A table with labels of some of the pictures."""

    def write(count: int = 8, classes=CLASSES, name: str = "labels.csv", extra=()):
        seen: dict[str, int] = {}
        rows = []
        for path, label in laboratory[1]:
            seen[label] = seen.get(label, 0) + 1
            if label in classes and seen[label] <= count:
                rows.append((path, label))
        with open(tmp_path / name, "w", newline="") as file:
            csv.writer(file).writerows([("path", "label"), *rows, *extra])
        return tmp_path / name

    return write


@pytest.fixture
def refused(own, laboratory, capsys):
    """Start an adaptation that cannot work; returns its one line."""

    def start(job="adapt", **given: object) -> str:
        from hemacell.cli import main
        from hemacell.config.jobs import JOBS

        given = {"model": "hemacell-wbc", "images": laboratory[0], "site": "elsewhere", **given}
        arguments = own.command(job, **given)[3:]
        with own.here(), pytest.raises(SystemExit) as end:
            main(JOBS[job], import_module(f"projects.{job}").run, arguments)
        assert end.value.code == 2
        assert not own.runs("attributes.status = 'RUNNING'")
        return capsys.readouterr().err.splitlines()[-1]

    return start


@pytest.mark.slow
def test_with_labels_a_version_is_registered_for_the_laboratory(own, laboratory, labelled, tmp_path):
    folder, labels = laboratory
    file = labelled(5, extra=[("not-there.png", "Monocyte"), (labels[-1][0], "-")])
    before = own.client.get_model_version_by_alias("hemacell-wbc", "sample")
    done = own.mlflow_run("adapt", model="hemacell-wbc", images=folder, labels=file, site="other")
    assert done.returncode == 0, done.stderr
    run = next(each for each in own.runs("tags.`hemacell.job` = 'adapt'") if each.info.status == "FINISHED")
    assert run.info.run_name == "hemacell-wbc for other with labels" and "Adapted to other" in done.stdout
    assert "1 rows name no picture" in done.stderr and "1 pictures with the label - are left out" in done.stderr

    version = own.client.get_model_version_by_alias("hemacell-wbc", "site-other")
    assert own.client.get_model_version_by_alias("hemacell-wbc", "sample").version == before.version
    assert version.tags["site"] == "other" and version.tags["adapted.from"] == f"models:/hemacell-wbc/{before.version}"
    assert "Adapted to other" in version.description and "What follows is the card of" in version.description

    metrics = run.data.metrics
    assert {"before/macro_f1", "adapted/macro_f1", "labelled/macro_f1_low"} <= metrics.keys()
    assert sum(metrics[f"share/{name}"] for name in CLASSES) == pytest.approx(1)
    files = own.files(run.info.run_id)
    assert "25 labelled cells of other" in files["adaptation.md"].read_text()
    assert len(read_predictions(files["predictions.json"]).labels) == 25

    for given in ({"site": "other"}, {"model": "models:/hemacell-wbc@site-other"}):
        output = tmp_path / f"{len(given)}{next(iter(given))}.csv"
        own.run("predict", **{"model": "hemacell-wbc", "images": folder, "output": output, **given})
        table = pd.read_csv(output, keep_default_na=False)
        assert set(table["model"]) == {version.source and f"models:/hemacell-wbc/{version.version}"}
    truth = dict(labels)
    plain = tmp_path / "plain.csv"
    own.run("predict", model="hemacell-wbc", images=folder, output=plain)
    right = [
        (each["class"] == each["image"].map(truth)).mean()
        for each in (pd.read_csv(plain, keep_default_na=False), table)
    ]
    assert right[1] > right[0] and right[1] > 0.6

    again = own.mlflow_run("adapt", model="hemacell-wbc", images=folder, labels=file, site="other")
    assert "has done exactly this already" in again.stderr


@pytest.mark.slow
def test_the_cells_of_whole_fields_will_do(own, sample, tmp_path):
    folder = shutil.copytree(sample, tmp_path / "sample-1-0", ignore=shutil.ignore_patterns("WBC_*", "CAM16*", "pRCC*"))
    (folder / "fields").mkdir()
    for number in range(3):
        field = drawn_field([(150 + 20 * number, 120), (450, 300 + 10 * number), (250, 380)])
        Image.fromarray(field).save(folder / "fields" / f"{number}.png")
    run = own.run("adapt", model="hemacell-wbc", images=folder / "fields", find_cells=True, site="fields")
    assert "- pictures: 9 of fields" in own.files(run.info.run_id)["adaptation.md"].read_text()


@pytest.mark.slow
def test_without_labels_nothing_is_promised(own, laboratory, tmp_path):
    run = own.run("adapt", model="hemacell-wbc", images=laboratory[0], site="silent")
    page = own.files(run.info.run_id)["adaptation.md"].read_text()
    assert "Without labels nothing can be said" in page and "before/macro_f1" not in run.data.metrics
    counted = own.mlflow_run(
        "predict",
        model="hemacell-wbc",
        site="silent",
        images=laboratory[0],
        output=tmp_path / "c.csv",
        differential=True,
    )
    assert "as it was adapted without labels: the counts are not corrected" in counted.stderr
    scored = own.run("evaluate", model="hemacell-wbc", site="silent")
    version = own.client.get_model_version_by_alias("hemacell-wbc", "site-silent").version
    assert scored.data.tags["classifier.wbc"] == f"models:/hemacell-wbc/{version}"


def test_a_site_that_exists_is_kept_unless_forced(own, laboratory, labelled, refused):
    first = own.run("adapt", model="hemacell-wbc", images=laboratory[0], site="kept")
    version = own.client.get_model_version_by_alias("hemacell-wbc", "site-kept").version
    line = refused(site="kept", labels=labelled(4))
    assert f"site=kept exists already: models:/hemacell-wbc/{version}" in line and "force=true" in line
    again = own.run("adapt", model="hemacell-wbc", images=laboratory[0], site="kept")
    assert again.info.run_id == first.info.run_id
    own.run("adapt", model="hemacell-wbc", images=laboratory[0], site="kept", force=True)
    assert own.client.get_model_version_by_alias("hemacell-wbc", "site-kept").version > version


def test_mistakes_are_one_line(own, laboratory, labelled, refused, tmp_path):
    assert "site: expected a name, found nothing" in refused(site="")
    assert "lower-case letters" in refused(site="Lab 3")
    assert "images: expected a name" in refused(images="")
    assert "labels: expected none with find_cells=true" in refused(labels=labelled(4), find_cells=True)
    assert "no such file" in refused(images=tmp_path / "nowhere")
    assert "all labels are Monocyte" in refused(labels=labelled(5, ("Monocyte",)))
    other = tmp_path / "other.csv"
    other.write_text("path,label\na.png,Monocyte\nb.png,Neutrophil\n")
    assert "found none; correct the paths" in refused(labels=other)
    alone = shutil.copytree(laboratory[0].parent, tmp_path / "sample-1-0") / laboratory[0].name
    for file in sorted(alone.iterdir())[1:]:
        file.unlink()
    assert "expected two pictures of the laboratory or more, found 1" in refused(images=alone)
    line = refused("predict", site="nowhere", output=tmp_path / "out.csv")
    assert "site=nowhere: no version of hemacell-wbc is adapted to it" in line and "-e adapt" in line
