"""Which labelled training images a job may see: nested draws, and a small subset for a quick try."""

import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from hemacell.core.errors import UserError
from hemacell.data.groups import classes_of_groups, known_groups, strata
from hemacell.data.manifest import Manifest
from hemacell.data.sources.base import WBC_FOLDER
from hemacell.data.sources.class_folders import list_folder
from hemacell.data.sources.listing import to_manifest
from hemacell.data.splits import seeded_hash


def draw(
    train: Manifest,
    fraction: float | None = None,
    labels_per_class: int | None = None,
    draw: int | Literal["official"] = 0,
    root: Path | None = None,
    wbc_folder: str = WBC_FOLDER,
) -> Manifest:
    """Keep a part of the labelled training images; rows of other splits stay as they are.

    Each class has one permutation, made of the draw's number and the images' sha256, of which the first
    `max(1, round(fraction * n))`, or the first K, are taken. So draws of one number are nested (1 % in 10 % in 50 %)
    and depend neither on file names nor on order. A masked copy follows its image; extra images always stay.

    Where groups are known (patients, slides), a fraction takes whole groups, so that a patient who was not drawn was
    not seen: of the groups of each stratum (`groups.strata`), in the order of a hash, as many as come nearest to the
    fraction of its images. The groups that give every class an image come first and are always drawn, so that few
    labels of few patients may be more than was asked for. `labels_per_class` takes the images group by group, which
    needs few groups, and cuts the last one.

    Args:
        train: a manifest with labels.
        fraction: above 0, up to 1; None means 1.
        labels_per_class: K images per class instead of a fraction (all of a class that has fewer).
        draw: the number of the draw, 0 or more, or 'official': the images in the folders WBC_50, WBC_10 and WBC_1.
        root: the data folder, where the official folders are looked for; the manifest's by default.
        wbc_folder: the part that the official folders belong to (their prefix is what stands before the first `_`).

    Raises:
        UserError: an impossible fraction, number of labels or draw, both of the first two, or no official folder.
    """
    if fraction is not None and not 0 < fraction <= 1:
        raise UserError(f"fraction={fraction}: expected a number above 0 and up to 1, such as 0.1")
    if labels_per_class is not None and labels_per_class < 1:
        raise UserError(f"labels_per_class={labels_per_class}: expected 1 or more")
    if fraction is not None and labels_per_class is not None:
        raise UserError(f"fraction={fraction} and labels_per_class={labels_per_class}: give one of the two")
    if isinstance(draw, str):
        if draw != "official":
            raise UserError(f"draw={draw}: expected 0, 1, 2 ... or official")
        if labels_per_class is not None:
            raise UserError("draw=official knows fractions only: type fraction=0.1 in place of labels_per_class")
        return _official(train, 1.0 if fraction is None else fraction, root or train.root, wbc_folder)
    if draw < 0:
        raise UserError(f"draw={draw}: expected 0, 1, 2 ... or official")
    if labels_per_class is not None:
        wanted = labels_per_class
        return _first_of_each(train, lambda n: min(wanted, n), ("draw", draw), in_training=True)
    share = 1.0 if fraction is None else fraction
    if known_groups(train):
        return _whole_groups(train, share, ("draw", draw))
    return _first_of_each(train, lambda n: max(1, round(share * n)), ("draw", draw), in_training=True)


def limit(manifest: Manifest, n: int, seed: int = 0) -> Manifest:
    """About n images of all splits, in their proportions, at least one per class and split; for a quick try.

    Masked copies follow their images and are not counted. Groups are cut: they were divided before, so that none comes
    to lie in two splits.

    Raises:
        UserError: n below 1.
    """
    if n < 1:
        raise UserError(f"limit={n}: expected 1 or more images (leave it out for all)")
    total = int((manifest.table["source"] != "masked").sum())
    if n >= total:
        return manifest
    return _first_of_each(manifest, lambda size: max(1, round(n * size / total)), ("limit", seed), in_training=False)


def _first_of_each(
    manifest: Manifest, how_many: Callable[[int], int], key: tuple[str, int], in_training: bool
) -> Manifest:
    """The first of every (split, label) in the order of a seeded hash, and the masked copies of those.

    Of known groups in training, group after group.
    """
    table = manifest.table
    groups = known_groups(manifest) if in_training else ()
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position, (split, label, source) in enumerate(
        zip(table["split"], table["label"], table["source"], strict=True)
    ):
        counted = source == "original" and split == "train" if in_training else source != "masked"
        if counted:
            members[split, label].append(position)
    digests = table["sha256"].tolist()

    def place(position: int) -> tuple[str, str]:
        return seeded_hash(*key, groups[position]) if groups else "", seeded_hash(*key, digests[position])

    dropped: set[int] = set()
    for positions in members.values():
        ordered = sorted(positions, key=place)
        dropped.update(ordered[how_many(len(ordered)) :])
    return _without(manifest, dropped)


def _whole_groups(train: Manifest, share: float, key: tuple[str, int]) -> Manifest:
    """The first groups of every stratum in the order of a seeded hash, those before all that every class needs."""
    table = train.table
    movable = np.flatnonzero((table["source"] == "original") & (table["split"] == "train"))
    groups, labels = table["group"].iloc[movable].tolist(), table["label"].iloc[movable].tolist()
    sizes = Counter(groups)
    place = {group: seeded_hash(*key, group) for group in sizes}
    needed = _one_of_each_class(classes_of_groups(groups, labels), place)
    kept: set[str] = set()
    for members in strata(groups, labels).values():
        ordered = sorted(members, key=lambda group: (group not in needed, place[group]))
        seen = np.cumsum([0, *(sizes[group] for group in ordered)])
        nearest = int(np.abs(seen - share * seen[-1]).argmin())
        kept.update(ordered[: max(nearest, len(needed.intersection(ordered)))])
    return _without(train, {int(row) for row, group in zip(movable, groups, strict=True) if group not in kept})


def _one_of_each_class(of_class: Mapping[str, set[str]], place: Mapping[str, str]) -> set[str]:
    """Few groups with an image of every class: for each class, the rarest first, the first group that has it."""
    needed: set[str] = set()
    for members in sorted(of_class.values(), key=len):
        if not needed & members:
            needed.add(min(members, key=place.__getitem__))
    return needed


def _without(manifest: Manifest, dropped: set[int]) -> Manifest:
    """The manifest without these originals and without the masked copies whose original is gone."""
    table = manifest.table
    keys = list(zip(table["path"], table["label"], table["split"], strict=True))
    images = {
        keys[position]
        for position, source in enumerate(table["source"])
        if source == "original" and position not in dropped
    }
    keep = np.array(
        [
            key in images if source == "masked" else position not in dropped
            for position, (key, source) in enumerate(zip(keys, table["source"], strict=True))
        ],
        dtype=bool,
    )
    return manifest.select(keep)


def _official(train: Manifest, fraction: float, root: Path, wbc_folder: str) -> Manifest:
    percent = fraction * 100
    if math.isclose(percent, 100):
        return train
    name = f"{wbc_folder.split('_')[0]}_{percent:g}"
    folder = Path(root) / name / "train" / "data"
    if not folder.is_dir():
        raise UserError(
            f"draw=official with fraction={fraction:g}: expected the folder {folder}, found none; type draw=0"
        )
    rows = list(to_manifest(list_folder(folder, name, Path(root)), masks=False).table.itertuples())
    table = train.table
    originals = [
        position
        for position, (split, source) in enumerate(zip(table["split"], table["source"], strict=True))
        if split == "train" and source == "original"
    ]
    by_digest: dict[tuple[str, str], list[int]] = defaultdict(list)
    by_name: dict[tuple[str, str], list[int]] = defaultdict(list)
    for position in originals:
        label = table["label"].iat[position]
        by_digest[label, table["sha256"].iat[position]].append(position)
        by_name[label, Path(table["path"].iat[position]).name].append(position)
    found = [by_digest.get((row.label, row.sha256)) or by_name.get((row.label, Path(row.path).name)) for row in rows]
    # One file stands for one image: of exact duplicates the one with the same name would show the same picture.
    chosen = {positions[0] for positions in found if positions}
    for label in train.classes:
        if not any(table["label"].iat[position] == label for position in chosen):
            raise UserError(
                f"draw=official: no image of {label} in {folder} is among the training images of {train.name}; "
                "type draw=0"
            )
    if missing := sum(not positions for positions in found):
        warnings.warn(
            f"{missing} of {len(rows)} images in {folder} are not among the training images and are left out",
            stacklevel=3,
        )
    return _without(train, set(originals) - chosen)
