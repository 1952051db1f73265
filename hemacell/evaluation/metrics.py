"""The numbers that are logged at the end of a job, from labels and probabilities or from pairs of images.

torch and torchmetrics are imported where they are used: reading what was logged needs neither.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import log_loss, precision_recall_fscore_support, roc_auc_score

from hemacell.evaluation.checks import checked_probabilities

if TYPE_CHECKING:
    from torch import Tensor

ECE_BINS = 15
_IMAGES_AT_ONCE = 64  # SSIM holds about thirty float copies of what it is given


def classification_metrics(labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str]) -> dict[str, float]:
    """Scores of a classifier, under the names that are logged behind `test/` or `external/`.

    A score that the labels leave undefined is left out; nothing is ever NaN. In particular, where a class has no
    image among the labels (another laboratory's folder may lack one):

    * `recall/<Class>` is left out, and so are the other two where the class was never predicted either;
    * `macro_f1` is the mean over the classes that occur among the labels *or* the predictions (scikit-learn's own
      rule): a class that does not exist in a folder costs nothing unless it is predicted, which counts as 0;
    * `balanced_accuracy` and `auroc` are means over the classes among the labels.

    Args:
        labels: int [N], indices into `classes`.
        probabilities: float [N, C] in 0..1, rows summing to 1.
        classes: C names, C >= 2.

    Returns:
        `accuracy`, `balanced_accuracy` (mean recall), `macro_f1`, `f1/<Class>`, `precision/<Class>` (0 for a class
        that was never predicted), `recall/<Class>`, `auroc` (mean of one class against the rest; left out where there
        is only one class), `ece` (see `expected_calibration_error`) and `nll` (mean negative log-likelihood in nats).

    Raises:
        ValueError: labels or probabilities that are none (see `checks`).

    Examples:
        >>> scores = classification_metrics([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], ["Basophil", "Monocyte"])
        >>> round(scores["accuracy"], 3), round(scores["f1/Monocyte"], 3)
        (0.667, 0.667)
    """
    y, p = checked_probabilities(labels, probabilities, len(classes))
    predicted = p.argmax(1)
    indices = np.arange(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(y, predicted, labels=indices, zero_division=0)
    occurs = support > 0
    counted = occurs | np.isin(indices, predicted)

    metrics = {
        "accuracy": float((predicted == y).mean()),
        "balanced_accuracy": float(recall[occurs].mean()),
        "macro_f1": float(f1[counted].mean()),
        "ece": expected_calibration_error(y, p),
        "nll": float(log_loss(y, p, labels=indices)),
    }
    areas = one_vs_rest_auroc(y, p)
    if areas:
        metrics["auroc"] = float(np.mean(list(areas.values())))
    for index, name in enumerate(classes):
        if counted[index]:
            metrics[f"f1/{name}"] = float(f1[index])
            metrics[f"precision/{name}"] = float(precision[index])
        if occurs[index]:
            metrics[f"recall/{name}"] = float(recall[index])
    return metrics


def one_vs_rest_auroc(labels: ArrayLike, probabilities: ArrayLike) -> dict[int, float]:
    """Area under the ROC curve of each class against the rest, by class index.

    Classes without an image among the labels, or with all of them, have no such curve and are left out.
    """
    y, p = checked_probabilities(labels, probabilities)
    present = np.unique(y)
    if len(present) < 2:
        return {}
    return {int(index): float(roc_auc_score(y == index, p[:, index])) for index in present}


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = ECE_BINS) -> float:
    """Expected calibration error of the top label (Naeini et al. 2015; Guo et al. 2017), by torchmetrics.

    The mean over images of |accuracy - mean confidence| of their bin, in `bins` bins of equal width over 0..1.
    Not scale-free: compare only values of equally many images.
    """
    # before torchmetrics, which imports torchvision
    from hemacell.core import torchvision_compat  # noqa: F401  isort: skip
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    y, p = checked_probabilities(labels, probabilities)
    # torchmetrics would give a confidence of exactly 1 a sixteenth bin of its own
    confidence = p.max(1).clip(max=np.nextafter(1.0, 0.0))
    correct = (p.argmax(1) == y).astype(np.int64)
    return float(binary_calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct), n_bins=bins))


@dataclass(frozen=True)
class CalibrationBins:
    """Equal-width bins of the top label's probability; `accuracy` and `confidence` are NaN where `count` is 0."""

    edges: NDArray[np.float64]  # [B + 1], 0 to 1
    count: NDArray[np.int64]  # [B]
    accuracy: NDArray[np.float64]  # [B], share of right answers
    confidence: NDArray[np.float64]  # [B], mean probability of the answer


def calibration_bins(labels: ArrayLike, probabilities: ArrayLike, bins: int = ECE_BINS) -> CalibrationBins:
    """The bins behind `expected_calibration_error`, for a reliability diagram. Same arguments."""
    y, p = checked_probabilities(labels, probabilities)
    confidence, correct = p.max(1), p.argmax(1) == y
    edges = np.linspace(0, 1, bins + 1)
    index = np.digitize(confidence, edges[1:-1])
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        accuracy = np.bincount(index, weights=correct, minlength=bins) / count
        mean_confidence = np.bincount(index, weights=confidence, minlength=bins) / count
    return CalibrationBins(edges, count, accuracy, mean_confidence)


def image_metrics(original: "Tensor", reconstruction: "Tensor") -> dict[str, float]:
    """How near reconstructions are to their originals.

    Args:
        original, reconstruction: float [N, 3, H, W] in 0..1 with H, W >= 11 (the window of SSIM).

    Returns:
        `ssim`: mean over images of the structural similarity (Wang et al. 2004, Gaussian window of 11 pixels,
        sigma 1.5, data range 1, images mirrored at their edges). `psnr`: peak signal-to-noise ratio in decibels of
        the squared error over all pixels of all images; left out where all are equal (it would be infinite). Both by
        torchmetrics.

    Raises:
        ValueError: shapes or ranges other than these. With pixels in 0..255 or a wrong range SSIM would be wrong
            without a sign of it.
    """
    # before torchmetrics, which imports torchvision
    from hemacell.core import torchvision_compat  # noqa: F401  isort: skip
    from torchmetrics.image import PeakSignalNoiseRatio

    metrics = {"ssim": float(ssim_per_image(original, reconstruction).mean())}
    ratio = PeakSignalNoiseRatio(data_range=1.0).to(original.device)
    for a, b in _pairs(original, reconstruction):
        ratio.update(b, a)
    psnr = float(ratio.compute())
    if np.isfinite(psnr):
        metrics["psnr"] = psnr
    return metrics


def ssim_per_image(original: "Tensor", reconstruction: "Tensor") -> NDArray[np.float64]:
    """Structural similarity of each pair, float64 [N]. Arguments and errors as for `image_metrics`."""
    # before torchmetrics, which imports torchvision
    from hemacell.core import torchvision_compat  # noqa: F401  isort: skip
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    parts = []
    with torch.no_grad():
        for a, b in _pairs(original, reconstruction):
            scores = structural_similarity_index_measure(b, a, data_range=1.0, reduction="none")
            assert isinstance(scores, torch.Tensor)  # a tuple only where the whole map is asked for
            parts.append(scores.reshape(-1))
    return torch.cat(parts).double().cpu().numpy()


def _pairs(original: "Tensor", reconstruction: "Tensor") -> Iterator[tuple["Tensor", "Tensor"]]:
    """Checked pairs of float32 batches, a few images at a time."""
    if (
        original.shape != reconstruction.shape
        or original.ndim != 4
        or min(original.shape[2:]) < 11
        or not len(original)
    ):
        raise ValueError(
            "two batches of one shape [N, 3, H, W] with N > 0 and H, W >= 11 expected, "
            f"got {tuple(original.shape)} and {tuple(reconstruction.shape)}"
        )
    for start in range(0, len(original), _IMAGES_AT_ONCE):
        pair = []
        for name, batch in (("original", original), ("reconstruction", reconstruction)):
            images = batch[start : start + _IMAGES_AT_ONCE].detach().float()
            low, high = images.min().item(), images.max().item()
            if not (low >= 0 and high <= 1):  # also false for NaN
                raise ValueError(f"{name} must be float in 0..1, found {low:.3g}..{high:.3g}")
            pair.append(images)
        yield pair[0], pair[1]
