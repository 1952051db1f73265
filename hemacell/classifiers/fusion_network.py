"""The cell network fused with the projected embeddings of frozen encoders."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hemacell.classifiers.cell_network import CellNetwork
from hemacell.classifiers.model import PixelClassifier
from hemacell.classifiers.standardise import Standardise

EARLY_STAGES = 1  # of the cell network, whose features show whether an image is unfamiliar


class Projection(Standardise):
    """One encoder's embedding, standardised and projected: float [N, width] to [N, outputs]."""

    def __init__(self, width: int, outputs: int, dropout: float) -> None:
        super().__init__(width)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, outputs)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, embedding: Tensor) -> Tensor:
        return torch.nn.functional.gelu(self.norm(self.linear(self.dropout(super().forward(embedding)))))


class FusedClassifier(PixelClassifier):
    """Classifies cells from their pixels and from frozen encoders' embeddings.

    Each branch (the cell network, each projection) has a head of its own, and one more head sees all branches
    together. In training whole branches are left out of the common head at random, and each own head has its own loss,
    so that a branch that learns quickly does not keep the others from learning. It predicts by the mean of the logits.

    Args:
        classes: number of classes.
        embeddings: width of each encoder's embedding, in order; empty for the cell network alone.
        widths, blocks: of the `CellNetwork`.
        projection: width of a projected embedding.
        dropout: of the cell features and of the standardised embeddings.
        branch_dropout: probability that a branch is left out of the common head, per image.
    """

    def __init__(
        self,
        classes: int,
        embeddings: Mapping[str, int],
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 2, 2, 1),
        projection: int = 128,
        dropout: float = 0.2,
        embedding_dropout: float = 0.5,
        branch_dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.names = list(embeddings)
        self.cell = CellNetwork(widths, blocks)
        self.dropout = nn.Dropout(dropout)
        self.cell_head = nn.Linear(self.cell.width, classes)
        self.branch_dropout = branch_dropout
        self.projections = nn.ModuleList(
            Projection(width, projection, embedding_dropout) for width in embeddings.values()
        )
        self.heads = nn.ModuleList(nn.Linear(projection, classes) for _ in embeddings)
        if embeddings:
            self.fused_head = nn.Linear(self.cell.width + projection * len(embeddings), classes)

    def forward(self, images: Tensor, embeddings: Sequence[Tensor]) -> list[Tensor]:
        """Logits [N, classes] of every head: the common one last where there are embeddings.

        Args:
            images: float [N, 3, H, W] in [0, 1].
            embeddings: for each encoder [N, width], in the order of `names`.
        """
        return self._heads(self.cell(images), embeddings)

    def _heads(self, cell: Tensor, embeddings: Sequence[Tensor]) -> list[Tensor]:
        branches = [self.dropout(cell)]
        logits = [self.cell_head(branches[0])]
        for projection, head, embedding in zip(self.projections, self.heads, embeddings, strict=True):
            branches.append(projection(embedding))
            logits.append(head(branches[-1]))
        if len(branches) > 1:
            if self.training and self.branch_dropout > 0:
                kept = torch.rand(len(cell), len(branches), device=cell.device) >= self.branch_dropout
                branches = [branch * keep.unsqueeze(1) for branch, keep in zip(branches, kept.unbind(1), strict=True)]
            logits.append(self.fused_head(torch.cat(branches, 1)))
        return logits

    @property
    def last_layers(self) -> list[nn.Linear]:
        fused = [self.fused_head] if len(self.heads) else []
        return [self.cell_head, *self.heads, *fused]

    def last_inputs(self, images: Tensor, embeddings: Sequence[Tensor]) -> list[Tensor]:
        branches = [self.cell(images), *(each(one) for each, one in zip(self.projections, embeddings, strict=True))]
        return [*branches, torch.cat(branches, 1)] if len(branches) > 1 else branches

    def logits(self, images: Tensor, embeddings: Sequence[Tensor]) -> Tensor:
        return mean_logits(self(images, embeddings))

    def logits_and_early(self, images: Tensor, embeddings: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        early = self.early_features(images)
        return mean_logits(self._heads(self.cell.after(early[-1], EARLY_STAGES), embeddings)), early

    def early_features(self, images: Tensor) -> list[Tensor]:
        return self.cell.early(images, EARLY_STAGES)

    @property
    def saliency_layer(self) -> nn.Module:
        return self.cell.activation

    def typical_embeddings(self, count: int) -> list[Tensor]:
        """The mean embeddings of the training images, `count` times: for each encoder [count, width]."""
        return [projection.mean.expand(count, -1) for projection in self._projections]

    @property
    def standardisers(self) -> list[Standardise]:
        return list(self._projections)

    @property
    def _projections(self) -> list[Projection]:
        return list(self.projections)  # type: ignore[arg-type]


def mean_logits(logits: Sequence[Tensor]) -> Tensor:
    """The classifier's logits float32 [N, classes]: the mean over its heads."""
    return torch.stack([head.float() for head in logits]).mean(0)
