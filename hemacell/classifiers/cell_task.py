"""What the fused network learns: white blood cells, from their pixels and from stored embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
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
from hemacell.data.stacked import Pixels
from hemacell.encoders.embeddings import StoredViews
from hemacell.training.batches import BatchOrder
from hemacell.training.loop import Row
from hemacell.training.tasks.classification import ClassificationTask


def training_augmentation(digests: Sequence[str], views: StoredViews, others: int = 0) -> Augmentations:
    """Parameters of the stored views of N images, the k-th of the i-th image at k * N + i.

    Args:
        digests: of the images.
        views: that are stored of each.
        others: number of images that follow, of which the stored views are the image as it is.
    """
    as_they_are = [identity_augmentation(others)] if others else []
    return concatenate([part for number in range(views.count) for part in (views.of(digests, number), *as_they_are)])


@dataclass(eq=False)
class CellTask(ClassificationTask):
    """Classes of cells, by the common head and by each branch's own head.

    A step takes a stored view of each image of its batch: the embeddings are read back, the cell network is shown the
    same view turned any way and jittered a little, so that it never sees the same pixels twice.
    """

    pixels: Pixels
    """uint8 [M, H, W, 3], all decoded images"""
    train: CellImages
    val: CellImages
    """of these the embeddings of the first view are used"""
    views: Augmentations
    """parameters of the stored views, the k-th view of the i-th training image at k * len(train) + i"""
    size: int = field(kw_only=True)
    """side of what the network sees, in pixels"""
    crop: float = field(kw_only=True)
    """side of the central part that is used, in sides of the image"""
    jitter: AugmentationConfig = field(kw_only=True)
    """what the cell network sees on top of a stored view: turned any way, but moved and stained only a little, since
    the stored embedding does not follow"""
    auxiliary_loss_weight: float = field(default=1.0, kw_only=True)
    """weight of the branches' own losses"""

    def __post_init__(self) -> None:
        self.order = BatchOrder(len(self.train), self.batch_size, self.seed, self.sampler_weights)

    def loss(self, network: nn.Module, step: int) -> Tensor:
        generator = generator_of(self.seed, "views", step)
        chosen = self.order(step)
        view = torch.randint(len(self.views) // len(self.train), (len(chosen),), generator=generator)
        seen = self.views[view * len(self.train) + chosen].then(
            random_augmentation(len(chosen), self.jitter, generator)
        )
        rows = self.train.rows[chosen.numpy()]
        images = apply_augmentation(torch.from_numpy(self.pixels[rows]).to(self.device), seen, self.size, self.crop)
        embeddings = [
            torch.from_numpy(embedding[chosen.numpy(), view.numpy()]).to(self.device)
            for embedding in self.train.embeddings
        ]
        labels = torch.from_numpy(self.train.labels)[chosen].to(self.device)
        return self.heads_loss(network(images, embeddings), labels)

    def heads_loss(self, logits: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The loss of the last (common) head plus the weighted mean of the others'."""
        losses = [self.cross_entropy(head, labels) for head in logits]
        if len(losses) == 1:
            return losses[0]
        return losses[-1] + self.auxiliary_loss_weight * torch.stack(losses[:-1]).mean()

    @torch.no_grad()
    def validate(self, network: nn.Module) -> Row:
        found = []  # probabilities of the upright cells, without test-time augmentation
        for start in range(0, len(self.val), 256):
            part = slice(start, start + 256)
            pixels = torch.from_numpy(self.pixels[self.val.rows[part]]).to(self.device)
            images = apply_augmentation(pixels, identity_augmentation(len(pixels)), self.size, self.crop)
            embeddings = [torch.from_numpy(each[part, 0]).to(self.device) for each in self.val.embeddings]
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                probabilities = mean_probabilities(cast(CellClassifier, network), images, embeddings, views=1)
            found.append(probabilities.cpu().numpy())
        return self.metrics(self.val.labels, np.concatenate(found))
