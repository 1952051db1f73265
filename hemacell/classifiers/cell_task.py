"""What the fused network learns: white blood cells, from their pixels and from stored embeddings."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn

from hemacell.classifiers.cells import CellImages
from hemacell.classifiers.model import CellClassifier, mean_probabilities
from hemacell.core.random import generator_of
from hemacell.data.augmentation import (
    AugmentationConfig,
    Augmentations,
    apply_augmentation,
    concatenate,
    identity_augmentation,
    random_augmentation,
)
from hemacell.encoders.embeddings import StoredViews
from hemacell.training.batches import BatchOrder
from hemacell.training.loop import Row


def training_augmentation(digests: Sequence[str], views: StoredViews) -> Augmentations:
    """Parameters of the stored views of N images, the k-th of the i-th image at k * N + i."""
    return concatenate([views.views(digests, number) for number in range(views.count)])


class CellTask:
    """Cross-entropy with label smoothing (Szegedy et al. 2016) on the common head, and on each branch's own head.

    A step takes a stored view of each image of its batch: the embeddings are read back, the cell network is shown the
    same view turned any way and jittered a little, so that it never sees the same pixels twice.

    Args:
        pixels: uint8 [M, H, W, 3], all decoded images.
        train, val: the labelled cells; a val cell needs the embedding of its first view only.
        views: parameters of the stored views, the k-th view of the i-th training image at k * len(train) + i.
        size, crop: what the network sees: side in pixels, and side of the central part in sides of the image.
        batch_size: images a step.
        seed: picks batches, views and jitter.
        jitter: what the cell network sees on top of a stored view: turned any way, but moved and stained only a little,
            since the embedding beside it does not follow.
        label_smoothing: share of a label that is spread over all classes.
        class_weights: float [classes] for the loss, or None.
        sampler_weights: float [len(train)], chances of the images to be drawn, or None for each once a round.
        auxiliary_loss_weight: weight of the branches' own losses.
        precision: for validation.
        device: where the network is.
    """

    monitor = "val/macro_f1"

    def __init__(
        self,
        pixels: np.ndarray,
        train: CellImages,
        val: CellImages,
        views: Augmentations,
        *,
        size: int,
        crop: float,
        batch_size: int,
        seed: int,
        jitter: AugmentationConfig,
        label_smoothing: float = 0.1,
        class_weights: np.ndarray | None = None,
        sampler_weights: np.ndarray | None = None,
        auxiliary_loss_weight: float = 1.0,
        precision: str = "bf16",
        device: torch.device | str = "cpu",
    ) -> None:
        self.pixels, self.train, self.val, self.views = pixels, train, val, views
        self.size, self.crop, self.seed, self.jitter = size, crop, seed, jitter
        self.label_smoothing, self.auxiliary_loss_weight, self.precision = (
            label_smoothing,
            auxiliary_loss_weight,
            precision,
        )
        self.device = torch.device(device)
        self.class_weights = None if class_weights is None else torch.from_numpy(class_weights).float().to(self.device)
        self.images_per_step = batch_size
        self.order = BatchOrder(len(train), batch_size, seed, sampler_weights)
        self.labels = torch.from_numpy(train.labels)
        self.stored = len(views) // len(train)

    def loss(self, network: nn.Module, step: int) -> Tensor:
        generator = generator_of(self.seed, "views", step)
        chosen = self.order(step)
        view = torch.randint(self.stored, (len(chosen),), generator=generator)
        seen = self.views[view * len(self.train) + chosen].then(
            random_augmentation(len(chosen), self.jitter, generator)
        )
        rows = self.train.rows[chosen.numpy()]
        images = apply_augmentation(torch.from_numpy(self.pixels[rows]).to(self.device), seen, self.size, self.crop)
        embeddings = [
            torch.from_numpy(embedding[chosen.numpy(), view.numpy()]).to(self.device)
            for embedding in self.train.embeddings
        ]
        return self.heads_loss(network(images, embeddings), self.labels[chosen].to(self.device))

    def heads_loss(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The loss of the last (common) head plus the weighted mean of the others'."""
        losses = [
            F.cross_entropy(head.float(), labels, weight=self.class_weights, label_smoothing=self.label_smoothing)
            for head in logits
        ]
        if len(losses) == 1:
            return losses[0]
        return losses[-1] + self.auxiliary_loss_weight * torch.stack(losses[:-1]).mean()

    @torch.no_grad()
    def validate(self, network: nn.Module) -> Row:
        probabilities = self._probabilities(cast(CellClassifier, network))
        labels, predicted = self.val.labels, probabilities.argmax(1)
        picked = probabilities[np.arange(len(labels)), labels]
        return {
            "val/loss": float(-np.log(np.clip(picked, 1e-12, None)).mean()),
            "val/accuracy": float(accuracy_score(labels, predicted)),
            "val/macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
        }

    def _probabilities(self, network: CellClassifier, batch: int = 256) -> np.ndarray:
        """Of the val cells as they lie, without test-time augmentation: float32 [N, classes]."""
        found = []
        for start in range(0, len(self.val), batch):
            part = slice(start, start + batch)
            images = torch.from_numpy(self.pixels[self.val.rows[part]]).to(self.device)
            seen = apply_augmentation(images, identity_augmentation(len(images)), self.size, self.crop)
            given = [torch.from_numpy(each[part, 0]).to(self.device) for each in self.val.embeddings]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                found.append(mean_probabilities(network, seen, given, views=1).cpu().numpy())
        return np.concatenate(found)
