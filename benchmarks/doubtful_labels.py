"""How many exchanged labels are found: 5 % of the training labels are exchanged at random, over several seeds.

    python benchmarks/doubtful_labels.py --features FILE.npy --labels FILE.npy [--exchanged 0.05] [--within 0.08]

The features are float32 [N, D] of a frozen encoder, the labels int [N] of the same training images. Prints, per seed,
the share of exchanged labels among the most doubtful, and the precision and recall of the flag `doubtful`.
"""

import argparse
import time

import numpy as np

from hemacell.audit.doubtful_labels import doubtful_labels


def main() -> None:
    """Exchange, rank and print, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", required=True)
    parser.add_argument("--labels", required=True)
    parser.add_argument("--exchanged", type=float, default=0.05)
    parser.add_argument("--within", type=float, default=0.08)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    features, labels = np.load(asked.features), np.load(asked.labels)
    count = labels.max() + 1
    names = tuple(map(str, range(count)))
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
