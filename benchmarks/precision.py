"""Images per second of an ImageNet encoder in float32 and in bfloat16 on this machine, and what `precision=auto` takes.

python benchmarks/precision.py [--size 96] [--threads 1]
"""

import argparse
import statistics
import time

import torch

from hemacell.core.precision import choose_precision
from hemacell.encoders.description import EncoderConfig
from hemacell.encoders.frozen import FrozenEncoder
from hemacell.encoders.timm_backbone import Backbone, create_backbone

BATCH, ROUNDS = 64, 3


def main() -> None:
    """Embed the same images in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    config = EncoderConfig(kind="backbone", body={"arch": "tf_efficientnet_lite0"}, input_size=asked.size)
    encoder = FrozenEncoder(config, Backbone(create_backbone(weights="imagenet")))
    images = torch.rand(BATCH, 3, asked.size, asked.size)
    rates: dict[str, list[float]] = {"float32": [], "bf16": []}
    for number in range(ROUNDS + 1):  # the first round warms up
        for precision, found in rates.items():
            started = time.perf_counter()
            encoder.embed(images, precision)
            if number:
                found.append(BATCH / (time.perf_counter() - started))
    for precision, found in rates.items():
        print(f"{precision:<8} {statistics.median(found):8.1f} images/s")
    print(f"precision=auto takes {choose_precision('cpu')}")


if __name__ == "__main__":
    main()
