"""The most confident mistakes."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from hemacell.evaluation.checks import checked_probabilities
from hemacell.reporting.figures.gallery import check_images, draw_gallery
from hemacell.reporting.figures.style import message, styled


@styled
def mistakes(
    images: NDArray[np.uint8],
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    most: int = 24,
    saliency: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None,
    crop: float = 1.0,
) -> Figure:
    """The mistakes that were made with the highest probability, each with its label and its prediction.

    Args:
        images: uint8 [N, H, W, 3]; a memory map will do, only what is shown is read.
        labels: int [N].
        probabilities: float [N, C].
        classes: C names.
        most: how many to show at most.
        saliency: from positions int [M] to maps float [M, H, W] in 0 to 1 of what supported the predictions, shown
            next to the images and computed for those only; None shows the images alone.
        crop: side of the central part that the classifier sees, in sides of the image; framed.
    """
    y, p = checked_probabilities(labels, probabilities, len(classes))
    check_images(images, len(y))
    predicted, confidence = p.argmax(1), p.max(1)
    wrong = np.flatnonzero(predicted != y)
    if not len(wrong):
        return message(f"no mistakes among {len(y)} images")
    shown = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    which = "all of them" if len(shown) == len(wrong) else f"the {len(shown)} most confident"
    title = f"{len(wrong)} of {len(y)} images wrong, {which}: label → prediction, its probability"
    texts = [f"{classes[y[index]]}\n→ {classes[predicted[index]]} {confidence[index]:.2f}" for index in shown]
    return draw_gallery(images[shown], texts, title, saliency(shown) if saliency else None, crop)
