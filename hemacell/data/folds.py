"""Cross-validation: every image is tested once, for sets that are too small for a test split of their own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

import numpy as np

from hemacell.core.errors import UserError
from hemacell.data.groups import classes_of_groups, known_groups, strata
from hemacell.data.manifest import SPLITS, Manifest
from hemacell.data.splits import (
    SEED,
    TRAIN_AND_VAL,
    hash_place,
    move_originals,
    seeded_hash,
    sides_by_place,
)

logger = logging.getLogger(__name__)


def pooled(manifest: Manifest, folds: int) -> Manifest:
    """All images in one split, from which folds are made; says so where they were divided.

    Raises:
        UserError: as `check_folds`.
    """
    check_folds(manifest, folds)
    divided = manifest.table.loc[manifest.table["source"] == "original", "split"].value_counts()
    if len(divided) > 1:
        numbers = ", ".join(f"{divided.get(split, 0)} {split}" for split in SPLITS)
        logger.info(f"folds={folds}: the splits that are given ({numbers}) are pooled and divided anew")
    return manifest.with_splits(["train"] * len(manifest))


def check_folds(manifest: Manifest, folds: int) -> None:
    """Check that every class has as many groups as there are folds.

    Raises:
        UserError: that class.
    """
    groups, labels = _originals(manifest)
    what = "groups" if known_groups(manifest) else "images"
    for label, members in classes_of_groups(groups, labels).items():
        if len(members) < folds:
            fewer = f"type folds={len(members)}, or " if len(members) > 1 else ""
            raise UserError(
                f"folds={folds}: expected {folds} or more {what} of every class, found {len(members)} of {label}; "
                f"{fewer}leave the class out by classes={label}:-"
            )


def with_fold(manifest: Manifest, folds: int, fold: int, seed: int = SEED) -> Manifest:
    """The images with one fold as test; 1 in 8 of the others is val, the rest train.

    Groups (where none is known, images) stay whole. The groups of each stratum (`groups.strata`) are ordered by a hash
    and cut into parts of equally many images, so that the folds are about as large and have about the same share of
    every class, also of small classes. When images are added, a group keeps its fold unless it lies at a cut:
    `benchmarks/folds.py` counts both, beside a plain hash, which moves none and leaves the folds uneven, and
    scikit-learn's `StratifiedGroupKFold`, which moves most. Val is taken in the same way, for each fold anew, so that
    every image is learnt from in most folds. Masked copies follow their images and are dropped outside of train.

    Args:
        manifest: from `pooled`.
        folds: 2 or more.
        fold: the number of the test fold, 0 to folds - 1.
        seed: of the order.

    Raises:
        UserError: no such fold, or a class without an image to learn from.
    """
    if not 0 <= fold < folds:
        raise UserError(f"draw={fold}: with folds={folds} a draw is a fold, 0 to {folds - 1}")
    groups, labels = _originals(manifest)
    fold_of = folds_of(groups, labels, folds, seed)
    rest = [fold_of[group] != fold for group in groups]
    others = [group for group, there in zip(groups, rest, strict=True) if there]
    of_others = [label for label, there in zip(labels, rest, strict=True) if there]
    place = even_places(others, of_others, ("val of fold", fold, seed))
    side = sides_by_place(place, classes_of_groups(others, of_others), TRAIN_AND_VAL)
    lost = set(labels) - {label for group, label in zip(others, of_others, strict=True) if side[group] == "train"}
    if lost:
        raise UserError(
            f"folds={folds}: fold {fold} leaves no image of {', '.join(sorted(lost))} to learn from; type fewer folds"
        )
    movable = (manifest.table["source"] == "original").to_numpy()
    return move_originals(manifest, movable, [side.get(group, "test") for group in groups])


def folds_of(groups: Sequence[str], labels: Sequence[str], folds: int, seed: int = SEED) -> dict[str, int]:
    """The fold of every group, of N images; see `with_fold`."""
    place = even_places(groups, labels, ("folds", seed))
    shares = {str(number): 1 / folds for number in range(folds)}
    return {
        group: int(side) for group, side in sides_by_place(place, classes_of_groups(groups, labels), shares).items()
    }


def even_places(groups: Sequence[str], labels: Sequence[str], key: tuple[object, ...]) -> dict[str, float]:
    """A place in 0..1 for every group: in each stratum they are ordered by a hash and as far apart as they are large.

    Each stratum begins at a place of its own, so that small ones do not all lie on the same side.

    Args:
        groups, labels: of N images.
        key: of the hash.
    """
    sizes = Counter(groups)
    place: dict[str, float] = {}
    for label, members in strata(groups, labels).items():
        ordered = sorted(members, key=lambda group: seeded_hash(*key, group))
        number = np.array([sizes[group] for group in ordered])
        middle = (np.cumsum(number) - number / 2) / number.sum() + hash_place(*key, "stratum", label)
        place |= dict(zip(ordered, (middle % 1).tolist(), strict=True))
    return place


def _originals(manifest: Manifest) -> tuple[list[str], list[str]]:
    """Groups and labels of the images that are divided."""
    table = manifest.table[manifest.table["source"] == "original"]
    return table["group"].tolist(), table["label"].tolist()
