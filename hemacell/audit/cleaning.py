"""Leave out copies: `drop=duplicates`. The image files stay as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hemacell.audit.findings import CopyGroup
from hemacell.data.manifest import Account, Manifest, Skipped

_KEPT_FIRST = ("test", "val", "train", "")
"""A copy stays in test, so that scores stay comparable with those of others; training can spare it."""


def without_copies(manifest: Manifest, images: Manifest, copies: Iterable[CopyGroup]) -> Manifest:
    """Of each picture one image; of pictures under several labels none, as which label is right is not known.

    Args:
        manifest: all images, with masked copies, which go with their images.
        images: those that the positions in `copies` are of.
        copies: groups of copies.
    """
    table = images.table
    keys = list(zip(table["path"], table["label"], strict=True))
    digests, splits = table["sha256"].to_numpy(), table["split"].to_numpy()
    dropped: dict[tuple[str, str], str] = {}
    for group in copies:
        kept = min(group.rows, key=lambda row: (_KEPT_FIRST.index(splits[row]), digests[row], keys[row]))
        for row in group.rows:
            if group.conflicts:
                dropped[keys[row]] = "copy of an image with another label"
            elif row != kept:
                dropped[keys[row]] = "copy of another image"
    if not dropped:
        return manifest
    account = Account(
        [*manifest.account.skipped, *(Skipped(path, reason) for (path, _), reason in dropped.items())],
        list(manifest.account.notes),
    )
    rows = zip(manifest.table["path"], manifest.table["label"], strict=True)
    return replace(manifest, account=account).select([row not in dropped for row in rows])


def with_corrections(
    images: Manifest, copies: Sequence[CopyGroup], corrections: Manifest
) -> tuple[Manifest, list[CopyGroup]]:
    """What `without_copies` takes, where corrected labels say which copies conflict.

    An image that the corrections leave out contradicts no other, and is the last of its group to be kept: it gets the
    split ''.

    Args:
        images: those that the positions in `copies` are of, not divided yet.
        copies: groups of copies.
        corrections: the images that have a corrected label.
    """
    label_of = dict(zip(corrections.table["path"], corrections.table["label"], strict=True))
    paths = images.table["path"].tolist()
    judged = [
        replace(group, labels=frozenset(label_of[paths[row]] for row in group.rows if paths[row] in label_of))
        for group in copies
    ]
    splits = [split if path in label_of else "" for path, split in zip(paths, images.table["split"], strict=True)]
    return images.with_splits(splits), judged
