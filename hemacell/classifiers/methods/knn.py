"""The nearest training images, by the cosine between embeddings, vote (Wu et al. 2018): nothing is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hemacell.classifiers.description import ClassifierConfig
from hemacell.classifiers.methods import FitContext, Fitted, Method, TrainingData, method
from hemacell.classifiers.model import CellClassifier
from hemacell.classifiers.standardise import Standardise
from hemacell.config.jobs import WbcSettings
from hemacell.encoders.embeddings import StoredViews

NEIGHBOURS = (1, 3, 5, 10, 20, 50, 100, 200)
TEMPERATURE = 0.07  # of the votes: a neighbour's weight is exp(cosine / 0.07)
_AT_ONCE = 1024  # rows of the matrix of all cosines


class NearestNeighbours(CellClassifier):
    """Votes of the nearest of N stored images.

    Args:
        classes: number of classes.
        widths: of the encoders' embeddings.
        images: N.
        neighbours: of these, that vote.
    """

    stored: Tensor
    targets: Tensor

    def __init__(self, classes: int, widths: Sequence[int], images: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.standardise = nn.ModuleList(map(Standardise, widths))
        self.register_buffer("stored", torch.zeros(images, sum(widths)))
        self.register_buffer("targets", torch.zeros(images, classes))

    @property
    def standardisers(self) -> list[Standardise]:
        return list(self.standardise)  # type: ignore[arg-type]

    def features(self, embeddings: Sequence[Tensor]) -> Tensor:
        """For each encoder [N, width] -> directions float32 [N, sum of widths] of length 1.

        Each encoder's part has the same length, so that the cosine of the whole is the mean over encoders.
        """
        parts = [scale(each.float()) for scale, each in zip(self.standardise, embeddings, strict=True)]
        return torch.cat([nn.functional.normalize(part) for part in parts], 1) / len(parts) ** 0.5

    def logits(self, images: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        device = self.stored.device.type
        # cosines of two digits would reorder the neighbours; where nothing is cast, the graph stays free of it
        casts = torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=False) if casts else contextlib.nullcontext():
            cosines, nearest = (self.features(embeddings) @ self.stored.T).topk(self.neighbours, 1)
            return smoothed_votes(cosines, self.targets[nearest]).log()


def smoothed_votes(cosines: Tensor, targets: Tensor) -> Tensor:
    """Probabilities float32 [N, C] by the votes of k neighbours, and one more that votes for all classes alike.

    Args:
        cosines: float32 [N, k].
        targets: float32 [N, k, C], the neighbours' one-hot labels.
    """
    neighbours, classes = targets.shape[1:]
    votes = ((cosines / TEMPERATURE).softmax(1).unsqueeze(2) * targets).sum(1)
    return (neighbours * votes + 1 / classes) / (neighbours + 1)


@method("knn")
class NearestNeighboursMethod(Method):
    """Weighted votes; how many neighbours vote has the least negative log-likelihood, every class counting the same,
    on training images that are left out one by one. Val is not used."""

    def stored_views(self, settings: WbcSettings, images: int) -> StoredViews:
        """The upright images."""
        return StoredViews(1, augmented=False)

    def fit(self, data: TrainingData, context: FitContext) -> Fitted:
        """Store the training images, and choose the number of neighbours."""
        config, labels = context.config, torch.from_numpy(data.train.labels)
        stored = [torch.from_numpy(each[:, 0]) for each in data.train.embeddings]
        network = NearestNeighbours(len(config.classes), context.widths, len(labels), 1)
        for scale, each in zip(network.standardise, stored, strict=True):
            scale.fit(each)  # type: ignore[operator]
        network.stored.copy_(network.features(stored))
        network.targets.copy_(nn.functional.one_hot(labels, len(config.classes)))
        losses = left_out_losses(network.stored, network.targets)
        network.neighbours = min(losses, key=lambda each: losses[each])
        found = {"images": len(labels), "neighbours": network.neighbours}
        metrics = {"neighbours": network.neighbours, "left_out_nll": losses[network.neighbours]}
        return Fitted(network.eval(), config.model_copy(update={"hyperparameters": found}), metrics=metrics)

    def build(self, config: ClassifierConfig, widths: Sequence[int]) -> NearestNeighbours:
        """A network with room for the stored images."""
        return NearestNeighbours(len(config.classes), widths, **config.hyperparameters)


def left_out_losses(stored: Tensor, targets: Tensor) -> dict[int, float]:
    """Mean negative log-likelihood of each image by its nearest others, every class counting the same.

    Args:
        stored: float32 [N, F], directions of length 1, N > 1.
        targets: float32 [N, C], one-hot.

    Returns:
        Number of neighbours -> loss, for those of `NEIGHBOURS` below N.
    """
    counts = [each for each in NEIGHBOURS if each < len(stored)]
    if not counts:
        raise ValueError("two or more images expected, one to be left out and one to vote")
    weights = targets @ (1 / targets.sum(0).clamp_min(1))
    sums = dict.fromkeys(counts, 0.0)
    for start in range(0, len(stored), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        cosines = stored[part] @ stored.T
        own = torch.arange(len(cosines))
        cosines[own, own + start] = -np.inf
        best, nearest = cosines.topk(counts[-1], 1)
        for count in counts:
            votes = smoothed_votes(best[:, :count], targets[nearest[:, :count]])
            losses = -(votes * targets[part]).sum(1).log()
            sums[count] += float((losses * weights[part]).sum())
    return {count: total / float(weights.sum()) for count, total in sums.items()}
