"""Expected calibration error, and the bins behind it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hemacell.evaluation.checks import checked_probabilities

ECE_BINS = 15


@dataclass(frozen=True)
class CalibrationBins:
    """Equal-width bins of the top label's probability; `accuracy` and `confidence` are NaN where `count` is 0."""

    edges: NDArray[np.float64]
    """[B + 1], 0 to 1"""
    count: NDArray[np.int64]
    """[B]"""
    accuracy: NDArray[np.float64]
    """[B], share of correct predictions"""
    confidence: NDArray[np.float64]
    """[B], mean probability of the predicted class"""

    @property
    def error(self) -> float:
        """Expected calibration error: the mean over images of |accuracy - confidence| of their bin."""
        used = self.count > 0
        gaps = np.abs(self.accuracy - self.confidence)[used]
        return float((gaps * self.count[used]).sum() / self.count.sum())


def calibration_bins(labels: ArrayLike, probabilities: ArrayLike, bins: int = ECE_BINS) -> CalibrationBins:
    """Sort predictions into bins of equal width over 0..1 by their probability; 1 itself belongs to the last bin.

    Args:
        labels: int [N].
        probabilities: float [N, C] in 0..1, rows summing to 1.
        bins: number of bins, B.
    """
    y, p = checked_probabilities(labels, probabilities)
    confidence, correct = p.max(1), p.argmax(1) == y
    edges = np.linspace(0, 1, bins + 1)
    index = np.digitize(confidence, edges[1:-1])
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        accuracy = np.bincount(index, weights=correct, minlength=bins) / count
        mean_confidence = np.bincount(index, weights=confidence, minlength=bins) / count
    return CalibrationBins(edges, count, accuracy, mean_confidence)


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = ECE_BINS) -> float:
    """Expected calibration error of the top label (Naeini et al. 2015; Guo et al. 2017), 0 to 1.

    It depends on the number of images: compare only values from equally many. Arguments as for `calibration_bins`.
    """
    return calibration_bins(labels, probabilities, bins).error
