"""How similar reconstructed images are to their originals.

torch and torchmetrics are imported where they are used: reading what was logged needs neither.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

_IMAGES_AT_ONCE = 64  # SSIM holds about thirty float copies of what it is given


def image_metrics(original: "Tensor", reconstruction: "Tensor") -> dict[str, float]:
    """How similar reconstructions are to their originals.

    Args:
        original, reconstruction: float [N, 3, H, W] in 0..1 with H, W >= 11 (the window of SSIM).

    Returns:
        `ssim`: mean over images of the structural similarity (Wang et al. 2004, Gaussian window of 11 pixels,
        sigma 1.5, data range 1, images mirrored at their edges). `psnr`: peak signal-to-noise ratio in decibels of
        the squared error over all pixels of all images; left out where all are equal (it would be infinite). Both by
        torchmetrics.

    Raises:
        ValueError: shapes or ranges other than these. With pixels in 0..255 or a wrong range SSIM would be wrong
            without any sign of it.
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
