"""Is one model better than another on the same images, beyond chance? The exact sign test on scores per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from hemacell.data.manifest import Manifest

#: A new model replaces an old one where the one-sided p-value is below this.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class PairedTest:
    """A new model against an old one.

    Attributes:
        images: number of images that both were scored on.
        higher, lower: on how many of them the new model scores higher, and lower.
        p_value: one-sided, in (0, 1]; of the hypothesis that the new model is not better.
    """

    images: int
    higher: int
    lower: int
    p_value: float

    @property
    def is_better(self) -> bool:
        """Whether the new model is better beyond chance."""
        return self.p_value < SIGNIFICANCE

    def in_words(self) -> str:
        """Counts, test and p-value, without the names of the models."""
        return (
            f"higher on {self.higher} and lower on {self.lower} of {self.images} shared validation images "
            f"(one-sided exact sign test, p = {self.p_value:.2g}; better where p < {SIGNIFICANCE:g})"
        )


def sign_test(new: Mapping[str, float], old: Mapping[str, float]) -> PairedTest:
    """Compare two models by their scores on the images that both have (Dixon and Mood 1946).

    For scores of 0 (wrong) and 1 (right) this is McNemar's exact test, one-sided.

    Args:
        new, old: identity of an image -> score of the model on it, where greater is better.

        >>> sign_test({"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 1, "d": 1})
        PairedTest(images=2, higher=1, lower=0, p_value=0.5)
    """
    from scipy.stats import binomtest

    shared = new.keys() & old.keys()
    higher = sum(new[image] > old[image] for image in shared)
    lower = sum(new[image] < old[image] for image in shared)
    p_value = float(binomtest(higher, higher + lower, alternative="greater").pvalue) if higher + lower else 1.0
    return PairedTest(len(shared), higher, lower, p_value)


def right_by_image(images: Manifest, probabilities: np.ndarray) -> dict[str, float]:
    """sha256 of each image -> 1 where its most probable class is its label, else 0.

    Args:
        images: N labelled images.
        probabilities: [N, C].
    """
    return mean_by_image(images, probabilities.argmax(1) == images.labels)


def mean_by_image(images: Manifest, scores: np.ndarray) -> dict[str, float]:
    """sha256 of each image -> mean of its scores [N]: an image with several rows, such as its pieces, counts once."""
    found: dict[str, list[float]] = {}
    for image, score in zip(images.table["sha256"], scores.tolist(), strict=True):
        found.setdefault(image, []).append(float(score))
    return {image: sum(each) / len(each) for image, each in found.items()}
