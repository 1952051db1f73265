"""What an encoder is, without its weights; read and written without importing torch."""

from typing import Any

from pydantic import BaseModel, ConfigDict

WEIGHTS, DESCRIPTION = "encoder.safetensors", "encoder.json"


class EncoderConfig(BaseModel):
    """What is needed to build an encoder again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    """A name in `hemacell.encoders.architectures`: such as `autoencoder`, `backbone` or `morphology`."""
    body: dict[str, Any]
    """The arguments of its network."""
    input_size: int
    """Side of what it sees, in pixels."""
    crop: float = 1.0
    """Side of the part around the centre that it is shown, in sides of the image (0 < crop <= 1)."""
    reach: float = 1.0
    """How much more of an image it is shown than other encoders: a factor of the side."""
