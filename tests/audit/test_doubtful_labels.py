"""Labels that a model of the other images would not give."""

import numpy as np
import pytest

from hemacell.audit.doubtful_labels import doubtful_labels, normalised_margin, off_diagonal

CLASSES = ("A", "B", "C")


def _blobs(per_class=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), per_class)
    return (rng.normal(size=(len(labels), 20)) + 3 * rng.normal(size=(3, 20))[labels]).astype(np.float32), labels


def test_exchanged_labels_are_the_most_doubtful_ones():
    features, labels = _blobs()
    noisy = labels.copy()
    exchanged = np.array([3, 50, 100])
    noisy[exchanged] = (labels[exchanged] + 1) % 3
    doubts = doubtful_labels(features, noisy, np.arange(120), CLASSES)
    assert set(doubts.order[:3]) == set(exchanged)
    assert (doubts.suggested[exchanged] == labels[exchanged]).all()
    # The flag is stricter than the ranking: it may miss one, and has none of the others.
    assert doubts.doubtful[exchanged].sum() >= 2 and doubts.doubtful.sum() == doubts.doubtful[exchanged].sum()
    assert doubts.probabilities.sum(1) == pytest.approx(1)
    assert sorted(doubts.rank) == list(range(1, 121))
    assert (np.diff(doubts.score[doubts.order]) <= 0).all() and 0 <= doubts.score.min() <= doubts.score.max() <= 1


def test_a_copy_in_the_same_group_does_not_vouch_for_a_label():
    features, labels = _blobs()
    # Forty copies of an image of A, all under the label B: folds by image would learn them.
    features = np.concatenate([features, np.repeat(features[:1], 40, axis=0)])
    labels = np.concatenate([labels, np.full(40, 1)])
    together = np.concatenate([np.arange(120), np.full(40, 0)])
    grouped = doubtful_labels(features, labels, together, CLASSES)
    apart = doubtful_labels(features, labels, np.arange(160), CLASSES)
    assert grouped.score[120:].min() > 0.5 > apart.score[120:].max()


def test_a_class_of_few_images_is_not_judged_and_said():
    features, labels = _blobs()
    labels[80:] = np.where(np.arange(40) < 3, 2, 0)
    doubts = doubtful_labels(features, labels, np.arange(120), CLASSES)
    assert doubts.notes == ["C has fewer than 5 images or groups (3): its labels are not judged"]
    assert not doubts.score[80:83].any() and not doubts.doubtful[80:83].any()


@pytest.mark.parametrize("images", [0, 1, 4])
def test_too_few_images_are_not_judged(images):
    labels = np.arange(images) % 3
    doubts = doubtful_labels(np.zeros((images, 5), np.float32), labels, np.arange(images), CLASSES)
    assert len(doubts.rank) == images and not doubts.doubtful.any() and doubts.notes


def test_the_same_seed_gives_the_same_ranking():
    features, labels = _blobs()
    one, two = (doubtful_labels(features, labels, np.arange(120), CLASSES, seed=3) for _ in range(2))
    assert np.array_equal(one.probabilities, two.probabilities)


def test_margin_and_confident_joint_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.45, 0.55], [0.4, 0.6]])
    labels = np.array([0, 0, 1, 1, 1])
    assert normalised_margin(probabilities, labels) == pytest.approx([0.8, -0.2, 0.6, 0.1, 0.2])
    # Thresholds: A 0.65, B 0.65. The second image reaches neither.
    assert off_diagonal(probabilities, labels).tolist() == [False] * 5
    probabilities[1] = 0.2, 0.8  # thresholds: A 0.55, B 0.65
    assert off_diagonal(probabilities, labels).tolist() == [False, True, False, False, False]


def test_labels_outside_of_the_classes_are_refused():
    with pytest.raises(ValueError, match="labels from -1 to 0"):
        doubtful_labels(np.zeros((2, 3)), np.array([-1, 0]), np.arange(2), CLASSES)
