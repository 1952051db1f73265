"""The task of the `camelyon` job: normal against tumor, the whole backbone fine-tuned."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn

from hemacell.core.random import generator_of
from hemacell.data.augmentation import (
    AugmentationConfig,
    apply_augmentation,
    dihedral_augmentation,
    random_augmentation,
)
from hemacell.training.batches import BatchOrder
from hemacell.training.loop import Row


class PatchTask:
    """Cross-entropy on augmented patches; validation on upright ones.

    Args:
        pixels: uint8 [M, H, W, 3].
        rows, labels: int64, the training patches.
        val_rows, val_labels: the validation patches.
        size: side at which the backbone sees a patch.
    """

    monitor = "val/macro_f1"

    def __init__(
        self,
        pixels: np.ndarray,
        rows: np.ndarray,
        labels: np.ndarray,
        val_rows: np.ndarray,
        val_labels: np.ndarray,
        *,
        size: int,
        batch_size: int,
        seed: int,
        views: AugmentationConfig,
        label_smoothing: float = 0.1,
        class_weights: np.ndarray | None = None,
        sampler_weights: np.ndarray | None = None,
        precision: str = "bf16",
        device: torch.device | str = "cpu",
    ) -> None:
        self.pixels, self.rows, self.labels = pixels, rows, torch.from_numpy(labels)
        self.val_rows, self.val_labels = val_rows, val_labels
        self.size, self.seed, self.view_settings = size, seed, views
        self.label_smoothing, self.precision, self.device = label_smoothing, precision, torch.device(device)
        self.class_weights = None if class_weights is None else torch.from_numpy(class_weights).float().to(self.device)
        self.images_per_step = batch_size
        self.order = BatchOrder(len(rows), batch_size, seed, sampler_weights)

    def loss(self, network: nn.Module, step: int) -> Tensor:
        chosen = self.order(step)
        views = random_augmentation(len(chosen), self.view_settings, generator_of(self.seed, "views", step))
        images = apply_augmentation(
            torch.from_numpy(self.pixels[self.rows[chosen.numpy()]]).to(self.device), views, self.size
        )
        return F.cross_entropy(
            network(images).float(),
            self.labels[chosen].to(self.device),
            weight=self.class_weights,
            label_smoothing=self.label_smoothing,
        )

    def validate(self, network: nn.Module) -> Row:
        probabilities = patch_probabilities(network, self.pixels, self.val_rows, self.size, 1, self.precision)
        predicted = probabilities.argmax(1)
        picked = probabilities[np.arange(len(predicted)), self.val_labels]
        return {
            "val/loss": float(-np.log(np.clip(picked, 1e-12, None)).mean()),
            "val/accuracy": float(accuracy_score(self.val_labels, predicted)),
            "val/macro_f1": float(f1_score(self.val_labels, predicted, average="macro", zero_division=0.0)),
        }


@torch.no_grad()
def patch_probabilities(
    network: nn.Module, pixels: np.ndarray, rows: np.ndarray, size: int, views: int, precision: str, batch: int = 128
) -> np.ndarray:
    """Probabilities float32 [N, classes], the mean over the first `views` flips and quarter turns."""
    device = next(network.parameters()).device
    result = []
    for start in range(0, len(rows), batch):
        images = torch.from_numpy(pixels[rows[start : start + batch]]).to(device)
        seen = []
        for view in range(views):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = network(apply_augmentation(images, dihedral_augmentation(len(images), view), size))
            seen.append(logits.float().softmax(1))
        result.append(torch.stack(seen).mean(0).cpu().numpy())
    return np.concatenate(result)
