"""How many exchanged labels are found: 5 % of the training labels are exchanged at random, over several seeds.

    python benchmarks/doubtful_labels.py --data DIR [--exchanged 0.05] [--within 0.08]

Features are those of `audit`: the encoder `imagenet` on one view. Prints, per seed, the share of exchanged labels among
the most doubtful, and the precision and recall of the flag `doubtful`.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from hemacell.audit.doubtful_labels import doubtful_labels
from hemacell.config.jobs import AuditSettings
from hemacell.core.cache import cache_dir
from hemacell.core.progress import Progress
from hemacell.data.decoding import decode
from hemacell.data.sources.base import SourceOptions
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.splits import official_splits
from hemacell.encoders.embeddings import StoredViews, embed
from hemacell.encoders.frozen import create_encoder
from hemacell.encoders.registry import find_entry


def training_features(data: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Features float32 [N, D] and labels int64 [N] of the training images, and the classes."""
    settings = AuditSettings()
    images = official_splits(read_manifest(data, "wbc", SourceOptions(masks=False)))
    decoded = decode(images, settings.decoded_size, cache_dir(), progress=Progress("decoding"))
    train = decoded.manifest.part("train")
    encoder = create_encoder(*find_entry("imagenet").source("imagenet")).with_crop(settings.encoder_size, settings.crop)
    views, digests = StoredViews(1, augmented=False), list(train.table["sha256"])
    found = embed(
        encoder, decoded.array, decoded.rows(train), digests, views, cache_dir(), "float32", Progress("embedding")
    )
    return found[:, 0], train.labels, train.classes


def main() -> None:
    """Exchange, rank and print, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--exchanged", type=float, default=0.05)
    parser.add_argument("--within", type=float, default=0.08)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    features, labels, names = training_features(asked.data)
    count = len(names)
    for seed in range(asked.seeds):
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(labels), round(asked.exchanged * len(labels)), replace=False)
        noisy = labels.copy()
        noisy[chosen] = (labels[chosen] + rng.integers(1, count, len(chosen))) % count
        started = time.perf_counter()
        doubts = doubtful_labels(features, noisy, np.arange(len(labels)), names, seed)
        seconds = time.perf_counter() - started
        among_first = (doubts.rank[chosen] <= asked.within * len(labels)).mean()
        hit = doubts.doubtful[chosen].sum()
        print(
            f"seed {seed}: {among_first:.3f} of {len(chosen)} exchanged labels within the first {asked.within:.0%}; "
            f"{doubts.doubtful.sum()} flagged, precision {hit / max(doubts.doubtful.sum(), 1):.3f}, "
            f"recall {hit / len(chosen):.3f}; {seconds:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
