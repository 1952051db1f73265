"""`imagenet`: the Camelyon backbone with its ImageNet weights only; `random-imagenet`: the same, untrained."""

from hemacell.encoders.architectures import IMAGENET
from hemacell.encoders.camelyon import camelyon
from hemacell.encoders.registry import EncoderSource, encoder


@encoder("imagenet", label="ImageNet backbone", control="random", like="camelyon")
def imagenet(name: str) -> EncoderSource:
    """The network is that of the registered Camelyon encoder, where there is one."""
    return camelyon(name)._replace(weights=IMAGENET)
