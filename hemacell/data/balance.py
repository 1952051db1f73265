"""Two ways to make up for rare classes: draw them more often, or repeat them before augmentation."""

import numpy as np


def sampler_weights(labels: np.ndarray) -> np.ndarray:
    """Probability of each image to be drawn so that every class present is drawn equally often.

    Args:
        labels: class indices, int [N].

    Returns:
        float64 [N], proportional to 1 / (images of its class); sums to 1.

    Raises:
        ValueError: no labels, or a negative one (an image without a label).
    """
    counts = _counts(labels)
    weights = 1.0 / counts[labels]
    return weights / weights.sum()


def augment_plan(labels: np.ndarray) -> np.ndarray:
    """Positions, each image at least once, with every class present repeated to the size of the largest.

    The images of a class are repeated in turn, so their numbers differ by one at most. The repeats are meant to be
    augmented, each in its own way.

    Args:
        labels: class indices, int [N].

    Returns:
        int64 [classes present * largest class], class after class.

    Raises:
        ValueError: as for `sampler_weights`.
    """
    largest = _counts(labels).max()
    return np.concatenate([np.resize(np.flatnonzero(labels == label), largest) for label in np.unique(labels)])


def _counts(labels: np.ndarray) -> np.ndarray:
    if len(labels) == 0 or labels.min() < 0:
        raise ValueError("every image needs a label to be balanced by")
    return np.bincount(labels)


def balanced(labels: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Which images to train on, and how likely each is drawn, for a setting `balance`.

    Args:
        labels: class indices, int [N].
        how: `none`, `sampler` (each class drawn equally often) or `augment` (images of rare classes repeated).

    Returns:
        int64 [M] positions, and float64 [M] probabilities, or None where each comes once per epoch.
    """
    if how == "augment":
        return augment_plan(labels), None
    return np.arange(len(labels)), sampler_weights(labels) if how == "sampler" else None


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weight of each class in a loss: 1 / its share of the images present, 1 on average over images; 0 if absent."""
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    return np.divide(len(labels) / present.sum(), counts, out=np.zeros(classes), where=present)
