"""How even the folds of cross-validation are, and how many images change their fold when others are added.

    python benchmarks/folds.py [--data DIR[,DIR]] [--folds 5]

Three ways: hemacell's (`hemacell.data.folds`), a plain hash of the group, and scikit-learn's StratifiedGroupKFold.
Made-up sets, and those that are given, each under 20 seeds. Printed are means over these: the standard deviation of the
folds' sizes, as a share of their mean, over all images and over those of the rarest class; how often a fold has no
image of a class; and the share of images that change their fold where a tenth of the groups is added.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from hemacell.data.folds import folds_of
from hemacell.data.sources.resolve import read_manifest
from hemacell.data.splits import hash_place

Way = Callable[[Sequence[str], Sequence[str], int, int], dict[str, int]]
Set = tuple[list[str], list[str]]  # groups and labels of N images
SEEDS = 20


def by_hash(groups: Sequence[str], labels: Sequence[str], folds: int, seed: int) -> dict[str, int]:
    """The place of a group's hash in 0..1 decides, and nothing else."""
    return {group: int(hash_place(seed, group) * folds) for group in groups}


def by_sklearn(groups: Sequence[str], labels: Sequence[str], folds: int, seed: int) -> dict[str, int]:
    """StratifiedGroupKFold, shuffled."""
    divided = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(groups, labels, groups)
    return {groups[row]: fold for fold, (_, test) in enumerate(divided) for row in test}


WAYS: dict[str, Way] = {"hemacell": folds_of, "plain hash": by_hash, "StratifiedGroupKFold": by_sklearn}


def made_up(groups: int, mean_size: float, mixed: bool) -> Set:
    """Groups of several classes, or of one, with sizes of a geometric distribution and a rare class of 6 %."""
    rng = np.random.default_rng(0)
    shares, names = [0.06, 0.14, 0.2, 0.2, 0.4], list("ABCDE")
    found: Set = ([], [])
    for number in range(groups):
        size = int(rng.geometric(1 / mean_size))
        labels = rng.choice(names, size, p=shares) if mixed else [rng.choice(names, p=shares)] * size
        found[0].extend([f"group {number}"] * size)
        found[1].extend(map(str, labels))
    return found


def measure(way: Way, data: Set, folds: int) -> list[float]:
    """Means over seeds: see the head of this file."""
    groups, labels = data
    rare = min(Counter(labels).items(), key=lambda pair: pair[1])[0]
    names = sorted(set(groups))
    rows = []
    for seed in range(SEEDS):
        fold_of = way(groups, labels, folds, seed)
        table = np.zeros((folds, len(set(labels))))
        index = {label: number for number, label in enumerate(sorted(set(labels)))}
        for group, label in zip(groups, labels, strict=True):
            table[fold_of[group], index[label]] += 1
        later = set(np.random.default_rng(seed).permutation(names)[: max(1, len(names) // 11)])
        there = [row for row, group in enumerate(groups) if group not in later]
        before = way([groups[row] for row in there], [labels[row] for row in there], folds, seed)
        moved = np.mean([before[groups[row]] != fold_of[groups[row]] for row in there])
        sizes, of_rare = table.sum(1), table[:, index[rare]]
        rows.append([sizes.std() / sizes.mean(), of_rare.std() / of_rare.mean(), (table == 0).any(), moved])
    return np.mean(rows, axis=0).tolist()


def main() -> None:
    """Measure every way on every set, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="")
    parser.add_argument("--folds", type=int, default=5)
    asked = parser.parse_args()
    sets = {
        "100 images": made_up(100, 1, mixed=False),
        "300 images": made_up(300, 1, mixed=False),
        "20 patients": made_up(20, 30, mixed=True),
        "60 patients": made_up(60, 10, mixed=True),
        "100 cells": made_up(100, 4, mixed=False),
    }
    for folder in filter(None, asked.data.split(",")):
        table = read_manifest(Path(folder), "wbc").table
        sets[Path(folder).name] = table["group"].tolist(), table["label"].tolist()
    print(f"{'':<14}{'':<22}{'spread':>8}{'of rare':>9}{'class missing':>15}{'moved':>8}")
    for name, data in sets.items():
        for way, function in WAYS.items():
            spread, of_rare, missing, moved = measure(function, data, asked.folds)
            print(f"{name:<14}{way:<22}{spread:>8.1%}{of_rare:>9.1%}{missing:>15.0%}{moved:>8.1%}")


if __name__ == "__main__":
    main()
