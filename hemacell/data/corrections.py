"""Labels that a person has corrected, from a table: `labels=corrected.csv`. The image files stay as they are."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from hemacell.core.errors import UserError
from hemacell.core.text import counted, did_you_mean
from hemacell.data.class_names import LEFT_OUT, known_class, normal_form
from hemacell.data.manifest import Account, Manifest, Skipped
from hemacell.data.tables import Table, open_table


def corrected(manifest: Manifest, file: Path, all_there: bool = True) -> Manifest:
    """Give training images the labels that a table names; `-` leaves an image out, an empty label changes nothing.

    Images of val and test keep their labels: corrections are made with a classifier's suggestions in view, and a test
    that is corrected in its favour says too much. Splits stay as they are.

    Args:
        manifest: labelled images with their splits.
        file: a table with a column `label` and a column `sha256`, or one with the images' paths (absolute, or relative
            to the data or to the table), or both; the digest counts where it is given.
        all_there: whether all images are in the manifest; else some of them, and the table may name none of these.

    Raises:
        UserError: images without labels, no such table, column or class, one image with two labels, or no row that
            names an image of these.
    """
    if not manifest.classes:
        raise UserError(f"labels={file}: the images in {manifest.root} have no labels to correct; leave labels out")
    named = labels_of(manifest, file)
    wanted, unknown = named.labels, named.unknown
    if all_there and not wanted:
        raise _nothing_named(manifest, file, unknown)
    table = manifest.table
    in_training = {path for path, split in zip(table["path"], table["split"], strict=True) if split == "train"}
    before = dict(zip(table["path"], table["label"], strict=True))
    changes = {path: label for path, label in wanted.items() if label != before[path]}
    used = {path: label for path, label in changes.items() if path in in_training}
    kept = len(changes) - len(used)

    labels = [
        used.get(path, label) if split == "train" else label
        for path, label, split in zip(table["path"], table["label"], table["split"], strict=True)
    ]
    left_out = [path for path, label in used.items() if label == LEFT_OUT]
    notes = [f"training labels corrected by {file.name}: {len(used) - len(left_out)}"]
    if left_out:
        notes.append(f"training images left out by it: {len(left_out)}")
    if kept:
        notes.append(f"its corrections of val and test images are not used, so that scores stay comparable: {kept}")
    if unknown:
        notes.append(f"its rows that name no image of these: {len(unknown)}, such as {unknown[0]}")
    account = Account(
        [*manifest.account.skipped, *(Skipped(path, f"left out by {file.name}") for path in left_out)],
        [*manifest.account.notes, *notes],
    )
    renamed = replace(manifest, table=table.assign(label=pd.Series(_kept_labels(labels), dtype="str")), account=account)
    twice = renamed.table.duplicated(["path", "label", "split", "mask", "source"]).to_numpy()
    return renamed.select([label != LEFT_OUT and not again for label, again in zip(labels, twice, strict=True)])


def _kept_labels(labels: Iterable[str]) -> list[str]:
    return ["" if label == LEFT_OUT else label for label in labels]


@dataclass(frozen=True)
class NamedImages:
    """What a table says of images."""

    labels: dict[str, str] = field(default_factory=dict)
    """path of an image -> its class, or `-` for none of them"""
    groups: dict[str, str] = field(default_factory=dict)
    """path of an image -> its patient, slide or smear, where the table names one"""
    unknown: list[str] = field(default_factory=list)
    """the rows that name no image of these"""


def labels_of(manifest: Manifest, file: Path) -> NamedImages:
    """The labels that a table gives to images, and the groups where it has a column of them.

    Args:
        manifest: images with classes, with labels or without.
        file: as for `corrected`.

    Raises:
        UserError: no such table, column or class, or one image with two labels.
    """
    if not file.is_file():
        raise UserError(
            f"labels={file}: expected a table with the columns path or sha256, and label; found no such file"
        )
    table = open_table(file)
    names, digests, given, groups = table.texts([*_columns(table), next(iter(table.find("group")), "")])
    by_name, by_digest = _places(manifest, file.parent), defaultdict(list)
    for path, digest, mask in zip(*(manifest.table[name] for name in ("path", "sha256", "mask")), strict=True):
        if not mask:
            by_digest[digest].append(path)
    found = NamedImages()
    for name, digest, text, group in zip(names, digests, given, groups, strict=True):
        if not text:
            continue
        paths = by_digest.get(digest.lower()) or [path for path in [by_name.get(_plain(name))] if path]
        if not paths:
            found.unknown.append(name or digest)
            continue
        label = _class_of(text, manifest.classes, file)
        for path in paths:
            if found.labels.setdefault(path, label) != label:
                raise UserError(
                    f"{file}: {name or path} has two labels, {found.labels[path]} and {label}; leave one of the rows"
                )
            if group:
                found.groups[path] = group
    return found


def _nothing_named(manifest: Manifest, file: Path, unknown: Sequence[str]) -> UserError:
    rows = f"{counted(len(unknown), 'row')} with other images than those of {manifest.root}, such as "
    found = f"{rows}{unknown[0]}" if unknown else "no labels"
    return UserError(f"{file}: expected paths or sha256 of these images with a label each, found {found}")


def _columns(table: Table) -> list[str]:
    """The columns of path, digest and label; '' for one of the first two that is missing."""
    image, digest, label = (next(iter(table.find(what)), "") for what in ("image", "digest", "label"))
    if not label or not (image or digest):
        raise UserError(
            f"{table.file}: expected a column label, and path or sha256, found {table.shown()}; rename the columns"
        )
    return [image, digest, label]


def _places(manifest: Manifest, folder: Path) -> Mapping[str, str]:
    """Every way to name an image -> its path in the manifest."""
    found: dict[str, str] = {}
    for path, name in zip(manifest.table["path"], manifest.names, strict=True):
        found[_plain(path)] = found[_plain(name)] = path
        if Path(path).is_relative_to(folder):
            found.setdefault(_plain(Path(path).relative_to(folder).as_posix()), path)
    return found


def _plain(name: str) -> str:
    """A path as it is compared, whichever system has written it."""
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/"))


def _class_of(text: str, classes: Iterable[str], file: Path) -> str:
    if text == LEFT_OUT:
        return LEFT_OUT
    by_form = {normal_form(name): name for name in classes}
    found = by_form.get(normal_form(text)) or by_form.get(normal_form(known_class(text)))
    if found is None:
        raise UserError(
            f"{file}: no class {text} in these images{did_you_mean(text, classes)}; expected "
            f"{', '.join(classes)}, or {LEFT_OUT} to leave an image out"
        )
    return found
