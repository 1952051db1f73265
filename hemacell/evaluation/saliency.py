"""How much of what supported the predictions lies inside the cell."""

import numpy as np
from numpy.typing import NDArray


def saliency_inside(
    maps: NDArray[np.float32], masks: NDArray[np.float32], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of each saliency map that lies inside the cell's mask, and the share to expect by chance.

    Args:
        maps: float [N, S, S], 0 or more, 0 outside of what is seen.
        masks: float [N, S, S], the share of each pixel that is inside, 0 to 1.
        seen: bool [S, S], the crop that the classifier sees.

    Returns:
        Two times float64 [N]: the share of the map, NaN for a map of zeros; and the mask's share of what is seen,
        which is what a uniform map would have.

    Raises:
        ValueError: shapes that do not fit.
    """
    if maps.shape != masks.shape or maps.shape[1:] != seen.shape or not seen.any():
        raise ValueError(f"maps {maps.shape}, masks {masks.shape}, seen {seen.shape}: expected [N, S, S] twice, [S, S]")
    total = maps.sum((1, 2), dtype=np.float64)
    within = (maps * masks).sum((1, 2), dtype=np.float64)
    shares = np.divide(within, total, out=np.full(len(maps), np.nan), where=total > 0)
    return shares, masks[:, seen].mean(1, dtype=np.float64)


def saliency_metrics(
    maps: NDArray[np.float32], masks: NDArray[np.float32], seen: NDArray[np.bool_]
) -> dict[str, float]:
    """Means of `saliency_inside` over the maps that are not empty; same arguments.

    Returns:
        `cam_inside`, `cam_inside_by_chance` and `cam_images`, the number of maps; empty where all maps are zeros.
    """
    shares, by_chance = saliency_inside(maps, masks, seen)
    used = ~np.isnan(shares)
    if not used.any():
        return {}
    means = {"cam_inside": float(shares[used].mean()), "cam_inside_by_chance": float(by_chance[used].mean())}
    return {**means, "cam_images": int(used.sum())}
