"""Ridge regression on standardised embeddings: the usual first question to ask of a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hemacell.classifiers.description import ClassifierConfig
from hemacell.classifiers.methods import FitContext, Fitted, Method, TrainingData, method
from hemacell.classifiers.model import CellClassifier
from hemacell.classifiers.standardise import Standardise

#: Strengths that are tried, for each training image.
STRENGTHS = tuple(float(each) for each in np.logspace(-4, 4, 25))
#: The scores lie around 0 and 1: divided by this, they are the logits of a reasonably sure classifier.
USUAL_TEMPERATURE = 0.2

Floats = NDArray[np.float64]


class LinearProbe(CellClassifier):
    """Linear in the standardised embeddings of all encoders.

    Args:
        classes: number of classes.
        widths: of the encoders' embeddings.
    """

    def __init__(self, classes: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.standardise = nn.ModuleList(map(Standardise, widths))
        self.linear = nn.Linear(sum(widths), classes)

    @property
    def standardisers(self) -> list[Standardise]:
        return list(self.standardise)  # type: ignore[arg-type]

    @property
    def last_layers(self) -> list[nn.Linear]:
        return [self.linear]

    def last_inputs(self, images: Tensor, embeddings: Sequence[Tensor]) -> list[Tensor]:
        return [self.features(embeddings)]

    def features(self, embeddings: Sequence[Tensor]) -> Tensor:
        """For each encoder [N, width] -> [N, sum of widths], standardised."""
        return torch.cat([scale(each) for scale, each in zip(self.standardise, embeddings, strict=True)], 1)

    def logits(self, images: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        return self.linear(self.features(embeddings)).float()


@method("linear_probe")
class LinearProbeMethod(Method):
    """Closed-form ridge regression of one-hot labels, weighted so that every class counts the same.

    It learns from each training image's flips and quarter turns. The strength of the regularisation has the least
    squared error on images that are left out one by one, with all their turns, which is free in closed form. The
    temperature that makes logits of the scores is fitted on the same left-out scores. Val is not used.
    """

    def fit(self, data: TrainingData, context: FitContext) -> Fitted:
        """Learn weights, strength and scale from the training images alone."""
        from hemacell.evaluation.temperature import fit_temperature

        config, labels = context.config, data.train.labels
        network = self.build(config, context.widths)
        stored = [torch.from_numpy(each) for each in data.train.embeddings]
        for scale, each in zip(network.standardise, stored, strict=True):
            scale.fit(each.flatten(0, 1))  # type: ignore[operator]
        features = network.features([each.flatten(0, 1) for each in stored]).double().numpy()
        features = features.reshape(len(labels), -1, features.shape[1])
        targets = np.eye(len(config.classes))[labels]
        weights = 1.0 / np.bincount(labels)[labels]
        weights *= len(labels) / weights.sum()
        ridge = RidgePath(features, targets, weights)
        errors = [ridge.left_out_error(strength) for strength in STRENGTHS]
        strength = STRENGTHS[int(np.argmin(errors))]
        scores = ridge.left_out(strength).mean(1)
        temperature = fit_temperature(scores, labels, USUAL_TEMPERATURE)
        coefficients, intercept = ridge.solution(strength)
        with torch.no_grad():
            network.linear.weight.copy_(torch.from_numpy(coefficients.T / temperature))
            network.linear.bias.copy_(torch.from_numpy(intercept / temperature))
        found = {"strength": strength, "temperature": temperature}
        metrics = {**found, "left_out_accuracy": float((scores.argmax(1) == labels).mean())}
        return Fitted(network.eval(), config.model_copy(update={"hyperparameters": found}), metrics=metrics)

    def build(self, config: ClassifierConfig, widths: Sequence[int]) -> LinearProbe:
        """A probe without weights."""
        return LinearProbe(len(config.classes), widths)


class RidgePath:
    """Weighted ridge regression with an intercept that is not penalised, for many strengths from one decomposition.

    It minimises the weighted squared error plus strength * N * |coefficients|^2, N being the number of images.

    Args:
        features: float64 [N, V, F], V views of each of N > 1 images.
        targets: float64 [N, C], of an image and all its views.
        weights: float64 [N], above 0, of the images; they sum to N.
    """

    def __init__(self, features: Floats, targets: Floats, weights: Floats) -> None:
        images, views, width = features.shape
        if images < 2:
            raise ValueError("two or more images expected, one to be left out and one to learn from")
        self.targets = np.repeat(targets, views, 0)
        self.shape = (images, views, targets.shape[1])
        rows = features.reshape(-1, width)
        each = np.repeat(weights, views) / views
        self.root = np.sqrt(each)[:, None]
        self.total = each.sum()
        self.mean = each @ rows / self.total
        self.target_mean = each @ self.targets / self.total
        centered = self.root * (rows - self.mean)
        self.left, self.singular, self.right = _decomposed(centered)
        self.centered_targets = self.root * (self.targets - self.target_mean)
        self.projected = self.left.T @ self.centered_targets

    def solution(self, strength: float) -> tuple[Floats, Floats]:
        """Coefficients float64 [F, C] and intercepts float64 [C]."""
        shrunk = self.singular / (self.singular**2 + strength * self.total)
        coefficients = self.right.T @ (shrunk[:, None] * self.projected)
        return coefficients, self.target_mean - self.mean @ coefficients

    def left_out(self, strength: float) -> Floats:
        """Scores float64 [N, V, C] of each image by the regression that was fitted without it.

        With H the matrix that maps targets to scores and b the rows of an image, the residuals of the image left out
        are (I - H_bb)^-1 times those of the whole fit, exactly; what is fixed is the standardisation.
        """
        images, views, _ = self.shape
        kept = self.singular**2 / (self.singular**2 + strength * self.total)
        residuals = self.centered_targets - self.left @ (kept[:, None] * self.projected)
        left = self.left.reshape(images, views, -1)
        root = self.root.reshape(images, views, 1)
        blocks = np.einsum("ivk,k,iwk->ivw", left, kept, left, optimize=True)
        blocks += root @ root.transpose(0, 2, 1) / self.total
        without = np.linalg.solve(np.eye(views) - blocks, residuals.reshape(self.shape)) / root
        return self.targets.reshape(self.shape) - without

    def left_out_error(self, strength: float) -> float:
        """The weighted mean squared error of `left_out`."""
        errors = np.square(self.left_out(strength) - self.targets.reshape(self.shape)).mean(2)
        weights = np.square(self.root).reshape(self.shape[:2])
        return float((weights * errors).sum() / self.total)


def _decomposed(matrix: Floats) -> tuple[Floats, Floats, Floats]:
    """The singular value decomposition [R, k] [k] [k, F] without the directions of no variance, from the smaller Gram
    matrix: many times as fast as that of the matrix itself."""
    tall = len(matrix) > matrix.shape[1]
    values, vectors = np.linalg.eigh(matrix.T @ matrix if tall else matrix @ matrix.T)
    kept = values > max(values.max(), 0) * 1e-10
    singular, vectors = np.sqrt(values[kept]), vectors[:, kept]
    other = (matrix @ vectors if tall else matrix.T @ vectors) / singular
    return (other, singular, vectors.T) if tall else (vectors, singular, other.T)
