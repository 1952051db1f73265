"""Averaged and tempered probabilities, against one image and one view at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from hemacell.classifiers.fusion import FusedClassifier
from hemacell.classifiers.probabilities import apply_temperature, log_probabilities, tta_probabilities

WIDTHS = {"prcc": 7, "camelyon": 5}
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(1, 256, (9, 24, 24, 3), dtype=np.uint8)
ROWS = np.array([8, 2, 2, 5, 0, 7])
EMBEDDINGS = [RNG.normal(0, 1, (6, 8, width)).astype(np.float32) for width in WIDTHS.values()]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return FusedClassifier(4, WIDTHS, widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1), projection=12).eval()


def turned(image, view):
    """The same flips and turns with numpy: uint8 [H, W, 3]."""
    return np.rot90(image[:, ::-1] if view >= 4 else image, view % 4 if view < 4 else -(view % 4))


def slowly(network, views, middle=slice(None)):
    result = []
    for place, row in enumerate(ROWS):
        answers = []
        for view in range(views):
            image = turned(PIXELS[row], view)[middle, middle]
            seen = torch.tensor(image.copy()).permute(2, 0, 1)[None].float() / 255
            embeddings = [torch.tensor(each[place, view])[None] for each in EMBEDDINGS]
            with torch.no_grad():
                heads = network(seen, embeddings)
            answers.append(softmax(np.mean([head[0].double().numpy() for head in heads], 0)))
        result.append(np.mean(answers, 0))
    return np.array(result)


@pytest.mark.parametrize("views", [1, 3, 8])
@pytest.mark.parametrize("batch", [256, 4])
def test_probabilities_are_the_mean_over_views_of_each_image(network, views, batch):
    found = tta_probabilities(
        network, PIXELS, ROWS, EMBEDDINGS, size=24, crop=1.0, views=views, precision="float32", batch=batch
    )
    assert found.dtype == np.float32
    assert found == pytest.approx(slowly(network, views), abs=1e-5)
    assert found.sum(1) == pytest.approx(np.ones(6), abs=1e-5)


def test_the_field_is_the_middle_of_the_turned_image(network):
    found = tta_probabilities(network, PIXELS, ROWS, EMBEDDINGS, size=16, crop=2 / 3, views=8, precision="float32")
    assert found == pytest.approx(slowly(network, 8, slice(4, 20)), abs=1e-5)


def test_without_embeddings():
    torch.manual_seed(0)
    network = FusedClassifier(4, {}, widths=(8, 8, 16, 16), blocks=(1, 1, 1, 1)).eval()
    found = tta_probabilities(network, PIXELS, ROWS, [], size=24, crop=1.0, views=2, precision="float32")
    assert found.shape == (6, 4)
    assert found[1] == pytest.approx(found[2], abs=1e-6)  # the same image twice


def test_bfloat16_is_near(network):
    asked = {"size": 24, "crop": 1.0, "views": 8}
    exact = tta_probabilities(network, PIXELS, ROWS, EMBEDDINGS, **asked, precision="float32")
    quick = tta_probabilities(network, PIXELS, ROWS, EMBEDDINGS, **asked, precision="bf16")
    assert quick.dtype == np.float32 and not np.array_equal(exact, quick)
    assert quick == pytest.approx(exact, abs=0.02)


PROBABILITIES = st.lists(
    st.lists(st.floats(1e-5, 1), min_size=3, max_size=3).map(lambda row: np.array(row) / sum(row)),
    min_size=1,
    max_size=5,
).map(np.array)


@given(PROBABILITIES, st.floats(0.2, 8))
def test_tempered_is_the_softmax_of_divided_logits(probabilities, temperature):
    found = apply_temperature(probabilities, temperature)
    assert found.dtype == np.float32
    assert found == pytest.approx(softmax(np.log(np.clip(probabilities, 1e-7, None)) / temperature, axis=1), abs=1e-6)
    assert (found.argmax(1) == probabilities.argmax(1)).all() or np.isclose(*np.sort(probabilities, 1)[:, -2:].T).any()


@given(PROBABILITIES)
def test_a_temperature_of_one_changes_nothing(probabilities):
    assert apply_temperature(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-6)


def test_certainties_stay_finite():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert log_probabilities(certain).dtype == np.float64 and np.isfinite(log_probabilities(certain)).all()
    for temperature in (0.05, 1.0, 20.0):
        found = apply_temperature(certain, temperature)
        assert np.isfinite(found).all() and found.sum(1) == pytest.approx([1, 1], abs=1e-6)
