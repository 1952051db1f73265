"""From pixels and embeddings to probabilities: averaged over flips and turns, the same in training and in use."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from hemacell.classifiers.fusion import answer
from hemacell.data.augmentation import apply_augmentation, identity_augmentation, tta_views_of

MIN_PROBABILITY = 1e-7  # before its logarithm


@torch.no_grad()
def tta_probabilities(
    network: nn.Module,
    pixels: np.ndarray,
    rows: np.ndarray,
    embeddings: Sequence[np.ndarray],
    *,
    size: int,
    crop: float,
    views: int,
    precision: str,
    batch: int = 256,
) -> np.ndarray:
    """Probabilities, the mean over the first `views` flips and quarter turns of each image.

    Args:
        network: a `FusedClassifier` in eval mode, on its device.
        pixels: uint8 [M, H, W, 3].
        rows: int64 [N], which of them, N > 0.
        embeddings: for each encoder float32 [N, at least `views`, width], of the same turns.
        size, crop: what the cell network sees: pixels a side, and sides of the image.
        views: 1 to 8.
        precision: `bf16` (autocast) or `float32`.
        batch: views at once.

    Returns:
        float32 [N, classes], rows sum to 1.
    """
    device = next(network.parameters()).device
    answers = []
    at_once = max(1, batch // views)
    for start in range(0, len(rows), at_once):
        part = slice(start, start + at_once)
        images = torch.from_numpy(pixels[rows[part]]).to(device)
        seen = tta_views_of(apply_augmentation(images, identity_augmentation(len(images)), size, crop), views)
        given = [
            torch.from_numpy(embedding[part, :views]).transpose(0, 1).flatten(0, 1).to(device)
            for embedding in embeddings
        ]
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = network(seen, given)
        answers.append(answer(logits).softmax(1).unflatten(0, (views, -1)).mean(0).cpu().numpy())
    return np.concatenate(answers)


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """What a temperature is fitted on and applied to: float64 [N, classes], finite."""
    return np.log(np.clip(probabilities.astype(np.float64), MIN_PROBABILITY, None))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities p^(1/T), normalised (Guo et al. 2017): float32 [N, classes]."""
    scaled = log_probabilities(probabilities) / temperature
    scaled = np.exp(scaled - scaled.max(1, keepdims=True))
    return (scaled / scaled.sum(1, keepdims=True)).astype(np.float32)
