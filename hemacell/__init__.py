"""hemacell: does pretraining on other tissue help to recognise white blood cells when labels are few?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemacell.tracking.client import Classifier

__all__ = ["load"]


def load(uri: str) -> "Classifier":
    """Load a registered classifier, such as `models:/hemacell-wbc@champion`; see `hemacell.tracking.client.load`."""
    from hemacell.tracking.client import load as load_classifier  # imports MLflow and torch

    return load_classifier(uri)
