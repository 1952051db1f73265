"""Masks of images, to measure with: which image has one, and where it lies in the decoded picture.

Nothing here changes an image: the column `mask` of a manifest is for masks that are applied.
"""

import hashlib

import numpy as np

from hemacell.data.boxes import digests_of_paths, path_size, read_mask_path
from hemacell.data.images import UnreadableImage, inside, mask_to_square
from hemacell.data.manifest import Manifest


def masks_digest(manifest: Manifest) -> str:
    """sha256 (hex) of the masks of the images, whatever the folder, names and row order; '' without masks.

    Raises:
        UserError: a mask cannot be read.
    """
    pairs = [
        (image, mask) for image, mask in zip(manifest.table["sha256"], manifest.table["own_mask"], strict=True) if mask
    ]
    digests = digests_of_paths([mask for _, mask in pairs])
    lines = sorted(f"{image} {digest}" for (image, _), digest in zip(pairs, digests, strict=True))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def square_mask(mask: str, image: str, size: int) -> np.ndarray:
    """Read the mask of an image as it lies in the decoded picture.

    Returns:
        float32 [size, size], the share of each pixel that is inside, 0 to 1; not all 0.

    Raises:
        UserError: the mask has another size than its image.
        UnreadableImage: it cannot be read, or nothing is inside.
    """
    return checked_mask(mask_to_square(inside(read_mask_path(mask, path_size(image))), size))


def checked_mask(mask: np.ndarray) -> np.ndarray:
    """A mask with something inside. Raises UnreadableImage for an empty one."""
    if not mask.any():
        raise UnreadableImage("is empty")
    return mask
