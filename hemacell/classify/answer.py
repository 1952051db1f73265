"""From pixels and embeddings to probabilities: averaged over flips and turns, the same in training and in use."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hemacell.classify.fusion import answer
from hemacell.encoders.views import dihedral_views, render


@torch.no_grad()
def view_probabilities(
    network: nn.Module,
    pixels: np.ndarray,
    rows: np.ndarray,
    embeddings: Sequence[np.ndarray],
    *,
    size: int,
    field: float,
    views: int,
    precision: str,
    batch: int = 256,
) -> np.ndarray:
    """Probabilities, the mean over the first `views` flips and quarter turns of each image.

    Args:
        network: a `FusedClassifier` in eval mode, on its device.
        pixels: uint8 [M, H, W, 3].
        rows: int64 [N], which of them.
        embeddings: for each encoder float32 [N, at least `views`, width], of the same turns.
        size, field: what the cell network sees: pixels a side, and sides of the image.
        views: 1 to 8.
        precision: `bf16` (autocast) or `float32`.
        batch: images at once.

    Returns:
        float32 [N, classes], rows sum to 1.
    """
    device = next(network.parameters()).device
    answers = []
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        images = torch.from_numpy(pixels[rows[part]]).to(device)
        total: Tensor | None = None
        for view in range(views):
            seen = render(images, dihedral_views(len(images), view), size, field)
            given = [torch.from_numpy(embedding[part, view]).to(device) for embedding in embeddings]
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = network(seen, given)
            probabilities = answer(logits).softmax(1)
            total = probabilities if total is None else total + probabilities
        assert total is not None
        answers.append((total / views).cpu().numpy())
    return np.concatenate(answers)


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """What a temperature is fitted on and applied to: float64 [N, classes], finite."""
    return np.log(np.clip(probabilities.astype(np.float64), 1e-7, None))


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities p^(1/T), normalised (Guo et al. 2017): float32 [N, classes]."""
    scaled = log_probabilities(probabilities) / temperature
    scaled = np.exp(scaled - scaled.max(1, keepdims=True))
    return (scaled / scaled.sum(1, keepdims=True)).astype(np.float32)
