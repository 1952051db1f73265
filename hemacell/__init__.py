"""hemacell: does pretraining on other tissue help to recognise white blood cells when labels are few?"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hemacell.tracking.serving.client import Classifier

__all__ = ["load"]


def load(uri: str) -> "Classifier":
    """Load a registered classifier.

    Args:
        uri: its address, such as `models:/hemacell-wbc@champion` or `models:/hemacell-wbc/3`. The store is the one in
            `MLFLOW_TRACKING_URI`, else the project's own. The model is downloaded once.

    Returns:
        A `Classifier`, whose `predict` takes paths, arrays or PIL images.

    Raises:
        UserError: there is no such model, it is no classifier, or the tracking server is down.

    Examples:
        >>> import hemacell
        >>> classifier = hemacell.load("models:/hemacell-wbc@sample")
        >>> classifier.uri
        'models:/hemacell-wbc/1'
        >>> classifier.classes
        ('Basophil', 'Eosinophil', 'Lymphocyte', 'Monocyte', 'Neutrophil')
    """
    from hemacell.tracking.serving.client import load as load_classifier  # imports MLflow and torch

    return load_classifier(uri)
