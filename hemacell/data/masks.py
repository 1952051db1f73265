"""Masks of images, to measure with: which image has one, and where it lies in the decoded picture.

Nothing here changes an image: the column `mask` of a manifest is for masks that are applied.
"""

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np

from hemacell.core.files import sha256_of_files
from hemacell.data.images import UnreadableImage, image_size, inside, mask_to_square, read_mask
from hemacell.data.manifest import Manifest
from hemacell.data.sources.course import masks_by_name


def masks_beside(manifest: Manifest) -> list[str]:
    """The mask file of each of N images, '' for an image without a mask.

    The mask of `<split>/data/<Class>/<name>.jpg` is `<split>/mask/<Class>/<name>.*`; other layouts have none.
    """
    if manifest.read is not None:  # no files, so no masks next to them
        return [""] * len(manifest)
    rows: dict[Path, list[int]] = defaultdict(list)
    images = [Path(path) for path in manifest.table["path"]]
    for number, image in enumerate(images):
        rows[image.parent.parent].append(number)
    found = [""] * len(images)
    for folder, numbers in rows.items():
        masks = folder.with_name("mask")
        if folder.name != "data" or not masks.is_dir():
            continue
        by_name = masks_by_name(masks)
        for number in numbers:
            mask = by_name.get((images[number].parent.name, images[number].stem))
            found[number] = str(mask) if mask else ""
    return found


def masks_digest(manifest: Manifest) -> str:
    """sha256 (hex) of the masks of the images, whatever the folder, names and row order; '' without masks.

    Raises:
        UserError: a mask cannot be read.
    """
    pairs = [
        (image, mask) for image, mask in zip(manifest.table["sha256"], masks_beside(manifest), strict=True) if mask
    ]
    digests = sha256_of_files([Path(mask) for _, mask in pairs])
    lines = sorted(f"{image} {digest}" for (image, _), digest in zip(pairs, digests, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def square_mask(mask: Path, image: Path, size: int) -> np.ndarray:
    """Read the mask of an image as it lies in the decoded picture.

    Returns:
        float32 [size, size], the share of each pixel that is inside, 0 to 1; not all 0.

    Raises:
        UserError: the mask has another size than its image.
        UnreadableImage: it cannot be read, or nothing is inside.
    """
    square = mask_to_square(inside(read_mask(mask, image_size(image))), size)
    if not square.any():
        raise UnreadableImage("is empty")
    return square
