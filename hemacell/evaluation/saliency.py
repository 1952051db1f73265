"""How much of what a classifier looks at is the cell."""

import numpy as np
from numpy.typing import NDArray


def saliency_inside(
    heat: NDArray[np.float32], masks: NDArray[np.float32], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of each map of heat that lies inside the cell's mask, and the share to expect by chance.

    Args:
        heat: float [N, S, S], 0 or more, 0 outside of what is seen.
        masks: float [N, S, S], the share of each pixel that is inside, 0 to 1.
        seen: bool [S, S], what the classifier looks at.

    Returns:
        Two times float64 [N]: the share of the heat, NaN for a map of zeros; and the mask's share of what is seen,
        which is what even heat would have.
    """
    if heat.shape != masks.shape or heat.shape[1:] != seen.shape or not seen.any():
        raise ValueError(f"heat {heat.shape}, masks {masks.shape}, seen {seen.shape}: expected [N, S, S] twice, [S, S]")
    total = heat.sum((1, 2), dtype=np.float64)
    within = (heat * masks).sum((1, 2), dtype=np.float64)
    shares = np.divide(within, total, out=np.full(len(heat), np.nan), where=total > 0)
    return shares, masks[:, seen].mean(1, dtype=np.float64)
