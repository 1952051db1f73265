"""BatchNorm fused into the convolution before it: the same embeddings in less time, for encoders in use."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hemacell.encoders.frozen import FrozenEncoder


def fuse_batchnorm(encoder: FrozenEncoder) -> FrozenEncoder:
    """An encoder whose convolutions do the work of the BatchNorms after them (Jacob et al. 2018, section 3.2).

    In eval mode a BatchNorm is a factor and a term for each channel. The embeddings are the same except for rounding;
    the weights are not those that are stored, so this is for use only, not for `save_encoder`. Where the embeddings
    differ, because an architecture calls its layers in another order than it declares them, the encoder is returned as
    it is.

    Args:
        encoder: is not changed.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in encoder.body.modules()):
        return encoder
    body = copy.deepcopy(encoder.body)
    _fuse(body)
    quick = FrozenEncoder(encoder.config, body)
    size = encoder.config.input_size
    picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(encoder.device)
    same = torch.allclose(quick.embed(picture), encoder.embed(picture), rtol=1e-3, atol=1e-3)
    return quick if same else encoder


def _fuse(module: nn.Module) -> None:
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and before is not None:
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            # timm's BatchNormAct2d is an activation, too
            rest = [part for part in (getattr(child, "drop", None), getattr(child, "act", None)) if part is not None]
            setattr(module, name, nn.Sequential(*rest))
            before = None
        elif isinstance(child, nn.Conv2d):
            before = name, child
        else:
            _fuse(child)
            before = None
