"""A classifier brought to another laboratory by pictures of it that have no labels."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch

from hemacell.classifiers.model import ClassifierModel
from hemacell.classifiers.ood import MahalanobisDetector
from hemacell.classifiers.site_statistics import SiteStatistics, statistics_of
from hemacell.core.errors import UserError

Progress = Callable[[int, int], None]

_MOST_FLAGGED = 0.01  # of the pictures that it is adapted to, which are taken to be cells like these


def adapted(model: ClassifierModel, pixels: np.ndarray, progress: Progress | None = None) -> ClassifierModel:
    """A classifier with the statistics of another laboratory's embeddings, and with its distances.

    Every method that standardises embeddings can do with other means and deviations (see `site_statistics`). What its
    detector calls usual moves with the laboratory too: the features that distances are measured in are standardised by
    the laboratory's own pictures, and the threshold rises where more than one in a hundred of these were flagged.

    Args:
        model: calibrated; it stays as it is.
        pixels: uint8 [N, decoded_size, decoded_size, 3], pictures of the laboratory as `model.picture` makes them.
        progress: called with (pictures done, N).

    Returns:
        A copy that shares the encoders.

    Raises:
        UserError: it has no embeddings that are standardised.
    """
    if not model.network.standardisers:
        encoders = ",".join(model.config.encoders) or "none"
        raise UserError(
            f"a classifier with method={model.config.method} and encoders={encoders} has no embeddings to adapt: train "
            "one with encoders, such as encoders=imagenet,morphology"
        )
    network = copy.deepcopy(model.network)
    embeddings = model.embed_pixels(pixels, progress)
    with torch.no_grad():
        for scale, each in zip(network.standardisers, embeddings, strict=True):
            known = SiteStatistics(scale.mean.cpu().numpy(), scale.std.cpu().numpy(), 0)
            own = statistics_of(each).shrunk(known)
            scale.mean.copy_(torch.from_numpy(own.mean))
            scale.std.copy_(torch.from_numpy(own.std))
    assert model.detector is not None, "only a calibrated classifier is adapted"
    features = model.features(pixels, np.arange(len(pixels)))
    return model.with_network(network).calibrated(_moved(model.detector, features))


def _moved(detector: MahalanobisDetector, features: np.ndarray) -> MahalanobisDetector:
    known = SiteStatistics(detector.center.cpu().numpy(), detector.scale.cpu().numpy(), 0)
    own = statistics_of(features[:, None]).shrunk(known)
    moved = {"center": torch.from_numpy(own.mean), "scale": torch.from_numpy(own.std)}
    made = MahalanobisDetector(
        **{**detector.state_dict(), **{name: each.to(detector.center) for name, each in moved.items()}}
    )
    return made.with_least_threshold(features, _MOST_FLAGGED)
