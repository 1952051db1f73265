"""Labels that a model of the other images would not give: confident learning (Northcutt, Jiang and Chuang 2021).

A linear probe on frozen features predicts each image from images of other folds. A label is doubtful where another
class is predicted with at least the probability that images of that class get on average: the off-diagonal of the
confident joint. All images are ranked by the normalised margin, the probability of the label less that of the best
other class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
_STRENGTH = 5.0  # C of the regression times the number of images; small, so that wrong labels are not learnt
_ITERATIONS = 100

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Doubts:
    """How far each of N images' labels is to be doubted."""

    probabilities: Floats
    """float64 [N, K], of each class, predicted from images of other folds; rows have the sum 1."""
    suggested: Ints
    """int64 [N], the class with the highest probability."""
    score: Floats
    """float64 [N], 0 (the label is sure) to 1 (another class is sure): half of 1 - normalised margin; 0 for images that
    could not be judged."""
    rank: Ints
    """int64 [N], 1 for the most doubtful label."""
    doubtful: NDArray[np.bool_]
    """bool [N], whether it lies off the diagonal of the confident joint."""
    notes: list[str]
    """Why some images were not judged; a clause each."""

    @property
    def order(self) -> Ints:
        """Positions, int64 [N], the most doubtful first."""
        return np.argsort(self.rank, kind="stable")


def doubtful_labels(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: tuple[str, ...], seed: int = 0
) -> Doubts:
    """Rank images by how doubtful their labels are.

    Args:
        features: float [N, D], finite, of a frozen encoder.
        labels: int [N], 0 to K - 1.
        groups: [N], images of one group (a patient, copies of one picture) are never used to judge each other.
        classes: K names, K >= 2.
        seed: of the folds.

    Raises:
        ValueError: lengths differ, or a label is outside of the classes.
    """
    labels = np.asarray(labels, np.int64)
    if not len(features) == len(labels) == len(groups):
        raise ValueError(f"{len(features)} features, {len(labels)} labels and {len(groups)} groups: expected as many")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels from {labels.min()} to {labels.max()}: expected 0 to {len(classes) - 1}")
    numbers = np.unique(np.asarray(groups), return_inverse=True)[1]
    groups_of = np.array([len(np.unique(numbers[labels == each])) for each in range(len(classes))])
    few = (groups_of > 0) & (groups_of < FOLDS)
    notes = [
        f"{classes[each]} has fewer than {FOLDS} images or groups ({groups_of[each]}): its labels are not judged"
        for each in np.flatnonzero(few)
    ]
    judged = ~few[labels]
    if len(np.unique(labels[judged])) < 2:
        judged[:] = False
        notes.append(f"fewer than two classes have {FOLDS} images or groups: no labels are judged")
    probabilities = np.eye(len(classes))[labels]
    if judged.any():
        probabilities[judged] = _out_of_fold(features[judged], labels[judged], numbers[judged], len(classes), seed)
    score = np.where(judged, (1 - normalised_margin(probabilities, labels)) / 2, 0.0)
    rank = np.empty(len(labels), np.int64)
    rank[np.lexsort((np.arange(len(labels)), -score))] = np.arange(1, len(labels) + 1)
    doubtful = judged & off_diagonal(probabilities, labels)
    return Doubts(probabilities, probabilities.argmax(1), score, rank, doubtful, notes)


def normalised_margin(probabilities: Floats, labels: Ints) -> Floats:
    """Probability of the label [N] less that of the best other class, -1 to 1, of probabilities [N, K]."""
    rows = np.arange(len(labels))
    others = probabilities.copy()
    others[rows, labels] = -np.inf
    return probabilities[rows, labels] - others.max(1)


def off_diagonal(probabilities: Floats, labels: Ints) -> NDArray[np.bool_]:
    """Whether an image is counted off the diagonal of the confident joint, bool [N].

    It is counted under the most probable of those classes whose probability reaches the class's threshold, the mean
    over the images with that label; under none where no class reaches its threshold.
    """
    present = np.bincount(labels, minlength=probabilities.shape[1]) > 0
    threshold = np.array(
        [probabilities[labels == each, each].mean() if there else np.inf for each, there in enumerate(present)]
    )
    confident = np.where(probabilities >= threshold, probabilities, -np.inf)
    return np.isfinite(confident).any(1) & (confident.argmax(1) != labels)


def _out_of_fold(features: np.ndarray, labels: Ints, groups: Ints, classes: int, seed: int) -> Floats:
    """Probabilities [N, classes] of each image by a probe that has not seen its group."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    alone = len(np.unique(groups)) == len(groups)  # then the simpler division is the same, and many times as fast
    folds = (StratifiedKFold if alone else StratifiedGroupKFold)(FOLDS, shuffle=True, random_state=seed)
    pairs = folds.split(features, labels, None if alone else groups)
    found = np.zeros((len(labels), classes))
    for train, held_out in pairs:
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH / len(train), max_iter=_ITERATIONS))
        probe.fit(features[train], labels[train])
        found[np.ix_(held_out, probe[-1].classes_)] = probe.predict_proba(features[held_out])
    return found
