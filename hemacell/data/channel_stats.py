"""Channel means and deviations."""

import numpy as np

_CHUNK = 512  # images at a time: bounds the memory, the array itself may be a memory map


def channel_stats(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation of each channel.

    Counted exactly, from histograms of the 256 values, so that the result depends neither on chunks nor on order.

    Args:
        array: uint8 [N, H, W, 3].

    Returns:
        mean float64 [3], deviation float64 [3], both in 0..1.

    Raises:
        ValueError: no pixels, or another type or shape.
    """
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or array.size == 0:
        raise ValueError(f"expected uint8 [N, H, W, 3] with pixels, found {array.dtype} {array.shape}")
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(array), _CHUNK):
        chunk = array[start : start + _CHUNK]
        for channel in range(3):
            counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    pixels = counts.sum(axis=1)
    mean = counts @ values / pixels
    variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1) / pixels
    return mean, np.sqrt(variance)
