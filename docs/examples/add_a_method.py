"""Add a method of classifying in one file outside the package: the class whose mean embedding is nearest.

    python add_a_method.py --method nearest_mean --encoders imagenet --fraction 0.5 --data DIR

In an installed package, an entry point makes it known to every command, `mlflow run` too, and to every process that
uses a model which was trained by it:

    [project.entry-points."hemacell.methods"]
    nearest_mean = "my_package.add_a_method"
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hemacell.classifiers.description import ClassifierConfig
from hemacell.classifiers.methods import FitContext, Fitted, Method, TrainingData, method
from hemacell.classifiers.model import CellClassifier
from hemacell.classifiers.standardise import Standardise


class ClassMeans(CellClassifier):
    """Logits are minus half the mean squared distance to each class's mean, in standardised embeddings."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.standardise = Standardise(width)
        self.register_buffer("means", torch.zeros(classes, width))

    def logits(self, images: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        standard = self.standardise(torch.cat(list(embeddings), 1).float())
        return -(standard.unsqueeze(1) - self.means).square().mean(2) / 2


@method("nearest_mean")
class NearestMean(Method):
    """Calibration, test scores, registration, prediction and ONNX export follow without more code."""

    def fit(self, data: TrainingData, context: FitContext) -> Fitted:
        """Take the means over all turns of the training images."""
        network = self.build(context.config, context.widths)
        embeddings = torch.cat([torch.from_numpy(each) for each in data.train.embeddings], 2)  # [images, turns, width]
        network.standardise.fit(embeddings.flatten(0, 1))
        standard = network.standardise(embeddings).mean(1)
        labels = torch.from_numpy(data.train.labels)
        for label in labels.unique():
            network.means[label] = standard[labels == label].mean(0)
        return Fitted(network.eval(), context.config)

    def build(self, config: ClassifierConfig, widths: Sequence[int]) -> ClassMeans:
        """The network whose state is stored."""
        return ClassMeans(len(config.classes), sum(widths))


if __name__ == "__main__":
    from hemacell.cli import main
    from hemacell.config.jobs import WbcSettings
    from projects.wbc import run

    main(WbcSettings, run)
