"""The examples in docs/examples add to the package from outside, and run end to end through `wbc`."""

import runpy
import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"

pytestmark = pytest.mark.slow


@pytest.fixture
def example(tmp_path):
    """Runs a copy of an example outside the package; what it has registered is taken out again."""
    from hemacell.classifiers.methods import METHODS
    from hemacell.data.sources.base import SOURCES
    from hemacell.encoders.registry import ENCODERS

    registries: list = [ENCODERS, METHODS, SOURCES]
    before = [set(registry) for registry in registries]

    def run(name: str) -> Path:
        script = Path(shutil.copy(EXAMPLES / name, tmp_path))
        runpy.run_path(str(script))
        return script

    yield run
    for registry, names in zip(registries, before, strict=True):
        for name in set(registry) - names:
            registry.remove(name)


def test_an_encoder_and_its_control(example, store, sample, tmp_path):
    from safetensors.torch import save_file

    from hemacell.encoders.timm_backbone import create_backbone

    example("add_an_encoder.py")
    network = create_backbone("test_efficientnet", "none")
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, tmp_path / "tiny.safetensors"
    )
    pretrained = store.run("wbc", encoders="tiny", fraction=0.5)
    control = store.run("wbc", encoders="random-tiny", fraction=0.5)
    assert pretrained.info.status == control.info.status == "FINISHED"
    assert pretrained.data.tags["hemacell.key"] != control.data.tags["hemacell.key"]
    assert pretrained.data.metrics["train_images"] == control.data.metrics["train_images"]

    # what is registered holds the encoder, and needs neither the script nor the file with the weights
    import hemacell

    (tmp_path / "tiny.safetensors").unlink()
    with store.here():
        model = hemacell.load("models:/hemacell-wbc/1")
        assert len(model.predict([sample_image(sample)])) == 1


def test_a_method(example, store, sample):
    import hemacell

    example("add_a_method.py")
    run = store.run("wbc", method="nearest_mean", encoders="random-imagenet", fraction=0.5)
    assert run.info.status == "FINISHED" and run.data.params["method"] == "nearest_mean"
    with store.here():
        model = hemacell.load("models:/hemacell-wbc/1")
        assert model.predict([sample_image(sample)])["class"][0] in model.classes


def sample_image(sample: Path) -> Path:
    return next((sample / "WBC_100" / "test" / "data").rglob("*.png"))


def test_a_source_whose_rows_are_no_files(example, store, sample, tmp_path):
    import numpy as np

    from hemacell.data.images import read_rgb, to_square

    example("add_a_source.py")
    names = ("Eosinophil", "Monocyte", "Neutrophil")
    images, labels = [], []
    for number, name in enumerate(names):
        files = sorted((sample / "WBC_100" / "train" / "data" / name).iterdir())[:30]
        images += [to_square(read_rgb(file), 64) for file in files]
        labels += [number] * len(files)
    np.savez(tmp_path / "cells.npz", images=np.stack(images), labels=labels, names=names)
    run = store.run("wbc", encoders="none", data=tmp_path / "cells.npz", limit=0)
    assert run.info.status == "FINISHED" and 54 <= run.data.metrics["train_images"] <= 72  # about 70 % of 90
    assert {f"test/f1/{name}" for name in names} <= set(run.data.metrics) and "test/f1/Basophil" not in run.data.metrics
    predictions = store.files(run.info.run_id)["predictions.json"].read_text()
    assert "cells.npz#" in predictions
    (version,) = store.client.search_model_versions("name='hemacell-wbc'")
    assert "CC BY 4.0, A. Author" in version.description and "3 classes (Eosinophil" in version.description

    evaluated = store.run("evaluate", model="hemacell-wbc", data=tmp_path / "cells.npz")
    assert evaluated.data.metrics["test/accuracy"] == pytest.approx(run.data.metrics["test/accuracy"])
