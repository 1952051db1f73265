"""`prcc`: the encoder of an autoencoder that learns from unlabelled kidney tiles; and `random-prcc`, its control."""

from hemacell.encoders.architectures import RANDOM
from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.registry import EncoderSource, encoder


@encoder("prcc", label="pRCC autoencoder", control="random", colour="#0072B2", marker="s", job="prcc")
def prcc(name: str) -> EncoderSource:
    """What the job `prcc` makes by default."""
    body = {"widths": [32, 64, 128, 192], "latent_channels": 36}
    return EncoderSource(EncoderConfig(kind="autoencoder", body=body, input_size=96), RANDOM)
