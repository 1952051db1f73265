"""Pictures of a run. Each function returns a matplotlib Figure without touching pyplot, so that none is left open.

Save one with `figure.savefig(path)`; it has the resolution that MLflow's pages show well.
"""

from hemacell.evaluation.figures.classification import confusion_matrix, per_class, reliability, roc
from hemacell.evaluation.figures.curves import loss_curves
from hemacell.evaluation.figures.galleries import mistakes, reconstructions

__all__ = ["confusion_matrix", "loss_curves", "mistakes", "per_class", "reconstructions", "reliability", "roc"]
