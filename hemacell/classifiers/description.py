"""What a classifier is and what it returns, without torch: jobs read both before they load a network."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from hemacell.framing.description import Framing, Site

#: Files in a classifier's folder.
WEIGHTS, DESCRIPTION, ENCODERS = "classifier.safetensors", "classifier.json", "encoders"
DETECTOR, TRAINED_ON = "ood_detector.safetensors", "training_images.json"
OPEN_SET = "open_set.safetensors"

#: Distance from the known cells above which an image is out of distribution: distances are in units of the threshold.
OOD_THRESHOLD = 1.0
#: Score above which a cell is none of the classes: scores are in units of the threshold.
OPEN_SET_THRESHOLD = 1.0


class ClassifierConfig(BaseModel):
    """All that a classifier is, apart from its weights and encoders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...]
    decoded_size: int
    """side of a decoded picture in pixels: of the image's central square, or of the framed picture"""
    size: int
    """side of what the cell network sees, in pixels"""
    crop: float
    """side of the central part of a decoded picture that is used, in its sides"""
    framing: Framing | None = None
    """how pictures are framed; None where their central square is decoded as it is"""
    site: Site | None = None
    """the laboratory of the training images, or the one that it was adapted to, where pictures are framed"""
    adapted_to: str = ""
    """name of the laboratory that it was adapted to, which `site` then is; '' for none"""
    site_labels: int = 0
    """labelled cells of that laboratory that set its last layers, temperature and threshold"""
    views: int
    """flips and quarter turns over which a prediction is averaged, 1 to 8"""
    temperature: float = 1.0
    confidence_threshold: float = 0.0
    """a cell whose probability is below this needs review; above 1 where val cannot show `target_risk`"""
    target_risk: float = 0.01
    """share of wrong predictions allowed among those that need no review"""
    calibration_images: int = 0
    """val images that set the threshold"""
    open_set_rate: float = 0.0
    """share of known cells that may be called none of the classes; 0 where too few cells were there to set a limit"""
    encoders: tuple[str, ...]
    """slugs of the encoders, in the order in which the network takes them"""
    method: str = "fusion"
    """name in the registry of `hemacell.classifiers.methods`"""
    hyperparameters: dict[str, Any] = {}
    """what the method needs to build its network again, as JSON"""

    @property
    def shows_target_risk(self) -> bool:
        """Whether val has shown, with 95 % confidence, that at most `target_risk` of the accepted are wrong."""
        return self.confidence_threshold <= 1

    def calibration_in_words(self) -> str:
        """One line on what the threshold rests on."""
        if self.adapted_to and not self.site_labels:
            return (
                f"the threshold is that of the training laboratory: without labels nothing shows what it is worth in "
                f"{self.adapted_to}; label some cells, and adapt again with labels="
            )
        target, count = f"{100 * self.target_risk:g} %", self.calibration_images
        cells = f"labelled cells of {self.adapted_to}" if self.site_labels else "val cells"
        if self.shows_target_risk:
            return (
                f"predictions from a probability of {self.confidence_threshold:.2f} on are accepted without review: "
                f"{count} {cells} show that at most {target} of them are wrong (one-sided 95 % limit)"
            )
        from hemacell.evaluation.selective import images_needed

        needed = images_needed(self.target_risk)
        why = (
            f"it takes {needed} without a mistake"
            if count < needed
            else "too many of these are wrong at every threshold"
        )
        return (
            f"every prediction needs review: {count} {cells} cannot show that at most {target} are wrong "
            f"({why}); label more, or train with a larger target_risk="
        )

    def open_set_in_words(self) -> str:
        """One line on the cells that are called none of the classes."""
        if not self.open_set_rate:
            return "no cell is called none of the classes: val had too few cells to set a limit, or none was asked for"
        where = f"moved with the pictures of {self.adapted_to}" if self.adapted_to else "set on val"
        return (
            f"a cell that is like none of the {len(self.classes)} classes is flagged; so are about "
            f"{100 * self.open_set_rate:g} % of the known ones (the limit is {where}), and not all cells of other "
            "kinds are found"
        )


class Predictions(NamedTuple):
    """What a classifier returns for N images."""

    probabilities: np.ndarray
    """float32 [N, classes], calibrated"""
    distance: np.ndarray
    """float32 [N], from the cells of the training laboratory; above `OOD_THRESHOLD` an image is unlike them"""
    none_of_these: np.ndarray
    """float32 [N], scores; above `OPEN_SET_THRESHOLD` a cell is none of the classes"""

    @property
    def is_ood(self) -> np.ndarray:
        """bool [N], whether an image is out of distribution."""
        return self.distance > OOD_THRESHOLD

    @property
    def is_unknown(self) -> np.ndarray:
        """bool [N], whether a cell is none of the classes."""
        return self.none_of_these > OPEN_SET_THRESHOLD


class Prediction(NamedTuple):
    """What a classifier predicts for one image."""

    probabilities: np.ndarray
    """float [classes], calibrated"""
    distance: float
    """from the cells that it knows, in units of the threshold: above 1 the image is out of distribution"""
    doubt: str = ""
    """what is wrong with the image, so that it needs review; '' for nothing"""
    remark: str = ""
    """what else is to be said of it"""
    none_of_these: float = 0.0
    """score of being none of the classes, in units of the threshold"""
