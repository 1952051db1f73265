"""MedMNIST: small pictures of a set in one `.npz` file, as downloaded; BloodMNIST above all.

    bloodmnist.npz, bloodmnist_224.npz, …: train_images uint8 [N, H, W, 3] or [N, H, W], train_labels [N, 1], and the
    same for val and test

The arrays are unpacked once into the cache and mapped into memory: TissueMNIST at 224 px would need 12 GB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from PIL import Image

from hemacell.core.errors import UserError, in_one_line
from hemacell.data.images import UnreadableImage
from hemacell.data.manifest import SPLITS, Card
from hemacell.data.sources.archive import unpacked
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.kept_digests import kept_digests
from hemacell.data.sources.listing import Item, Listing

_BLOOD = (
    *("basophil", "eosinophil", "erythroblast", "immature granulocyte"),
    *("lymphocyte", "monocyte", "neutrophil", "platelet"),
)


@source("MedMNIST", jobs=("wbc",))
class MedMnist(Source):
    """A two-dimensional set with one label per picture, in its official splits."""

    prefix = "medmnist"
    card = Card(
        license="CC BY 4.0 (other sets than BloodMNIST: see medmnist.com)",
        citation="Yang et al., MedMNIST v2, Scientific Data 10:41, 2023, doi:10.1038/s41597-022-01721-8; "
        "BloodMNIST: Acevedo et al., Data in Brief 30:105474, 2020",
    )

    @classmethod
    def matches(cls, root: Path) -> bool:
        return root.suffix.lower() == ".npz" and root.is_file()

    def listing(self, options: SourceOptions) -> Listing:
        """Read labels and digests.

        Raises:
            UserError: another kind of `.npz`, pickled objects, three dimensions, several labels per picture.
        """
        self.refuse(options)
        items = []
        for split, (images, labels) in self._arrays.items():
            digests = kept_digests(self.root, split, len(images), partial(_digests, images))
            for number, (digest, label) in enumerate(zip(digests, labels, strict=True)):
                items.append(Item(f"{self.root.name}#{split}/{number}", self._name(int(label)), split, sha256=digest))
        notes = [f"{images.shape[1]}x{images.shape[2]} px, the official splits"]
        if not self._is_blood:
            notes.append("classes are numbers: classes=0:NAME,1:NAME names them")
        return Listing(self.root.stem, self.root.parent, items, notes=notes)

    def read(self, locator: str) -> Image.Image:
        split, number = locator.rpartition("#")[2].split("/")
        try:
            return Image.fromarray(np.array(self._arrays[split][0][int(number)])).convert("RGB")
        except (KeyError, IndexError) as error:
            raise UnreadableImage(f"is not in {self.root}") from error

    @property
    def _is_blood(self) -> bool:
        return self.root.stem.lower().startswith("bloodmnist")

    def _name(self, label: int) -> str:
        return _BLOOD[label] if self._is_blood and 0 <= label < len(_BLOOD) else str(label)

    @cached_property
    def _arrays(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Split -> uint8 images [N, H, W] or [N, H, W, 3] and labels [N]."""
        folder = unpacked(self.root)
        found = {path.stem for path in folder.glob("*.npy")}
        expected = {f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")}
        if not expected <= found:
            raise UserError(
                f"{self.root}: expected {', '.join(sorted(expected - found))} as in MedMNIST, found "
                f"{', '.join(sorted(found)[:8]) or 'no arrays'}"
            )
        arrays = {}
        for split in SPLITS:
            images, labels = (_mapped(self.root, folder / f"{split}_{kind}.npy") for kind in ("images", "labels"))
            _check(self.root, split, images, labels)
            arrays[split] = (images, np.array(labels).reshape(-1))
        return arrays


def _digests(images: np.ndarray) -> Iterator[str]:
    return (hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in images)


def _mapped(file: Path, array: Path) -> np.ndarray:
    try:
        return np.load(array, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        why = "holds pickled objects, which may run code when they are read" if "object" in str(error) else "is damaged"
        raise UserError(f"{file}: {array.stem} {why} ({in_one_line(error)}); download it again") from error


def _check(file: Path, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    flat = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)
    if images.dtype != np.uint8 or not flat or 0 in images.shape:
        raise UserError(
            f"{file}: expected {split}_images as uint8 [N, H, W] or [N, H, W, 3], found {images.dtype} "
            f"{list(images.shape)}; sets of volumes cannot be used"
        )
    if labels.shape not in ((len(images),), (len(images), 1)) or labels.dtype.kind not in "iu":
        raise UserError(
            f"{file}: expected {split}_labels as whole numbers [{len(images)}, 1], found {labels.dtype} "
            f"{list(labels.shape)}; sets with several labels per picture cannot be used"
        )
