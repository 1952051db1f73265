"""`timm:NAME`: any network of timm with its pretrained weights; and `random-timm:NAME`, the same untrained."""

from hemacell.encoders.architectures import IMAGENET
from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.registry import EncoderSource, encoder


@encoder("timm:", label="timm", control="random")
def timm_pretrained(name: str) -> EncoderSource:
    """`timm:resnet18` has timm's resnet18; `timm.list_models()` lists the names."""
    arch = name.partition(":")[2]
    return EncoderSource(EncoderConfig(kind="backbone", body={"arch": arch}, input_size=96), IMAGENET)
