"""A classifier as an ONNX file: written, read with onnxruntime, and compared with the original classifier.

The packages are an optional extra: they, and torch, are imported where they are used.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from hemacell.classifiers.description import ENCODERS, Predictions
from hemacell.core.errors import UserError
from hemacell.encoders.description import DESCRIPTION as ENCODER
from hemacell.encoders.description import EncoderConfig

if TYPE_CHECKING:
    from hemacell.classifiers.description import ClassifierConfig
    from hemacell.classifiers.model import ClassifierModel

SUFFIXES = (".onnx",)
INPUT, OUTPUTS = "images", ("probabilities", "distance", "none_of_these")
#: Largest difference to the classifier in torch: of a probability, and of a distance as a share of it.
MOST_DIFFERENT, MOST_DISTANT = 1e-4, 1e-3
BATCH = 16  # with eight views 128 images for the networks: more are not faster, and need more memory

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_NO_NETWORKS = ("morphology",)  # kinds of encoders
_OPSET = 20  # the first with Gelu
_IR_VERSION = 10  # of 2024: newer files need a newer onnxruntime, and say nothing more


def require_onnx() -> None:
    """Check that the extra is installed, without importing it.

    Raises:
        UserError: a package of it is missing.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f'ONNX needs packages that are not installed ({", ".join(missing)}): type pip install -e ".[onnx]"'
        )


def check_exportable(folder: Path) -> None:
    """Check that a classifier can be written as ONNX, before it is loaded.

    Args:
        folder: of the classifier, see `hemacell.classifiers.folder`.

    Raises:
        UserError: one of its encoders is no network.
    """
    for file in sorted((folder / ENCODERS).glob(f"*/{ENCODER}")):
        if EncoderConfig.model_validate_json(file.read_text(encoding="utf-8")).kind in _NO_NETWORKS:
            raise UserError(
                f"export: the encoder {file.parent.name} measures pictures with scikit-image and is no network: ONNX "
                f"cannot hold it; export a classifier that was trained without encoders={file.parent.name}"
            )


def export_onnx(model: ClassifierModel, file: Path, facts: Mapping[str, str]) -> None:
    """Write a classifier as one ONNX file, by `torch.onnx.export`.

    Input `images`, uint8 [N, decoded_size, decoded_size, 3] with any N; outputs `probabilities`, float32 [N, classes],
    `distance` and `none_of_these`, float32 [N] (see `hemacell.classifiers.model.ClassifierModel`).

    Args:
        model: the classifier, on the CPU and in float32.
        file: to write.
        facts: further metadata of the file; classes (separated by commas), decoded_size and confidence_threshold are
            there, and where pictures are framed, framing and site as JSON.
    """
    import torch

    if model.precision != "float32":
        raise ValueError(f"a classifier is exported in float32, found precision={model.precision}")
    config = model.config
    example = torch.zeros(2, config.decoded_size, config.decoded_size, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        # of torch.export itself, when it copies what it has traced
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        program = torch.onnx.export(
            model,
            (example,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            opset_version=_OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:  # as it is declared; only without dynamo
        raise RuntimeError("torch.onnx.export gave no program")
    program.model.ir_version = _IR_VERSION
    program.model.metadata_props.update(
        {
            "classes": ",".join(config.classes),
            "decoded_size": str(config.decoded_size),
            "confidence_threshold": repr(config.confidence_threshold),
            **_framing(config),
            **facts,
        }
    )
    program.save(file, external_data=False)


def _framing(config: ClassifierConfig) -> dict[str, str]:
    """What `hemacell.framing.frame` needs to make a classifier's pictures; empty where these are central squares."""
    if config.framing is None or config.site is None:
        return {}
    return {"framing": config.framing.model_dump_json(), "site": config.site.model_dump_json()}


class OnnxClassifier:
    """An exported classifier in onnxruntime, on the CPU.

    Args:
        file: what `export_onnx` wrote.
        threads: processor threads; 0 for one a core.
    """

    def __init__(self, file: Path, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def predict_pixels(self, pixels: np.ndarray, batch: int = BATCH) -> Predictions:
        """Predictions for decoded images, uint8 [N, decoded_size, decoded_size, 3], N > 0, so many at a time."""
        parts = [
            self.session.run(list(OUTPUTS), {INPUT: np.ascontiguousarray(pixels[start : start + batch])})
            for start in range(0, len(pixels), batch)
        ]
        return Predictions(*map(np.concatenate, zip(*parts, strict=True)))


@dataclass(frozen=True)
class Difference:
    """How far two classifiers' predictions for the same images lie apart."""

    images: int
    probability: float
    """largest difference of a probability"""
    distance: float
    """largest difference of a distance, or of a score of being no class, as a share of it"""
    other_class: int
    """images that are given another class"""

    @property
    def is_small(self) -> bool:
        """Whether the two are the same classifier."""
        near = self.probability <= MOST_DIFFERENT and self.distance <= MOST_DISTANT  # False where one is NaN
        return near and not self.other_class

    def in_words(self) -> str:
        """One line."""
        return (
            f"on {self.images} images probabilities differ by {self.probability:.1e} at most, distances by "
            f"{self.distance:.1e} of their size, and {self.other_class} have another class"
        )


def difference(expected: Predictions, found: Predictions) -> Difference:
    """Compare the predictions for the same N > 0 images."""
    other = expected.probabilities.argmax(1) != found.probabilities.argmax(1)
    return Difference(
        images=len(other),
        probability=float(np.abs(expected.probabilities - found.probabilities).max()),
        distance=max(_relative(getattr(expected, name), getattr(found, name)) for name in OUTPUTS[1:]),
        other_class=int(other.sum()),
    )


def _relative(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference as a share of what is expected; small scores count as 1 % of the threshold."""
    return float((np.abs(expected - found) / np.maximum(expected, 1e-2)).max())


def images_per_second(
    predictors: Mapping[str, Callable[[np.ndarray], object]], pixels: np.ndarray, rounds: int
) -> dict[str, float]:
    """How fast several classifiers predict the same images: the median over rounds in which they take turns.

    Args:
        predictors: by name; each is called once before, with few images, to be warm.
        pixels: uint8 [N, decoded_size, decoded_size, 3], N > 0.
        rounds: 1 or more.
    """
    rates: dict[str, list[float]] = {name: [] for name in predictors}
    for predict in predictors.values():
        predict(pixels[:2])
    for _ in range(rounds):
        for name, predict in predictors.items():
            started = time.perf_counter()
            predict(pixels)
            rates[name].append(len(pixels) / (time.perf_counter() - started))
    return {name: median(each) for name, each in rates.items()}
