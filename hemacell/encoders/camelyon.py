"""`camelyon`: an ImageNet backbone, fine-tuned on lymph node patches; judged against `imagenet`, where it starts."""

from hemacell.encoders.architectures import RANDOM
from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.registry import EncoderSource, encoder


@encoder("camelyon", label="Camelyon backbone", control="imagenet", colour="#D55E00", marker="^", job="camelyon")
def camelyon(name: str) -> EncoderSource:
    """What the job `camelyon` makes by default."""
    config = EncoderConfig(kind="backbone", body={"arch": "tf_efficientnet_lite0"}, input_size=96)
    return EncoderSource(config, RANDOM)
