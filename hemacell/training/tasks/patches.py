"""The task of the `camelyon` job: normal against tumor, the whole backbone fine-tuned."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from hemacell.config.jobs import CamelyonSettings
from hemacell.core.random import generator_of
from hemacell.data.augmentation import (
    AugmentationConfig,
    apply_augmentation,
    dihedral_augmentation,
    random_augmentation,
)
from hemacell.data.balance import balanced, class_weights
from hemacell.data.decoding import Decoded
from hemacell.training.batches import BatchOrder
from hemacell.training.loop import Row
from hemacell.training.tasks.classification import ClassificationTask


@dataclass(eq=False)
class PatchTask(ClassificationTask):
    """Classes of augmented patches; validation on upright ones."""

    pixels: np.ndarray
    """uint8 [M, H, W, 3]"""
    rows: np.ndarray
    """int64, the training patches"""
    labels: np.ndarray
    val_rows: np.ndarray
    val_labels: np.ndarray
    size: int = field(kw_only=True)
    """side of a patch as the backbone sees it, in pixels"""
    augmentation: AugmentationConfig = field(kw_only=True)

    def __post_init__(self) -> None:
        self.order = BatchOrder(len(self.rows), self.batch_size, self.seed, self.sampler_weights)

    def loss(self, network: nn.Module, step: int) -> Tensor:
        chosen = self.order(step)
        views = random_augmentation(len(chosen), self.augmentation, generator_of(self.seed, "views", step))
        pixels = torch.from_numpy(self.pixels[self.rows[chosen.numpy()]]).to(self.device)
        labels = torch.from_numpy(self.labels)[chosen].to(self.device)
        return self.cross_entropy(network(apply_augmentation(pixels, views, self.size)), labels)

    def validate(self, network: nn.Module) -> Row:
        probabilities = patch_probabilities(network, self.pixels, self.val_rows, self.size, 1, self.precision)
        return self.metrics(self.val_labels, probabilities)


def patch_task(patches: Decoded, settings: CamelyonSettings, device: torch.device) -> PatchTask:
    """The task that these settings mean, on decoded patches of all splits."""
    rows = patches.rows_of_splits()
    labels = patches.manifest.labels[rows["train"]]
    chosen, sampler_weights = balanced(labels, settings.balance)
    return PatchTask(
        patches.array,
        rows["train"][chosen],
        labels[chosen],
        rows["val"],
        patches.manifest.labels[rows["val"]],
        size=settings.patch_size,
        batch_size=settings.batch_size,
        seed=settings.seed,
        augmentation=AugmentationConfig(**settings.augmentation),
        label_smoothing=settings.label_smoothing,
        class_weights=class_weights(labels, len(patches.manifest.classes)) if settings.class_weights else None,
        sampler_weights=sampler_weights,
        precision=settings.precision,
        device=device,
    )


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
