"""Train, val and test: decided on images, or on groups that must stay together, before any augmentation."""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from hemacell.core.errors import UserError
from hemacell.data.groups import classes_of_groups, known_groups
from hemacell.data.manifest import Manifest

logger = logging.getLogger(__name__)

SEED = 0  # fixed, so that every job and every arm sees the same val and test images
VAL_AND_TEST = {"val": 0.3, "test": 0.7}
TRAIN_AND_VAL = {"train": 0.875, "val": 0.125}  # 70 to 10, as where all three are made
ALL_THREE = {"train": 0.7, "val": 0.1, "test": 0.2}
UNLABELLED = {"train": 0.8, "val": 0.1, "test": 0.1}


def seeded_hash(*parts: object) -> str:
    """A hex digest to sort by: an order that looks random, yet depends on nothing but the parts."""
    return hashlib.sha256("\t".join(map(str, parts)).encode()).hexdigest()


def official_splits(manifest: Manifest, seed: int = SEED) -> Manifest:
    """Complete the splits found on disk to train, val and test.

    With an official test: as it is (a missing val is taken from train, 1 in 8). Without: val is divided into 30 % val
    and 70 % test. Only train: 70 % train, 10 % val, 20 % test. Which side an image is on is read off a hash of its
    content (of its group, where it has one), so that the shares are met about, groups stay whole, and an image stays
    where it is when others are added. A class that would miss a side gives it the group that is nearest to it by its
    hash; a class of one image stays in train. Masked copies and extra images never leave train, and a copy whose image
    has left it is dropped.
    """
    present = set(manifest.table["split"])
    if "test" in present:
        shares, divided = (TRAIN_AND_VAL, "train") if "val" not in present else ({}, "")
    elif "val" in present:
        shares, divided = VAL_AND_TEST, "val"
    else:
        shares, divided = ALL_THREE, "train"
    if not divided:
        return manifest
    table = manifest.table
    movable = ((table["split"] == divided) & (table["source"] == "original")).to_numpy()
    part = manifest.select(movable)
    complete = move_originals(manifest, movable, _by_hash(part, shares, seed))
    numbers = ", ".join(f"{count} {split}" for split, count in split_counts(complete).items())
    logger.info(f"divided into {numbers} by a hash of their content, seed {seed}")
    return complete


def move_originals(manifest: Manifest, chosen: np.ndarray, sides: Sequence[str] | np.ndarray) -> Manifest:
    """Put original images into other splits; a masked copy whose image has left train is dropped.

    Args:
        manifest: N rows.
        chosen: bool [N], the M rows that move.
        sides: M splits.
    """
    table = manifest.table
    splits = table["split"].to_numpy(dtype=object)
    splits[chosen] = sides
    moved = {
        (path, label)
        for path, label, split in zip(table["path"], table["label"], splits, strict=True)
        if split != "train"
    }
    lost_image = np.array(
        [
            source == "masked" and (path, label) in moved
            for source, path, label in zip(table["source"], table["path"], table["label"], strict=True)
        ],
        dtype=bool,
    )
    return manifest.with_splits(splits).select(~lost_image)


def prcc_splits(manifest: Manifest, seed: int = SEED) -> Manifest:
    """Divide unlabelled tiles 80/10/10 by patient or field of view, about: a group is never cut.

    Patients have few to hundreds of tiles, so groups are weighed here and not hashed as in `official_splits`: with a
    new patient, others may change sides.

    Raises:
        UserError: fewer than three groups.
    """
    groups = manifest.table["group"].nunique()
    if groups < 3:
        raise UserError(
            f"{manifest.root / manifest.name} has tiles of {groups} patients or fields: expected 3 or more, one each "
            "for train, val and test; add tiles of other patients"
        )
    return manifest.with_splits(_divide(manifest, UNLABELLED, seed))


def groups_across_splits(manifest: Manifest) -> list[str]:
    """Known groups with images in more than one split, sorted; extra images and masked copies left out."""
    if not known_groups(manifest):
        return []
    table = manifest.table
    sides = table[table["source"] == "original"].groupby("group")["split"].nunique()
    return sorted(sides.index[sides > 1])


def _by_hash(manifest: Manifest, shares: Mapping[str, float], seed: int) -> np.ndarray:
    """A side for every row by the hash of its group; object [N]."""
    groups, labels = manifest.table["group"].tolist(), manifest.table["label"].tolist()
    place = {group: hash_place("split", seed, group) for group in groups}
    side = sides_by_place(place, classes_of_groups(groups, labels), shares)
    return np.array([side[group] for group in groups], dtype=object)


def hash_place(*parts: object) -> float:
    """A number in 0..1 by the hash of the parts."""
    return int(seeded_hash(*parts)[:13], 16) / 16**13


def sides_by_place(
    place: Mapping[str, float], of_class: Mapping[str, set[str]], shares: Mapping[str, float]
) -> dict[str, str]:
    """Cut 0..1 into sides, and put each group on the side in which its place lies.

    A class that misses a side gives it the group whose place is nearest to it, of those that leave a side with another;
    a class of one group gives it to `train`, where there is such a side.

    Args:
        place: group -> 0..1.
        of_class: class -> its groups.
        shares: side -> its share; all together 1.
    """
    ends = dict(zip(shares, np.cumsum(list(shares.values())), strict=True))
    side = {
        group: next((name for name, end in ends.items() if at < end), list(ends)[-1]) for group, at in place.items()
    }
    for label in sorted(of_class):
        members = sorted(of_class[label], key=place.__getitem__)
        for missing in sorted(set(shares) - {side[group] for group in members}, key=lambda name: -shares[name]):
            count = Counter(side[group] for group in members)
            spare = [group for group in members if count[side[group]] > 1]
            start = ends[missing] - shares[missing]
            if spare:
                nearest = min(spare, key=lambda group: max(start - place[group], place[group] - ends[missing]))
                side[nearest] = missing
            elif missing == "train":  # the only image of a class is learnt from
                side[members[0]] = missing
    return side


def _divide(manifest: Manifest, shares: Mapping[str, float], seed: int) -> np.ndarray:
    """A split for every row, class by class and groups uncut; object [N]."""
    splits = np.empty(len(manifest), dtype=object)
    members: dict[str, list[int]] = defaultdict(list)
    for position, group in enumerate(manifest.table["group"]):
        members[group].append(position)
    labels = manifest.table["label"].tolist()
    # A group with two labels (one file in two class folders) counts with its first, so that it stays uncut.
    strata: dict[str, list[str]] = defaultdict(list)
    for group, positions in members.items():
        strata[min(labels[position] for position in positions)].append(group)
    for groups in strata.values():
        sides = apportion({group: len(members[group]) for group in groups}, shares, seed)
        for group, side in sides.items():
            splits[members[group]] = side
    return splits


def apportion(sizes: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign every group to a side so that the sides come close to their shares of all members.

    The largest groups go first (equals in an order that the seed decides), each to the side that so far has the
    smallest part of what it should get; of two equal sides to the larger. So large groups spread over all sides, and
    the small ones even the sides out.
    """
    total = sum(sizes.values())
    wanted = {side: share * total for side, share in shares.items() if share > 0}
    given: dict[str, int] = dict.fromkeys(wanted, 0)
    sides = {}
    for group in sorted(sizes, key=lambda group: (-sizes[group], seeded_hash("split", seed, group))):
        side = min(wanted, key=lambda name: (given[name] / wanted[name], -wanted[name]))
        given[side] += sizes[group]
        sides[group] = side
    return sides


def split_counts(manifest: Manifest) -> dict[str, int]:
    """Number of rows per split; only splits that have rows."""
    return {split: sum(row.values()) for split, row in manifest.counts().items()}
