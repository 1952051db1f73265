"""hemacell: does pretraining on other tissue help to recognise white blood cells when labels are few?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemacell.tracking.serving.client import Classifier

__all__ = ["load"]


def load(uri: str) -> "Classifier":
    """Load a registered classifier, such as `models:/hemacell-wbc@champion`; see `tracking.serving.client.load`."""
    from hemacell.tracking.serving.client import load as load_classifier  # imports MLflow and torch

    return load_classifier(uri)
