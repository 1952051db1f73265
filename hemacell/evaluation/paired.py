"""Is one model better than another on the same images, beyond chance? Exact tests on scores per image or group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
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
        groups: of how many groups these images are; 0 where groups are not known, and the test is over images.
    """

    images: int
    higher: int
    lower: int
    p_value: float
    groups: int = 0

    @property
    def is_better(self) -> bool:
        """Whether the new model is better beyond chance."""
        return self.p_value < SIGNIFICANCE

    def in_words(self) -> str:
        """Counts, test and p-value, without the names of the models."""
        of_groups, test = f" of {self.groups} groups" if self.groups else "", "sign-flip" if self.groups else "sign"
        return (
            f"higher on {self.higher} and lower on {self.lower} of {self.images} shared validation images{of_groups} "
            f"(one-sided exact {test} test, p = {self.p_value:.2g}; better where p < {SIGNIFICANCE:g})"
        )


def sign_test(
    new: Mapping[str, float], old: Mapping[str, float], groups: Mapping[str, str] | None = None
) -> PairedTest:
    """Compare two models by their scores on the images that both have (Dixon and Mood 1946).

    For scores of 0 (wrong) and 1 (right) this is McNemar's exact test, one-sided. Where groups are known, whole groups
    are compared: `sign_flip_p` of the number of images on which the new model is higher, minus that of the lower ones.

    Args:
        new, old: identity of an image -> score of the model on it, where greater is better.
        groups: identity of an image -> its patient or slide; None or empty where they are not known.

        >>> sign_test({"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 1, "d": 1})
        PairedTest(images=2, higher=1, lower=0, p_value=0.5, groups=0)
    """
    from scipy.stats import binomtest

    shared = new.keys() & old.keys()
    higher = sum(new[image] > old[image] for image in shared)
    lower = sum(new[image] < old[image] for image in shared)
    if groups:
        gains: Counter[str] = Counter()
        for image in shared:
            gains[groups[image]] += (new[image] > old[image]) - (new[image] < old[image])
        return PairedTest(len(shared), higher, lower, sign_flip_p(list(gains.values()), one_sided=True), len(gains))
    p_value = float(binomtest(higher, higher + lower, alternative="greater").pvalue) if higher + lower else 1.0
    return PairedTest(len(shared), higher, lower, p_value)


def sign_flip_p(differences: Sequence[int], one_sided: bool = False) -> float:
    """p-value of a sum of differences, one for each group, whose signs are as likely + as - under the null hypothesis.

    Exact: over all 2^G choices of signs, by the distribution of their sum. With differences of 1 and -1 it is the
    binomial test of the signs, so McNemar's exact test; with groups it is that test for clustered pairs, by permutation
    of whole clusters (Winkler et al. 2014, NeuroImage 92).

    Args:
        differences: whole numbers, of G groups.
        one_sided: against a sum above zero; else two-sided.

    Returns:
        In (0, 1]; 1 where all differences are 0.

    Examples:
        >>> sign_flip_p([1, 1, 1, 1, 1]), sign_flip_p([5], one_sided=True)
        (0.0625, 0.5)
    """
    sizes = [abs(difference) for difference in differences if difference]
    reach, observed = sum(sizes), sum(differences)
    chances = np.ones(1)  # of the sums -reach, -reach + 2, ..., reach: a flip changes a sum by an even number
    for size in sizes:
        chances = np.convolve(chances, np.bincount([0, size], minlength=size + 1) / 2)
    sums = 2 * np.arange(len(chances)) - reach
    extreme = sums >= observed if one_sided else np.abs(sums) >= abs(observed)
    return float(min(1.0, chances[extreme].sum()))


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
