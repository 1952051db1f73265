"""Pictures of a run. Each function returns a matplotlib Figure without touching pyplot, so that none is left open.

Save one with `figure.savefig(path)`; it has the resolution that MLflow's pages show well.
"""

from hemacell.reporting.figures.classification import confusion_matrix, per_class, reliability, risk_coverage, roc
from hemacell.reporting.figures.curves import loss_curves
from hemacell.reporting.figures.differential import differential_shares
from hemacell.reporting.figures.distances import distances
from hemacell.reporting.figures.galleries import answers, explained, mistakes, reconstructions
from hemacell.reporting.figures.own_test import reference_forest
from hemacell.reporting.figures.study import (
    class_gains,
    confusion_matrices,
    label_efficiency,
    paired_differences,
    training_curves,
)

__all__ = [
    "answers",
    "class_gains",
    "confusion_matrices",
    "confusion_matrix",
    "differential_shares",
    "distances",
    "explained",
    "label_efficiency",
    "loss_curves",
    "mistakes",
    "paired_differences",
    "per_class",
    "reconstructions",
    "reference_forest",
    "reliability",
    "risk_coverage",
    "roc",
    "training_curves",
]
