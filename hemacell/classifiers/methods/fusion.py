"""The trainable cell network, fused with the embeddings of frozen encoders: the method behind the study's arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hemacell.classifiers.fusion_network import FusedClassifier
from hemacell.classifiers.methods import FitContext, Fitted, Method, TrainingData, method

if TYPE_CHECKING:
    from hemacell.classifiers.description import ClassifierConfig
    from hemacell.config.jobs import WbcSettings
    from hemacell.encoders.embeddings import StoredViews


def sampled(own: int, weights: np.ndarray | None, others: int, share: float) -> np.ndarray | None:
    """Probability of each training cell to be drawn; None where each comes once per epoch.

    Args:
        own: number of cells of the laboratory itself.
        weights: of these, where they are not drawn alike.
        others: number of cells in synthetic laboratories, which follow.
        share: of the draws that are of these, 0 to 1.

    Returns:
        float64 [own + others], which sum to 1.
    """
    if not others:
        return weights
    each = np.full(own, 1 / own) if weights is None else weights
    return np.concatenate([(1 - share) * each, np.full(others, share / others)])


@method("fusion")
class Fusion(Method):
    """A residual network on the pixels, with the projected embeddings; trained by `hemacell.training.loop`."""

    needs_encoders = False
    can_warm_start = True
    learns_from_laboratories = True

    def stored_views(self, settings: WbcSettings, images: int) -> StoredViews:
        """Augmented views: `train_views` of each image, or 6000 in all, 2 to 16 of each."""
        from hemacell.data.augmentation import AugmentationConfig
        from hemacell.encoders.embeddings import StoredViews

        augmentation = AugmentationConfig(**settings.augmentation)
        return StoredViews(settings.stored_views(images), augmented=True, settings=augmentation)

    def fit(self, data: TrainingData, context: FitContext) -> Fitted:
        """Train the network; the same seed and threads give the same weights."""
        import torch

        from hemacell.classifiers.cell_task import CellTask, training_augmentation
        from hemacell.classifiers.site_statistics import class_statistics
        from hemacell.classifiers.warm_start import warm_start
        from hemacell.data.augmentation import AugmentationConfig
        from hemacell.data.balance import balanced, class_weights
        from hemacell.framing.description import central_part

        settings, labels = context.settings, data.train.labels[data.train.own]
        positions, weights = balanced(labels, settings.balance)
        others = np.flatnonzero(~data.train.own)  # always behind the others
        train = data.train.select(np.concatenate([positions, others]))
        digests = [data.sha256[position] for position in positions]
        torch.manual_seed(settings.seed)
        network = self.build(context.config, context.widths, **settings.dropouts)
        for scale, each in zip(network.standardisers, train.embeddings, strict=True):
            scale.take(class_statistics(each[train.own], train.labels[train.own]))
        if context.warm_start:
            warm_start(network, context.warm_start, set(data.sha256))
        task = CellTask(
            data.pixels,
            train,
            data.val,
            training_augmentation(digests, self.stored_views(settings, len(labels)), len(others)),
            size=settings.image_size,
            crop=central_part(settings),
            batch_size=settings.batch_size,
            seed=settings.seed,
            jitter=AugmentationConfig(**settings.jitter),
            label_smoothing=settings.label_smoothing,
            class_weights=class_weights(labels, len(context.config.classes)) if settings.class_weights else None,
            sampler_weights=sampled(len(positions), weights, len(others), settings.synthetic_share),
            auxiliary_loss_weight=settings.auxiliary_loss_weight,
            precision=settings.precision,
            device=context.device,
        )
        steps = settings.training_steps(len(labels))
        trained = context.train(task, network, steps)
        return Fitted(cast(FusedClassifier, trained.network), context.config, steps)

    def build(self, config: ClassifierConfig, widths: Sequence[int], **dropouts: Any) -> FusedClassifier:
        """The untrained network; `config.hyperparameters` are arguments of `FusedClassifier`.

        Args:
            config, widths: see `Method.build`.
            dropouts: further arguments, which concern the training only.
        """
        embeddings = dict(zip(config.encoders, widths, strict=True))
        return FusedClassifier(len(config.classes), embeddings, **config.hyperparameters, **dropouts)
