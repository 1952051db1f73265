"""Images of one patient, slide or smear resemble each other: groups are resampled whole, and count as fewer images.

Resampling single images would treat 600 pictures of 20 patients as 600 patients, and give intervals that are far too
narrow. The cluster bootstrap draws whole groups with replacement (Davison and Hinkley 1997, section 3.8; Field and
Welsh 2007, "Bootstrapping clustered data", J. R. Stat. Soc. B 69). It needs some tens of groups: with fewer than about
24 its intervals are too narrow (Flynn and Peters 2004, BMC Health Services Research 4:33).

Everywhere in this package groups are texts, one for each image, or nothing where none is known. `group_numbers` makes
numbers of them, or None where images are resampled after all.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

#: With fewer groups an interval over them is too narrow.
FEW_GROUPS = 24


def group_numbers(groups: Sequence[str]) -> Ints | None:
    """The number of each image's group, 0 to G - 1 in the order of their names.

    None where groups are not known (no texts), and where resampling them says nothing else or nothing at all: each
    image is a group of its own, or all are one group.
    """
    if not groups:
        return None
    names, numbers = np.unique(np.asarray(groups), return_inverse=True)
    return numbers.astype(np.int64) if 1 < len(names) < len(numbers) else None


def group_weights(numbers: Ints | None, images: int, resamples: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """How often each image counts when whole groups are drawn with replacement, as many as there are: [B, N].

    Args:
        numbers: int [N], from `group_numbers`; None draws images, so that the rows sum to N.
        images: N.
        resamples: B.
        rng: the source of chance.
    """
    units = images if numbers is None else int(numbers.max()) + 1
    weights = np.stack(
        [np.bincount(rng.integers(0, units, units), minlength=units).astype(np.uint16) for _ in range(resamples)]
    )
    return weights if numbers is None else weights[:, numbers]


def intraclass_correlation(values: ArrayLike, numbers: Ints) -> float:
    """How much alike the images of a group are in a value of 0 or 1: the intraclass correlation, from 0 to 1.

    The estimator by analysis of variance (Ridout, Demétrio and Firth 1999, Biometrics 55), with negative values as 0.
    Where all values are equal they say nothing of it, and the result is 1: a promise must hold for the worst case.

    Args:
        values: bool or 0/1, [N].
        numbers: int [N], from `group_numbers`.
    """
    y = np.asarray(values, dtype=np.float64)
    sizes = np.bincount(numbers)
    total, groups = len(y), len(sizes)
    if y.min() == y.max():
        return 1.0
    means = np.bincount(numbers, weights=y) / sizes
    between = (sizes * (means - y.mean()) ** 2).sum() / (groups - 1)
    within = (sizes * means * (1 - means)).sum() / (total - groups)
    usual = (total - (sizes**2).sum() / total) / (groups - 1)
    return float(np.clip((between - within) / (between + (usual - 1) * within), 0, 1))


def effective_images(counts: ArrayLike, squares: ArrayLike, correlation: float) -> NDArray[np.float64]:
    """How many independent images as many images of groups are worth (Kish 1965, section 5.4).

    n / (1 + (m - 1) rho), where m is the size of the group that an image is in, on average over images. With it in
    place of n, exact binomial limits hold for groups too (Korn and Graubard 1998, Survey Methodology 24).

    Args:
        counts: n, of any shape, 1 or more.
        squares: sum over groups of the squared number of their images among the n.
        correlation: rho, from `intraclass_correlation`.
    """
    n = np.asarray(counts, dtype=np.float64)
    return n / (1 + (np.asarray(squares) / n - 1) * correlation)


def number_of_groups(groups: Sequence[str]) -> int:
    """How many groups there are; 0 where none is known."""
    return len(set(groups))


def resampled_units(groups: int, images: int) -> str:
    """What intervals are over, in words: `23 groups of 1,545 images`, `1,545 images` where no group is known."""
    return f"{groups:,} group{'' if groups == 1 else 's'} of {images:,} images" if groups else f"{images:,} images"


def units_in_a_sentence(groups: int) -> str:
    """What intervals are over, and what that means for a reader; 0 where no group is known."""
    if not groups:
        return (
            "no patients, slides or smears are known, so intervals and tests are over images: they hold for other "
            "images of the same patients, and for other patients they are too narrow"
        )
    if groups == 1:
        return (
            "all images are of one group (patient, slide or smear), so intervals and tests are over images: they hold "
            "for this group alone"
        )
    few = f"; with fewer than {FEW_GROUPS} groups they are still too narrow" if groups < FEW_GROUPS else ""
    return (
        f"intervals and tests are over {groups:,} groups (patients, slides or smears), each drawn as a whole, so that "
        f"they hold for other groups of the same kind{few}"
    )
