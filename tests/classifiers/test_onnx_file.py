"""A classifier as an ONNX file: the same predictions as the classifier itself, for any batch."""

import numpy as np
import pytest
import torch

from hemacell.classifiers import onnx_file
from hemacell.classifiers.central_crop import CentralCrop
from hemacell.classifiers.description import ClassifierConfig, Predictions
from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.onnx_file import (
    Difference,
    OnnxClassifier,
    difference,
    export_onnx,
    images_per_second,
    require_onnx,
)
from hemacell.classifiers.open_set import OpenSetDetector
from hemacell.core.errors import UserError
from hemacell.data.augmentation import apply_augmentation, identity_augmentation
from hemacell.encoders.frozen import create_encoder
from tests.small_classifiers import small_autoencoder, small_backbone, small_config, small_network

SIDE = 40
CONFIG = small_config(
    classes=("Basophil", "Eosinophil", "Lymphocyte"),
    decoded_size=SIDE,
    size=32,
    crop=0.7,
    views=8,
    temperature=0.6,
    confidence_threshold=0.625,
    encoders=("prcc", "camelyon"),
)
BODIES = [small_autoencoder(crop=0.7), small_backbone(48, 0.9)]


def pictures(count: int, seed: int) -> np.ndarray:
    """Blobs, uint8 [count, SIDE, SIDE, 3]."""
    small = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    large = torch.nn.functional.interpolate(small, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return (255 * large).byte().permute(0, 2, 3, 1).contiguous().numpy()


PIXELS = pictures(7, 0)


def make(config: ClassifierConfig, bodies, with_detector) -> ClassifierModel:
    encoders = [create_encoder(body, seed=seed) for seed, body in enumerate(bodies)]
    images = torch.from_numpy(pictures(16, 1)).permute(0, 3, 1, 2) / 255
    network = small_network(config, encoders, images)
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, torch.nn.GroupNorm):
                layer.weight.uniform_(0.5, 1.5)
    return with_open_set(with_detector(ClassifierModel(config, network, encoders)), pictures(40, 2))


def with_open_set(model: ClassifierModel, pixels: np.ndarray) -> ClassifierModel:
    """The classifier with a limit for cells of no class that one in ten of some pictures lies beyond."""
    rows = np.arange(len(pixels))
    _, top, kind = model.evidence(pixels, rows, model.embed_pixels(pixels))
    given = top, model.distances(pixels), kind
    found = OpenSetDetector.fit(kind, rows % 3).with_false_positive_rate(*given, 0.1)
    return model.calibrated(model.detector, found)


@pytest.fixture(scope="module")
def model(with_detector):
    return make(CONFIG, BODIES, with_detector)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    try:
        require_onnx()
    except UserError as missing:
        pytest.skip(str(missing))
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(model, file, {"model": "models:/hemacell-wbc/7"})
    return file


@pytest.mark.parametrize(
    ("decoded_size", "size", "crop"), [(40, 32, 0.7), (40, 24, 1.0), (40, 96, 1.0), (41, 32, 0.55), (8, 33, 0.3)]
)
def test_the_central_part_is_what_render_shows(decoded_size, size, crop):
    pixels = torch.randint(0, 256, (3, decoded_size, decoded_size, 3), dtype=torch.uint8)
    expected = apply_augmentation(pixels, identity_augmentation(3), size, crop)
    found = CentralCrop(decoded_size, size, crop)(pixels.permute(0, 3, 1, 2) / 255)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 2e-5


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_file_answers_as_the_model(model, exported, count):
    """In onnxruntime: however many at a time."""
    found, expected = (
        OnnxClassifier(exported, 1).predict_pixels(PIXELS[:count]),
        model.predict_pixels(PIXELS[:count]),
    )
    assert found.probabilities.shape == (count, 3) and found.distance.shape == (count,)
    assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert found.distance == pytest.approx(expected.distance, rel=1e-4)
    assert difference(expected, found).is_small


def test_parts_of_other_sizes_give_the_same(exported):
    classifier = OnnxClassifier(exported, 1)
    whole, parts = classifier.predict_pixels(PIXELS), classifier.predict_pixels(PIXELS, batch=3)
    assert parts.probabilities == pytest.approx(whole.probabilities, abs=1e-6)
    assert parts.distance == pytest.approx(whole.distance, rel=1e-5)


def test_the_file_says_what_it_needs_and_gives(exported):
    session = OnnxClassifier(exported, 1).session
    (images,) = session.get_inputs()
    assert images.name == "images" and images.type == "tensor(uint8)" and images.shape[1:] == [SIDE, SIDE, 3]
    assert isinstance(images.shape[0], str)
    assert [(each.name, each.type) for each in session.get_outputs()] == [
        ("probabilities", "tensor(float)"),
        ("distance", "tensor(float)"),
        ("none_of_these", "tensor(float)"),
    ]
    assert session.get_modelmeta().custom_metadata_map == {
        "classes": "Basophil,Eosinophil,Lymphocyte",
        "decoded_size": "40",
        "confidence_threshold": "0.625",
        "model": "models:/hemacell-wbc/7",
    }
    assert [path.name for path in exported.parent.iterdir()] == ["model.onnx"]  # one file


def test_exporting_leaves_the_classifier_as_it_is(model, exported):
    assert all(each.requires_grad for each in model.network.parameters()) and not model.network.training


def test_only_float32_is_exported(model, tmp_path):
    quick = ClassifierModel(model.config, model.network, model.frozen_encoders, model.detector, "bf16")
    with pytest.raises(ValueError, match="float32"):
        export_onnx(quick, tmp_path / "model.onnx", {})


def test_how_far_answers_lie_apart():
    probabilities = np.array([[0.7, 0.3], [0.5001, 0.4999]], np.float32)
    scores = np.array([0.1, 4.0], np.float32)
    expected = Predictions(probabilities, np.array([0.5, 2.0], np.float32), scores)
    assert difference(expected, expected) == Difference(2, 0, 0, 0) and difference(expected, expected).is_small
    other = difference(expected, Predictions(probabilities[:, ::-1], np.array([0.5, 2.2], np.float32), scores))
    assert other.probability == pytest.approx(0.4) and other.distance == pytest.approx(0.1) and other.other_class == 2
    assert "differ by 4.0e-01 at most" in other.in_words()
    assert difference(expected, expected._replace(none_of_these=2 * scores)).distance == pytest.approx(1)
    for apart in (
        Difference(2, 2e-4, 0, 0),
        Difference(2, 0, 2e-3, 0),
        Difference(2, 0, 0, 1),
        Difference(2, float("nan"), 0, 0),
        Difference(2, 0, float("nan"), 0),
    ):
        assert not apart.is_small


def test_speed_is_the_median_over_rounds(monkeypatch):
    clock = iter([0, 1, 1, 11, 20, 22, 30, 40, 50, 54, 60, 70])
    monkeypatch.setattr(onnx_file.time, "perf_counter", lambda: next(clock))
    asked = []
    predictors = {name: lambda pixels, name=name: asked.append((name, len(pixels))) for name in ("a", "b")}
    assert images_per_second(predictors, np.zeros((8, 2, 2, 3), np.uint8), 3) == {"a": 4.0, "b": 0.8}
    assert asked == [("a", 2), ("b", 2), *[("a", 8), ("b", 8)] * 3]


def test_a_missing_package_is_said_in_one_line(monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UserError) as caught:
        require_onnx()
    words = 'ONNX needs packages that are not installed (onnxscript): type pip install -e ".[onnx]"'
    assert str(caught.value) == words
