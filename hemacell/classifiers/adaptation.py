"""A classifier brought to another laboratory by pictures of it that have no labels."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.ood import MahalanobisDetector
from hemacell.classifiers.site_statistics import SiteStatistics, balancing_weights, statistics_of
from hemacell.core.errors import UserError

_ROUNDS = 3  # of predictions, by which the classes are balanced
_MOST_FLAGGED = 0.01  # of the pictures that it is adapted to, which are taken to be cells like these


def adapted(model: ClassifierModel, pixels: np.ndarray, embeddings: Sequence[np.ndarray]) -> ClassifierModel:
    """A classifier with the statistics of another laboratory's embeddings, and with its distances.

    Every method that standardises embeddings can do with other means and deviations (see `site_statistics`). They are
    those of the classes in equal shares, as far as the classifier's own predictions tell them, round by round. What its
    detector calls usual moves with the laboratory too: the features that distances are measured in are standardised by
    the laboratory's own pictures, and the threshold rises where more than one in a hundred of these were flagged. The
    limit for cells of no class moves with what is usual there.

    Args:
        model: calibrated; it stays as it is.
        pixels: uint8 [N, decoded_size, decoded_size, 3], pictures of the laboratory as `model.picture` makes them.
        embeddings: of these, by `model.embed_pixels`.

    Returns:
        Another network and detector at the same scale; it shares the encoders.

    Raises:
        UserError: it has no embeddings that are standardised.
    """
    if not model.network.standardisers:
        encoders = ",".join(model.config.encoders) or "none"
        raise UserError(
            f"a classifier with method={model.config.method} and encoders={encoders} has no embeddings to adapt: train "
            "one with encoders, such as encoders=imagenet,morphology"
        )
    rows = np.arange(len(pixels))
    made = _with_statistics(model, [statistics_of(each) for each in embeddings])
    for _ in range(_ROUNDS):
        weights = balancing_weights(made.from_embeddings(pixels, rows, embeddings))
        made = _with_statistics(model, [statistics_of(each, weights) for each in embeddings])
    assert model.detector is not None, "only a calibrated classifier is adapted"
    made = made.calibrated(_moved(model.detector, model.features(pixels, rows)))
    return with_site_threshold(made, model, pixels, embeddings).of_site(model.site)


def with_site_threshold(
    made: ClassifierModel, known: ClassifierModel, pixels: np.ndarray, embeddings: Sequence[np.ndarray]
) -> ClassifierModel:
    """An adapted classifier whose limit for cells of no class is that of a laboratory (`OpenSetDetector.for_site`).

    Args:
        made: the adapted classifier.
        known: the same before, with the limit of the training laboratory.
        pixels, embeddings: as for `adapted`.
    """
    if known.open_set is None:
        return made
    assert made.detector is not None, "only a calibrated classifier is adapted"
    rows = np.arange(len(pixels))
    _, top, kind = made.evidence(pixels, rows, embeddings)
    distance = made.detector.distance(made.features(pixels, rows))
    return made.calibrated(made.detector, known.open_set.for_site(top, distance, kind))


def _with_statistics(model: ClassifierModel, found: Sequence[SiteStatistics]) -> ClassifierModel:
    network = copy.deepcopy(model.network)
    for scale, own in zip(network.standardisers, found, strict=True):
        scale.take(own.shrunk(scale.statistics))
    return model.with_network(network)


def _moved(detector: MahalanobisDetector, features: np.ndarray) -> MahalanobisDetector:
    known = SiteStatistics(detector.center.cpu().numpy(), detector.scale.cpu().numpy(), 0)
    own = statistics_of(features[:, None]).shrunk(known)
    moved = {"center": torch.from_numpy(own.mean), "scale": torch.from_numpy(own.std)}
    made = MahalanobisDetector(
        **detector.state_dict() | {name: each.to(detector.center) for name, each in moved.items()}
    )
    return made.with_least_threshold(features, _MOST_FLAGGED)
