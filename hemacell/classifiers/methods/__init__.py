"""Methods of classifying, one file each: what they learn from, and the registry by which a setting names them.

A method is a class with `fit` and `build`, registered under its name:

    @method("nearest_mean")
    class NearestMean(Method): ...

Modules of this package are found by themselves, and register the method of their own name. Another package names its
module by an entry point of the group `hemacell.methods`; a script uses the decorator before it runs a job.
`docs/examples/add_a_method.py` is a complete example.
"""

from __future__ import annotations

import ast
import linecache
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from hemacell.core.errors import UserError
from hemacell.core.provenance import code_digest, sources_digest
from hemacell.core.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hemacell.classifiers.cells import CellImages
    from hemacell.classifiers.description import ClassifierConfig
    from hemacell.classifiers.model import CellClassifier
    from hemacell.config.jobs import WbcSettings
    from hemacell.data.stacked import Pixels
    from hemacell.encoders.embeddings import StoredViews
    from hemacell.training.loop import Task, Trained


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a method learns from: labelled cells of one draw."""

    pixels: Pixels
    """uint8 [M, S, S, 3], all decoded images; from memory maps"""
    train: CellImages
    """the labelled training cells, with the embeddings of `Method.stored_views`; in synthetic laboratories, too"""
    val: CellImages
    """the val cells, for metrics during training; not to be learnt from"""
    sha256: Sequence[str]
    """digests of the training images, in the order of `train`; without those in synthetic laboratories"""


@dataclass(frozen=True, eq=False)
class FitContext:
    """How a method learns."""

    settings: WbcSettings
    config: ClassifierConfig
    """the classifier so far: classes, crop, encoders"""
    widths: Sequence[int]
    """of the encoders' embeddings"""
    device: torch.device
    train: Callable[[Task, nn.Module, int], Trained]
    """runs `hemacell.training.loop.fit` on a task, a network and a number of steps, with progress and logged losses"""
    warm_start: Path | None = None
    """folder of the classifier to start from, where the method can"""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a method has learnt."""

    network: CellClassifier
    config: ClassifierConfig
    """with the hyperparameters that `build` needs"""
    steps: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    """what it chose, such as a strength of regularisation"""


class Method(ABC):
    """A way to learn a classifier from labelled cells and from embeddings of frozen encoders."""

    name: ClassVar[str] = ""
    needs_encoders: ClassVar[bool] = True
    can_warm_start: ClassVar[bool] = False
    learns_from_laboratories: ClassVar[bool] = False
    """Whether it learns from training cells in synthetic laboratories too."""

    def check(self, settings: WbcSettings) -> None:
        """Check, before anything is loaded, that the method can do what the settings ask for.

        Raises:
            UserError: it needs encoders and encoders=none is set, or it cannot start from another classifier.
        """
        if self.needs_encoders and tuple(settings.encoders) in ((), ("none",)):
            raise UserError(
                f"method={self.name} classifies the embeddings of encoders, found encoders=none; "
                "type for example encoders=imagenet"
            )
        if settings.init_from and not self.can_warm_start:
            raise UserError(f"method={self.name} does not start from another classifier; leave init_from= out")

    def stored_views(self, settings: WbcSettings, images: int) -> StoredViews:
        """The views of each of `images` training images that it learns from; their embeddings are stored.

        By default these are the flips and quarter turns that a prediction is averaged over.
        """
        from hemacell.encoders.embeddings import StoredViews

        return StoredViews(settings.prediction_views, augmented=False)

    @abstractmethod
    def fit(self, data: TrainingData, context: FitContext) -> Fitted:
        """Learn from labelled cells."""

    @abstractmethod
    def build(self, config: ClassifierConfig, widths: Sequence[int]) -> CellClassifier:
        """The network of a description, untrained: the stored weights are loaded into it.

        Args:
            config: with `hyperparameters` as `fit` left them (tuples have become lists).
            widths: of the encoders' embeddings.
        """


METHODS: Registry[Method] = Registry(
    "method", "hemacell.methods", [f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)]
)
_Class = TypeVar("_Class", bound=type[Method])


def method(name: str) -> Callable[[_Class], _Class]:
    """Register a method under a name, the value of `method=`."""

    def register(cls: _Class) -> _Class:
        cls.name = name
        METHODS.add(name, cls())
        return cls

    return register


def method_digest(name: str) -> str:
    """What decides how a method learns, for the key of a run: sha256 of the code of its module.

    Raises:
        UserError: the method is unknown, or its source cannot be read.
    """
    module = f"{__name__}.{name}"
    if module in METHODS.modules:
        return sources_digest(module)  # with all of ours that it imports; costs no import
    file = type(METHODS[name]).fit.__code__.co_filename
    source = "".join(linecache.getlines(file))  # of a script or a notebook, too
    if not source:
        raise UserError(f"method={name}: its source, {file}, cannot be read; write the method into a file")
    return code_digest(ast.parse(source))
