"""Add a frozen encoder, and the control that it is judged against, in one file outside the package.

The network is any of timm's, here a very small one; its weights are yours, as safetensors under timm's names.

    python add_an_encoder.py --encoders tiny --fraction 0.5 --data DIR          # with your weights
    python add_an_encoder.py --encoders random-tiny --fraction 0.5 --data DIR   # its control: the same, untrained

In an installed package, an entry point makes it known to every command, `mlflow run` too:

    [project.entry-points."hemacell.encoders"]
    tiny = "my_package.add_an_encoder"
"""

from pathlib import Path

from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.registry import EncoderSource, encoder

WEIGHTS = Path(__file__).with_name("tiny.safetensors")


@encoder("tiny", label="tiny EfficientNet", control="random", colour="#117733", marker="v")
def tiny(name: str) -> EncoderSource:
    """The network and where its weights are; nothing is read before it is used."""
    config = EncoderConfig(kind="backbone", body={"arch": "test_efficientnet"}, input_size=96)
    return EncoderSource(config, weights=str(WEIGHTS))


if __name__ == "__main__":
    from hemacell.cli import main
    from hemacell.config.jobs import WbcSettings
    from projects.wbc import run

    main(WbcSettings, run)
