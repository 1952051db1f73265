"""Distances against numpy and scikit-learn, one image and one pixel at a time."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from hemacell.classifiers.ood import MahalanobisDetector, low_level_features
from hemacell.data.augmentation import apply_augmentation, identity_augmentation

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(1, 256, (5, 24, 24, 3), dtype=np.uint8)


def test_features_are_those_of_the_image_and_of_the_maps():
    images, maps = torch.rand(5, 3, 16, 16), torch.randn(5, 8, 4, 4)
    found = low_level_features(images, [maps]).numpy()
    parts = [part for each in (images, maps) for part in (each.mean((2, 3)), each.std((2, 3), correction=0))]
    expected = torch.cat(parts, 1).numpy()
    width = expected.shape[1]
    assert width == 2 * (3 + 8) and found.shape == (5, width + 3 * 4 * 3)
    assert found.dtype == np.float32
    assert found[:, :width] == pytest.approx(expected, abs=1e-5)


def test_sharpness_is_that_of_differences_and_laplacians_pixel_by_pixel():
    picture = apply_augmentation(torch.from_numpy(PIXELS[:1]), identity_augmentation(1), 16, 1.0)
    found = low_level_features(picture, []).numpy()[0, -36:].reshape(3, 4, 3)
    picture = picture[0].double().numpy()
    for scale in range(3):
        for channel in range(3):
            plane = picture[channel]
            side = len(plane)
            down = np.mean([abs(plane[y + 1, x] - plane[y, x]) for y in range(side - 1) for x in range(side)])
            right = np.mean([abs(plane[y, x + 1] - plane[y, x]) for y in range(side) for x in range(side - 1)])
            inner = [(y, x) for y in range(1, side - 1) for x in range(1, side - 1)]
            curved = [
                4 * plane[y, x] - plane[y - 1, x] - plane[y + 1, x] - plane[y, x - 1] - plane[y, x + 1]
                for y, x in inner
            ]
            expected = np.log([down, right, np.mean(np.abs(curved)), np.sqrt(np.mean(np.square(curved)))])
            assert found[scale, :, channel] == pytest.approx(expected, abs=1e-4)
        picture = picture.reshape(3, len(picture[0]) // 2, 2, -1, 2).mean((2, 4))


def cells(n=200, width=6, seed=1):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    mixing = rng.normal(0, 1, (width, width))
    return (rng.normal(0, 1, (n, width)) @ mixing + 10 * labels[:, None]).astype(np.float32), labels


def test_distances_are_mahalanobis_to_the_nearest_class():
    known, labels = cells()
    detector = MahalanobisDetector.fit(known, labels)
    centre, scale = known.mean(0), known.std(0)
    standard = (known - centre) / scale
    means = np.stack([standard[labels == c].mean(0) for c in range(3)])
    covariance = LedoitWolf(assume_centered=True).fit(standard - means[labels]).covariance_
    inverse = np.linalg.inv(covariance + 1e-3 * np.eye(6))
    new = np.random.default_rng(2).normal(5, 9, (7, 6)).astype(np.float32)
    expected = [min(mahalanobis((row - centre) / scale, mean, inverse) for mean in means) for row in new]
    assert detector.distance(new) == pytest.approx(expected, rel=1e-3)
    assert detector.distance(new).dtype == np.float32


@pytest.mark.parametrize(("rate", "above"), [(0.0, 0), (0.01, 1), (0.1, 10), (0.015, 1)])
def test_the_limit_lets_through_so_many_false_alarms(rate, above):
    known, labels = cells()
    detector = MahalanobisDetector.fit(known[:100], labels[:100]).with_false_positive_rate(known[100:], rate)
    assert (detector.distance(known[100:]) > 1).sum() == above
    again = detector.with_false_positive_rate(known[100:], rate)  # of a limit already set nothing remains
    assert float(again.threshold) == pytest.approx(float(detector.threshold), rel=1e-6)


def test_a_class_without_cells_and_a_number_that_never_changes_do_no_harm():
    known, labels = cells()
    known[:, 2] = 7.0
    detector = MahalanobisDetector.fit(known, np.where(labels == 1, 2, labels)).with_false_positive_rate(known, 0.01)
    assert np.isfinite(detector.distance(known)).all()
    other = known.copy()
    other[:, 2] = 8.0
    assert (detector.distance(other) > 1).all()


def test_a_single_cell_can_be_known():
    detector = MahalanobisDetector.fit(np.ones((1, 4), np.float32), np.array([0])).with_false_positive_rate(
        np.ones((1, 4), np.float32), 0.01
    )
    assert detector.distance(np.ones((1, 4), np.float32)) == pytest.approx([0])
    assert detector.distance(np.full((1, 4), 2.0, np.float32)) > 1


def test_a_detector_comes_back_from_its_state():
    known, labels = cells()
    detector = MahalanobisDetector.fit(known, labels).with_false_positive_rate(known, 0.05)
    back = MahalanobisDetector(**detector.state_dict())
    assert np.array_equal(back.distance(known), detector.distance(known))
    with pytest.raises(TypeError, match="threshold"):
        MahalanobisDetector(**{name: each for name, each in detector.state_dict().items() if name != "threshold"})
