"""What a source lists, before a file is opened, and the one way from there to a manifest.

A source only says where its images are and what it knows of each. Names of classes, digests, groups, masked copies and
the account of what was taken and passed over are made here, the same for all sources.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hemacell.core.errors import UserError
from hemacell.data.boxes import digests_of_paths, mask_path_size, path_size, split_box
from hemacell.data.class_names import LEFT_OUT, ClassMap
from hemacell.data.images import UnreadableImage, bits_in_words, camera_bits, check_mask_size
from hemacell.data.manifest import SPLITS, Account, Manifest, Row, Skipped, shown

MOST_CLASSES = 1_000


class Item(NamedTuple):
    """One image, as a source knows it."""

    path: str
    """Absolute path of its file, or of a box in it (see `boxes`), or text that the source reads, as `cells.npz#12`."""
    label: str = ""
    """The name of its class as it is found, '' where it has none."""
    split: str = ""
    """'train', 'val', 'test', or '' where the source does not divide its images."""
    group: str = ""
    """Patient, slide or smear; '' where it is not known."""
    mask: str = ""
    """Absolute path of its mask, or of a part of one (see `boxes`); '' where it has none."""
    sha256: str = ""
    """Of an image that is no file: the digest of its pixels."""


@dataclass
class Listing:
    """All images of a source."""

    name: str
    """Short, for titles."""
    root: Path
    """The folder that paths are shown relative to."""
    items: list[Item]
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a user should know of how the source was understood, a sentence each without its full stop."""
    labelled: bool = True
    extra: list[Item] = field(default_factory=list)
    """Training images from elsewhere, which are in every draw."""


def to_manifest(
    listing: Listing, classes: str = "", group: str = "", masks: bool = True, least_classes: int = 2
) -> Manifest:
    """Name the classes, hash the files, group and mask.

    Args:
        listing: of a source.
        classes: `NAME:CLASS,NAME:-`, see `class_names.ClassMap`.
        group: a regular expression, searched in the path relative to the root; what its first pair of parentheses (or
            all of it) matches is the group. '' for what the source knows, 'none' for no groups.
        masks: add a masked copy of every training image that has a mask.
        least_classes: how many classes there must be.

    Raises:
        UserError: no images, too few classes, a setting that fits nothing, a mask of another size than its image.
    """
    account = Account(skipped=list(listing.skipped), notes=list(listing.notes))
    items, extra = listing.items, listing.extra
    names: tuple[str, ...] = ()
    if listing.labelled:
        to_class = ClassMap(classes)
        items = _with_classes(items, to_class, account, listing)
        extra = _with_classes(extra, to_class, account, listing)
        to_class.check_used(item.label for item in listing.items)
        names = tuple(sorted({item.label for item in items}))
        _check_classes(names, listing, classes, least_classes)
        account.notes += _without_images(items, names) + _with_few(items)
    items = _with_groups(items, group, listing.root)
    undivided = "train" if listing.labelled else ""  # `splits` divides these
    rows = _rows(items, "original", masks, undivided) + _rows(extra, "extra", masks, undivided)
    files = {split_box(item.path)[0] for item in [*items, *extra] if not item.sha256}
    bits = camera_bits(files, threads=1)  # `_rows` has just read all of them
    if bits:
        account.notes.append(bits_in_words(bits))
    return Manifest.from_rows(rows, names, listing.name, listing.root, account=account, bits=bits)


def _with_classes(items: Sequence[Item], to_class: ClassMap, account: Account, listing: Listing) -> list[Item]:
    named, found = [], Counter[tuple[str, str]]()
    for item in items:
        if not item.label:
            account.skipped.append(Skipped(item.path, "has no label"))
        elif (label := to_class(item.label)) == LEFT_OUT:
            account.skipped.append(Skipped(item.path, f"class {item.label} is left out by classes="))
        else:
            named.append(item._replace(label=label))
            found[item.label, label] += 1
    renamed = sorted({f"{name} = {label}" for name, label in found if name != label})
    if renamed:
        account.notes.append(f"classes: {', '.join(renamed)}")
    return named


def _without_images(items: Sequence[Item], names: Sequence[str]) -> list[str]:
    there = {(item.split, item.label) for item in items}
    splits = sorted({split for split, _ in there if split})
    missing = [f"no {name} in {split}" for split in splits for name in names if (split, name) not in there]
    return [", ".join(missing)] if missing else []


def _with_few(items: Sequence[Item]) -> list[str]:
    counts = Counter(item.label for item in items)
    few = [f"{count} {name}" for name, count in sorted(counts.items()) if count < len(SPLITS)]
    return [f"too few for {len(SPLITS)} splits: {', '.join(few)}"] if few else []


def _check_classes(names: Sequence[str], listing: Listing, classes: str, least: int) -> None:
    if len(names) > MOST_CLASSES:
        raise UserError(
            f"{listing.root}: found {len(names)} classes, of which {', '.join(names[:3])}; expected {MOST_CLASSES} at "
            "most: name the folder whose folders are classes"
        )
    if len(names) < least:
        found = f"found {names[0]} only" if names else "found no labelled images"
        because = f" after classes={classes}" if classes else ""
        raise UserError(f"{listing.root}: expected images of two or more classes, {found}{because}")


def _with_groups(items: Sequence[Item], group: str, root: Path) -> list[Item]:
    if group == "none":
        return [item._replace(group="") for item in items]
    if not group:
        return list(items)
    try:
        pattern = re.compile(group)
    except re.error as error:
        raise UserError(f"group={group}: expected a regular expression: {error}") from error
    grouped, without = [], ""
    for item in items:
        name = shown(item.path, root)
        match = pattern.search(name)
        without = without or ("" if match else name)
        grouped.append(item._replace(group=(match.group(1 if pattern.groups else 0) or "") if match else ""))
    if without:
        raise UserError(f"group={group}: matches nothing in {without}; write an expression that fits every image")
    return grouped


def _rows(items: Sequence[Item], source: str, masks: bool, undivided: str) -> list[Row]:
    paths = [item.path for item in items if not item.sha256]
    of_path = dict(zip(paths, digests_of_paths(paths), strict=True))
    digests = [item.sha256 or of_path[item.path] for item in items]
    rows = [
        Row(item.path, item.label, item.split or undivided, item.group or digest, "", digest, source, item.mask)
        for item, digest in zip(items, digests, strict=True)
    ]
    masked = [row for row in rows if row.own_mask and row.split in ("train", "")] if masks else []
    for row in masked:
        _check_size(row.path, row.own_mask)
    mask_digests = digests_of_paths([row.own_mask for row in masked])
    return rows + [
        row._replace(
            mask=row.own_mask,
            sha256=hashlib.sha256((row.sha256 + digest).encode()).hexdigest(),
            source="masked" if source == "original" else source,
        )
        for row, digest in zip(masked, mask_digests, strict=True)
    ]


def _check_size(image: str, mask: str) -> None:
    """Compare the sizes by the headers alone, so that a wrong mask is reported before any work begins."""
    try:
        sizes = mask_path_size(mask), path_size(image)
    except UnreadableImage:
        return  # listed with its reason when the pixels are decoded, where `max_bad` decides
    check_mask_size(Path(mask), *sizes)
