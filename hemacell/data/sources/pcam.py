"""PatchCamelyon: patches of lymph nodes at 96 px, in the HDF5 files as downloaded and unpacked.

camelyonpatch_level_2_split_{train,valid,test}_x.h5     x: uint8 [N, 96, 96, 3]
camelyonpatch_level_2_split_{train,valid,test}_y.h5     y: uint8 [N, 1, 1, 1], 1 where the centre has tumour
camelyonpatch_level_2_split_{train,valid,test}_meta.csv a column wsi, the slide
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hemacell.core.errors import UserError, in_one_line
from hemacell.data.class_names import CAMELYON_CLASSES
from hemacell.data.images import UnreadableImage
from hemacell.data.manifest import Card
from hemacell.data.sources.base import Source, SourceOptions, source
from hemacell.data.sources.kept_digests import kept_digests
from hemacell.data.sources.listing import Item, Listing
from hemacell.data.tables import open_table

_STEM = "camelyonpatch_level_2_split_"
_SPLITS = {"train": "train", "val": "valid", "test": "test"}
_AT_ONCE = 512  # patches: 14 MB


@source("PatchCamelyon", jobs=("camelyon",))
class PatchCamelyon(Source):
    """Its official splits; patches of one slide are a group where the meta files are there."""

    prefix = "pcam"
    card = Card(
        license="CC0",
        citation="Veeling et al., Rotation Equivariant CNNs for Digital Pathology, arXiv:1806.03962, 2018; "
        "Ehteshami Bejnordi et al., JAMA 318(22):2199-2210, 2017",
    )

    @classmethod
    def matches(cls, root: Path) -> bool:
        name = f"{_STEM}train_x.h5"
        return root.is_dir() and any((root / each).is_file() for each in (name, f"{name}.gz"))

    def listing(self, options: SourceOptions) -> Listing:
        """Read labels and slides, and the digest of every patch (of a file that was read before, from the cache).

        Raises:
            UserError: files that are packed, damaged, missing or of other sizes.
        """
        self.refuse(options)
        items, notes = [], []
        for split, word in _SPLITS.items():
            if split not in self._images:
                notes.append(f"no {split}: {_STEM}{word}_x.h5 is not there")
                continue
            labels = self._labels(word, len(self._images[split]))
            slides = self._slides(word, len(labels))
            if not slides:
                notes.append(f"the slides of {split} are not known: {_STEM}{word}_meta.csv is not there")
                slides = [""] * len(labels)
            file = self._path(word, "x.h5")
            digests = kept_digests(file, split, len(labels), partial(self._digests, split))
            for number, digest in enumerate(digests):
                label = CAMELYON_CLASSES[labels[number]]
                items.append(Item(f"{split}#{number}", label, split, slides[number], sha256=digest))
        return Listing(self.root.name, self.root, items, notes=notes)

    def read(self, locator: str) -> Image.Image:
        split, _, number = locator.partition("#")
        try:
            return Image.fromarray(self._images[split][int(number)])  # h5py lets one thread read at a time
        except (KeyError, IndexError, OSError) as error:
            raise UnreadableImage(f"cannot be read from {self.root}: {in_one_line(error)}") from error

    @cached_property
    def _images(self) -> dict[str, Any]:
        """Split -> the patches in its file, of which nothing is read yet."""
        found = {}
        for split, word in _SPLITS.items():
            if split == "train" or self._path(word, "x.h5").exists() or self._path(word, "x.h5.gz").exists():
                found[split] = self._stored(word, "x")
                if found[split].ndim != 4 or found[split].shape[3] != 3 or found[split].dtype != np.uint8:
                    raise UserError(
                        f"{self._path(word, 'x.h5')}: expected x as uint8 [N, 96, 96, 3], found {found[split].dtype} "
                        f"{list(found[split].shape)}; download it again"
                    )
        return found

    def _path(self, word: str, end: str) -> Path:
        return self.root / f"{_STEM}{word}_{end}"

    def _stored(self, word: str, name: str) -> Any:
        """What is stored in one file under a name."""
        file = self._path(word, f"{name}.h5")
        if not file.is_file():
            packed = file.with_name(f"{file.name}.gz").is_file()
            todo = f"found {file.name}.gz; unpack it (gunzip {file.name}.gz)" if packed else "download it too"
            raise UserError(f"{self.root}: expected {file.name}, {todo}")
        import h5py  # not before it is needed: every command asks every source

        try:
            return h5py.File(file, "r")[name]
        except (OSError, KeyError) as error:
            raise UserError(f"{file}: cannot be read ({in_one_line(error)[:200]}); download it again") from error

    def _labels(self, word: str, count: int) -> list[int]:
        labels = np.asarray(self._stored(word, "y")).reshape(-1)
        if len(labels) != count or not np.isin(labels, (0, 1)).all():
            raise UserError(
                f"{self._path(word, 'y.h5')}: expected {count} labels 0 or 1, one for each patch, found {len(labels)} "
                f"with the values {np.unique(labels)[:4].tolist()}; download both again"
            )
        return [int(label) for label in labels]

    def _slides(self, word: str, count: int) -> list[str]:
        """The slide of every patch; none without a meta file."""
        file = self._path(word, "meta.csv")
        if not file.is_file():
            return []
        table = open_table(file)
        slides = table.texts(["wsi"])[0] if "wsi" in table.columns else []
        if len(slides) != count:
            found = f"{len(slides)} rows" if slides else table.shown()
            raise UserError(f"{file}: expected a column wsi with {count} rows, found {found}; download it again")
        return slides

    def _digests(self, split: str) -> Iterator[str]:
        images = self._images[split]
        try:
            for start in range(0, len(images), _AT_ONCE):
                for pixels in images[start : start + _AT_ONCE]:
                    yield hashlib.sha256(pixels.tobytes()).hexdigest()
        except OSError as error:
            raise UserError(
                f"{self._path(_SPLITS[split], 'x.h5')}: cannot be read ({in_one_line(error)[:200]}); download it again"
            ) from error
