"""`encoders=morphology` as a user meets it: trained with each method, served, and refused in ONNX."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemacell.classifiers.onnx_file import require_onnx
from hemacell.cli import main
from hemacell.config.jobs import JOBS
from hemacell.core.errors import UserError
from tests.projects.conftest import CLASSES

pytestmark = pytest.mark.slow

METHODS = ("fusion", "linear_probe", "knn")


@pytest.fixture(scope="module")
def store(new_store):
    """A store with a classifier of each method, versions 1 to 3."""
    own = new_store("morphology")
    for method in METHODS:
        own.run("wbc", encoders=("morphology",), method=method, encoder_size=64)
    return own


def test_every_method_learns_from_it(store):
    runs = store.runs("attributes.status = 'FINISHED'")
    assert {run.data.params["method"] for run in runs if run.data.params.get("encoders") == "morphology"} == {*METHODS}


def test_the_models_are_served_with_what_measures(store, sample):
    import mlflow

    import hemacell

    picture = Image.open(next((sample / "WBC_100" / "test" / "data" / "Monocyte").iterdir())).convert("RGB")
    with store.here():
        for version in (1, 2, 3):
            found = hemacell.load(f"models:/hemacell-wbc/{version}").predict([picture])
            assert np.isfinite(found[[f"p_{name}" for name in CLASSES]].to_numpy(dtype=float)).all()
            needs = Path(mlflow.pyfunc.get_model_dependencies(f"models:/hemacell-wbc/{version}"))
            assert {"scipy", "scikit-image"} <= {line.split("==")[0] for line in needs.read_text().splitlines()}


def test_onnx_refuses_it_in_one_line_before_anything_is_computed(store, capsys):
    try:
        require_onnx()
    except UserError as missing:
        pytest.skip(str(missing))
    arguments = store.command("export", model="models:/hemacell-wbc/1")[3:]
    before = len(store.runs())
    capsys.readouterr()
    with store.here(), pytest.raises(SystemExit) as end:
        main(JOBS["export"], importlib.import_module("projects.export").run, arguments)
    assert end.value.code == 2 and len(store.runs()) == before
    printed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(printed) == 1 and "the encoder morphology measures pictures" in printed[0]
