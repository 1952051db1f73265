"""What the tasks have in common in which a network learns classes: the loss, and the metrics on val."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor

from hemacell.training.loop import Row


@dataclass(eq=False, kw_only=True)
class ClassificationTask:
    """Cross-entropy with label smoothing (Szegedy et al. 2016)."""

    monitor = "val/macro_f1"

    batch_size: int
    seed: int
    """picks batches and augmentation"""
    label_smoothing: float = 0.1
    """share of a label that is spread over all classes"""
    class_weights: np.ndarray | None = None
    """float [classes], for the loss"""
    sampler_weights: np.ndarray | None = None
    """float [N], chances of the training images to be drawn; without it each is drawn once a round"""
    precision: str = "bf16"
    """for validation"""
    device: torch.device | str = "cpu"
    """where the network is"""

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of logits [N, classes]."""
        return F.cross_entropy(logits.float(), labels, weight=self._weight, label_smoothing=self.label_smoothing)

    @cached_property
    def _weight(self) -> Tensor | None:
        weights = self.class_weights
        return None if weights is None else torch.from_numpy(weights).float().to(self.device)

    @staticmethod
    def metrics(labels: np.ndarray, probabilities: np.ndarray) -> Row:
        """Loss, accuracy and macro-F1 of int [N] and float [N, classes]."""
        predicted = probabilities.argmax(1)
        of_labels = probabilities[np.arange(len(labels)), labels]
        return {
            "val/loss": float(-np.log(np.clip(of_labels, 1e-12, None)).mean()),
            "val/accuracy": float(accuracy_score(labels, predicted)),
            "val/macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
        }
