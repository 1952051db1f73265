"""Linear probe and kNN against scikit-learn and slow references; what every method has in common."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.neighbors import KNeighborsClassifier

from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.folder import load_folder, save_folder
from hemacell.classifiers.grad_cam import GradCAM
from hemacell.classifiers.methods import METHODS, FitContext, TrainingData, method_digest
from hemacell.classifiers.methods.knn import TEMPERATURE, left_out_losses, smoothed_votes
from hemacell.classifiers.methods.linear_probe import RidgePath
from hemacell.classifiers.model import ClassifierModel
from hemacell.config.jobs import WbcSettings
from hemacell.core.errors import UserError
from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.frozen import create_encoder
from tests.small_classifiers import small_config

ENCODER = create_encoder(
    EncoderConfig(kind="autoencoder", body={"widths": [8, 8], "latent_channels": 2}, input_size=16)
)
WIDTHS = [ENCODER.width, ENCODER.width]
CONFIG = small_config(encoders=("one", "two"))
RNG = np.random.default_rng(0)
COUNT, VIEWS = 40, 2
LABELS = RNG.permutation(np.repeat([0, 1, 2], [25, 10, 5]))


def embeddings(labels=LABELS, seed=1):
    """Of two encoders, float32 [N, views, width], in which the classes lie apart."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).normal(0, 1, (3, WIDTHS[0]))
    return [(3 + centers[labels][:, None] + rng.normal(0, 1.5, (len(labels), VIEWS, WIDTHS[0]))).astype(np.float32)] * 2


def fitted(name, labels=LABELS):
    images = CellImages(np.arange(len(labels)), labels, embeddings(labels))
    settings = WbcSettings(method=name, encoders=("prcc", "camelyon"))
    context = FitContext(settings, CONFIG.model_copy(update={"method": name}), WIDTHS, torch.device("cpu"), None)
    return METHODS[name].fit(TrainingData(np.zeros((0,)), images, images, []), context)


@pytest.fixture(scope="module")
def problem():
    features = RNG.normal(0, 1, (COUNT, VIEWS, 12))
    weights = RNG.uniform(0.5, 2, COUNT)
    return features, np.eye(3)[LABELS], weights * COUNT / weights.sum()


@pytest.mark.parametrize("width", [12, 90])  # fewer and more features than images
def test_ridge_is_that_of_scikit_learn(width):
    features, targets = RNG.normal(0, 1, (COUNT, 1, width)), np.eye(3)[LABELS]
    weights = np.where(LABELS == 0, 0.5, 2.0)
    weights *= COUNT / weights.sum()
    path = RidgePath(features, targets, weights)
    strengths = [0.01, 0.1, 1.0, 10.0]
    for strength in strengths:
        theirs = Ridge(alpha=strength * COUNT).fit(features[:, 0], targets, sample_weight=weights)
        coefficients, intercept = path.solution(strength)
        assert pytest.approx(theirs.coef_, abs=1e-8) == coefficients.T
        assert intercept == pytest.approx(theirs.intercept_, abs=1e-8)
    theirs = RidgeCV(alphas=[strength * COUNT for strength in strengths]).fit(features[:, 0], targets)
    errors = [RidgePath(features, targets, np.ones(COUNT)).left_out_error(strength) for strength in strengths]
    assert strengths[int(np.argmin(errors))] * COUNT == theirs.alpha_
    assert min(errors) == pytest.approx(-theirs.best_score_, rel=1e-6)


def test_an_image_is_left_out_with_all_its_views(problem):
    features, targets, weights = problem
    found = RidgePath(features, targets, weights).left_out(0.3)
    for image in (0, 7, 39):
        others = np.arange(COUNT) != image
        theirs = Ridge(alpha=0.3 * COUNT).fit(
            features[others].reshape(-1, 12),
            np.repeat(targets[others], VIEWS, 0),
            sample_weight=np.repeat(weights[others], VIEWS) / VIEWS,
        )
        assert found[image] == pytest.approx(theirs.predict(features[image]), abs=1e-8)


def test_the_probe_tells_classes_apart_and_is_no_surer_than_left_out_images_allow():
    found = fitted("linear_probe")
    fresh = np.random.default_rng(5).integers(0, 3, 300)
    given = [torch.from_numpy(each[:, 0]) for each in embeddings(fresh, seed=6)]
    with torch.no_grad():
        probabilities = found.network.logits(torch.zeros(300, 3, 16, 16), given).softmax(1).numpy()
    accuracy = (probabilities.argmax(1) == fresh).mean()
    assert accuracy > 0.8 and abs(probabilities.max(1).mean() - accuracy) < 0.15
    assert found.config.hyperparameters["strength"] == found.metrics["strength"] > 0


def test_neighbours_vote_as_in_scikit_learn():
    found = fitted("knn")
    network = found.network
    given = [torch.from_numpy(each[:, 0]) for each in embeddings(LABELS, seed=7)]
    with torch.no_grad():
        queries, probabilities = (
            network.features(given),
            network.logits(torch.zeros(COUNT, 3, 16, 16), given).softmax(1),
        )
    assert queries.norm(dim=1).numpy() == pytest.approx(np.ones(COUNT), abs=1e-5)
    theirs = KNeighborsClassifier(
        network.neighbours, metric="cosine", algorithm="brute", weights=lambda distance: np.exp(-distance / TEMPERATURE)
    ).fit(network.stored.numpy(), LABELS)
    votes = theirs.predict_proba(queries.numpy())
    expected = (network.neighbours * votes + 1 / 3) / (network.neighbours + 1)
    assert probabilities.numpy() == pytest.approx(expected, abs=1e-4)


def test_the_number_of_neighbours_is_that_of_the_slow_search():
    stored = torch.nn.functional.normalize(torch.from_numpy(embeddings()[0][:, 0] - 3))
    targets = torch.eye(3)[torch.from_numpy(LABELS)]
    found = left_out_losses(stored, targets)
    assert list(found) == [1, 3, 5, 10, 20]
    for count, loss in found.items():
        losses = []
        for image in range(COUNT):
            others = np.flatnonzero(np.arange(COUNT) != image)
            cosines = (stored[others] @ stored[image]).numpy()
            nearest = np.argsort(-cosines)[:count]
            votes = smoothed_votes(torch.from_numpy(cosines[nearest])[None], targets[others[nearest]][None])
            losses.append(-float(votes[0, LABELS[image]].log()))
        expected = np.mean([np.mean(np.array(losses)[label == LABELS]) for label in range(3)])
        assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["linear_probe", "knn"])
def test_a_probe_comes_back_from_its_folder_and_has_no_saliency(name, tmp_path, with_detector):
    found = fitted(name)
    model = with_detector(ClassifierModel(found.config, found.network, [ENCODER, ENCODER]))
    pixels = RNG.integers(0, 256, (5, 24, 24, 3), dtype=np.uint8)
    expected, back = model.predict_pixels(pixels), load_folder(save_folder(tmp_path, model, ["x"]))
    assert back.config == model.config
    assert back.predict_pixels(pixels).probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert back.predict_pixels(pixels).distance == pytest.approx(expected.distance, rel=1e-3)
    # without a network of its own, unfamiliar images are noticed by the pixels and the encoders' first stage
    assert model.features(pixels, np.arange(5)).shape == (5, 2 * (3 + 8 + 8) + 36)
    assert GradCAM.if_possible(model) is None
    with pytest.raises(UserError, match=f"method={name} has no network that sees the pixels"):
        GradCAM.of(model)


@pytest.mark.parametrize("name", ["linear_probe", "knn"])
def test_what_a_probe_cannot_do_is_refused_in_one_line(name):
    METHODS[name].check(WbcSettings(method=name))
    with pytest.raises(UserError, match=f"method={name} .* found encoders=none; type for example encoders=imagenet"):
        METHODS[name].check(WbcSettings(method=name, encoders=("none",)))
    with pytest.raises(UserError, match="leave init_from= out"):
        METHODS[name].check(WbcSettings(method=name, init_from="models:/hemacell-wbc/1"))
    METHODS["fusion"].check(WbcSettings(encoders=("none",), init_from="models:/hemacell-wbc/1"))


def test_the_registry_names_its_methods():
    assert {"fusion", "knn", "linear_probe"} <= set(METHODS)
    with pytest.raises(UserError, match="did you mean linear_probe"):
        METHODS["linear-probe"]
    assert len({method_digest(name) for name in ("fusion", "knn", "linear_probe")}) == 3
    assert Path(METHODS["knn"].fit.__code__.co_filename).stem == "knn"
