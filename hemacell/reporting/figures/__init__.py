"""Pictures of a run. Each function returns a matplotlib Figure without touching pyplot, so that none is left open.

Save one with `figure.savefig(path)`; it has the resolution that MLflow's pages show well.
"""

from hemacell.reporting.figures.class_gains import class_gains
from hemacell.reporting.figures.confusion_matrices import confusion_matrices
from hemacell.reporting.figures.confusion_matrix import confusion_matrix
from hemacell.reporting.figures.copies import copies
from hemacell.reporting.figures.differential_shares import differential_shares
from hemacell.reporting.figures.label_efficiency import label_efficiency
from hemacell.reporting.figures.loss_curves import loss_curves
from hemacell.reporting.figures.measurements import measurements
from hemacell.reporting.figures.mistakes import mistakes
from hemacell.reporting.figures.ood_distances import ood_distances
from hemacell.reporting.figures.paired_differences import paired_differences
from hemacell.reporting.figures.per_class import per_class
from hemacell.reporting.figures.prediction_gallery import predictions
from hemacell.reporting.figures.reconstructions import reconstructions
from hemacell.reporting.figures.reference_scores import reference_scores
from hemacell.reporting.figures.reliability import reliability
from hemacell.reporting.figures.risk_coverage import risk_coverage
from hemacell.reporting.figures.roc import roc
from hemacell.reporting.figures.saliency import saliency_maps
from hemacell.reporting.figures.training_curves import training_curves

__all__ = [
    "class_gains",
    "confusion_matrices",
    "confusion_matrix",
    "copies",
    "differential_shares",
    "label_efficiency",
    "loss_curves",
    "measurements",
    "mistakes",
    "ood_distances",
    "paired_differences",
    "per_class",
    "predictions",
    "reconstructions",
    "reference_scores",
    "reliability",
    "risk_coverage",
    "roc",
    "saliency_maps",
    "training_curves",
]
