"""The networks that an encoder can have: kind -> the function that builds one.

The function takes `weights` and the arguments in `EncoderConfig.body`, and returns a module with `stages(images)`: the
features [N, C, h, w] after each stage, for images float [N, 3, H, W] in [0, 1]. `weights` is `random`, the path of a
safetensors file, or a word that the function knows (`imagenet`). Where only a part of the module is to be stored, that
part is its attribute `network`. A module without stages has `embedding(images)` instead, [N, width]; if turns and flips
of an image have the same embedding, its attribute `invariant` is True.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from hemacell.core.errors import UserError
from hemacell.core.registry import Registry
from hemacell.encoders.description import EncoderConfig

if TYPE_CHECKING:
    from torch import nn

RANDOM, IMAGENET = "random", "imagenet"

#: kind -> `module:function`, imported when one is built; entry-point group `hemacell.architectures`.
ARCHITECTURES: Registry[str] = Registry("kind of encoder", "hemacell.architectures")
ARCHITECTURES.add("autoencoder", "hemacell.encoders.autoencoder:build")
ARCHITECTURES.add("backbone", "hemacell.encoders.timm_backbone:build")
ARCHITECTURES.add("morphology", "hemacell.encoders.measured_cell:build")


def build_body(config: EncoderConfig, weights: str = RANDOM) -> "nn.Module":
    """The network of a description.

    Raises:
        UserError: the kind is unknown, does not take these arguments, or its weights are not available.
    """
    module, _, function = ARCHITECTURES[config.kind].partition(":")
    build: Callable[..., nn.Module] = getattr(import_module(module), function)
    try:
        return build(weights=weights, **config.body)
    except TypeError as error:
        raise UserError(f"an encoder of kind {config.kind} cannot be built from {config.body}: {error}") from error
