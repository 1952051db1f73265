"""The task of the `wbc` job: white blood cells, from their pixels and from stored embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor, nn

from hemacell.classifiers.probabilities import tta_probabilities
from hemacell.core.random import generator_of
from hemacell.data.augmentation import (
    AugmentationConfig,
    Augmentations,
    apply_augmentation,
    concatenate,
    random_augmentation,
)
from hemacell.data.decoding import Decoded
from hemacell.data.manifest import Manifest
from hemacell.encoders.embeddings import StoredViews, embed
from hemacell.encoders.frozen import FrozenEncoder
from hemacell.training.batches import BatchOrder
from hemacell.training.loop import Row


@dataclass(frozen=True, eq=False)
class CellImages:
    """Cells of one split: which rows of the decoded pixels, what they are, and their embeddings."""

    rows: np.ndarray
    """int64 [N]"""
    labels: np.ndarray
    """int64 [N]"""
    embeddings: Sequence[np.ndarray]
    """for each encoder float32 [N, views, width]"""

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, positions: np.ndarray) -> "CellImages":
        """Some of the cells, int64 positions; a cell may come more than once."""
        if np.array_equal(positions, np.arange(len(self))):
            return self
        return CellImages(self.rows[positions], self.labels[positions], [each[positions] for each in self.embeddings])


def cell_images(
    cells: Decoded,
    part: Manifest,
    encoders: Sequence[FrozenEncoder],
    views: StoredViews,
    cache: Path,
    precision: str,
    progress: Callable[[str], Callable[[int, int], None]] | None = None,
) -> CellImages:
    """The cells of one split with their embeddings, which are computed where they are not stored yet.

    Args:
        cells: decoded images that hold those of `part`.
        part: the cells wanted.
        encoders: the frozen encoders.
        views: which views are embedded.
        cache, precision: see `embed`.
        progress: called with what is embedded; gives what `embed` reports to.
    """
    rows, digests = cells.rows(part), list(part.table["sha256"])
    embeddings = [
        embed(encoder, cells.array, rows, digests, views, cache, precision, progress(part.name) if progress else None)
        for encoder in encoders
    ]
    return CellImages(rows, part.labels, embeddings)


def training_augmentation(part: Manifest, views: StoredViews) -> Augmentations:
    """Parameters of the stored views, the k-th of the i-th image at k * len(part) + i."""
    digests = list(part.table["sha256"])
    return concatenate([views.views(digests, number) for number in range(views.count)])


class CellTask:
    """Cross-entropy with label label_smoothing (Szegedy et al. 2016) on the common head, and on each branch's own head.

    A step takes a stored view of each image of its batch: the embeddings are read back, the cell network is shown the
    same view turned any way and jittered a little, so that it never sees the same pixels twice.

    Args:
        pixels: uint8 [M, H, W, 3], all decoded images.
        train, val: the labelled cells; a val cell needs the embedding of its first view only.
        views: parameters of the stored views, the k-th view of the i-th training image at k * len(train) + i.
        size, crop: see `tta_probabilities`.
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

    def validate(self, network: nn.Module) -> Row:
        probabilities = tta_probabilities(
            network,
            self.pixels,
            self.val.rows,
            self.val.embeddings,
            size=self.size,
            crop=self.crop,
            views=1,
            precision=self.precision,
        )
        labels, predicted = self.val.labels, probabilities.argmax(1)
        picked = probabilities[np.arange(len(labels)), labels]
        return {
            "val/loss": float(-np.log(np.clip(picked, 1e-12, None)).mean()),
            "val/accuracy": float(accuracy_score(labels, predicted)),
            "val/macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
        }
