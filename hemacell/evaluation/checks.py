"""Checks of labels and probabilities, the same for all functions of this package."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SUM_TOLERANCE = 1e-2  # bfloat16 softmax rows miss 1 by a few thousandths; logits given by mistake miss it by far more

MIN_PROBABILITY = 1e-7  # before its logarithm


def checked_labels(labels: ArrayLike, class_count: int) -> NDArray[np.int64]:
    """`labels` as int64 [N].

    Raises:
        ValueError: not one integer an image, no image at all, or an index outside 0..class_count - 1.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or len(array) == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"labels must be integers of shape [N] with N > 0, got {array.dtype} of shape {array.shape}")
    if array.min() < 0 or array.max() >= class_count:
        raise ValueError(f"labels must lie in 0..{class_count - 1}, got {array.min()}..{array.max()}")
    return array.astype(np.int64)


def checked_probabilities(
    labels: ArrayLike, probabilities: ArrayLike, class_count: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """`labels` as int64 [N] and `probabilities` as float64 [N, C], every row scaled to sum to exactly 1.

    Args:
        labels: N class indices.
        probabilities: [N, C] in 0..1, rows summing to 1 within 1 %.
        class_count: C where the caller knows it.

    Raises:
        ValueError: shapes that do not fit, values that are no probabilities (NaN, logits, percentages).
    """
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or (class_count is not None and table.shape[1] != class_count):
        expected = "C >= 2" if class_count is None else f"C = {class_count}"
        raise ValueError(f"probabilities must have shape [N, C] with {expected}, got {table.shape}")
    indices = checked_labels(labels, table.shape[1])
    if len(indices) != len(table):
        raise ValueError(f"one label a row of probabilities expected, got {len(indices)} and {len(table)}")
    sums = table.sum(1)
    if not np.isfinite(table).all() or table.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise ValueError("probabilities must lie in 0..1 and sum to 1 in each row (are these logits?)")
    return indices, table / sums[:, None]
