"""`morphology`: measured numbers of nucleus and cell, which are read and not learnt; nothing is to be downloaded."""

from hemacell.encoders.architectures import RANDOM
from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.registry import EncoderSource, encoder

_REACH = 1.5  # the whole cell, and glass around it


@encoder("morphology", label="morphology", colour="#009E73", marker="P")
def morphology(name: str) -> EncoderSource:
    """The version of the measurements is a part of what it is; there are no weights, and so no control."""
    from hemacell.data.morphology import VERSION

    config = EncoderConfig(kind="morphology", body={"version": VERSION}, input_size=96, reach=_REACH)
    return EncoderSource(config, RANDOM)
